"""What do test files say that another Python runs, with another SQLAlchemy? Each case goes into the results."""

import os
import pathlib
import subprocess
import xml.etree.ElementTree

from . import results

HERE = pathlib.Path(__file__).parents[1]
FOLDER = HERE / "dialect_suite"
TIMEOUT_S = 900
CONFIGURATION = """[sqla_testing]
requirement_cls=requirements:Requirements
profile_file=profiles.txt

[db]
default={url}
"""


def run(python: str, folder: pathlib.Path, server, *arguments) -> list[xml.etree.ElementTree.Element]:
    """The test cases that a pytest of another Python reports."""
    url = f"tidewater://{server.grpc}"
    (folder / "setup.cfg").write_text(CONFIGURATION.format(url=url))
    (folder / "empty.ini").write_text("")
    command = [python, "-m", "pytest", "--noconftest", "-q", "-c", "empty.ini", "-p", "no:cacheprovider", "--rootdir", "."]
    environment = os.environ | {"TIDEWATER_URL": url, "PYTHONPATH": f"{HERE.parent / 'python/src'}:{FOLDER}:{HERE}"}
    with (folder / "output").open("wb") as output:
        subprocess.run(
            [*command, "--junitxml", "report.xml", "--tb", "short", *arguments],
            cwd=folder, env=environment, stdout=output, stderr=output, timeout=TIMEOUT_S,
        )  # fmt: skip
    report = folder / "report.xml"
    assert report.exists(), (folder / "output").read_text()[-4000:]
    return list(xml.etree.ElementTree.parse(report).iter("testcase"))


def version_of(python: str, package: str) -> str:
    """Of a package in that Python's environment."""
    program = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.check_output([python, "-c", program], text=True, timeout=60).strip()


def recorded(name: str, version: str, cases) -> dict[str, str]:
    """Puts them into the results; those that failed, by name."""
    suite = results.suite(name, version, flows=True)
    failed = {}
    for case in cases:
        title = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}".removeprefix("::")
        outcome = {child.tag: child for child in case}
        bad = outcome.get("failure", outcome.get("error"))
        if bad is not None:
            failed[title] = (bad.get("message") or bad.text or "")[:300]
            suite.fails(title, failed[title])
        elif "skipped" in outcome:
            suite.skips(title, outcome["skipped"].get("message") or "")
        else:
            suite.passes(title)
    return failed
