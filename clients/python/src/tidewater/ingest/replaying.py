"""How do dead letters come back? Each is sent again so that it is stored once, and its line goes when the server has it."""

from __future__ import annotations

import collections
import dataclasses
import os
import time
from typing import Any, Literal

import grpc

from ..connection import Connection
from ..errors import ConflictError, Error, GivenUpError, InvalidRequestError, of_rpc
from .dead_letters import DeadLetter, DeadLetterFile
from .retry import Backoff, retried
from .v1 import ingest_pb2 as pb
from .v1.ingest_pb2_grpc import IngestStub

_CALL_TIMEOUT_S = 60.0
_TAKE_OUT_EVERY_S = 2.0
# Nobody can tell any more whether a batch of these is stored.
_UNSETTLED = ("PRODUCER_FENCED", "UNKNOWN_PRODUCER", "SEQUENCE_REUSED", "PRODUCER_STATE_LOST")

Unsettled = Literal["keep", "send", "drop"]


@dataclasses.dataclass(frozen=True)
class ReplayResult:
    """What became of the batches of a dead-letter file."""

    batches_stored: int = 0
    """Now, or before."""
    batches_dropped: int = 0
    batches_left: int = 0
    """Still in the file, with the errors."""
    rows_accepted: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0
    errors: tuple[Error, ...] = ()


def replay(
    path: str | os.PathLike[str],
    url: str | Connection | None = None,
    *,
    unsettled: Unsettled = "keep",
    retry_deadline_s: float = 60.0,
) -> ReplayResult:
    """Sends the batches of a dead-letter file again. Those that the server takes leave the file, the others stay in it.

    Each is stored once, also when the replay is broken off and repeated within a day. A batch that was given up without an answer is
    sent under its number, by which the server knows whether it has it. If its producer has begun anew meanwhile without this file, nobody
    can tell: then `unsettled` says whether it stays, is sent (safe for a table with a primary key), or is dropped.
    """
    if unsettled not in ("keep", "send", "drop"):
        raise InvalidRequestError(f"unsettled is {unsettled!r}; give keep, send or drop")
    connection = Connection.from_env() if url is None else Connection.parse(url)
    file, counts, errors = DeadLetterFile(path), collections.Counter[str](), list[Error]()
    with connection.channel() as channel, _Done(file) as done:
        sender = _Sender(IngestStub(channel), connection.metadata, retry_deadline_s)  # type: ignore[no-untyped-call]
        for letter in file.read():
            try:
                result = sender.store(letter, unsettled)
            except Error as error:
                if isinstance(error, GivenUpError):
                    # The server is away: it will be for the next, too.
                    raise
                counts["batches_left"] += 1
                errors.append(error)
                continue
            if result is None:
                counts["batches_dropped"] += 1
            else:
                counts.update(
                    batches_stored=1, rows_accepted=result.accepted, rows_duplicate=result.duplicates, rows_rejected=result.rejected
                )
            done.add(letter)
    return ReplayResult(**counts, errors=tuple(errors))


class _Done:
    """Letters whose lines may go. Taking one out writes the file anew, so they wait for each other; a line that is still there when the
    program dies is sent again, and the server knows it."""

    def __init__(self, file: DeadLetterFile):
        self.file, self.ids, self.take_out_at = file, set[str](), time.monotonic() + _TAKE_OUT_EVERY_S

    def add(self, letter: DeadLetter) -> None:
        self.ids.add(letter.id)
        if time.monotonic() >= self.take_out_at:
            self.take_out()

    def take_out(self) -> None:
        if self.ids:
            self.file.change(lambda letter: None if letter.id in self.ids else letter)
        self.ids, self.take_out_at = set(), time.monotonic() + _TAKE_OUT_EVERY_S

    def __enter__(self) -> _Done:
        return self

    def __exit__(self, *_: object) -> None:
        self.take_out()


class _Sender:
    def __init__(self, stub: Any, metadata: list[tuple[str, str]], deadline_s: float):
        self.stub, self.metadata, self.deadline_s = stub, metadata, deadline_s

    def store(self, letter: DeadLetter, unsettled: Unsettled) -> Any:
        """The result of the batch; None if it was dropped."""
        if letter.sequence is None:
            return self._write(letter, idempotency_key=f"dead-letter:{letter.id}")
        try:
            if letter.epoch is None:
                raise ConflictError("the server has forgotten the producer, or is another", reason="UNKNOWN_PRODUCER")
            producer = pb.Producer(id=letter.producer, epoch=letter.epoch, last_acked=letter.last_acked)
            return self._write(letter, producer=producer, sequence=letter.sequence)
        except Error as error:
            if error.reason not in _UNSETTLED:
                raise
            if unsettled == "keep":
                raise error.with_context(
                    f"nobody can tell whether batch {letter.sequence} of {letter.producer} is stored, it stays in the file; "
                    "unsettled='send' sends it (safe for a table with a primary key), 'drop' drops it"
                ) from error
        return None if unsettled == "drop" else self._write(letter, idempotency_key=f"dead-letter:{letter.id}")

    def _write(self, letter: DeadLetter, **identity: Any) -> Any:
        request = pb.WriteRequest(table=letter.table_ref, payload=letter.payload, options=letter.batch_options, **identity)

        def call() -> Any:
            try:
                return self.stub.Write(request, metadata=self.metadata, timeout=_CALL_TIMEOUT_S).result
            except grpc.RpcError as error:
                raise of_rpc(error) from error

        return retried(call, Backoff(0.1, 5.0, self.deadline_s))
