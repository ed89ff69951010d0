"""Which bugs of other Flight SQL servers are known, and which of them did this run show to be absent?"""

import dataclasses
import pathlib
import tomllib

from . import results

ROOT = pathlib.Path(__file__).parents[3]
FILE = ROOT / "clients/conformance/known_bugs.toml"
FOLDER = "clients/conformance/"


@dataclasses.dataclass
class Bug:
    """`tests` are file::name, or there are none and `not_here` says why."""

    behaviour: str
    sources: list[str]
    tests: list[str] = dataclasses.field(default_factory=list)
    not_here: str = ""


def load() -> list[Bug]:
    return [Bug(**entry) for entry in tomllib.loads(FILE.read_text())["bug"]]


def is_of(nodeid: str, test: str) -> bool:
    """Whether what pytest calls so is a test of the file, or one of its parameters. pytest's names begin where it was started."""
    ran, named = nodeid.removeprefix(FOLDER), test.removeprefix(FOLDER)
    return ran == named or ran.startswith(f"{named}[")


def record(reports: dict[str, list]):
    """The outcome of each bug is that of its Python tests; those in Rust run elsewhere. `reports` are pytest's, by outcome."""
    bugs = load()
    suite = results.suite("bugs of other servers", f"{len(bugs)} of known_bugs.toml")
    ended = {name: [getattr(report, "nodeid", "") for report in reports.get(name, [])] for name in ("passed", "failed", "error", "skipped")}
    for bug in bugs:
        if bug.not_here:
            suite.skips(bug.behaviour, f"cannot occur here: {bug.not_here}")
            continue
        tests = [test for test in bug.tests if test.startswith(FOLDER)]
        some = {name: [test for test in tests if any(is_of(nodeid, test) for nodeid in ids)] for name, ids in ended.items()}
        missing = [test for test in tests if test not in some["passed"]]
        if failed := some["failed"] + some["error"]:
            suite.fails(bug.behaviour, f"failed: {', '.join(failed)}")
        elif missing or some["skipped"]:
            suite.skips(bug.behaviour, f"NOT CHECKED: did not run: {', '.join(missing or some['skipped'])}")
        else:
            suite.passes(bug.behaviour)
