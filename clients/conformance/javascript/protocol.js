// Do the flows work that no JavaScript client has: prepared statements with parameters, bulk ingest, cancelling, TLS with a CA of
// one's own? One line of JSON a case.
"use strict";

const fs = require("node:fs");
const { Bool, Float64, Int64, Null, RecordBatch, Schema, Struct, Utf8, makeData, vectorFromArray } = require("apache-arrow");
const cases = require("./cases");
const { check, equal, refused, main } = require("./report");
const { Connection, Table, count, descriptor, flight, flightData, grpc, packed, schema, sql, unpacked } = require("./wire");

// Runs for hours, whatever the machine.
const ENDLESS = "SELECT a.value FROM generate_series(1, 1000000) AS a CROSS JOIN generate_series(1, 1000000) AS b";
const { TableExistsOption: EXISTS, TableNotExistOption: MISSING } = sql.CommandStatementIngest.TableDefinitionOptions;
const MODES = {
  create: [MISSING.TABLE_NOT_EXIST_OPTION_CREATE, EXISTS.TABLE_EXISTS_OPTION_FAIL],
  append: [MISSING.TABLE_NOT_EXIST_OPTION_FAIL, EXISTS.TABLE_EXISTS_OPTION_APPEND],
  replace: [MISSING.TABLE_NOT_EXIST_OPTION_CREATE, EXISTS.TABLE_EXISTS_OPTION_REPLACE],
};

// One row of a case's parameters, each in the type that its JSON has.
function parameters(values) {
  const columns = {};
  values.forEach((value, at) => {
    const [type, stored] = parameter(value);
    columns[String(at + 1)] = vectorFromArray([stored], type);
  });
  return new Table(columns);
}

function parameter(value) {
  if (value === null) return [new Null(), null];
  if (typeof value === "boolean") return [new Bool(), value];
  if (typeof value === "string") return [new Utf8(), value];
  return Number.isInteger(value) ? [new Int64(), BigInt(value)] : [new Float64(), value];
}

async function prepare(connection, statement) {
  const request = new sql.ActionCreatePreparedStatementRequest();
  request.setQuery(statement);
  const [body] = await connection.action("CreatePreparedStatement", packed(request, "ActionCreatePreparedStatementRequest"));
  return unpacked(body, sql.ActionCreatePreparedStatementResult, "ActionCreatePreparedStatementResult");
}

async function close(connection, prepared) {
  const request = new sql.ActionClosePreparedStatementRequest();
  request.setPreparedStatementHandle(prepared.getPreparedStatementHandle_asU8());
  equal("the results", await connection.action("ClosePreparedStatement", packed(request, "ActionClosePreparedStatementRequest")), []);
}

function command(prepared, name) {
  const made = new sql[name]();
  made.setPreparedStatementHandle(prepared.getPreparedStatementHandle_asU8());
  return descriptor(made, name);
}

async function bind(connection, prepared, rows) {
  const results = await connection.put(flightData(rows, command(prepared, "CommandPreparedStatementQuery")));
  equal("the number of results", results.length, 1);
  const handle = sql.DoPutPreparedStatementResult.deserializeBinary(results[0]).getPreparedStatementHandle_asU8();
  equal("the handle", Buffer.from(handle).toString("hex"), Buffer.from(prepared.getPreparedStatementHandle_asU8()).toString("hex"));
}

async function shared(connection, one) {
  for (const statement of one.setup ?? []) await connection.update(statement);
  if (one.error) return refused(() => answer(connection, one), cases.code(one.error), one.error.contains);
  const got = await answer(connection, one);
  if (one.affected !== undefined) {
    equal("the number of affected rows", got, one.affected);
  } else {
    cases.checkColumns(got.schema, one);
    cases.checkRows(cases.rows(got.batches), one);
  }
  if (one.check) cases.checkRows(cases.rows((await connection.query(one.check.sql)).batches), one.check);
}

