"""A producer over gRPC whose rows are stored exactly once, whatever breaks on the way.

Each batch has a number, and is kept until it is answered. When the connection breaks, or the server is started again or says "later", what has no
answer is sent again under the same numbers; the server answers `repeated` for what it had. A new run asks where the last one stopped.

From the root of the repository, beside `tidewater serve`; the stubs are made from the .proto files:

    python -m pip install grpcio grpcio-tools googleapis-common-protos protobuf pyarrow
    mkdir -p stubs
    python -m grpc_tools.protoc -I proto --python_out=stubs --grpc_python_out=stubs proto/tidewater/ingest/v1/ingest.proto
    tidewater sql -f clients/examples/detections/schema.sql
    PYTHONPATH=stubs python clients/examples/producer.py --server 127.0.0.1:8815 --batches 50 --rows 100
"""

import argparse
import collections
import datetime
import queue
import random
import time

import grpc
import pyarrow
from google.rpc import error_details_pb2
from tidewater.ingest.v1 import ingest_pb2 as ingest
from tidewater.ingest.v1.ingest_pb2_grpc import IngestStub

# Batches on the way without an answer; the server says in Opened how many it takes.
WINDOW = 16
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 5.0
# What is cured by waiting. Everything else fails again as it is.
LATER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED)

ITEMS = ["bicycle", "bus", "car", "dog", "tram", "truck"]
SCHEMA = pyarrow.schema(
    [
        ("geographical_location_oid", pyarrow.int64()),
        ("video_camera_oid", pyarrow.int64()),
        ("detection_oid", pyarrow.int64()),
        ("item_name", pyarrow.string()),
        ("timestamp_detected", pyarrow.timestamp("us")),
    ]
)


class Later(Exception):
    """Connect again and send again, after so many seconds; None if the server did not say."""

    def __init__(self, reason: str, delay_s: float | None = None):
        super().__init__(reason)
        self.delay_s = delay_s


class Producer:
    def __init__(self, channel: grpc.Channel, table: str, producer_id: str):
        self.stub, self.table = IngestStub(channel), ingest.TableRef(table=table)
        # A new epoch: another process with this id is refused from now on, so that two never number the same batches.
        state = self._patiently(lambda: self.stub.InitProducer(ingest.InitProducerRequest(table=self.table, producer_id=producer_id)))
        self.producer = ingest.Producer(id=producer_id, epoch=state.epoch)
        self.sequence = state.last_sequence
        # (sequence, payload) without an answer.
        self.waiting = collections.deque()

    def send(self, payloads):
        """Sends all of them; yields the answer to each, in order."""
        payloads, delay_s = iter(payloads), FIRST_DELAY_S
        while True:
            try:
                for result in self._stream(payloads):
                    delay_s = FIRST_DELAY_S
                    yield result
                return
            except Later as later:
                print(f"{later}: again, {len(self.waiting)} batches have no answer", flush=True)
                time.sleep(later.delay_s or delay_s)
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    def _stream(self, payloads):
        requests = queue.SimpleQueue()
        requests.put(ingest.WriteStreamRequest(open=ingest.Open(table=self.table, producer=self.producer)))
        responses = self.stub.WriteStream(iter(requests.get, None))
        batch_id, more = 0, True

        def put(sequence, payload):
            nonlocal batch_id
            batch_id += 1
            requests.put(ingest.WriteStreamRequest(batch=ingest.Batch(batch_id=batch_id, sequence=sequence, payload=payload)))

        try:
            window = min(WINDOW, next(responses).opened.max_inflight_batches)
            for sequence, payload in self.waiting:
                put(sequence, payload)
            while more or self.waiting:
                while more and len(self.waiting) < window:
                    payload = next(payloads, None)
                    if payload is None:
                        more = False
                        break
                    self.sequence += 1
                    self.waiting.append((self.sequence, payload))
                    put(self.sequence, payload)
                if not self.waiting:
                    break
                message = next(responses, None)
                match message and message.WhichOneof("msg"):
                    case None:
                        raise Later("the stream ended")
                    case "throttle":
                        time.sleep(message.throttle.delay.ToTimedelta().total_seconds())
                    case "go_away":
                        raise Later("the server is about to end")
                    case "result":
                        refuse(message.result.status)
                        self.waiting.popleft()
                        yield message.result
        except grpc.RpcError as error:
            if error.code() in LATER:
                raise Later(error.code().name) from error
            raise
        finally:
            requests.put(None)
            responses.cancel()

    def _patiently(self, call):
        delay_s = FIRST_DELAY_S
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                if error.code() not in LATER:
                    raise
                print(f"{error.code().name}: again", flush=True)
                time.sleep(delay_s)
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)


def refuse(status):
    """Raises for a batch that was not stored."""
    if status.code == 0:
        return
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    if code not in LATER:
        raise RuntimeError(f"{code.name}: {status.message}")
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(retry)
    raise Later(status.message, retry.retry_delay.ToTimedelta().total_seconds() or None)


def detections(first: int, n_batches: int, n_rows: int):
    """Batches of rows whose keys go on behind `first` batches."""
    random.seed(first)
    for batch in range(first, first + n_batches):
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        locations = [random.randint(1, 20) for _ in range(n_rows)]
        rows = pyarrow.table(
            [
                locations,
                [10 * location + random.randint(0, 9) for location in locations],
                range(batch * n_rows, (batch + 1) * n_rows),
                random.choices(ITEMS, k=n_rows),
                [now] * n_rows,
            ],
            schema=SCHEMA,
        )
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, rows.schema) as writer:
            writer.write(rows)
        yield ingest.Payload(arrow_ipc_stream=sink.getvalue().to_pybytes())


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--server", default="127.0.0.1:8815")
    arguments.add_argument("--producer", default="example", help="stable over restarts of this program")
    arguments.add_argument("--batches", type=int, default=100)
    arguments.add_argument("--rows", type=int, default=100, help="of one batch")
    given = arguments.parse_args()
    with grpc.insecure_channel(given.server) as channel:
        producer = Producer(channel, "detections", given.producer)
        first, totals = producer.sequence, collections.Counter()
        for result in producer.send(detections(first, given.batches, given.rows)):
            totals.update(accepted=result.accepted, duplicate=result.duplicates, rejected=result.rejected, repeated=int(result.repeated))
    print(
        f"batches {first + 1} to {producer.sequence}: {totals['accepted']} rows accepted, {totals['duplicate']} duplicate, "
        f"{totals['rejected']} rejected; {totals['repeated']} batches were there already"
    )


if __name__ == "__main__":
    main()
