"""Which suites ran against the server, with how many cases? Collected while tests run, written to RESULTS.md by `make conformance`."""

import dataclasses
import os
import pathlib
import platform

FILE = pathlib.Path(__file__).parents[1] / "RESULTS.md"
"""Written when TIDEWATER_RESULTS is set, to the path that it names."""


@dataclasses.dataclass
class Suite:
    """One client or published suite. `skipped` and `failed` are by case: why."""

    name: str
    version: str
    passed: list[str] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)

    def passes(self, case: str):
        self.passed.append(case)

    def skips(self, case: str, why: str):
        self.skipped[case] = why

    def fails(self, case: str, why: str):
        self.failed[case] = why

    def reports(self, case: str, report):
        """Takes one of pytest's reports: a test has three, and what fails in one of them did not pass."""
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "expected to fail")
            self.skips(case, reason.removeprefix("Skipped: "))
        elif report.failed:
            self.fails(case, f"failed in its {report.when}")
            if case in self.passed:
                self.passed.remove(case)
        elif report.when == "call":
            self.passes(case)

    @property
    def n_cases(self) -> int:
        return len(self.passed) + len(self.skipped) + len(self.failed)


_suites: dict[str, Suite] = {}


def suite(name: str, version: str) -> Suite:
    """The suite of that name; made when it is first asked for."""
    return _suites.setdefault(name, Suite(name, version))


def not_run(name: str, version: str, why: str):
    """The suite could not be run at all: it shows nothing, and that is said."""
    suite(name, version).skips("the whole suite", f"NOT CHECKED: {why}")


def text(program: str) -> str:
    """RESULTS.md. `program` is what `tidewater --version` prints."""
    lines = [
        "# What ran against the server",
        "",
        f"Written by `make conformance`. Server: {program}. Python {platform.python_version()}, {platform.system()} {platform.machine()}.",
        "A check that was skipped shows nothing.",
        "",
        "| suite | version | cases | passed | failed | skipped |",
        "|---|---|---|---|---|---|",
    ]
    suites = sorted(_suites.values(), key=lambda one: one.name.lower())
    for one in suites:
        lines.append(f"| {one.name} | {one.version} | {one.n_cases} | {len(one.passed)} | {len(one.failed)} | {len(one.skipped)} |")
    for title, of in (("Failed", "failed"), ("Skipped", "skipped")):
        told = [(one.name, getattr(one, of)) for one in suites if getattr(one, of)]
        if told:
            lines += ["", f"## {title}", ""]
        for name, reasons in told:
            by_reason: dict[str, list[str]] = {}
            for case, why in reasons.items():
                by_reason.setdefault(why, []).append(case)
            for why, cases in by_reason.items():
                shown = ", ".join(f"`{case}`" for case in cases[:8]) + (f" and {len(cases) - 8} more" if len(cases) > 8 else "")
                lines.append(f"- {name}: {shown}: {why}")
    return "\n".join(lines) + "\n"


def write(program: str):
    """Writes the file that TIDEWATER_RESULTS names, if anything was recorded."""
    path = os.environ.get("TIDEWATER_RESULTS")
    if path and _suites:
        pathlib.Path(path).write_text(text(program))
