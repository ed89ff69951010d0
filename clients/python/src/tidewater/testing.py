"""How does a program test that it writes what it should? A server in its process that keeps rows, with the faults that a test wants.

    with FakeServer() as server, Producer("readings", "sensor-7", server.url) as producer:
        server.fail("lose_answer")
        producer.send({"id": 1})
        producer.flush()
        assert server.rows["readings"] == [{"id": 1}]

It keeps to the protocol: numbers, epochs, repeats, gaps. It knows no types, no keys and no SQL, and every table is there.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import datetime
import hashlib
import io
import json
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Literal

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from .errors import RowError
from .ingest.v1 import ingest_pb2 as pb
from .ingest.v1.ingest_pb2_grpc import IngestServicer, add_IngestServicer_to_server

Kind = Literal["none", "break", "lose_answer", "refuse", "silence", "throttle", "go_away"]
Reject = Callable[[dict[str, Any]], RowError | None]

_METADATA_KEY = "grpc-status-details-bin"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens instead of an answer to a batch.

    none: it is answered as it should. break: the connection ends and the batch is not stored. lose_answer: it is stored, then the
    connection ends. refuse: it is refused with `status` and `reason`. silence: nothing comes until the client goes. throttle, go_away:
    the server says so, and then answers as it should.
    """

    kind: Kind
    status: str = "UNAVAILABLE"
    reason: str = ""
    message: str = "the test says so"
    retry_after_s: float | None = None


@dataclasses.dataclass
class _ProducerState:
    epoch: int = 0
    last_sequence: int = 0
    # What was stored under a number, by hash.
    hashes: dict[int, str] = dataclasses.field(default_factory=dict)
    results: dict[int, pb.BatchResult] = dataclasses.field(default_factory=dict)
    may_begin_anywhere: bool = False