async function answer(connection, one) {
  const prepared = await prepare(connection, one.sql);
  try {
    const rows = one.parameters && parameters(one.parameters);
    if (one.affected !== undefined) {
      const described = command(prepared, "CommandPreparedStatementUpdate");
      return count(await connection.put(flightData(rows ?? empty(), described)));
    }
    if (rows) await bind(connection, prepared, rows);
    const info = await connection.unary("getFlightInfo", command(prepared, "CommandPreparedStatementQuery"));
    const names = (of) => of.fields.map((field) => [field.name, cases.typeName(field.type)]);
    equal("the schema that prepare said", names(schema(prepared.getDatasetSchema_asU8())), names(schema(info.getSchema_asU8())));
    return await connection.fetch(info);
  } finally {
    await close(connection, prepared);
  }
}

// A schema without columns and one batch without rows, as Java's client sends where nothing is bound.
function empty() {
  const none = new Schema([]);
  return new Table(none, [new RecordBatch(none, makeData({ type: new Struct([]), length: 0, children: [] }))]);
}

function ingest(connection, name, mode, rows) {
  const [missing, exists] = MODES[mode];
  const definition = new sql.CommandStatementIngest.TableDefinitionOptions();
  definition.setIfNotExist(missing);
  definition.setIfExists(exists);
  const wanted = new sql.CommandStatementIngest();
  wanted.setTableDefinitionOptions(definition);
  wanted.setTable(name);
  return connection.put(flightData(rows, descriptor(wanted, "CommandStatementIngest"))).then(count);
}

async function ingests(connection) {
  const rows = new Table({ id: vectorFromArray([1n, 2n], new Int64()), name: vectorFromArray(["one", null], new Utf8()) });
  const holds = async (...want) => {
    const table = await connection.query("SELECT id, name FROM js_ingest ORDER BY id, name");
    equal("the rows", cases.rows(table.batches), want);
  };
  const fresh = (name, body) =>
    check(`ingest: ${name}`, async () => {
      await connection.update("DROP TABLE IF EXISTS js_ingest");
      await body();
    });
  await fresh("create, then append", async () => {
    equal("the number of rows", await ingest(connection, "js_ingest", "create", rows), 2);
    equal("the number of rows", await ingest(connection, "js_ingest", "append", rows), 2);
    await holds(["1", "one"], ["1", "one"], ["2", null], ["2", null]);
  });
  await fresh("create of a table that is there", async () => {
    await ingest(connection, "js_ingest", "create", rows);
    await refused(() => ingest(connection, "js_ingest", "create", rows), grpc.status.ALREADY_EXISTS, "js_ingest");
  });
  await fresh("append to a table that is not there", () =>
    refused(() => ingest(connection, "js_ingest", "append", rows), grpc.status.NOT_FOUND, "js_ingest"),
  );
  await fresh("replace", async () => {
    await ingest(connection, "js_ingest", "create", rows);
    equal("the number of rows", await ingest(connection, "js_ingest", "replace", rows), 2);
    await holds(["1", "one"], ["2", null]);
  });
}

// What the kept client asks for without its Any.
async function metadata(connection) {
  const keys = (name) => {
    const wanted = new sql[name]();
    wanted.setTable("js_keys");
    return descriptor(wanted, name);
  };
  await check("metadata: GetPrimaryKeys", async () => {
    await connection.update("DROP TABLE IF EXISTS js_keys");
    await connection.update("CREATE TABLE js_keys (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))");
    const table = await connection.fetch(await connection.unary("getFlightInfo", keys("CommandGetPrimaryKeys")));
    equal("the columns of the key", [...table.getChild("column_name")], ["id"]);
  });
  await check("metadata: GetImportedKeys", async () => {
    const table = await connection.fetch(await connection.unary("getFlightInfo", keys("CommandGetImportedKeys")));
    equal("the number of keys and of columns", [table.numRows, table.schema.fields.length], [0, 13]);
  });
  await check("metadata: GetSchema of a statement", async () => {
    const wanted = new sql.CommandStatementQuery();
    wanted.setQuery("SELECT id, name FROM js_keys");
    const result = await connection.unary("getSchema", descriptor(wanted, "CommandStatementQuery"));
    const names = schema(result.getSchema_asU8()).fields.map((field) => `${field.name} ${cases.typeName(field.type)}`);
    equal("the columns", names, ["id int64", "name utf8"]);
  });
}

