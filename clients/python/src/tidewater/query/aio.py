"""How does a program with asyncio ask? The same client behind threads, whose statements end when the task that waits is cancelled."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..connection import Connection
from .client import Client, connect
from .driver import Token
from .result import Result

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

T = TypeVar("T")

MAX_THREADS = 32
"""So many calls of one client run at once; further ones wait."""


async def connect_async(url: str | Connection | None = None, **settings: Any) -> AsyncClient:
    """As `connect`, without holding up the event loop."""
    threads = concurrent.futures.ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="tidewater")
    try:
        return AsyncClient(await asyncio.get_running_loop().run_in_executor(threads, lambda: connect(url, **settings)), threads)
    except BaseException:
        threads.shutdown(wait=False)
        raise


@dataclasses.dataclass
class AsyncClient:
    """A `Client` whose calls are awaited. Cancelling the task that waits for one cancels its statement on the server."""

    client: Client
    threads: concurrent.futures.ThreadPoolExecutor

    async def query(
        self,
        sql: str,
        params: Sequence[Any] | None = None,
        *,
        wait_for: Token | Iterable[Token] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncResult:
        cursor = self.client._cursor(wait_for, timeout_s)
        run = self._in_thread(lambda: self.client._run(cursor, sql, params), cursor.adbc_cancel, lambda result: result.close())
        return AsyncResult(await run, self)

    async def execute(
        self,
        sql: str,
        params: Sequence[Any] | None = None,
        *,
        wait_for: Token | Iterable[Token] | None = None,
        timeout_s: float | None = None,
    ) -> int:
        result = await self.query(sql, params, wait_for=wait_for, timeout_s=timeout_s)
        await result.close()
        return result.affected_rows or 0

    async def execute_many(self, sql: str, rows: Any, *, timeout_s: float | None = None) -> int:
        return await self._in_thread(lambda: self.client.execute_many(sql, rows, timeout_s=timeout_s))

    async def bulk_insert(
        self, table: str, frame: Any, *, mode: str = "append", schema: str | None = None, timeout_s: float | None = None
    ) -> int:
        return await self._in_thread(lambda: self.client.bulk_insert(table, frame, mode=mode, schema=schema, timeout_s=timeout_s))

    async def set(self, **settings: Any) -> None:
        await self._in_thread(lambda: self.client.set(**settings))

    async def settings(self) -> Mapping[str, Any]:
        return await self._in_thread(lambda: self.client.settings)

    async def close(self) -> None:
        await self._in_thread(self.client.close)
        self.threads.shutdown(wait=False)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _in_thread(
        self, call: Callable[[], T], cancel: Callable[[], None] | None = None, abandon: Callable[[T], None] | None = None
    ) -> T:
        """Waits for a call in a thread. If nobody waits any more it is cancelled where it can be, and what it still brings is given up."""
        future = self.threads.submit(call)
        waited = asyncio.wrap_future(future)
        # Nobody may be left to take its error.
        waited.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(waited)
        except asyncio.CancelledError:
            if not future.cancel():
                if abandon is not None:
                    future.add_done_callback(lambda done: None if done.exception() else abandon(done.result()))
                if cancel is not None:
                    cancel()
            raise


@dataclasses.dataclass
class AsyncResult:
    """A `Result` whose readers are awaited, and that `async for` reads batch by batch."""

    result: Result
    client: AsyncClient

    @property
    def affected_rows(self) -> int | None:
        return self.result.affected_rows

    async def arrow(self) -> pyarrow.Table:
        return await self._read(self.result.arrow)

    async def polars(self) -> polars.DataFrame:
        return await self._read(self.result.polars)

    async def pandas(self, **options: Any) -> pandas.DataFrame:
        return await self._read(lambda: self.result.pandas(**options))

    async def rows(self) -> list[tuple[Any, ...]]:
        return await self._read(self.result.rows)

    async def dicts(self) -> list[dict[str, Any]]:
        return await self._read(self.result.dicts)

    async def value(self) -> Any:
        return await self._read(self.result.value)

    async def batches(self) -> AsyncIterator[Any]:
        batches = self.result.batches()
        try:
            while (batch := await self._read(lambda: next(batches, None))) is not None:
                yield batch
        finally:
            self.result.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.batches()

    def cancel(self) -> None:
        self.result.cancel()

    async def close(self) -> None:
        await self.client._in_thread(self.result.close)

    async def __aenter__(self) -> AsyncResult:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _read(self, read: Callable[[], T]) -> T:
        return await self.client._in_thread(read, self.result.cancel)
