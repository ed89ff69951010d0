// What goes over the wire for the commands that no JavaScript client sends? gRPC by @grpc/grpc-js, Arrow by apache-arrow, messages as
// @gizmodata/gizmosql-client generates them from the specification.
"use strict";

const grpc = require("@grpc/grpc-js");
const { Any } = require("google-protobuf/google/protobuf/any_pb");
const { MessageReader, RecordBatchStreamWriter, Schema, Table, tableFromIPC } = require("apache-arrow");
const { FlightServiceClient } = require("@gizmodata/gizmosql-client/dist/generated/proto/Flight_grpc_pb");
const flight = require("@gizmodata/gizmosql-client/dist/generated/proto/Flight_pb");
const sql = require("@gizmodata/gizmosql-client/dist/generated/proto/FlightSql_pb");

const DEADLINE_MS = 50_000;

class Connection {
  constructor(address, credentials = grpc.credentials.createInsecure(), headers = {}) {
    this.stub = new FlightServiceClient(address, credentials);
    this.metadata = new grpc.Metadata();
    for (const [name, value] of Object.entries(headers)) this.metadata.set(name, value);
  }

  unary(method, message) {
    const options = { deadline: Date.now() + DEADLINE_MS };
    return new Promise((resolve, reject) => {
      this.stub[method](message, this.metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  // A call with a stream of answers; `first` is told of the first one.
  doGet(ticket, first = () => {}) {
    const call = this.stub.doGet(ticket, this.metadata, { deadline: Date.now() + DEADLINE_MS });
    call.once("data", () => first(call));
    return collect(call);
  }

  async query(statement) {
    const command = new sql.CommandStatementQuery();
    command.setQuery(statement);
    return this.fetch(await this.unary("getFlightInfo", descriptor(command, "CommandStatementQuery")));
  }

  async fetch(info) {
    const endpoints = info.getEndpointList();
    if (endpoints.length !== 1 || endpoints[0].getLocationList().length > 0) throw new Error("not one endpoint without a location");
    return table(await this.doGet(endpoints[0].getTicket()));
  }

  async action(type, body) {
    const action = new flight.Action();
    action.setType(type);
    action.setBody(body);
    const results = await collect(this.stub.doAction(action, this.metadata, { deadline: Date.now() + DEADLINE_MS }));
    return results.map((result) => result.getBody_asU8());
  }

  // Sends messages, half-closes, and gives the app_metadata of each result.
  async put(messages) {
    const call = this.stub.doPut(this.metadata, { deadline: Date.now() + DEADLINE_MS });
    const results = collect(call);
    for (const message of messages) call.write(message);
    call.end();
    return (await results).map((result) => result.getAppMetadata_asU8());
  }

  async update(statement) {
    const command = new sql.CommandStatementUpdate();
    command.setQuery(statement);
    const message = new flight.FlightData();
    message.setFlightDescriptor(descriptor(command, "CommandStatementUpdate"));
    return count(await this.put([message]));
  }

  close() {
    this.stub.close();
  }
}

function collect(call) {
  return new Promise((resolve, reject) => {
    const all = [];
    call.on("data", (message) => all.push(message));
    call.on("error", reject);
    call.on("end", () => resolve(all));
  });
}

function count(results) {
  if (results.length !== 1) throw new Error(`${results.length} results`);
  return sql.DoPutUpdateResult.deserializeBinary(results[0]).getRecordCount();
}

function packed(message, name) {
  const any = new Any();
  any.pack(message.serializeBinary(), `arrow.flight.protocol.sql.${name}`);
  return any.serializeBinary();
}

function unpacked(bytes, of, name) {
  return Any.deserializeBinary(bytes).unpack(of.deserializeBinary, `arrow.flight.protocol.sql.${name}`);
}

function descriptor(command, name) {
  const described = new flight.FlightDescriptor();
  described.setType(flight.FlightDescriptor.DescriptorType.CMD);
  described.setCmd(packed(command, name));
  return described;
}

// FlightData of an Arrow table, the first with the descriptor.
function flightData(rows, described) {
  const stream = RecordBatchStreamWriter.writeAll(rows).toUint8Array(true);
  const reader = new MessageReader(stream);
  const view = new DataView(stream.buffer, stream.byteOffset);
  const messages = [];
  let at = 0;
  for (let message; (message = reader.readMessage()) !== null; ) {
    const begin = at + 8;
    const end = begin + view.getInt32(at + 4, true);
    at = end + Number(message.bodyLength);
    reader.readMessageBody(Number(message.bodyLength));
    const data = new flight.FlightData();
    data.setDataHeader(stream.slice(begin, end));
    data.setDataBody(stream.slice(end, at));
    messages.push(data);
  }
  messages[0].setFlightDescriptor(described);
  return messages;
}

// The table of a DoGet: each message in an envelope of IPC.
function table(messages) {
  const parts = [];
  for (const message of messages) {
    const header = message.getDataHeader_asU8();
    const prefix = new Uint8Array(8);
    new DataView(prefix.buffer).setUint32(0, 0xffffffff, true);
    new DataView(prefix.buffer).setInt32(4, header.length, true);
    parts.push(Buffer.concat([prefix, header, message.getDataBody_asU8()]));
  }
  return tableFromIPC(parts);
}

// The schema of a FlightInfo or of a prepared statement: an encapsulated message.
function schema(bytes) {
  return bytes.length === 0 ? new Schema() : tableFromIPC(bytes).schema;
}

module.exports = { Connection, Table, count, descriptor, flight, flightData, grpc, packed, schema, sql, unpacked };
