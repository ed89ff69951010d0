"""What came back from a statement? Rows, read once, as the library at hand likes them, or how many rows it changed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConflictError, InvalidRequestError
from .driver import our_errors
from .parameters import has, needed

if TYPE_CHECKING:
    import pandas
    import polars as pl
    import pyarrow

T = TypeVar("T")


class Result:
    """The rows of one statement, not yet read. Reading, closing or `with` ends it; the server stops a query whose result is closed.

    They are read once, by one of `arrow`, `polars`, `pandas`, `rows`, `dicts`, `batches`, or by any library that takes Arrow data
    (`polars.DataFrame(result)`, `pyarrow.table(result)`, DuckDB).
    """

    def __init__(self, cursor: Any):
        self._cursor = cursor
        self._taken = False

    @property
    def affected_rows(self) -> int | None:
        """How many rows an INSERT or DELETE changed; None for a query."""
        return int(self._cursor.rowcount) if self._cursor.rowcount >= 0 else None

    def arrow(self) -> pyarrow.Table:
        """All rows as a table of pyarrow."""
        if not has("pyarrow"):
            raise InvalidRequestError("there is no pyarrow here: pip install 'tidewater-client[arrow]'")
        return self._read(lambda: self._cursor.fetch_arrow_table())

    def polars(self) -> pl.DataFrame:
        """All rows as a frame of Polars; pyarrow is not needed."""
        if not has("polars"):
            raise InvalidRequestError("there is no Polars here: pip install 'tidewater-client[polars]'")
        return self._read(self._polars)

    def pandas(self, **options: Any) -> pandas.DataFrame:
        """All rows as a frame of pandas. Options are those of `pyarrow.Table.to_pandas`."""
        if not has("pandas"):
            raise InvalidRequestError("there is no pandas here: pip install 'tidewater-client[pandas]'")
        return self.arrow().to_pandas(**options)

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows as tuples of Python values."""
        if has("pyarrow"):
            return [row for batch in self._pyarrow_batches() for row in _tuples(batch)]
        if has("polars"):
            return list(self.polars().rows())
        raise needed("reading rows")

    def dicts(self) -> list[dict[str, Any]]:
        """All rows as dicts by column."""
        if has("pyarrow"):
            return list(self.arrow().to_pylist())
        if has("polars"):
            return list(self.polars().to_dicts())
        raise needed("reading rows")

    def value(self) -> Any:
        """The value of an answer of one row and one column."""
        rows = self.rows()
        if len(rows) != 1 or len(rows[0]) != 1:
            raise InvalidRequestError(f"the answer is no single value: it has {len(rows)} rows and {len(rows[0]) if rows else 0} columns")
        return rows[0][0]

    def batches(self) -> Iterator[Any]:
        """The rows as they come: record batches of pyarrow, or frames of Polars where there is no pyarrow."""
        if has("pyarrow"):
            return self._pyarrow_batches()
        if has("polars") and has("arro3"):
            return self._polars_batches()
        raise needed("reading batches")

    def __iter__(self) -> Iterator[Any]:
        return self.batches()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Whoever reads the stream need not keep this object: it is kept until the stream ends."""
        self._take()
        if not has("pyarrow"):
            # Polars has read the stream to its end when it returns.
            with our_errors():
                return self._cursor.fetch_arrow().__arrow_c_stream__(requested_schema)
        with our_errors():
            reader = self._cursor.fetch_record_batch()
        batches = importlib.import_module("pyarrow").RecordBatchReader.from_batches(reader.schema, self._batches_of(lambda: reader))
        return batches.__arrow_c_stream__(requested_schema)

    def cancel(self) -> None:
        """Stops the statement; whoever reads it gets a `CancelledError`. May be called from another thread."""
        with our_errors():
            self._cursor.adbc_cancel()

    def close(self) -> None:
        """Gives up what has not been read."""
        self._taken = True
        self._cursor.close()

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self) -> None:
        if self._taken:
            raise ConflictError("these rows were read already, or given up; run the query again")
        self._taken = True

    def _read(self, read: Callable[[], T]) -> T:
        self._take()
        try:
            with our_errors():
                return read()
        finally:
            self._cursor.close()

    def _polars(self) -> pl.DataFrame:
        return importlib.import_module("polars").DataFrame(self._cursor.fetch_arrow())

    def _pyarrow_batches(self) -> Iterator[pyarrow.RecordBatch]:
        return self._each(lambda: self._cursor.fetch_record_batch())

    def _polars_batches(self) -> Iterator[pl.DataFrame]:
        frame = importlib.import_module("polars").DataFrame
        reader = importlib.import_module("arro3.core").RecordBatchReader
        return (frame(batch) for batch in self._each(lambda: reader.from_stream(self._cursor.fetch_arrow())))

    def _each(self, opened: Callable[[], Any]) -> Iterator[Any]:
        self._take()
        return self._batches_of(opened)

    def _batches_of(self, opened: Callable[[], Any]) -> Iterator[Any]:
        try:
            with our_errors():
                reader = iter(opened())
            while True:
                with our_errors():
                    batch = next(reader, None)
                if batch is None:
                    return
                # Long silences of a query are broken by batches without rows.
                if batch.num_rows:
                    yield batch
        finally:
            self._cursor.close()


def _tuples(batch: pyarrow.RecordBatch) -> Iterator[tuple[Any, ...]]:
    columns = [column.to_pylist() for column in batch.columns]
    return zip(*columns) if columns else iter(())