class FakeServer:
    """Speaks the ingest service on a free port of this machine, from `with` to its end. `rows` are by table, in the order of arrival:
    `rows["readings"]`, or `rows["sales.readings"]` in a schema other than public."""

    def __init__(self, *, max_inflight_batches: int = 64, max_batch_bytes: int = 16 << 20):
        self.rows: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        self.batches: dict[str, list[list[dict[str, Any]]]] = collections.defaultdict(list)
        self.n_repeated = 0
        self.n_streams = 0
        self.max_inflight_batches, self.max_batch_bytes = max_inflight_batches, max_batch_bytes
        self.lock = threading.RLock()
        self.stored = threading.Condition(self.lock)
        """Notified after each batch that is stored."""
        self._faults: collections.deque[Fault] = collections.deque()
        self._rejects: Reject | None = None
        self._answer_from_now = threading.Event()
        self._answer_from_now.set()
        self._producers: dict[tuple[str, str], _ProducerState] = collections.defaultdict(_ProducerState)
        self._keys: dict[tuple[str, str], pb.BatchResult] = {}
        self._port = 0
        self._server: Any = None

    def fail(self, kind: Kind, n_times: int = 1, **fault: Any) -> None:
        """The next batches meet this fault, after those that were asked for before."""
        with self.lock:
            self._faults.extend([Fault(kind, **fault)] * n_times)

    def reject(self, which: Reject | None) -> None:
        """From now on, rows for which this gives a reason are rejected."""
        self._rejects = which

    def hold(self) -> None:
        """No batch is answered, or stored, until `release`."""
        self._answer_from_now.clear()

    def release(self) -> None:
        self._answer_from_now.set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"tidewater://{self.address}"

    def start(self) -> FakeServer:
        """Again on the same port, after `stop`. What was stored stays."""
        pool = concurrent.futures.ThreadPoolExecutor(16, thread_name_prefix="tidewater-fake")
        self._server = grpc.server(pool, options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)])
        add_IngestServicer_to_server(_Service(self), self._server)  # type: ignore[no-untyped-call]
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()
        return self

    def stop(self) -> None:
        """At once, as a process that is killed."""
        if self._server is not None:
            self._answer_from_now.set()
            self._server.stop(None).wait()
            self._server = None

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # The rules of the protocol, with the lock.

    def _next_fault(self) -> Fault | None:
        with self.lock:
            return self._faults.popleft() if self._faults else None

    def _init(self, request: pb.InitProducerRequest) -> pb.InitProducerResponse:
        with self.lock:
            known = (_name(request.table), request.producer_id) in self._producers
            state = self._producers[_name(request.table), request.producer_id]
            state.epoch += 1
            if request.reset:
                state.last_sequence, state.may_begin_anywhere = 0, True
                state.hashes.clear()
                state.results.clear()
            return pb.InitProducerResponse(epoch=state.epoch, last_sequence=state.last_sequence, known=known)

    def _refusal(self, table: str, producer: pb.Producer) -> status_pb2.Status | None:
        state = self._producers.get((table, producer.id), _ProducerState())
        if producer.epoch < state.epoch:
            return _status("FAILED_PRECONDITION", "PRODUCER_FENCED", f"producer {producer.id} has epoch {state.epoch}")
        is_ahead = producer.HasField("last_acked") and producer.last_acked > state.last_sequence and not state.may_begin_anywhere
        if producer.epoch > state.epoch or is_ahead:
            return _status("DATA_LOSS", "PRODUCER_STATE_LOST", f"producer {producer.id} stands at {state.last_sequence}")
        return None

    def _take(self, table: str, producer: pb.Producer | None, sequence: int, payload: pb.Payload) -> pb.BatchResult | status_pb2.Status:
        """Stores a batch if its number is due."""
        with self.lock:
            data = payload.json_rows or payload.arrow_ipc_stream
            if len(data) > self.max_batch_bytes:
                return _status("INVALID_ARGUMENT", "BATCH_TOO_LARGE", f"{len(data)} bytes are more than {self.max_batch_bytes}")
            if producer is None:
                return self._store(table, payload)
            refusal = self._refusal(table, producer)
            if refusal is not None:
                return refusal
            state, digest = self._producers[table, producer.id], hashlib.sha256(data).hexdigest()
            if sequence <= state.last_sequence and not state.may_begin_anywhere:
                if state.hashes.get(sequence, digest) != digest:
                    return _status("ALREADY_EXISTS", "SEQUENCE_REUSED", f"sequence {sequence} was sent before, with other rows")
                self.n_repeated += 1
                forgotten = pb.BatchResult(sequence=sequence, received=len(_decoded(payload)), commit_token=self._commit_token())
                repeated = pb.BatchResult()
                repeated.CopyFrom(state.results.get(sequence, forgotten))
                repeated.repeated = True
                return repeated
            if sequence != state.last_sequence + 1 and not state.may_begin_anywhere:
                return _status("OUT_OF_RANGE", "SEQUENCE_GAP", f"sequence {sequence} after {state.last_sequence}")
            result = self._store(table, payload)
            result.sequence = sequence
            state.last_sequence, state.may_begin_anywhere = sequence, False
            state.hashes[sequence], state.results[sequence] = digest, result
            return result

    def _store(self, table: str, payload: pb.Payload) -> pb.BatchResult:
        kept, errors = [], []
        rows = _decoded(payload)
        for number, row in enumerate(rows):
            error = self._rejects(row) if self._rejects is not None else None
            if error is None:
                kept.append(row)
            else:
                errors.append(pb.RowError(row=number, column=error.column or "", code=error.code, message=error.message))
        self.rows[table].extend(kept)
        self.batches[table].append(kept)
        self.stored.notify_all()
        return pb.BatchResult(
            received=len(rows),
            accepted=len(kept),
            rejected=len(errors),
            row_errors=errors[:100],
            commit_token=self._commit_token(),
            durability=pb.DURABILITY_FSYNC,
        )

    def _commit_token(self) -> bytes:
        return sum(len(batches) for batches in self.batches.values()).to_bytes(8, "big")


