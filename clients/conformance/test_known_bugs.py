"""Does each bug that users of other Flight SQL servers reported have a test here, or a reason why it cannot occur?"""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from harness import cases, known_bugs, results
from harness.known_bugs import FOLDER, ROOT

BUGS = known_bugs.load()
SOURCE = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(issues/\d+|pull/\d+|commit/[0-9a-f]{40}|blob/main/CHANGELOG\.md#\S+)")
RUST_TEST = r"((?:^ *(?:///|#\[).*\n)+)^ *(?:async )?fn {name}\("


def named(suffix: str) -> list[str]:
    return sorted({test for bug in BUGS for test in bug.tests if test.partition("::")[0].endswith(suffix)})


def split(test: str) -> tuple[pathlib.Path, str, str]:
    """File, function and parameter."""
    file, _, name = test.partition("::")
    name, _, parameter = name.partition("[")
    return ROOT / file, name.rpartition("::")[2], parameter.removesuffix("]")


def test_there_is_an_entry_for_each_of_the_57():
    assert len(BUGS) == len({bug.behaviour for bug in BUGS}) == 57
    for bug in BUGS:
        assert bool(bug.tests) != bool(bug.not_here), f"{bug.behaviour}: tests, or why there are none"
        assert bug.sources, bug.behaviour
        # What Rust tests alone show is not seen in RESULTS.md.
        assert bug.not_here or any(test.startswith(FOLDER) for test in bug.tests), bug.behaviour


def test_sources_are_public_and_stand_once():
    sources = [source for bug in BUGS for source in bug.sources]
    assert len(sources) == len(set(sources)), sorted(source for source in set(sources) if sources.count(source) > 1)
    assert [source for source in sources if not SOURCE.fullmatch(source)] == []


def test_the_tests_in_python_are_there():
    files = sorted({str(split(test)[0]) for test in named(".py")})
    environment = {name: value for name, value in os.environ.items() if name != "TIDEWATER_RESULTS"}
    command = [sys.executable, "-B", "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *files]
    collected = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)
    assert collected.returncode == 0, collected.stdout[-4000:]
    ids = [line for line in collected.stdout.splitlines() if "::" in line]
    assert [test for test in named(".py") if not any(known_bugs.is_of(nodeid, test) for nodeid in ids)] == []


def written_python(test: str) -> str:
    """What the docstring says, or the case that the parameter names."""
    file, name, parameter = split(test)
    if file.name == "test_cases.py":
        (case,) = [case for case in cases.load() if case["name"] == parameter]
        return case.get("source", "")
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef) and node.name == name]
    assert len(functions) == 1, f"{test}: there are {len(functions)}"
    return ast.get_docstring(functions[0]) or ""


def written_rust(test: str) -> str:
    """Comments and attributes of the test."""
    file, name, _ = split(test)
    found = re.findall(RUST_TEST.format(name=re.escape(name)), file.read_text(), re.MULTILINE)
    assert len(found) == 1, f"{test}: there are {len(found)}"
    return found[0]


def test_the_tests_in_rust_are_there():
    assert [test for test in named(".rs") if not re.search(r"#\[(tokio::)?test\b", written_rust(test))] == []


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.tests], ids=lambda bug: bug.behaviour)
def test_a_test_names_its_source(bug):
    for test in bug.tests:
        text = written_rust(test) if test.partition("::")[0].endswith(".rs") else written_python(test)
        assert set(re.findall(r"https://[^\s<>)]+(?<![.,])", text)) & set(bug.sources), f"{test} names none of {json.dumps(bug.sources)}"


class Report:
    def __init__(self, nodeid: str):
        self.nodeid = nodeid


def test_an_outcome_is_that_of_the_tests(monkeypatch):
    """One that failed, was left out or was skipped shows nothing, whatever the others of its bug did."""
    first, second = FOLDER + "test_a.py::test_a", FOLDER + "test_b.py::test_b[1]"
    bugs = [known_bugs.Bug("both", ["x"], [first, second, "server/src/a.rs::a"]), known_bugs.Bug("no", ["y"], not_here="there is none")]
    monkeypatch.setattr(known_bugs, "load", lambda: bugs)
    outcomes = {}
    for name, reports in {
        "all": {"passed": ["test_a.py::test_a[x]", "test_a.py::test_a[y]", second]},
        "one did not run": {"passed": [first]},
        "of another name": {"passed": [first, FOLDER + "test_b.py::test_b[10]"]},
        "one skipped": {"passed": [first + "[x]", second], "skipped": [first + "[y]"]},
        "one failed": {"passed": [first + "[x]", second], "failed": [first + "[y]"]},
    }.items():
        # Not beyond this: the outcome of this test itself is to be recorded.
        with monkeypatch.context() as patched:
            patched.setattr(results, "_suites", {})
            known_bugs.record({outcome: [Report(nodeid) for nodeid in ids] for outcome, ids in reports.items()})
            (suite,) = results._suites.values()
        assert "cannot occur here" in suite.skipped.pop("no")
        outcomes[name] = ("passed" if suite.passed else "") + ("failed" if suite.failed else "") + ("skipped" if suite.skipped else "")
    assert outcomes == {
        "all": "passed", "one did not run": "skipped", "of another name": "skipped", "one skipped": "skipped", "one failed": "failed",
    }  # fmt: skip
