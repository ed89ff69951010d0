// Does @gizmodata/gizmosql-client get along with the server? Its statements, its metadata, TLS and logging in. One line of JSON a case.
"use strict";

const { FlightSQLClient } = require("@gizmodata/gizmosql-client");
const cases = require("./cases");
const { Skip, check, equal, refused, main } = require("./report");

const TABLE = "js_events";
const NO_ANY = "the client sends the command without its Any";
// What the client sends instead of the command, its own mistakes: what it is asked, what then is in the error, and why. The server takes a
// command without its Any for SQL.
const MISTAKES = {
  prepare: [
    ["SELECT 1"],
    "Expected argument of type arrow.flight.protocol.Action",
    "the client gives DoAction a FlightDescriptor, and fails before it sends anything",
  ],
  getQuerySchema: [["SELECT 1"], "TW-1001", NO_ANY],
  getPrimaryKeys: [["tidewater", "public", TABLE], "TW-1001", NO_ANY],
  getForeignKeys: [["tidewater", "public", TABLE], "TW-1001", NO_ANY],
};
const MISSING = ["ingest", "executeIngest", "cancel", "cancelFlightInfo"];

function connection(address, more) {
  const [host, port] = address.split(":");
  return new FlightSQLClient({ host, port: Number(port), ...more });
}

async function shared(client, one) {
  if (one.parameters) throw new Skip("the client binds no parameters");
  for (const statement of one.setup ?? []) await client.execute(statement);
  if (one.error) return refused(() => client.execute(one.sql), undefined, one.error.contains);
  const table = await client.execute(one.sql);
  if (one.affected === undefined) {
    cases.checkColumns(table.schema, one);
    cases.checkRows(cases.rows(table.batches), one);
  } else if (one.affected > 0) {
    equal("the answer", cases.rows(table.batches), [[String(one.affected)]]);
  }
  if (one.check) cases.checkRows(cases.rows((await client.execute(one.check.sql)).batches), one.check);
}

async function metadata(client) {
  await client.execute(`DROP TABLE IF EXISTS ${TABLE}`);
  await client.execute(`CREATE TABLE ${TABLE} (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))`);
  await check("getCatalogs", async () => equal("the catalogs", await client.getCatalogs(), ["tidewater"]));
  await check("getSchemas", async () => {
    const found = await client.getSchemas("tidewater");
    if (!found.some((one) => one.catalog === "tidewater" && one.schema === "public")) throw new Error(JSON.stringify(found));
  });
  await check("getTableTypes", async () => equal("the types", await client.getTableTypes(), ["SYSTEM TABLE", "TABLE", "VIEW"]));
  await check("getTables", async () =>
    equal("the tables", await client.getTables("tidewater", "public", TABLE, ["BASE TABLE"]), [
      { catalog: "tidewater", schema: "public", tableName: TABLE, tableType: "TABLE" },
    ]),
  );
  await check("getTables of another catalog", async () => equal("the tables", await client.getTables("other"), []));
  await check("getSqlInfo: all", async () => {
    const info = await client.getSqlInfo();
    equal("the name", info.get(0), "Tidewater");
    if (info.size < 80) throw new Error(`${info.size} values`);
  });
  await check("getSqlInfo: one", async () => equal("the values", [...(await client.getSqlInfo([8]))], [[8, 0]]));
  await check("listActions", async () => {
    const names = (await client.listActions()).map((one) => one.getType());
    if (!names.includes("CancelFlightInfo")) throw new Error(String(names));
  });
  await check("listFlights", async () => {
    if (!Array.isArray(await client.listFlights())) throw new Error("no list");
  });
}

async function statements(client) {
  await check("an answer of many batches", async () => {
    const table = await client.execute("SELECT value FROM generate_series(1, 100000) ORDER BY value");
    equal("the number of rows", table.numRows, 100000);
    equal("the last one", String(table.getChild("value").get(99999)), "100000");
  });
  await check("an answer larger than a message", async () => {
    equal("the rows", (await client.execute("SELECT repeat('x', 3000) AS t FROM generate_series(1, 8000)")).numRows, 8000);
  });
  await check("an error in the middle of an answer", () =>
    refused(() => client.execute("SELECT 1 / (value - 900000) AS q FROM generate_series(1, 1000000)"), undefined, "zero"),
  );
  await check("twenty at once on one connection", async () => {
    const numbers = [...Array(20).keys()];
    const tables = await Promise.all(numbers.map((number) => client.execute(`SELECT ${number} AS n`)));
    equal("the answers", tables.map((table) => Number(table.getChild("n").get(0))), numbers);
  });
}

async function access(given) {
  const asks = async (more) => {
    const client = connection(given.secure, more);
    await client.connect();
    const table = await client.execute("SELECT current_user AS name");
    equal("the user", table.getChild("name").get(0), given.user);
    await client.close();
  };
  await check("access: user and password over TLS", () => asks({ username: given.user, password: given.password }));
  await check("access: token over TLS", () => asks({ token: given.token }));
  await check("access: a wrong password", () => refused(() => asks({ username: given.user, password: "wrong" }), undefined, "password"));
  await check("access: a wrong token", () => refused(() => asks({ token: "wrong" }), undefined, "token"));
  await check("access: nobody", () => refused(() => asks({}), undefined, "TW-1401"));
}

main(async (given) => {
  const client = connection(given.plain, { plaintext: true, username: "anybody", password: "anything" });
  await client.connect();
  for (const one of cases.load(given.cases)) await check(one.name, () => shared(client, one));
  await metadata(client);
  await statements(client);
  for (const [what, [asked, said, why]] of Object.entries(MISTAKES)) {
    await check(what, async () => {
      await refused(() => client[what](...asked), undefined, said);
      throw new Skip(why);
    });
  }
  await check("ingest and cancel", async () => {
    equal("what it has", MISSING.filter((name) => name in client), []);
    throw new Skip("the client has none");
  });
  await access(given);
  await check("close ends the session", async () => {
    const said = [];
    const { warn } = console;
    console.warn = (line) => said.push(line);
    await client.close();
    console.warn = warn;
    equal("the warnings", said, []);
  });
});
