"""What does a program hold that writes? A producer that takes rows, for threads and for asyncio; both are thin over one core."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import inspect
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..connection import Connection
from ..errors import Error, InvalidRequestError
from .core import Core
from .options import BatchResult, CommitToken, ProducerOptions, Statistics
from .rows import Rows

log = logging.getLogger("tidewater.ingest")

# In the task of a callback, and in those that it makes.
_is_called_back: contextvars.ContextVar[bool] = contextvars.ContextVar("tidewater_is_called_back", default=False)


def _core(
    table: str, producer_id: str, url: str | Connection | None, schema: str | None, options: ProducerOptions | None, given: dict[str, Any]
) -> Core:
    connection = Connection.from_env() if url is None else Connection.parse(url)
    return Core(connection, table, producer_id, schema, dataclasses.replace(options or ProducerOptions(), **given))


def _raise_refused(core: Core) -> None:
    """The first of the batches that did not make it; the others are its notes."""
    refusals = core.refusals()
    if refusals:
        for other in refusals[1:]:
            refusals[0].add_note(f"and {other}")
        raise refusals[0]


class _Taken:
    """Counts the rows that a call takes, and tells it to who gets its error."""

    n_rows = 0

    def __enter__(self) -> _Taken:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            with contextlib.suppress(AttributeError):
                error.n_taken = self.n_rows  # type: ignore[attr-defined]


class _Shared:
    """What needs no waiting."""

    _core: Core

    @property
    def statistics(self) -> Statistics:
        """What became of the rows until now."""
        return self._core.statistics

    @property
    def last_sequence(self) -> int:
        """The number of the last batch that is stored, also by runs before this one; 0 if there is none."""
        return self._core.statistics.last_sequence

    @property
    def epoch(self) -> int:
        """Of this run: producers of the same id and an older epoch are refused."""
        return self._core.epoch


class Producer(_Shared):
    """Stores rows in one table, each once: batches have numbers, and what has no answer is sent again under its number.

    `producer_id` is stable over restarts of the program, and of one running process at a time: a second one fences the first.
    `url` is `tidewater://user:password@host:port` or an address; without it TIDEWATER_SERVER and its kin are read. Options are those of
    ProducerOptions, by name. It may be used by several threads.

        with Producer("readings", "sensor-7", "tidewater://127.0.0.1:8815") as producer:
            producer.send({"id": 1, "value": 20.5})
            token = producer.flush()
    """

    def __init__(
        self,
        table: str,
        producer_id: str,
        url: str | Connection | None = None,
        *,
        schema: str | None = None,
        options: ProducerOptions | None = None,
        **given: Any,
    ):
        self._core = _core(table, producer_id, url, schema, options, given)
        try:
            self._core.ready.result()
        except BaseException:
            self._core.abandon("the producer was not begun")
            raise

    def send(self, rows: Rows) -> None:
        """Takes rows into the buffer: a dict, an iterable of dicts, or a frame. They are sent when a batch is full or has waited.

        With a full buffer it waits, or raises BufferFullError, as `on_full` says. ProducerStoppedError: nothing is taken any more.
        Whatever it raises, `n_taken` of the error says how many of the rows were taken, the first ones.
        """
        with _Taken() as taken:
            for piece in self._core.pieces(rows):
                while (space := self._core.offer(piece)) is not None:
                    space.result()
                taken.n_rows += piece.n_rows

    def send_batch(self, rows: Rows) -> concurrent.futures.Future[BatchResult]:
        """Takes rows as one batch of their own, number `last_sequence` plus one when nothing else is under way; its answer."""
        reply: concurrent.futures.Future[BatchResult] = concurrent.futures.Future()
        while (space := self._core.offer_batch(rows, reply)) is not None:
            space.result()
        return reply

    def flush(self, timeout_s: float | None = None) -> CommitToken | None:
        """Waits until everything that was sent is durable and visible, and returns a commit token; None: nothing was stored.

        A query with `wait_for` this token sees it. Raises the error of a batch that the server did not take (it is in the dead-letter
        file), once. TimeoutError changes nothing: what is sent stays on its way.
        """
        self._may_wait("flush")
        token = self._core.flush().result(timeout_s)
        _raise_refused(self._core)
        return token

    def close(self, timeout_s: float | None = None) -> None:
        """Waits as `flush` does, and ends. After a TimeoutError it may be called again, or `abandon`."""
        self._may_wait("close")
        self._core.close().result(timeout_s)
        stopped = self._core.stopped
        if stopped is not None and self._core.statistics.rows_dead:
            raise stopped
        _raise_refused(self._core)

    def abandon(self) -> None:
        """Ends at once. What has no answer goes to the dead-letter file, if there is one, and may be stored or not."""
        self._core.abandon("the producer was abandoned")
        if not self._core.is_called_back():
            self._core.finished.result()

    def _may_wait(self, what: str) -> None:
        if self._core.is_called_back():
            raise InvalidRequestError(f"a callback cannot wait for the thread that calls it; call {what} from another, or abandon")

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes; what was taken is sent, also when the block failed."""
        try:
            self.close()
        except Error as failure:
            if error is None:
                raise
            error.add_note(f"and the producer was not closed well: {failure}")


