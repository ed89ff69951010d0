"""A query over gRPC, with parameters, settings and the summary that says what was read.

From the root of the repository, beside `tidewater serve`; the stubs are made from the .proto files:

    python -m pip install grpcio grpcio-tools googleapis-common-protos protobuf pyarrow
    mkdir -p stubs
    python -m grpc_tools.protoc -I proto --python_out=stubs --grpc_python_out=stubs proto/tidewater/query/v1/query.proto
    PYTHONPATH=stubs python clients/examples/grpc_query.py --server 127.0.0.1:8815
"""

import argparse

import grpc
import pyarrow
from tidewater.query.v1 import query_pb2 as query
from tidewater.query.v1.query_pb2_grpc import QueryStub

SQL = """
SELECT time_bucket('1 hour', t, 'Europe/Berlin') AS hour, count(*) AS n
FROM (VALUES (TIMESTAMPTZ '2026-01-31 11:10:00Z'), (TIMESTAMPTZ '2026-01-31 11:50:00Z'), (TIMESTAMPTZ '2026-01-31 12:05:00Z')) v(t)
WHERE t >= CAST($1 AS TIMESTAMPTZ)
GROUP BY hour ORDER BY hour
"""


def execute(stub: QueryStub, request: query.QueryRequest) -> tuple[pyarrow.Table, query.Summary]:
    """All rows, and the summary. Without a summary an answer is not complete, whatever rows came."""
    messages, summary = [], None
    for response in stub.Execute(request, timeout=60):
        match response.WhichOneof("msg"):
            case "started":
                messages.append(response.started.arrow_schema)
            case "arrow_message":
                messages.append(response.arrow_message)
            case "summary":
                summary = response.summary
    if summary is None:
        raise EOFError("the answer is not complete")
    return pyarrow.ipc.open_stream(b"".join(messages)).read_all(), summary


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--server", default="127.0.0.1:8815")
    given = arguments.parse_args()
    parameters = query.Values(values=[query.Value(string_value="2026-01-31 11:30:00")])
    request = query.QueryRequest(sql=SQL, positional=parameters, settings={"timezone": "UTC"}, max_rows=1000)
    with grpc.insecure_channel(given.server) as channel:
        rows, summary = execute(QueryStub(channel), request)
    for row in rows.to_pylist():
        print(row["hour"].isoformat(), row["n"])
    print(f"{summary.rows} rows, planned in {summary.planned_ms:.1f} ms, ran {summary.ran_ms:.1f} ms")


if __name__ == "__main__":
    main()
