// What must every client see? The cases of ../cases, and Arrow values as the texts that they are written in.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { Type } = require("apache-arrow");
const { equal } = require("./report");

const UNITS = ["s", "ms", "us", "ns"];
const CODES = { INVALID_ARGUMENT: 3, NOT_FOUND: 5, ALREADY_EXISTS: 6, PERMISSION_DENIED: 7, FAILED_PRECONDITION: 9, UNIMPLEMENTED: 12 };

function load(folder) {
  const files = fs.readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
  return files.flatMap((name) => JSON.parse(fs.readFileSync(path.join(folder, name), "utf8")));
}

// gRPC's number of the code that a case names.
function code(error) {
  if (!(error.status in CODES)) throw new Error(`no number for ${error.status}`);
  return CODES[error.status];
}

function typeName(type) {
  switch (type.typeId) {
    case Type.Null:
      return "null";
    case Type.Bool:
      return "bool";
    case Type.Int:
      return `${type.isSigned ? "int" : "uint"}${type.bitWidth}`;
    case Type.Float:
      return ["float16", "float32", "float64"][type.precision];
    case Type.Decimal:
      return `decimal${type.bitWidth}(${type.precision}, ${type.scale})`;
    case Type.Utf8:
      return "utf8";
    case Type.Binary:
      return "binary";
    case Type.Date:
      return type.unit === 0 ? "date32" : "date64";
    case Type.Time:
      return `time${type.bitWidth}[${UNITS[type.unit]}]`;
    case Type.Timestamp:
      return `timestamp[${UNITS[type.unit]}${type.timezone ? `, ${type.timezone}` : ""}]`;
    case Type.List:
      return `list<${typeName(type.valueType)}>`;
    default:
      return String(type);
  }
}

function rows(batches) {
  return batches.flatMap((batch) =>
    Array.from({ length: batch.numRows }, (_, row) => batch.schema.fields.map((field, at) => text(batch.getChildAt(at), field.type, row))),
  );
}

function text(vector, type, row) {
  const value = vector.get(row);
  if (value === null) return null;
  switch (type.typeId) {
    case Type.Float:
      return fraction(value, type.precision === 1);
    case Type.Decimal:
      return decimal(value, type.scale);
    case Type.Binary:
      return Buffer.from(value).toString("hex");
    case Type.Date:
      return new Date(value).toISOString().slice(0, 10);
    case Type.Time:
      return clock(value);
    case Type.Timestamp:
      return instant(raw(vector, row));
    case Type.List:
      return JSON.stringify(Array.from(value, (one) => (typeof one === "bigint" ? Number(one) : one)));
    default:
      return String(value);
  }
}

// The stored number: `get` makes a floating-point number of milliseconds, too small for the microseconds of far years.
function raw(vector, row) {
  const [data] = vector.data;
  return data.values[row];
}

function clock(us) {
  const whole = us / 1_000_000n;
  const two = (number) => String(number).padStart(2, "0");
  return `${two(whole / 3600n)}:${two((whole / 60n) % 60n)}:${two(whole % 60n)}.${String(us % 1_000_000n).padStart(6, "0")}`;
}

function instant(us) {
  const part = ((us % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const date = new Date(Number((us - part) / 1000n));
  return `${date.toISOString().slice(0, 19).replace("T", " ")}.${String(part).padStart(6, "0")}`;
}

// 32-bit words, the lowest first, in two's complement.
function decimal(words, scale) {
  let number = 0n;
  for (let at = words.length - 1; at >= 0; at--) number = (number << 32n) | BigInt(words[at] >>> 0);
  number = BigInt.asIntN(words.length * 32, number);
  const digits = String(number < 0n ? -number : number).padStart(scale + 1, "0");
  const end = digits.length - scale;
  return `${number < 0n ? "-" : ""}${digits.slice(0, end)}${scale > 0 ? "." + digits.slice(end) : ""}`;
}

// The shortest text that reads back as the same value, of 32 bits or of 64.
function fraction(value, single) {
  if (!Number.isFinite(value)) return String(value);
  if (single) {
    let digits = 1;
    while (Math.fround(Number(value.toPrecision(digits))) !== value) digits++;
    value = Number(value.toPrecision(digits));
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  return Number.isInteger(value) ? `${Object.is(value, -0) ? "-0" : value}.0` : String(value);
}

function checkColumns(schema, one) {
  equal("the columns", schema.fields.map((field) => [field.name, typeName(field.type)]), one.columns);
}

function checkRows(got, one) {
  const sorted = (list) => (one.order === "any" ? [...list].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : list);
  equal("the answer", sorted(got), sorted(one.rows));
}

module.exports = { load, code, typeName, rows, checkColumns, checkRows };