class AsyncProducer(_Shared):
    """A producer for asyncio, used as `async with`. A cancelled wait takes no rows, and leaves alone what was taken before: after a
    cancelled `send` of several rows, `statistics.rows_taken` tells.

    Callbacks run on the loop; `on_rejected` and `on_progress` may be coroutine functions, and `flush` and `close` wait for those that
    have begun (not when a callback calls them).
    """

    def __init__(
        self,
        table: str,
        producer_id: str,
        url: str | Connection | None = None,
        *,
        schema: str | None = None,
        options: ProducerOptions | None = None,
        **given: Any,
    ):
        self._arguments = (table, producer_id, url, schema, options, given)
        self._running: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        if name == "_core":
            raise InvalidRequestError("the producer has not begun; use it as `async with`, or await open() first")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    async def open(self) -> AsyncProducer:
        """Begins; `async with` does it."""
        if "_core" in self.__dict__ and not self._core.finished.done():
            raise InvalidRequestError("the producer has begun already, and would fence itself; close it before it is opened again")
        table, producer_id, url, schema, options, given = self._arguments
        full = dataclasses.replace(options or ProducerOptions(), **given)
        callbacks: dict[str, Any] = {
            name: self._on_loop(asyncio.get_running_loop(), name, getattr(full, name)) for name in ("on_rejected", "on_progress")
        }
        self._core = _core(table, producer_id, url, schema, dataclasses.replace(full, **callbacks), {})
        try:
            await asyncio.wrap_future(self._core.ready)
        except BaseException:
            self._core.abandon("the producer was not begun")
            raise
        return self

    async def send(self, rows: Rows) -> None:
        """As Producer.send."""
        with _Taken() as taken:
            for piece in self._core.pieces(rows):
                while (space := self._core.offer(piece)) is not None:
                    await asyncio.wrap_future(space)
                taken.n_rows += piece.n_rows

    async def send_batch(self, rows: Rows) -> asyncio.Future[BatchResult]:
        """As Producer.send_batch: `await (await producer.send_batch(rows))` has the answer."""
        reply: concurrent.futures.Future[BatchResult] = concurrent.futures.Future()
        while (space := self._core.offer_batch(rows, reply)) is not None:
            await asyncio.wrap_future(space)
        return asyncio.wrap_future(reply)

    async def flush(self) -> CommitToken | None:
        """As Producer.flush; asyncio.timeout bounds it."""
        token = await asyncio.wrap_future(self._core.flush())
        await self._called_back()
        _raise_refused(self._core)
        return token

    async def close(self) -> None:
        """As Producer.close. When it is cancelled it goes on by itself, and may be called again."""
        await asyncio.shield(asyncio.wrap_future(self._core.close()))
        await self._called_back()
        stopped = self._core.stopped
        if stopped is not None and self._core.statistics.rows_dead:
            raise stopped
        _raise_refused(self._core)

    async def abandon(self) -> None:
        """As Producer.abandon."""
        self._core.abandon("the producer was abandoned")
        await asyncio.shield(asyncio.wrap_future(self._core.finished))

    async def __aenter__(self) -> AsyncProducer:
        return await self.open()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            await self.close()
        except Error as failure:
            if error is None:
                raise
            error.add_note(f"and the producer was not closed well: {failure}")

    def _on_loop(self, loop: asyncio.AbstractEventLoop, name: str, callback: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if callback is None:
            return None

        async def run(*arguments: Any) -> None:
            _is_called_back.set(True)
            try:
                found = callback(*arguments)
                if inspect.isawaitable(found):
                    await found
            except Exception:
                log.exception("%s failed", name)

        def start(*arguments: Any) -> None:
            task = loop.create_task(run(*arguments))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        return lambda *arguments: loop.call_soon_threadsafe(start, *arguments)

    async def _called_back(self) -> None:
        """Waits until callbacks are through, unless one of them asks."""
        if self._running and not _is_called_back.get():
            await asyncio.wait(self._running)