async function cancels(connection) {
  const start = async () => {
    const wanted = new sql.CommandStatementQuery();
    wanted.setQuery(ENDLESS);
    return connection.unary("getFlightInfo", descriptor(wanted, "CommandStatementQuery"));
  };
  const cancel = async (info) => {
    const request = new flight.CancelFlightInfoRequest();
    request.setInfo(info);
    const [body] = await connection.action("CancelFlightInfo", request.serializeBinary());
    return flight.CancelFlightInfoResult.deserializeBinary(body).getStatus();
  };
  await check("cancel: CancelFlightInfo before DoGet", async () => {
    const info = await start();
    equal("the status", await cancel(info), flight.CancelStatus.CANCEL_STATUS_CANCELLED);
    await refused(() => connection.fetch(info), grpc.status.CANCELLED, "");
  });
  await check("cancel: CancelFlightInfo of a query that runs", async () => {
    const info = await start();
    let cancelled;
    await refused(
      () =>
        connection.doGet(info.getEndpointList()[0].getTicket(), () => {
          cancelled = cancel(info);
        }),
      grpc.status.CANCELLED,
      "",
    );
    const { CANCEL_STATUS_CANCELLED, CANCEL_STATUS_CANCELLING } = flight.CancelStatus;
    if (![CANCEL_STATUS_CANCELLED, CANCEL_STATUS_CANCELLING].includes(await cancelled)) throw new Error(`the status is ${await cancelled}`);
  });
  await check("cancel: the call", async () => {
    const info = await start();
    await refused(() => connection.doGet(info.getEndpointList()[0].getTicket(), (call) => call.cancel()), grpc.status.CANCELLED, "");
    equal("the answer afterwards", cases.rows((await connection.query("SELECT 1 AS one")).batches), [["1"]]);
  });
}

async function access(given) {
  const trusted = grpc.credentials.createSsl(fs.readFileSync(given.ca));
  const asks = async (credentials, headers) => {
    const connection = new Connection(given.secure, credentials, headers);
    try {
      equal("the answer", cases.rows((await connection.query("SELECT current_user AS name")).batches), [[given.user]]);
    } finally {
      connection.close();
    }
  };
  const basic = (password) => `Basic ${Buffer.from(`${given.user}:${password}`).toString("base64")}`;
  await check("access: a password with each call", () => asks(trusted, { authorization: basic(given.password) }));
  await check("access: a token", () => asks(trusted, { authorization: `Bearer ${given.token}` }));
  await check("access: a wrong password", () =>
    refused(() => asks(trusted, { authorization: basic("wrong") }), grpc.status.UNAUTHENTICATED, ""),
  );
  await check("access: nobody", () => refused(() => asks(trusted, {}), grpc.status.UNAUTHENTICATED, ""));
  await check("access: a certificate that nobody trusts", () =>
    refused(() => asks(grpc.credentials.createSsl(), { authorization: basic(given.password) }), grpc.status.UNAVAILABLE, "certificate"),
  );
}

main(async (given) => {
  const connection = new Connection(given.plain);
  for (const one of cases.load(given.cases)) await check(`${one.name} as prepared`, () => shared(connection, one));
  await check("prepared: bound again, the handle stays", async () => {
    const prepared = await prepare(connection, "SELECT ? + 1 AS next");
    for (const number of [1n, 41n]) {
      await bind(connection, prepared, new Table({ 1: vectorFromArray([number], new Int64()) }));
      const info = await connection.unary("getFlightInfo", command(prepared, "CommandPreparedStatementQuery"));
      equal("the answer", cases.rows((await connection.fetch(info)).batches), [[String(number + 1n)]]);
    }
    await close(connection, prepared);
  });
  await check("prepared: a batch of rows is so many inserts", async () => {
    await connection.update("DROP TABLE IF EXISTS js_bound");
    await connection.update("CREATE TABLE js_bound (id BIGINT)");
    const prepared = await prepare(connection, "INSERT INTO js_bound VALUES (?)");
    const rows = new Table({ 1: vectorFromArray([1n, 2n, 3n], new Int64()) });
    equal("the number of rows", count(await connection.put(flightData(rows, command(prepared, "CommandPreparedStatementUpdate")))), 3);
    await close(connection, prepared);
    await refused(() => connection.unary("getFlightInfo", command(prepared, "CommandPreparedStatementQuery")), grpc.status.NOT_FOUND, "");
  });
  await metadata(connection);
  await ingests(connection);
  await cancels(connection);
  await access(given);
  connection.close();
});
