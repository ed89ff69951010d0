"""How does a client in another language tell how its cases went? One line of JSON each: `{"case", "outcome", "why"}`."""

import json
import os
import subprocess

from . import cases, results
from .client import Client
from .pages import DOCS, blocks
from .secured import Secured
from .server import Server

LIMIT_S = 900
PAGE = DOCS / "clients.md"
# The port that the page names.
PORT = "8815"
OUTCOMES = {"passed", "skipped", "failed"}


def arguments(server: Server, secured: Secured) -> list[str]:
    """Where the servers are and who asks, as all these programs are told."""
    given = {
        "plain": server.grpc,
        "secure": secured.server.grpc,
        "ca": secured.ca,
        "user": secured.user,
        "password": secured.password,
        "token": secured.token,
        "cases": cases.FOLDER,
    }
    return [word for name, value in given.items() for word in (f"-{name}", str(value))]


def run(command: list, suite: results.Suite, least: int, environment: dict[str, str] | None = None):
    """Runs the program, records each of its cases, and fails with what failed. `least` is how many cases must be told."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL, env={**plain, **(environment or {})}
        )
    except subprocess.TimeoutExpired:
        suite.fails("the program", f"did not end within {LIMIT_S} s")
        raise
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    for line in told:
        record(suite, **line)
    if ended.returncode != 0:
        suite.fails("the program", f"ended with {ended.returncode}: {ended.stderr[-2000:]}")
    names = [line["case"] for line in told]
    if len(names) < least:
        suite.fails("the number of cases", f"{len(names)} were told, there are at least {least}: {ended.stderr[-2000:]}")
    failed = [f"{case}: {why}" for case, why in suite.failed.items()]
    assert not failed, f"{len(failed)} of {len(names)} failed:\n" + "\n".join(failed)


def record(suite: results.Suite, case: str, outcome: str, why: str):
    assert outcome in OUTCOMES
    if outcome == "passed":
        suite.passes(case)
    elif outcome == "skipped":
        suite.skips(case, why)
    else:
        suite.fails(case, why)


def recipe(server: Server, language: str) -> str:
    """The block of that language of the page of clients, for this server; its table is there."""
    of_page = blocks(PAGE)
    (found,) = (block.text for block in of_page if block.language == language)
    with Client(server.grpc) as client:
        client.execute("DROP TABLE IF EXISTS t")
        for statement in next(block.text for block in of_page if block.language == "sql").split(";"):
            if statement.strip():
                client.execute(statement)
    return found.replace(PORT, server.grpc.rpartition(":")[2])


def printed(command: list, **options) -> str:
    """What a program prints that is told nothing."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL, check=True, **options
    ).stdout
