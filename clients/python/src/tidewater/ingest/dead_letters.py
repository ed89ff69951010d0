"""Where do batches go that the server did not take? Into a file of lines, one a batch, from which they can be sent again.

A batch that the server refused is surely not stored. One that was given up without an answer may be: its line has the producer's epoch and
the batch's number, by which the server knows whether it has it. The next run of the producer, with the same file, asks and settles it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf import json_format

from ..errors import InvalidRequestError
from .rows import payload_of
from .v1 import ingest_pb2 as pb

try:
    import fcntl
except ImportError:  # Windows: processes are not kept apart there.
    fcntl = None  # type: ignore[assignment,unused-ignore]

_BLOCK_BYTES = 64 << 10


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """A batch without a place."""

    schema: str
    table: str
    producer: str
    data: bytes
    is_json: bool
    n_rows: int
    cause: str
    """Why it is here."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the batch: BatchOptions as protobuf's JSON."""
    sequence: int | None = None
    """Its number, if it may have been stored under it; None: it is surely not stored."""
    epoch: int | None = None
    """Of the producer when it was sent; None beside a number: the server that could tell is not there any more."""
    last_acked: int | None = None
    """The last number that was acknowledged then: a server that does not stand there cannot tell what is stored."""
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(
        cls,
        table: pb.TableRef,
        producer: str,
        data: bytes,
        is_json: bool,
        n_rows: int,
        cause: str,
        options: pb.BatchOptions,
        sequence: int | None,
        epoch: int,
        last_acked: int,
    ) -> DeadLetter:
        return cls(
            schema=table.schema,
            table=table.table,
            producer=producer,
            data=data,
            is_json=is_json,
            n_rows=n_rows,
            cause=cause,
            options=json_format.MessageToDict(options),
            sequence=sequence,
            epoch=None if sequence is None else epoch,
            last_acked=None if sequence is None else last_acked,
        )

    def line(self) -> bytes:
        fields = dataclasses.asdict(self)
        data, is_json = fields.pop("data"), fields.pop("is_json")
        # Text as it is: `jq -r .json_rows` gives the rows back.
        fields |= {"json_rows": data.decode()} if is_json else {"arrow_ipc_stream": base64.b64encode(data).decode()}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> DeadLetter:
        fields = json.loads(line)
        is_json = "json_rows" in fields
        data = fields.pop("json_rows").encode() if is_json else base64.b64decode(fields.pop("arrow_ipc_stream"))
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(data=data, is_json=is_json, **{name: value for name, value in fields.items() if name in names})

    @property
    def payload(self) -> pb.Payload:
        return payload_of(self.data, self.is_json)

    @property
    def table_ref(self) -> pb.TableRef:
        return pb.TableRef(schema=self.schema, table=self.table)

    @property
    def batch_options(self) -> pb.BatchOptions:
        return json_format.ParseDict(self.options, pb.BatchOptions())


class DeadLetterFile:
    """The file. Each call holds a lock on it, so that several producers and a replay may share it."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)

    def append(self, letters: Iterable[DeadLetter]) -> None:
        """Durable when it returns; when it raises, nothing of it is there."""
        lines = b"".join(letter.line() for letter in letters)
        with self._locked() as file:
            size = file.seek(0, os.SEEK_END)
            try:
                written = 0
                while written < len(lines):
                    written += file.write(memoryview(lines)[written:])
                os.fsync(file.fileno())
            except BaseException:
                # Who is told that it failed may try again, and a batch that is here twice is stored twice.
                file.truncate(size)
                raise
            if size == 0:
                self._sync_folder()

    def read(self) -> list[DeadLetter]:
        if not self.path.exists():
            return []
        # Its last line is whole then, also one that an editor left without an end.
        with self._locked():
            return self._letters()

    def _letters(self) -> list[DeadLetter]:
        found = []
        for number, line in enumerate(self._lines(), 1):
            try:
                found.append(DeadLetter.parse(line))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise InvalidRequestError(
                    f"line {number} of {self.path} is no dead letter ({error!r}); mend it, or move it into another file"
                ) from error
        return found

    def change(self, change: Callable[[DeadLetter], DeadLetter | None]) -> None:
        """Puts in place of each line what `change` makes of it; None takes it away. The file goes with its last line."""
        if not self.path.exists():
            return
        with self._locked():
            before = self._letters()
            after = [new for letter in before if (new := change(letter)) is not None]
            if before == after:
                return
            # Renamed over the old one: a reader sees the one or the other. The lock is the old file's, and who waits for it looks again.
            temporary = self.path.with_name(f"{self.path.name}.new")
            with temporary.open("wb") as file:
                # Rows may be for nobody else to read.
                shutil.copymode(self.path, temporary)
                file.write(b"".join(letter.line() for letter in after))
                file.flush()
                os.fsync(file.fileno())
            if after:
                os.replace(temporary, self.path)
            else:
                temporary.unlink()
                self.path.unlink()
            self._sync_folder()

    def settle(self, schema: str, table: str, producer: str, epoch: int, last_sequence: int, is_known: bool) -> None:
        """Closes the question of what is stored, when the producer has begun its next epoch and the server has said where it stands.

        It cannot be closed for batches of an epoch before the last, of which others may have used the numbers since; nor by a server
        that has forgotten the producer (`is_known` is false), has met fewer epochs or acknowledged less. That one counts from 1 again:
        their epoch is taken away, so that they are never taken for those of a later run.
        """

        def settled(letter: DeadLetter) -> DeadLetter | None:
            if (
                (letter.schema, letter.table, letter.producer) != (schema, table, producer)
                or letter.sequence is None
                or letter.epoch is None
            ):
                return letter
            if not is_known or letter.epoch >= epoch or (letter.last_acked or 0) > last_sequence:
                return dataclasses.replace(letter, epoch=None)
            if letter.sequence > last_sequence:
                return dataclasses.replace(letter, sequence=None, epoch=None, last_acked=None)
            return None if letter.epoch == epoch - 1 else letter

        self.change(settled)

    def _lines(self) -> list[bytes]:
        lines = self.path.read_bytes().split(b"\n")
        # What stands behind the last line's end was not written to its end.
        return [line for line in lines[:-1] if line.strip()]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[io.FileIO]:
        while True:
            try:
                # Without a buffer: what could not be written is not tried again when the file is closed.
                file = self.path.open("ab+", buffering=0)
            except OSError as error:
                raise InvalidRequestError(f"the dead-letter file cannot be written: {error}; give one that can") from error
            with file:
                if fcntl is None:
                    yield file
                    return
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    is_current = os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
                except FileNotFoundError:
                    is_current = False
                if is_current:
                    try:
                        self._end_last_line(file)
                        yield file
                    finally:
                        # Closing is not enough where a process was forked meanwhile: it has the file, and the lock.
                        fcntl.flock(file, fcntl.LOCK_UN)
                    return

    @staticmethod
    def _end_last_line(file: io.FileIO) -> None:
        """A line that a crash cut is taken away: its batch was never said to be here. A whole letter, as an editor leaves it, gets its end."""
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - _BLOCK_BYTES)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        if end == size:
            return
        file.seek(end)
        try:
            DeadLetter.parse(file.read(size - end))
        except (AttributeError, KeyError, TypeError, ValueError):
            file.truncate(end)
        else:
            file.write(b"\n")

    def _sync_folder(self) -> None:
        """Makes it durable that there is a file of this name, where the system lets us."""
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