class _Service(IngestServicer):
    """The gRPC half of a FakeServer."""

    def __init__(self, fake: FakeServer):
        self.fake = fake

    def InitProducer(self, request: pb.InitProducerRequest, context: Any) -> pb.InitProducerResponse:
        return self.fake._init(request)

    def GetTableSchema(self, request: pb.GetTableSchemaRequest, context: Any) -> pb.GetTableSchemaResponse:
        _abort(context, _status("UNIMPLEMENTED", "UNSUPPORTED_REQUEST", "a FakeServer knows no types"))
        raise AssertionError("abort raises")

    def Write(self, request: pb.WriteRequest, context: Any) -> pb.WriteResponse:
        fake, fault = self.fake, self.fake._next_fault()
        fake._answer_from_now.wait()
        table = _name(request.table)
        key = (table, request.idempotency_key)
        if fault is not None and fault.kind in ("break", "refuse"):
            _abort(context, _status_of(fault))
        with fake.lock:
            found: pb.BatchResult | status_pb2.Status
            if request.idempotency_key and key in fake._keys:
                found = pb.BatchResult()
                found.CopyFrom(fake._keys[key])
                found.repeated = True
                fake.n_repeated += 1
            else:
                found = fake._take(table, request.producer if request.HasField("producer") else None, request.sequence, request.payload)
                if request.idempotency_key and isinstance(found, pb.BatchResult):
                    fake._keys[key] = found
        if isinstance(found, status_pb2.Status):
            _abort(context, found)
        if fault is not None and fault.kind == "lose_answer":
            _abort(context, _status("UNAVAILABLE", "", fault.message))
        return pb.WriteResponse(result=found)

    def WriteStream(self, requests: Iterator[pb.WriteStreamRequest], context: Any) -> Iterator[pb.WriteStreamResponse]:
        fake = self.fake
        first = next(requests, None)
        if first is None or first.WhichOneof("msg") != "open":
            _abort(context, _status("INVALID_ARGUMENT", "INVALID_REQUEST", "a stream begins with Open"))
            return
        table, producer = _name(first.open.table), first.open.producer
        with fake.lock:
            fake.n_streams += 1
            refusal = fake._refusal(table, producer)
            last_sequence = fake._producers[table, producer.id].last_sequence
        if refusal is not None:
            _abort(context, refusal)
        opened = pb.Opened(
            last_sequence=last_sequence,
            max_inflight_batches=fake.max_inflight_batches,
            max_inflight_bytes=64 << 20,
            max_batch_bytes=fake.max_batch_bytes,
        )
        yield pb.WriteStreamResponse(opened=opened)
        refused: int | None = None
        for request in requests:
            batch = request.batch
            fake._answer_from_now.wait()
            if refused is not None and batch.sequence != refused:
                behind = _status("ABORTED", "PREDECESSOR_FAILED", f"sequence {refused} was refused")
                yield _answer(batch, pb.BatchResult(sequence=batch.sequence, status=behind))
                continue
            result = yield from self._answered(table, producer, batch, context)
            refused = batch.sequence if result.status.code else None
            yield _answer(batch, result)

    def _answered(
        self, table: str, producer: pb.Producer, batch: pb.Batch, context: Any
    ) -> Generator[pb.WriteStreamResponse, None, pb.BatchResult]:
        """What is said before the answer; returns that."""
        fake, fault = self.fake, self.fake._next_fault() or Fault("none")
        match fault.kind:
            case "break":
                _abort(context, _status_of(fault))
            case "refuse":
                return pb.BatchResult(sequence=batch.sequence, status=_status_of(fault))
            case "silence":
                gone = threading.Event()
                context.add_callback(gone.set)
                gone.wait()
            case "throttle":
                yield pb.WriteStreamResponse(throttle=pb.Throttle(delay=duration_pb2.Duration(nanos=1_000_000), reason="the test says so"))
            case "go_away":
                yield pb.WriteStreamResponse(go_away=pb.GoAway(grace=duration_pb2.Duration(seconds=1), reason="the test says so"))
        found = fake._take(table, producer, batch.sequence, batch.payload)
        if fault.kind == "lose_answer":
            _abort(context, _status("UNAVAILABLE", "", fault.message))
        return found if isinstance(found, pb.BatchResult) else pb.BatchResult(sequence=batch.sequence, status=found)


def _name(table: pb.TableRef) -> str:
    return table.table if table.schema in ("", "public") else f"{table.schema}.{table.table}"


def _answer(batch: pb.Batch, result: pb.BatchResult) -> pb.WriteStreamResponse:
    answer = pb.BatchResult()
    answer.CopyFrom(result)
    answer.batch_id = batch.batch_id
    return pb.WriteStreamResponse(result=answer)


def _decoded(payload: pb.Payload) -> list[dict[str, Any]]:
    if payload.WhichOneof("format") == "json_rows":
        return [json.loads(line) for line in payload.json_rows.splitlines() if line.strip()]
    try:
        import polars
    except ImportError:
        import pyarrow

        found: list[dict[str, Any]] = pyarrow.ipc.open_stream(payload.arrow_ipc_stream).read_all().to_pylist()
        return found
    frame: list[dict[str, Any]] = polars.read_ipc_stream(io.BytesIO(payload.arrow_ipc_stream)).to_dicts()
    return frame


def _status_of(fault: Fault) -> status_pb2.Status:
    return _status(fault.status, fault.reason, fault.message, fault.retry_after_s)


def _status(status: str, reason: str, message: str, retry_after_s: float | None = None) -> status_pb2.Status:
    details = []
    if reason:
        details.append(_packed(error_details_pb2.ErrorInfo(reason=reason, domain="tidewater")))
    if retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(datetime.timedelta(seconds=retry_after_s))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=grpc.StatusCode[status].value[0], message=message, details=details)


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _abort(context: Any, status: status_pb2.Status) -> None:
    """Raises."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    context.set_trailing_metadata([(_METADATA_KEY, status.SerializeToString())])
    context.abort(code, status.message)
