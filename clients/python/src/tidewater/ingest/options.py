"""What can be asked of a producer, and what does it tell?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from ..connection import MAX_MESSAGE_BYTES
from ..errors import Error, InvalidRequestError, RowError
from .v1 import ingest_pb2 as pb

# What a message holds beside its batch is less than the difference.
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES - (64 << 10)

OnRejected = Callable[[list[dict[str, Any]], list[RowError]], Any]


class CommitToken(bytes):
    """Where a commit stands. Opaque; pass it to a query as `wait_for` to read what was written."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class BatchResult:
    """The answer to a batch that was taken: its rows are durable and visible. `received` = `accepted` + `duplicates` + `rejected`."""

    sequence: int
    repeated: bool
    """It was stored before, nothing was stored now; the counts are those of the first answer as long as the server remembers them."""
    received: int
    accepted: int
    duplicates: int
    """Rows whose primary key was there before."""
    rejected: int
    """Bad rows, kept in system.rejected."""
    row_errors: list[RowError]
    """Of the first 100 bad rows, ascending."""
    commit: CommitToken


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What became of the rows since the producer began. `rows_taken` = acknowledged + dead + buffered."""

    rows_taken: int = 0
    """Handed over to `send`."""
    rows_buffered: int = 0
    """Without an answer yet."""
    bytes_buffered: int = 0
    rows_acknowledged: int = 0
    """Durable on the server, of which:"""
    rows_accepted: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0
    """Told to `on_rejected` and kept in system.rejected."""
    rows_repeated: int = 0
    """Sent again after a lost answer, and stored before; how many of them were accepted the server no longer remembers."""
    rows_dead: int = 0
    """Not taken by the server, or given up: in the dead-letter file if there is one."""
    batches_acknowledged: int = 0
    batches_repeated: int = 0
    """Sent again after a lost answer, and known to the server."""
    n_failures: int = 0
    """Connections and batches that failed and were tried again."""
    last_sequence: int = 0
    """The number of the last batch that is stored."""
    last_error: Error | None = None
    """The last failure that was tried again, or that stopped the producer."""


@dataclasses.dataclass(frozen=True)
class ProducerOptions:
    """How a producer works. Times are in seconds."""

    batch_max_rows: int = 10_000
    """A batch is sent when it has so many rows,"""
    batch_max_bytes: int = 1 << 20
    """or so many bytes,"""
    flush_interval_s: float = 0.1
    """or when its first row has waited so long."""
    buffer_max_rows: int = 100_000
    """Rows without an answer. Beyond, `send` does what `on_full` says."""
    buffer_max_bytes: int = 64 << 20
    on_full: Literal["block", "raise"] = "block"
    """Wait for space, or raise BufferFullError."""
    connect_timeout_s: float = 30.0
    """The server may take so long to be there at the start."""
    answer_timeout_s: float = 60.0
    """A connection that brings no answer for so long is given up and made again."""
    retry_min_delay_s: float = 0.1
    """Waits between tries are random, up to a bound that doubles from here"""
    retry_max_delay_s: float = 5.0
    """to here; a longer wish of the server is granted."""
    retry_deadline_s: float = 300.0
    """After so long without progress the last error is final."""
    dead_letter: str | None = None
    """File to which batches go that the server does not take, or that are given up; see `tidewater.replay`. Without one such a batch stops
    the producer."""
    on_rejected: OnRejected | None = None
    """Called with the bad rows of a batch, as they were sent, and their reasons: the first 100 of a batch. system.rejected has all.
    On the producer's own thread, which sends nothing meanwhile: it may `send`, but not wait for an answer."""
    on_progress: Callable[[Statistics], Any] | None = None
    """Called after each answer, on the same thread."""
    on_row_error: Literal["keep", "abort"] = "keep"
    """Bad rows are kept apart, or one refuses its batch."""
    unknown_columns: Literal["refuse", "ignore"] = "refuse"
    """Of frames; a field of a row that the table does not have makes it a bad row."""
    durability: Literal["table", "os", "fsync"] = "table"
    """What an acknowledgement promises: what the table's option says, or more."""
    time_zone: str = ""
    """IANA zone or offset in which a time without an offset is read when the column is an instant; UTC by default."""
    last_acked: int | None = None
    """The highest number whose acknowledgement the program has written down. If the server's is lower it has lost acknowledged data."""
    reset: bool = False
    """Numbers begin at 1 again, and the server forgets what it has stored of this producer (the rows stay): after PRODUCER_STATE_LOST,
    when that is understood. A program that goes by `last_sequence` sends all of its batches once more; `last_acked` is not looked at."""

    def __post_init__(self) -> None:
        positive = ("batch_max_rows", "batch_max_bytes", "buffer_max_rows", "buffer_max_bytes", "answer_timeout_s", "retry_min_delay_s")
        for name in positive:
            if getattr(self, name) <= 0:
                raise InvalidRequestError(f"{name} is {getattr(self, name)}; give more than 0")
        if self.batch_max_bytes > MAX_BATCH_BYTES:
            raise InvalidRequestError(f"batch_max_bytes is {self.batch_max_bytes}; give at most {MAX_BATCH_BYTES}, what a message takes")
        for name in ("flush_interval_s", "connect_timeout_s", "retry_deadline_s"):
            if getattr(self, name) < 0:
                raise InvalidRequestError(f"{name} is {getattr(self, name)}; give 0 or more")
        if self.retry_max_delay_s < self.retry_min_delay_s:
            raise InvalidRequestError("retry_max_delay_s is less than retry_min_delay_s; give at least as much")
        choices = {
            "on_full": ("block", "raise"),
            "on_row_error": tuple(_ON_ROW_ERROR),
            "unknown_columns": tuple(_SCHEMA_POLICY),
            "durability": tuple(_DURABILITY),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InvalidRequestError(f"{name} is {getattr(self, name)!r}; give one of {', '.join(allowed)}")

    def batch_options(self) -> pb.BatchOptions:
        return pb.BatchOptions(
            durability=_DURABILITY[self.durability],
            on_row_error=_ON_ROW_ERROR[self.on_row_error],
            schema_policy=_SCHEMA_POLICY[self.unknown_columns],
            time_zone=self.time_zone,
        )


_ON_ROW_ERROR = {"keep": pb.ON_ROW_ERROR_KEEP, "abort": pb.ON_ROW_ERROR_ABORT}
_SCHEMA_POLICY = {"refuse": pb.SCHEMA_POLICY_STRICT, "ignore": pb.SCHEMA_POLICY_IGNORE_UNKNOWN_COLUMNS}
_DURABILITY = {"table": pb.DURABILITY_UNSPECIFIED, "os": pb.DURABILITY_OS, "fsync": pb.DURABILITY_FSYNC}


def row_errors_of(result: pb.BatchResult) -> list[RowError]:
    return [RowError(error.row, error.column or None, error.code, error.message) for error in result.row_errors]


def batch_result(result: pb.BatchResult) -> BatchResult:
    return BatchResult(
        sequence=result.sequence,
        repeated=result.repeated,
        received=result.received,
        accepted=result.accepted,
        duplicates=result.duplicates,
        rejected=result.rejected,
        row_errors=row_errors_of(result),
        commit=CommitToken(result.commit_token),
    )
