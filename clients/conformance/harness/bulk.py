"""How does a program send many rows over HTTP? Bodies in each format, and one connection that is kept."""

import base64
import csv
import datetime
import decimal
import http.client
import io
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq

TIMEOUT_S = 300

CONTENT_TYPES = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}

# What stands for NULL in CSV, so that an empty field is an empty text.
NULL = "\\N"


def encoded(table: pa.Table, form: str) -> bytes:
    """The rows of a table in a format of CONTENT_TYPES."""
    out = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, out)
    elif form == "arrow":
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    elif form == "csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        writer.writerow(table.column_names)
        for row in table.to_pylist():
            writer.writerow(NULL if value is None else field(value) for value in row.values())
        out.write(text.getvalue().encode())
    else:
        rows = [json.dumps({name: plain(value) for name, value in row.items()}, ensure_ascii=False) for row in table.to_pylist()]
        out.write(("[" + ",\n".join(rows) + "]" if form == "json" else "\n".join(rows)).encode())
    return out.getvalue()


def plain(value):
    """A value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def field(value) -> str:
    """A value as a field of CSV."""
    value = plain(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


class Bulk:
    """One connection; a context manager."""

    def __init__(self, address: str):
        host, port = address.split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict]:
        """Status and the JSON object of the answer. Names of headers have _ for -."""
        self.connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def ingest(self, table: str, body: bytes, form: str = "ndjson", query: str = "", **headers: str) -> tuple[int, dict]:
        if form == "csv":
            query = f"null={NULL.replace(chr(92), '%5C')}&{query}".rstrip("&")
        path = f"/api/v1/ingest/{table}" + (f"?{query}" if query else "")
        return self.post(path, body, Content_Type=CONTENT_TYPES[form], **headers)

    def rows(self, sql: str, min_commit=()) -> list:
        body = json.dumps({"sql": sql, "min_commit": list(min_commit)}).encode()
        status, answer = self.post("/api/v1/sql", body, Content_Type="application/json")
        assert status == 200, answer
        return answer["rows"]


def token_bytes(token: str) -> bytes:
    return base64.b64decode(token, validate=True)
