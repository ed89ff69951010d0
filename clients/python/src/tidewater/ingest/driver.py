"""Who keeps the stream going? It sends what is pending, reads answers, and connects again under the same numbers."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import time
from typing import TYPE_CHECKING, Any

from ..errors import ConflictError, DataLossError, Error, UnavailableError, of_status
from .options import BatchResult, row_errors_of
from .retry import Backoff, retried
from .rows import payload_of
from .stream import Ended, Stream
from .v1 import ingest_pb2 as pb

if TYPE_CHECKING:
    from .core import Core

# How long the end of a stream is waited for when everything has been answered.
_CLOSE_TIMEOUT_S = 5.0
# GoAway without a grace.
_DEFAULT_GRACE_S = 10.0
_NO_LIMIT = 1 << 62
# These name a mistake of this client's, not of a batch's.
_OF_THE_STREAM = ("INVALID_REQUEST", "INVALID_PRODUCER")


@dataclasses.dataclass(eq=False)
class Pending:
    """A batch without an answer."""

    data: bytes
    n_rows: int
    is_json: bool
    reply: concurrent.futures.Future[BatchResult] | None = None


@dataclasses.dataclass(frozen=True)
class Sent:
    """A batch on its way."""

    batch_id: int
    sequence: int
    n_bytes: int
    at: float


class Driver:
    """What the thread of a producer does."""

    def __init__(self, core: Core):
        self.core = core
        self.events: collections.deque[tuple[Stream, Any]] = collections.deque()

    def run(self) -> None:
        """Works until everything is answered and the producer is closed; raises what waiting does not cure."""
        options = self.core.options
        patience = Backoff(options.retry_min_delay_s, options.retry_max_delay_s, options.connect_timeout_s)
        retried(self.core.init_producer, patience, self._wait)
        if not self.core.ready.done():
            self.core.ready.set_result(None)
        while self._has_work():
            try:
                Session(self).run()
            except BrokenError as ended:
                # An idle producer needs no connection: it is made again for the next batch.
                if self.core.pending:
                    self._wait(self.core.failed(ended.error))

    def _has_work(self) -> bool:
        """Waits for a batch; False when there will be none."""
        core = self.core
        with core.lock:
            while core.stopped is None:
                left_s = core.due_in_s()
                if core.pending:
                    return True
                if core.is_closing:
                    return False
                core.changed.wait(left_s)
        return False

    def _wait(self, delay_s: float) -> None:
        with self.core.lock:
            self.core.changed.wait_for(lambda: self.core.stopped is not None, delay_s)
            if self.core.stopped is not None:
                raise self.core.stopped

    def on_event(self, stream: Stream, event: Any) -> None:
        with self.core.lock:
            self.events.append((stream, event))
            self.core.changed.notify_all()


class BrokenError(Exception):
    """A connection ended by something that another may not meet."""

    def __init__(self, error: Error):
        super().__init__(str(error))
        self.error = error


class Session:
    """One connection, from Open to its end."""

    def __init__(self, driver: Driver):
        self.driver, self.core = driver, driver.core
        self.in_flight: collections.deque[Sent] = collections.deque()
        # The first so many of what is pending are on their way, unless it begins again at the front.
        self.n_sent, self.bytes_in_flight, self.batch_id = 0, 0, 0
        # Some answer was "not now": nothing is sent until all answers are in, then all of it again.
        self.is_rewinding = False
        # The first batch was refused for good; those behind it are answered before it is taken out.
        self.refusal: Error | None = None
        # What the server had when the stream was opened.
        self.stored = 0
        self.is_over = False
        self.resume_at = self.leave_at = 0.0
        self.max_batches, self.max_bytes = 0, 0
        self.heard_at = time.monotonic()

    def run(self) -> None:
        core = self.core
        producer = pb.Producer(id=core.producer_id, epoch=core.epoch, last_acked=core.last_sequence)
        request = pb.Open(table=core.table, producer=producer, options=core.options.batch_options())
        self.stream = Stream(core.stub, core.metadata, request, self.driver.on_event)
        try:
            while not self.is_over:
                self._step()
        except Error as error:
            if error.retryable:
                raise BrokenError(error) from error
            raise
        finally:
            self.stream.cancel()

    def _step(self) -> None:
        """Sends what may be sent and takes what came; waits if there is neither."""
        core = self.core
        with core.lock:
            due_s = core.due_in_s()
            requests = self._sendable()
            if core.stopped is not None:
                self.is_over = True
            elif not requests and not self.driver.events:
                if core.is_closing and not core.pending:
                    self.is_over = True
                else:
                    core.changed.wait(self._patience_s(due_s))
            events = [event for stream, event in self.driver.events if stream is self.stream]
            self.driver.events.clear()
        for request in requests:
            self.stream.send(request)
        for event in [] if self.is_over else events:
            self._take(event)
        if self.is_over:
            self._hang_up()
        else:
            self._look_at_the_clock()

    def _sendable(self) -> list[pb.WriteStreamRequest]:
        """With the lock. What is in it counts as sent."""
        core, requests = self.core, []
        now = time.monotonic()
        if self.is_rewinding or self.refusal or self.leave_at or now < self.resume_at or core.stopped is not None:
            return []
        while self.n_sent < len(core.pending):
            batch = core.pending[self.n_sent]
            fits = len(self.in_flight) < self.max_batches and self.bytes_in_flight + len(batch.data) <= self.max_bytes
            # A batch above the whole window is sent alone: the server says what it thinks of it.
            if not fits and (self.in_flight or not self.max_batches):
                break
            self.n_sent += 1
            self.batch_id += 1
            sequence = core.last_sequence + self.n_sent
            core.max_sent = max(core.max_sent, sequence)
            self.in_flight.append(Sent(self.batch_id, sequence, len(batch.data), now))
            self.bytes_in_flight += len(batch.data)
            message = pb.Batch(batch_id=self.batch_id, sequence=sequence, payload=payload_of(batch.data, batch.is_json))
            requests.append(pb.WriteStreamRequest(batch=message))
        return requests

    def _patience_s(self, due_s: float | None) -> float | None:
        """Until something is to be done though nothing comes."""
        now = time.monotonic()
        times = [at for at in (self.resume_at, self.leave_at, self._silent_at()) if at and at > now]
        left = [at - now for at in times] + ([due_s] if due_s is not None else [])
        return min(left, default=None)

    def _silent_at(self) -> float:
        """When the wait for an answer is over; 0 if none is due."""
        timeout_s = self.core.options.answer_timeout_s
        if not self.max_batches:
            return self.heard_at + timeout_s
        return max(self.in_flight[0].at, self.heard_at) + timeout_s if self.in_flight else 0.0

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if self.leave_at and (now >= self.leave_at or not self.in_flight):
            raise UnavailableError("the server goes away")
        silent_at = self._silent_at()
        # What came while a callback took its time is not looked at yet.
        if silent_at and now >= silent_at and not self.driver.events:
            raise UnavailableError(f"the server did not answer within {self.core.options.answer_timeout_s:g} s")

    def _take(self, event: Any) -> None:
        self.heard_at = time.monotonic()
        if isinstance(event, Ended):
            raise event.error or UnavailableError("the server ended the stream")
        match event.WhichOneof("msg"):
            case "opened":
                self._opened(event.opened)
            case "result":
                self._answered(event.result)
            case "throttle":
                self.resume_at = max(self.resume_at, self.heard_at + _seconds(event.throttle.delay))
            case "go_away":
                grace_s = _seconds(event.go_away.grace) if event.go_away.HasField("grace") else _DEFAULT_GRACE_S
                self.leave_at = self.heard_at + max(grace_s, 1e-3)

    def _opened(self, opened: pb.Opened) -> None:
        if opened.last_sequence < self.core.last_sequence:
            raise DataLossError(
                f"the server stands at {opened.last_sequence}, but had acknowledged {self.core.last_sequence}: it lost data",
                reason="PRODUCER_STATE_LOST",
            )
        if opened.last_sequence > self.core.max_sent:
            # What is sent under a number that is taken would be answered as a repeat, and be lost.
            raise ConflictError(
                f"the server stands at {opened.last_sequence}, but nothing after {self.core.max_sent} was sent: another sends in this name",
                reason="SEQUENCE_REUSED",
            )
        self.stored = opened.last_sequence
        # A limit of 0 would stop us for ever; it can only mean that there is none to speak of.
        self.max_batches, self.max_bytes = max(1, opened.max_inflight_batches), opened.max_inflight_bytes or _NO_LIMIT

    def _answered(self, result: pb.BatchResult) -> None:
        expected = self.in_flight.popleft() if self.in_flight else None
        if expected is None or (expected.batch_id, expected.sequence) != (result.batch_id, result.sequence):
            due = f"batch {expected.batch_id} was due" if expected else "none was due"
            raise UnavailableError(f"the server answered batch {result.batch_id} where {due}", reason="PROTOCOL")
        self.bytes_in_flight -= expected.n_bytes
        error = of_status(result.status, row_errors_of(result)) if result.status.code else None
        is_behind = self.is_rewinding or self.refusal is not None
        if error is None and is_behind:
            # Sending the refused number again would be answered as a repeat, and its rows would be lost.
            raise DataLossError(f"the server stored batch {result.sequence} after it had refused one before it", reason="PROTOCOL")
        if error is None:
            self.n_sent -= 1
            self.core.acknowledged(result)
        elif not is_behind:
            self._failed(error)
        if not self.in_flight:
            self._all_answered()

    def _failed(self, error: Error) -> None:
        """The first batch was refused, for now or for good. Those behind it will be."""
        if error.retryable:
            self.is_rewinding = True
            self.resume_at = max(self.resume_at, time.monotonic() + self.core.failed(error))
        elif _is_of_the_batch(error):
            self.refusal = error
        else:
            raise error

    def _all_answered(self) -> None:
        if self.refusal is not None:
            first = self.core.last_sequence + 1
            if first <= self.stored:
                # It was stored when its answer got lost, and would be refused now: the table has changed, or a limit.
                self.core.acknowledged(pb.BatchResult(sequence=first, repeated=True))
            else:
                self.core.refused(self.refusal)
            # A batch is left out by opening another stream.
            self.is_over = True
        elif self.is_rewinding:
            self.is_rewinding, self.n_sent = False, 0

    def _hang_up(self) -> None:
        """Everything on this stream is answered; one that does not end well loses nothing."""
        self.stream.half_close()
        deadline = time.monotonic() + _CLOSE_TIMEOUT_S

        def ended() -> bool:
            return any(stream is self.stream and isinstance(event, Ended) for stream, event in self.driver.events)

        with self.core.lock:
            while not ended() and self.core.stopped is None and time.monotonic() < deadline:
                self.core.changed.wait(deadline - time.monotonic())


def _is_of_the_batch(error: Error) -> bool:
    """Other batches may be taken."""
    if error.reason == "SCHEMA_MISMATCH":
        return True
    return error.status == "INVALID_ARGUMENT" and error.reason not in _OF_THE_STREAM


def _seconds(duration: Any) -> float:
    seconds: float = duration.ToTimedelta().total_seconds()
    return seconds
