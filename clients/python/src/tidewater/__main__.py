"""What can be done from a shell? `python -m tidewater replay FILE` sends the batches of a dead-letter file again."""

import argparse
import dataclasses
import pathlib
import sys

from .connection import Connection
from .errors import Error
from .ingest import replay


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tidewater")
    verbs = arguments.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("replay", help="send the batches of a dead-letter file again")
    verb.add_argument("file")
    verb.add_argument("--server", help="address or URL [default: TIDEWATER_SERVER, else 127.0.0.1:8815]")
    verb.add_argument(
        "--unsettled",
        choices=["keep", "send", "drop"],
        default="keep",
        help="batches of which nobody can tell whether they are stored; sending is safe where the table has a primary key [default: keep]",
    )
    given = arguments.parse_args()
    connection = Connection.from_env()
    if given.server:
        # An address says nothing of who asks; the environment does.
        named = Connection.parse(given.server)
        who = {name: getattr(named, name) or getattr(connection, name) for name in ("user", "password", "token", "ca")}
        connection = dataclasses.replace(named, **who)
    if not pathlib.Path(given.file).exists():
        print(f"there is no file {given.file}: nothing waits to be sent", file=sys.stderr)
    try:
        result = replay(given.file, connection, unsettled=given.unsettled)
    except (Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"{result.batches_stored} batches stored: {result.rows_accepted} rows accepted, {result.rows_duplicate} duplicate, "
        f"{result.rows_rejected} rejected; {result.batches_dropped} batches dropped, {result.batches_left} left"
    )
    for problem in result.errors:
        print(f"left: {problem}", file=sys.stderr)
    return 1 if result.batches_left else 0


if __name__ == "__main__":
    sys.exit(main())
