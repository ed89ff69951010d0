"""Which rows have no answer yet, and who sees to it that they get one? A bounded buffer, and a thread that sends and sends again.

Everything that both kinds of producer do is here; they differ in how they wait for the futures that this hands out.
"""

from __future__ import annotations

import atexit
import collections
import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import grpc

from ..connection import Connection
from ..errors import BufferFullError, DataLossError, Error, InvalidRequestError, ProducerStoppedError, of_rpc
from .dead_letters import DeadLetter, DeadLetterFile
from .driver import Driver, Pending
from .options import MAX_BATCH_BYTES, BatchResult, CommitToken, ProducerOptions, Statistics, batch_result
from .retry import Backoff
from .rows import Piece, Rows, pieces, rows_in
from .v1 import ingest_pb2 as pb
from .v1.ingest_pb2_grpc import IngestStub

log = logging.getLogger("tidewater.ingest")

Waiting = concurrent.futures.Future[None]


class Core:
    """The state of a producer. `lock` guards all of it; `changed` is told when the thread has something to do."""

    def __init__(self, connection: Connection, table: str, producer_id: str, schema: str | None, options: ProducerOptions):
        self.options, self.producer_id = options, producer_id
        self.table = pb.TableRef(schema=schema or connection.schema, table=table)
        self.metadata, self.channel = connection.metadata, connection.channel()
        self.stub: Any = IngestStub(self.channel)  # type: ignore[no-untyped-call]
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.ready: Waiting = concurrent.futures.Future()
        self.finished: Waiting = concurrent.futures.Future()
        self.epoch, self.last_sequence = 0, 0
        self.stopped: Error | None = None
        self.is_closing = False
        # Batches without an answer, in the order of their numbers: the first is last_sequence + 1.
        self.pending: collections.deque[Pending] = collections.deque()
        self.backoff = Backoff(options.retry_min_delay_s, options.retry_max_delay_s, options.retry_deadline_s)
        self.dead_letters = DeadLetterFile(options.dead_letter) if options.dead_letter is not None else None
        # The highest number that was sent and may have been stored.
        self.max_sent = 0
        self._lines: list[bytes] = []
        self._lines_bytes, self._flush_at = 0, 0.0
        self._n_closed, self._n_done = 0, 0
        # The fields of Statistics that count.
        self._counts: collections.Counter[str] = collections.Counter()
        self._last_error: Error | None = None
        self._commit: CommitToken | None = None
        self._refusals: list[Error] = []
        self._space: list[Waiting] = []
        self._flushes: list[tuple[int, concurrent.futures.Future[CommitToken | None]]] = []
        self._thread = threading.Thread(target=self._run, name=f"tidewater-producer-{producer_id}", daemon=True)
        _cores.add(self)
        atexit.register(self.abandon, "the program ended without closing the producer")
        self._thread.start()

    # What programs call.

    def pieces(self, rows: Rows) -> Iterator[Piece]:
        options = self.options
        return pieces(rows, min(options.batch_max_rows, options.buffer_max_rows), min(options.batch_max_bytes, options.buffer_max_bytes))

    def offer(self, piece: Piece) -> Waiting | None:
        """Takes it, or says what to wait for before it is offered again."""
        with self.lock:
            self._check_open()
            if waiting := self._no_space(piece.n_rows, len(piece.data) + piece.is_json):
                return waiting
            self._count(piece.n_rows, len(piece.data) + piece.is_json)
            if not piece.is_json:
                self._end_batch()
                self._enqueue(Pending(piece.data, piece.n_rows, False))
                return None
            size = len(piece.data) + 1
            if self._lines_bytes + size > self.options.batch_max_bytes:
                self._end_batch()
            if not self._lines:
                self._flush_at = time.monotonic() + self.options.flush_interval_s
                self.changed.notify_all()
            self._lines.append(piece.data)
            self._lines_bytes += size
            if len(self._lines) >= self.options.batch_max_rows:
                self._end_batch()
            return None

    def offer_batch(self, rows: Rows, reply: concurrent.futures.Future[BatchResult]) -> Waiting | None:
        """Takes the rows as one batch whose answer goes to `reply`, or says what to wait for."""
        parts = list(pieces(rows, 1 << 30, 1 << 62))
        if not parts:
            raise InvalidRequestError("a batch without rows cannot be sent; give one at least")
        if not parts[0].is_json and len(parts) > 1:
            raise InvalidRequestError("a frame of several chunks is several batches; rechunk it, or use send")
        is_json = parts[0].is_json
        data = b"".join(part.data + b"\n" for part in parts) if is_json else parts[0].data
        n_rows = sum(part.n_rows for part in parts)
        with self.lock:
            self._check_open()
            if waiting := self._no_space(n_rows, len(data)):
                return waiting
            self._count(n_rows, len(data))
            self._end_batch()
            self._enqueue(Pending(data, n_rows, is_json, reply))
            return None

    def flush(self) -> concurrent.futures.Future[CommitToken | None]:
        """Done when everything that was taken until now is answered."""
        future: concurrent.futures.Future[CommitToken | None] = concurrent.futures.Future()
        with self.lock:
            self._end_batch()
            if self.stopped is not None:
                future.set_exception(self._stopped_error())
            else:
                self._flushes.append((self._n_closed, future))
                self._answer_flushes()
        return future

    def close(self) -> Waiting:
        """Nothing more is taken. Done when everything is answered and the thread has ended."""
        with self.lock:
            self._end_batch()
            self.is_closing = True
            self.changed.notify_all()
        return self.finished

    def abandon(self, why: str) -> None:
        """Ends without waiting for answers. What has none goes to the dead-letter file."""
        self.stop(ProducerStoppedError(why, reason="PRODUCER_STOPPED"))

    def is_called_back(self) -> bool:
        """Is this the producer's own thread, in a callback? What waits for that thread would wait for ever."""
        return threading.current_thread() is self._thread

    def refusals(self) -> list[Error]:
        """Of batches since the last time that somebody asked."""
        with self.lock:
            found, self._refusals = self._refusals, []
            return found

    @property
    def statistics(self) -> Statistics:
        with self.lock:
            return Statistics(**self._counts, last_sequence=self.last_sequence, last_error=self._last_error)

    # What the driver calls, with the lock where it says so.

    def due_in_s(self) -> float | None:
        """When the open batch is to be sent; ends it when that is now. With the lock."""
        if not self._lines:
            return None
        left_s = self._flush_at - time.monotonic()
        if left_s > 0:
            return left_s
        self._end_batch()
        return None

    def acknowledged(self, result: pb.BatchResult) -> None:
        """The first batch is stored."""
        answer = batch_result(result)
        with self.lock:
            if self.stopped is not None:
                return
            batch = self.pending.popleft()
            self.last_sequence = result.sequence
            self._commit = answer.commit or self._commit
            self.backoff.succeeded()
            self._count_done(
                batch,
                rows_acknowledged=batch.n_rows,
                rows_accepted=answer.accepted,
                rows_duplicate=answer.duplicates,
                rows_rejected=answer.rejected,
                rows_repeated=batch.n_rows - answer.accepted - answer.duplicates - answer.rejected,
                batches_acknowledged=1,
                batches_repeated=int(answer.repeated),
            )
        # Whoever waits for the answer finds that the callbacks have been called.
        if answer.rejected:
            self._tell_rejected(batch, answer)
        self._tell_progress()
        if batch.reply is not None:
            _settle(batch.reply, answer)
        self._tell_done()

    def refused(self, error: Error) -> None:
        """The first batch is not wanted, and its number not used up. Raises when there is nowhere to put it."""
        with self.lock:
            if self.stopped is not None:
                return
            batch = self.pending[0]
            where = self.dead_letters.path if self.dead_letters is not None else None
            if self.dead_letters is not None:
                self.dead_letters.append([self._letter(batch, error, None)])
                self.pending.popleft()
                self.max_sent = self.last_sequence
                self.backoff.succeeded()
                self._last_error = error
                if batch.reply is None:
                    self._refusals.append(error.with_context(f"a batch of {batch.n_rows} rows was refused and is in {where}"))
                self._count_done(batch, rows_dead=batch.n_rows)
        if where is None:
            if batch.reply is not None:
                _fail(batch.reply, error)
            raise error.with_context(f"a batch of {batch.n_rows} rows was refused")
        log.warning("a batch of %d rows for %s was refused and is in %s: %s", batch.n_rows, self.table.table, where, error)
        self._tell_progress()
        if batch.reply is not None:
            _fail(batch.reply, error)
        self._tell_done()

    def failed(self, error: Error) -> float:
        """How long to wait before the next try; raises when there is none."""
        delay_s = self.backoff.delay_s(error)
        log.info("%s/%s: %s; again in %.2f s", self.table.table, self.producer_id, error, delay_s)
        with self.lock:
            self._counts["n_failures"] += 1
            self._last_error = error
        return delay_s

    def init_producer(self) -> None:
        """Begins an epoch of the producer's, and learns where it stands."""
        if self.options.reset:
            if self.dead_letters is not None:
                # Afterwards nobody could tell what is stored.
                self._settle_letters(self._begin_epoch(reset=False))
            state = self._begin_epoch(reset=True)
        else:
            state = self._begin_epoch(reset=False)
            self._expect_acked(state)
            self._settle_letters(state)
        with self.lock:
            self.epoch, self.last_sequence, self.max_sent = state.epoch, state.last_sequence, state.last_sequence

    def _begin_epoch(self, reset: bool) -> pb.InitProducerResponse:
        options = self.options
        timeout_s = min(options.answer_timeout_s, options.connect_timeout_s or options.answer_timeout_s)
        request = pb.InitProducerRequest(table=self.table, producer_id=self.producer_id, reset=reset)
        try:
            state: pb.InitProducerResponse = self.stub.InitProducer(request, metadata=self.metadata, timeout=timeout_s)
        except grpc.RpcError as error:
            raise of_rpc(error) from error
        return state

    def _expect_acked(self, state: pb.InitProducerResponse) -> None:
        last_acked = self.options.last_acked
        if last_acked is not None and state.last_sequence < last_acked:
            raise DataLossError(
                f"the server stands at {state.last_sequence}, but had acknowledged {last_acked}: it lost data, or it is another server",
                reason="PRODUCER_STATE_LOST",
            )

    def _settle_letters(self, state: pb.InitProducerResponse) -> None:
        if self.dead_letters is not None:
            self.dead_letters.settle(self.table.schema, self.table.table, self.producer_id, state.epoch, state.last_sequence, state.known)

    def stop(self, error: Error) -> None:
        """Nothing more is sent. What has no answer goes to the dead-letter file, and whoever waits is told."""
        with self.lock:
            if self.stopped is not None:
                return
            self._end_batch()
            self.stopped = error
            left = list(self.pending)
            if left:
                log.error("%s: %d rows for %s have no answer", error, sum(batch.n_rows for batch in left), self.table.table)
            if self.dead_letters is not None and left:
                try:
                    self.dead_letters.append(
                        self._letter(batch, error, number if number <= self.max_sent else None)
                        for number, batch in enumerate(left, start=self.last_sequence + 1)
                    )
                except Exception as failure:
                    log.exception("%d batches could not be put into %s", len(left), self.dead_letters.path)
                    self.stopped = error.with_context(f"the dead-letter file could not be written ({failure})")
            self.pending.clear()
            self._last_error = error
            for batch in left:
                self._count_done(batch, rows_dead=batch.n_rows)
            waiting: list[concurrent.futures.Future[Any]] = [*self._space, *(future for _, future in self._flushes)]
            waiting += [batch.reply for batch in left if batch.reply is not None]
            self._space, self._flushes = [], []
            told = self._stopped_error()
            self.changed.notify_all()
        _fail(self.ready, error)
        for future in waiting:
            _fail(future, told)

    def forget(self) -> None:
        """Leaves everything to the process that this one was forked from. Locks may be held by threads that are not here."""
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.ready, self.finished = concurrent.futures.Future(), concurrent.futures.Future()
        if self.stopped is None:
            self.stopped = ProducerStoppedError(
                "the producer belongs to the process that this one was forked from; make one here, with an id of its own",
                reason="PRODUCER_STOPPED",
            )
        _fail(self.ready, self.stopped)
        _settle(self.finished, None)
        self.pending, self._lines, self._lines_bytes = collections.deque(), [], 0
        self._counts, self._refusals, self._space, self._flushes = collections.Counter(), [], [], []

    # The thread.

    def _run(self) -> None:
        try:
            Driver(self).run()
        except Error as error:
            self.stop(error)
        except BaseException as error:  # A thread that ends without a word would take its rows with it.
            log.exception("the producer's thread failed")
            self.stop(Error(f"the producer's thread failed: {error!r}", status="INTERNAL", reason="CLIENT"))
        finally:
            atexit.unregister(self.abandon)
            self.channel.close()
            _settle(self.finished, None)

    # With the lock.

    def _check_open(self) -> None:
        if self.stopped is not None:
            raise self._stopped_error()
        if self.is_closing:
            raise ProducerStoppedError("the producer is closed", reason="PRODUCER_STOPPED")

    def _stopped_error(self) -> ProducerStoppedError:
        assert self.stopped is not None
        if isinstance(self.stopped, ProducerStoppedError):
            return self.stopped
        error = ProducerStoppedError(
            f"the producer stopped: {self.stopped}",
            status=self.stopped.status,
            reason=self.stopped.reason,
            metadata=self.stopped.metadata,
            row_errors=self.stopped.row_errors,
        )
        error.__cause__ = self.stopped
        return error

    def _no_space(self, n_rows: int, n_bytes: int) -> Waiting | None:
        options, rows_buffered, bytes_buffered = self.options, self._counts["rows_buffered"], self._counts["bytes_buffered"]
        if n_rows > options.buffer_max_rows or n_bytes > options.buffer_max_bytes:
            raise InvalidRequestError(
                f"{n_rows} rows of {n_bytes} bytes are more than the buffer may hold, buffer_max_rows={options.buffer_max_rows} and "
                f"buffer_max_bytes={options.buffer_max_bytes}; raise these, or send less at once"
            )
        if n_bytes > MAX_BATCH_BYTES:
            raise InvalidRequestError(f"a batch of {n_bytes} bytes is more than a message takes, {MAX_BATCH_BYTES}; send less at once")
        if rows_buffered + n_rows <= options.buffer_max_rows and bytes_buffered + n_bytes <= options.buffer_max_bytes:
            return None
        # What fills the buffer is sent without waiting for more.
        self._end_batch()
        if options.on_full == "raise" or self.is_called_back():
            advice = "a callback cannot wait: send from another thread" if self.is_called_back() else "send later, or on_full='block'"
            raise BufferFullError(
                f"the buffer is full, {rows_buffered} rows of {bytes_buffered} bytes have no answer; {advice}", reason="BUFFER_FULL"
            )
        waiting: Waiting = concurrent.futures.Future()
        self._space = [other for other in self._space if not other.done()] + [waiting]
        return waiting

    def _count(self, n_rows: int, n_bytes: int) -> None:
        counts = self._counts
        counts["rows_taken"] += n_rows
        counts["rows_buffered"] += n_rows
        counts["bytes_buffered"] += n_bytes

    def _end_batch(self) -> None:
        if self._lines:
            lines, self._lines, self._lines_bytes = self._lines, [], 0
            self._enqueue(Pending(b"".join(line + b"\n" for line in lines), len(lines), True))

    def _enqueue(self, batch: Pending) -> None:
        self.pending.append(batch)
        self._n_closed += 1
        self.changed.notify_all()

    def _count_done(self, batch: Pending, **counts: int) -> None:
        self._counts.update(counts)
        self._counts["rows_buffered"] -= batch.n_rows
        self._counts["bytes_buffered"] -= len(batch.data)

    def _answer_flushes(self) -> None:
        if self.stopped is not None:
            return
        while self._flushes and self._flushes[0][0] <= self._n_done:
            _settle(self._flushes.pop(0)[1], self._commit)

    def _letter(self, batch: Pending, error: Error, sequence: int | None) -> DeadLetter:
        return DeadLetter.of(
            self.table,
            self.producer_id,
            batch.data,
            batch.is_json,
            batch.n_rows,
            str(error),
            self.options.batch_options(),
            sequence,
            self.epoch,
            self.last_sequence,
        )

    # Without the lock.

    def _tell_done(self) -> None:
        """One more batch has its answer."""
        with self.lock:
            self._n_done += 1
            waiting, self._space = self._space, []
            for future in waiting:
                _settle(future, None)
            self._answer_flushes()

    def _tell_rejected(self, batch: Pending, answer: BatchResult) -> None:
        if self.options.on_rejected is None:
            log.warning(
                "%d of %d rows for %s were rejected, the first: %s", answer.rejected, batch.n_rows, self.table.table, answer.row_errors[:1]
            )
            return
        try:
            numbers = list(dict.fromkeys(error.row for error in answer.row_errors))
            place = {number: index for index, number in enumerate(numbers)}
            reasons = [dataclasses.replace(error, row=place[error.row]) for error in answer.row_errors]
            self.options.on_rejected(rows_in(batch.data, batch.is_json, numbers), reasons)
        except BaseException:
            log.exception("on_rejected failed")

    def _tell_progress(self) -> None:
        if self.options.on_progress is not None:
            try:
                self.options.on_progress(self.statistics)
            except BaseException:
                log.exception("on_progress failed")


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _after_fork() -> None:
    """In a child of this process, which has the buffers but not the threads: the rows are the parent's, who sends them."""
    for core in list(_cores):
        core.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _settle(future: concurrent.futures.Future[Any], value: Any) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        future.set_result(value)


def _fail(future: concurrent.futures.Future[Any], error: Error) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        future.set_exception(error)
