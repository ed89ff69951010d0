"""Where are DataFusion's sqllogictest files, and how is the runner of them started? Cargo fetches their crate; it is not compiled."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib

import pytest

from .server import Server, binary

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = ROOT / "clients/conformance/sqllogictest"
SKIPS = FOLDER / "skips.tsv"
REFUSALS = FOLDER / "refusals.toml"
CRATE = "datafusion-sqllogictest"
FETCH_TIMEOUT_S = 300


def version() -> str:
    """Of the engine, and so of its files."""
    lock = (ROOT / "Cargo.lock").read_text()
    return re.search(r'name = "datafusion"\nversion = "([^"]+)"', lock)[1]


def _found() -> pathlib.Path | None:
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    return next(iter(sorted(home.glob(f"registry/src/*/{CRATE}-{version()}/test_files"))), None)


def files() -> pathlib.Path:
    """The folder with the files. `cargo info` puts a crate's source beside those of the dependencies, and checks it."""
    if folder := _found():
        return folder
    if shutil.which("cargo") is None:
        pytest.skip("NOT CHECKED: there is no cargo, which fetches the sqllogictest files")
    with tempfile.TemporaryDirectory() as empty:
        command = ["cargo", "info", "--quiet", f"{CRATE}@{version()}"]
        fetched = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
    if folder := _found():
        return folder
    pytest.skip(f"NOT CHECKED: cargo could not fetch {CRATE}: {fetched.stderr.strip()[-300:]}")


@dataclasses.dataclass
class Record:
    """What became of one record."""

    file: str
    place: str
    result: str
    reason: str | None = None
    own_words: bool = False
    by_design: str | None = None
    failure: dict | None = None

    @property
    def is_own(self) -> bool:
        """It stands in the file itself, not in one that the file includes."""
        return ":" not in self.place

    def __str__(self) -> str:
        failure = self.failure or {}
        what = " ".join(failure.get("sql", "").split())[:200]
        return f"{self.file}:{self.place} {self.result}, {failure.get('kind')}: {what}\n    {failure.get('message', '')[:400]}"


class Run:
    """The runner on a server of its own, as a process; `records` waits for it."""

    def __init__(self, folder: pathlib.Path, *, only=(), part: str = "0/1"):
        self.server = Server(folder).start()
        self.out, self.log = folder / "records.jsonl", folder / "runner.log"
        command = [binary().parent / "tidewater-slt", "--server", f"http://{self.server.grpc}", "--files", files(), "--part", part]
        command += ["--skips", SKIPS, "--fixtures", FOLDER / "fixtures.toml", "--refusals", REFUSALS]
        command += ["--write-skips", FOLDER / "rules.toml", folder / "skips.tsv"]
        for prefix in only:
            command += ["--only", prefix]
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=out, stderr=log, stdin=subprocess.DEVNULL)

    def records(self, timeout_s: float) -> list[Record]:
        code = self.process.wait(timeout_s)
        told = [Record(**json.loads(line)) for line in self.out.read_text().splitlines()]
        # With 1 and nothing to say it tells of records that failed.
        error = self.log.read_text(errors="replace")
        assert code in (0, 1) and not error and told, f"the runner ended with {code} after {len(told)} records:\n{error[-4000:]}"
        return told

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.server.kill()


def skips() -> dict[tuple[str, str], str]:
    """File and place of each skipped record, and why."""
    rows = [line.split("\t") for line in SKIPS.read_text().splitlines()]
    return {(file, place): f"{reason}: {note}" for file, place, reason, note in rows}


def refusals() -> list[str]:
    """What is refused by design where a file expects another error: the notes of the list."""
    return [refusal["note"] for refusal in tomllib.loads(REFUSALS.read_text())["refusal"]]
