// Does @lancedb/arrow-flight-sql-client get along with the server? It logs in without TLS, and asks. One line of JSON a case.
"use strict";

const { Client } = require("@lancedb/arrow-flight-sql-client");
const cases = require("./cases");
const { Skip, check, equal, refused, main } = require("./report");

const connect = (given) => Client.connect({ host: given.plain, username: "anybody", password: "anything", insecure: true });

async function shared(client, one) {
  if (one.parameters) throw new Skip("the client binds no parameters");
  for (const statement of one.setup ?? []) await (await client.query(statement)).collectToArrow();
  if (one.error) return refused(async () => (await client.query(one.sql)).collectToArrow(), cases.code(one.error), one.error.contains);
  const batches = await (await client.query(one.sql)).collectToArrow();
  if (one.affected === undefined) {
    // Without rows the client gives no batch, and so no schema.
    if (one.rows.length > 0) cases.checkColumns(batches[0].schema, one);
    cases.checkRows(cases.rows(batches), one);
  } else if (one.affected > 0) {
    equal("the answer", cases.rows(batches), [[String(one.affected)]]);
  }
  if (one.check) cases.checkRows(cases.rows(await (await client.query(one.check.sql)).collectToArrow()), one.check);
}

main(async (given) => {
  const client = await connect(given);
  for (const one of cases.load(given.cases)) await check(one.name, () => shared(client, one));
  await check("collectToObjects", async () => {
    const [row] = await (await client.query("SELECT 1 AS one, 'x' AS text")).collectToObjects();
    equal("the row", [Number(row.one), row.text], [1, "x"]);
  });
  await check("toArrowStream: a hundred thousand rows", async () => {
    let n = 0;
    for await (const batch of (await client.query("SELECT value FROM generate_series(1, 100000)")).toArrowStream()) n += batch.numRows;
    equal("the number of rows", n, 100000);
  });
  await check("an answer larger than a message", async () => {
    const batches = await (await client.query("SELECT repeat('x', 3000) AS t FROM generate_series(1, 8000)")).collectToArrow();
    equal("the rows", batches.reduce((n, batch) => n + batch.numRows, 0), 8000);
  });
  await check("two clients at once", async () => {
    const both = await Promise.all([connect(given), connect(given)]);
    const rows = await Promise.all(both.map(async (one, n) => (await one.query(`SELECT ${n} AS n`)).collectToObjects()));
    equal("the answers", rows.map(([row]) => Number(row.n)), [0, 1]);
  });
  await check("TLS", async () => {
    await refused(async () => (await connect({ plain: given.secure })).query("SELECT 1"), undefined, "");
    throw new Skip("the client has none");
  });
});
