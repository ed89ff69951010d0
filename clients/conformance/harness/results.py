"""Which suites ran against the server, with how many cases? Collected while tests run, written to RESULTS.md by `make conformance`."""

import dataclasses
import os
import pathlib
import platform

FILE = pathlib.Path(__file__).parents[1] / "RESULTS.md"
"""Written when TIDEWATER_RESULTS is set, to the path that it names."""
MAX_NAMED = 100
"""Cases that are named for one reason. More are counted: those of sqllogictest, whose list is a file of its own."""


@dataclasses.dataclass
class Suite:
    """One client or published suite. `skipped` and `failed` are by case: why. `flows`: what passed is named too, and not only counted."""

    name: str
    version: str
    flows: bool = False
    passed: list[str] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self._known: set[str] = set()

    def passes(self, case: str):
        self._is_new(case)
        self.passed.append(case)

    def skips(self, case: str, why: str):
        self._is_new(case)
        self.skipped[case] = why

    def fails(self, case: str, why: str):
        self._is_new(case)
        self.failed[case] = why

    def _is_new(self, case: str):
        """Of two cases with one name the counts would have one, or the outcome of the second."""
        if case in self._known:
            raise ValueError(f"{self.name}: {case} is told twice")
        self._known.add(case)

    def reports(self, case: str, report):
        """Takes one of pytest's reports: a test has three, and what fails in one of them neither passed nor was skipped."""
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "expected to fail")
            self.skips(case, reason.removeprefix("Skipped: "))
        elif report.failed:
            if case in self.passed:
                self.passed.remove(case)
            self.skipped.pop(case, None)
            self._known.discard(case)
            self.failed.pop(case, None)
            self.fails(case, f"failed in its {report.when}")
        elif report.when == "call":
            self.passes(case)

    @property
    def n_cases(self) -> int:
        return len(self.passed) + len(self.skipped) + len(self.failed)


_suites: dict[str, Suite] = {}


def suite(name: str, version: str, flows: bool = False) -> Suite:
    """The suite of that name; made when it is first asked for."""
    return _suites.setdefault(name, Suite(name, version, flows))


def not_run(name: str, version: str, why: str):
    """The suite could not be run at all: it shows nothing, and that is said."""
    suite(name, version).skips("the whole suite", f"NOT CHECKED: {why}")


def text(program: str, part: str = "") -> str:
    """RESULTS.md. `program` is what `tidewater --version` prints, `part` what pytest was told to run, if that is not everything."""
    lines = [
        "# What ran against the server",
        "",
        f"Written by `make conformance`. Server: {program}. Python {platform.python_version()}, {platform.system()} {platform.machine()}.",
        "A check that was skipped shows nothing.",
        *([f"Only a part was run, and what is not below was not: `pytest {part}`"] if part else []),
        "",
        "| suite | version | cases | passed | failed | skipped |",
        "|---|---|---|---|---|---|",
    ]
    suites = sorted(_suites.values(), key=lambda one: one.name.lower())
    for one in suites:
        lines.append(f"| {one.name} | {one.version} | {one.n_cases} | {len(one.passed)} | {len(one.failed)} | {len(one.skipped)} |")
    if notes := [f"- {one.name}: {note}" for one in suites for note in one.notes]:
        lines += ["", *notes]
    for title, of in (("Failed", "failed"), ("Skipped", "skipped")):
        told = [(one.name, getattr(one, of)) for one in suites if getattr(one, of)]
        if told:
            lines += ["", f"## {title}", ""]
        for name, reasons in told:
            by_reason: dict[str, list[str]] = {}
            for case, why in reasons.items():
                by_reason.setdefault(" ".join(why.split()), []).append(case)
            for why, cases in by_reason.items():
                lines.append(f"- {name}: {_named(cases)}: {why}")
    if listed := [one for one in suites if one.flows and one.passed]:
        lines += ["", "## Flows that passed", "", *(f"- {one.name}: {_named(one.passed, len(one.passed))}" for one in listed)]
    return "\n".join(lines) + "\n"


def _named(cases: list[str], most: int = MAX_NAMED) -> str:
    shown = cases if len(cases) <= most else cases[:8]
    return ", ".join(f"`{case}`" for case in shown) + (f" and {len(cases) - len(shown)} more" if len(cases) > len(shown) else "")


def write(program: str, part: str):
    """Writes the file that TIDEWATER_RESULTS names, if anything was recorded."""
    path = os.environ.get("TIDEWATER_RESULTS")
    if path and _suites:
        pathlib.Path(path).write_text(text(program, part))
