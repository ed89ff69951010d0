"""How does a Python program without our library write and ask? Generated stubs and pyarrow, nothing else."""

import json
import queue

import grpc
import pyarrow as pa
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from .stubs import ingest, ingest_grpc, query, query_grpc

MAX_MESSAGE = 64 << 20
TIMEOUT_S = 120
OPTIONS = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]


def arrow_payload(rows) -> ingest.Payload:
    """A table or record batch as a complete IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return ingest.Payload(arrow_ipc_stream=sink.getvalue().to_pybytes())


def json_payload(rows) -> ingest.Payload:
    """Dictionaries as NDJSON; a string is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    return ingest.Payload(json_rows="\n".join(lines).encode())


def info_of(details) -> error_details_pb2.ErrorInfo:
    return _detail(details, error_details_pb2.ErrorInfo())


def retry_after_of(details) -> float | None:
    """How many seconds the server asks to wait; None if it does not say."""
    retry = _detail(details, error_details_pb2.RetryInfo())
    return retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None


def _detail(details, message):
    for detail in details:
        if detail.Is(message.DESCRIPTOR):
            detail.Unpack(message)
    return message


class Refused(Exception):
    """A call or a batch that was refused."""

    def __init__(self, code: grpc.StatusCode, details, message: str, result=None):
        info = info_of(details)
        super().__init__(f"{code.name} {info.reason}: {message}")
        self.code, self.reason, self.message, self.metadata, self.result = code, info.reason, message, dict(info.metadata), result
        self.retry_after = retry_after_of(details)

    @property
    def name(self) -> str:
        """`OUT_OF_RANGE SEQUENCE_GAP`"""
        return f"{self.code.name} {self.reason}"


def refused_call(error: grpc.RpcError) -> Refused:
    status = rpc_status.from_call(error)
    return Refused(error.code(), status.details if status else [], error.details())


def refused_batch(result) -> Refused | None:
    if result.status.code == 0:
        return None
    code = next(code for code in grpc.StatusCode if code.value[0] == result.status.code)
    return Refused(code, result.status.details, result.status.message, result)


class Client:
    def __init__(self, address: str, timeout_s: float = TIMEOUT_S):
        self.timeout_s = timeout_s
        self.channel = grpc.insecure_channel(address, options=OPTIONS)
        self.ingest = ingest_grpc.IngestStub(self.channel)
        self.queries = query_grpc.QueryStub(self.channel)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, method, request):
        try:
            return method(request, timeout=self.timeout_s)
        except grpc.RpcError as error:
            raise refused_call(error) from error

    def write(self, table: str, payload: ingest.Payload, *, producer=None, sequence=0, key="", **options):
        request = ingest.WriteRequest(
            table=ingest.TableRef(table=table),
            producer=producer,
            sequence=sequence,
            payload=payload,
            options=ingest.BatchOptions(**options),
            idempotency_key=key,
        )
        return self._call(self.ingest.Write, request).result

    def init_producer(self, table: str, producer_id: str, reset: bool = False):
        request = ingest.InitProducerRequest(table=ingest.TableRef(table=table), producer_id=producer_id, reset=reset)
        return self._call(self.ingest.InitProducer, request)

    def schema(self, table: str):
        request = ingest.GetTableSchemaRequest(table=ingest.TableRef(table=table))
        return self._call(self.ingest.GetTableSchema, request).schema

    def stream(self, table: str, *, producer=None, **options) -> "Stream":
        return Stream(self.ingest, ingest.TableRef(table=table), producer, ingest.BatchOptions(**options))

    def execute(self, sql: str, *, min_commit=(), **fields):
        """Rows as a pyarrow table, and the summary."""
        request = query.QueryRequest(sql=sql, min_commit=list(min_commit), **fields)
        messages, summary, lines = [], None, []
        try:
            for response in self.queries.Execute(request, timeout=self.timeout_s):
                match response.WhichOneof("msg"):
                    case "started":
                        messages.append(response.started.arrow_schema)
                    case "arrow_message":
                        messages.append(response.arrow_message)
                    case "json":
                        lines.extend(json.loads(line) for line in response.json.splitlines())
                    case "summary":
                        summary = response.summary
        except grpc.RpcError as error:
            raise refused_call(error) from error
        assert summary is not None, "the answer ended OK but without a summary"
        if lines:
            return lines, summary
        return pa.ipc.open_stream(b"".join(messages)).read_all(), summary

    def rows(self, sql: str, **fields) -> list[tuple]:
        table, _ = self.execute(sql, **fields)
        return [tuple(row.values()) for row in table.to_pylist()]

    def value(self, sql: str, **fields):
        ((value,),) = self.rows(sql, **fields)
        return value


class Stream:
    """One WriteStream. `send` does not wait, `result` does."""

    END = object()

    def __init__(self, stub, table, producer, options):
        self.requests = queue.Queue(maxsize=64)
        self.requests.put(ingest.WriteStreamRequest(open=ingest.Open(table=table, producer=producer, options=options)))
        self.responses = stub.WriteStream(iter(self.requests.get, self.END), timeout=TIMEOUT_S)
        self.batch_id = 0
        self.opened = self._next("opened")

    def _next(self, kind: str):
        try:
            for response in self.responses:
                if response.WhichOneof("msg") == kind:
                    return getattr(response, kind)
        except grpc.RpcError as error:
            raise refused_call(error) from error
        raise EOFError(f"the stream ended before {kind}")

    def send(self, payload: ingest.Payload, sequence: int = 0):
        self.batch_id += 1
        batch = ingest.Batch(batch_id=self.batch_id, sequence=sequence, payload=payload)
        self.requests.put(ingest.WriteStreamRequest(batch=batch))

    def raw(self, request: ingest.WriteStreamRequest):
        self.requests.put(request)

    def result(self):
        """The next answer; raises Refused if the batch was."""
        result = self._next("result")
        if refused := refused_batch(result):
            raise refused
        return result

    def write(self, payload: ingest.Payload, sequence: int = 0):
        self.send(payload, sequence)
        return self.result()

    def finish(self):
        """Half-closes and reads to the end, which must be OK."""
        self.requests.put(self.END)
        try:
            left = list(self.responses)
        except grpc.RpcError as error:
            raise refused_call(error) from error
        return left

    def cancel(self):
        self.requests.put(self.END)
        self.responses.cancel()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cancel()


class Loader:
    """Sends a table in batches through one producer, within the server's window."""

    def __init__(self, client: Client, table: str, producer_id: str):
        self.client, self.table = client, table
        info = client.init_producer(table, producer_id)
        self.producer = ingest.Producer(id=producer_id, epoch=info.epoch)
        self.sequence = info.last_sequence

    def load(self, batches, *, twice: bool = False) -> list:
        """Sends each batch (twice if asked) and returns all answers in order."""
        results, in_flight = [], 0
        with self.client.stream(self.table, producer=self.producer) as stream:
            window = max(1, stream.opened.max_inflight_batches // 2)
            for batch in batches:
                self.sequence += 1
                payload = arrow_payload(batch)
                for _ in range(2 if twice else 1):
                    if in_flight == window:
                        results.append(stream.result())
                        in_flight -= 1
                    stream.send(payload, self.sequence)
                    in_flight += 1
            results.extend(stream.result() for _ in range(in_flight))
            stream.finish()
        return results

    def again(self, numbered):
        """Sends (sequence, batch) pairs that were sent before."""
        with self.client.stream(self.table, producer=self.producer) as stream:
            return [stream.write(arrow_payload(batch), sequence) for sequence, batch in numbered]
