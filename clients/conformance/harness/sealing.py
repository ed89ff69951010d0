"""How does a test bring rows from one place to the next, and see where they are?"""

import pathlib
import urllib.parse
from typing import NamedTuple

from .client import Client


class Moved(NamedTuple):
    """What `CALL build`, `CALL seal` and `CALL compact` answer."""

    table: str
    delta_version: int | None
    through: int
    rows: int
    files: int
    location: str


class Places(NamedTuple):
    """How many live rows are where, and what `system.tables` says of the Delta table."""

    realtime: int
    built: int
    sealed: int
    deleted: int
    files: int
    version: int | None
    location: str


def build(client: Client, table: str) -> Moved:
    return _call(client, "build", table)


def seal(client: Client, table: str) -> Moved:
    return _call(client, "seal", table)


def compact(client: Client, table: str) -> Moved:
    return _call(client, "compact", table)


def _call(client: Client, procedure: str, table: str) -> Moved:
    answer, _ = client.execute(f"CALL {procedure}('{table}')")
    (row,) = answer.to_pylist()
    return Moved(**{name: row[name] for name in Moved._fields})


def places(client: Client, table: str) -> Places:
    sql = f"""SELECT realtime_rows, built_rows, sealed_rows, deleted_rows, sealed_files, delta_version, location
      FROM system.tables WHERE name = '{table}'"""
    (row,) = client.rows(sql)
    return Places(*row)


def rows_by_place(client: Client, table: str) -> tuple[int, int, int]:
    """Realtime, built, sealed: together they are all rows."""
    found = places(client, table)
    return found.realtime, found.built, found.sealed


def folder_of(location: str) -> pathlib.Path:
    """The folder of a `file:` URL."""
    url = urllib.parse.urlparse(location)
    assert url.scheme == "file" and not url.netloc, location
    return pathlib.Path(urllib.parse.unquote(url.path))
