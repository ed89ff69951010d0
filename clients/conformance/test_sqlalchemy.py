"""Does SQLAlchemy, 1.4 and 2, get along with our dialect? `dialect_suite/` has what programs do; and SQLAlchemy's own suite runs."""

import os
import sys

import pytest

from harness import results
from harness.dialects import FOLDER, recorded, run, version_of

TEXTS = FOLDER.parents[1] / "python/tests/test_dialect.py"
OLD = os.environ.get("TIDEWATER_DBAPI_PYTHON")
NOT_THERE = "TIDEWATER_DBAPI_PYTHON is not set: `clients/conformance/venv.sh dbapi` prints it"
PYTHONS = [
    pytest.param(sys.executable, id="2"),
    pytest.param(OLD, id="1.4", marks=[] if OLD else pytest.mark.skip(reason=f"NOT CHECKED: {NOT_THERE}")),
]


@pytest.fixture(scope="module", autouse=True)
def not_there():
    if not OLD:
        results.not_run("SQLAlchemy dialect: programs", "1.4", NOT_THERE)


@pytest.mark.parametrize("python", PYTHONS)
def test_programs(python, server, tmp_path):
    version = version_of(python, "sqlalchemy")
    cases = run(python, tmp_path, server, FOLDER / "dialect.py", TEXTS)
    failed = recorded(f"SQLAlchemy dialect: programs, {version[:3]}", version, cases)
    assert not failed and len(cases) >= 70, failed or (tmp_path / "output").read_text()[-4000:]


def told(message: str) -> str:
    """Why a case is skipped: ours, or that of SQLAlchemy behind the case's name."""
    why = message.rpartition(" : ")[2]
    return "not claimed by dialect_suite/requirements.py" if why == "marked as skip" else why


@pytest.mark.slow
def test_published_suite(server, tmp_path):
    """That of SQLAlchemy 2; all of it passes but what `requirements.py` does not claim and `reasons.py` names, which must fail still.

    The suite of 1.4 empties tables by DELETE between tests, after which the keys of their rows stay known.
    """
    sys.path.insert(0, str(FOLDER))
    try:
        from reasons import FAILS, left_out
    finally:
        sys.path.remove(str(FOLDER))
    python = sys.executable
    version = version_of(python, "sqlalchemy")
    options = ["-p", "plugin", "-p", "left_out", "-W", "ignore:Tidewater has no foreign keys"]
    cases = run(python, tmp_path, server, *options, FOLDER / "published.py")
    name = f"SQLAlchemy's suite for dialects, {version[:3]}"
    suite = results.suite(name, version)
    unexplained, passes_now, unseen = {}, [], set(FAILS)
    for case in cases:
        title = f"{case.get('classname', '').rpartition('.')[2].partition('_')[0]}::{case.get('name')}"
        outcome = {child.tag: child for child in case}
        bad = outcome.get("failure", outcome.get("error"))
        why = left_out(title)
        unseen -= {title, title.partition("[")[0]}
        if "skipped" in outcome:
            suite.skips(title, told(outcome["skipped"].get("message")))
        elif bad is not None and why:
            suite.skips(title, why)
        elif bad is not None:
            unexplained[title] = (bad.get("message") or bad.text or "")[:300]
            suite.fails(title, unexplained[title])
        else:
            suite.passes(title)
            passes_now += [title] if why else []
    assert len(suite.passed) >= 300, (tmp_path / "output").read_text()[-4000:]
    assert not unexplained, unexplained
    assert not passes_now, f"these pass, take them out of reasons.py: {passes_now}"
    assert not unseen, f"reasons.py names cases that are not there: {sorted(unseen)}"
