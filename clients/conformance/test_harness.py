"""Do the tests themselves work? The half of them that needs no server."""

import datetime
import decimal

import pyarrow as pa
import pytest

from harness import data
from harness.compare import difference
from harness.oracle import KINDS, QUERIES, Oracle


@pytest.fixture(scope="module")
def oracle():
    return Oracle(git_events=data.many_events(), kinds=data.kinds())


@pytest.mark.parametrize("query", QUERIES + KINDS, ids=lambda query: query["name"])
def test_oracle_answers(oracle, query):
    """Each query runs on DuckDB, and its answer does not depend on how DuckDB runs it."""
    answer = oracle.answer(query)
    oracle.connection.execute("SET threads = 1")
    again = oracle.answer(query)
    oracle.connection.execute("RESET threads")
    assert difference(answer, again) is None
    assert answer.num_rows > 0 or query["name"].startswith("empty") or query["name"] == "not_in_with_null"


def test_there_are_enough_queries():
    assert len(QUERIES) >= 40 and len(KINDS) >= 40
    assert len({query["name"] for query in QUERIES + KINDS}) == len(QUERIES) + len(KINDS)


@pytest.mark.parametrize(("rows", "key"), [(data.many_events, "event_id"), (data.kinds, "id")])
def test_there_are_enough_rows(rows, key):
    """No two are the same row to the server, and they are more than a sorted run."""
    rows = rows()
    assert len(rows[key].unique()) == rows.num_rows > data.RUN_ROWS


UTC = datetime.timezone.utc
BERLIN = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ([1, 2], [2, 1], True),
        ([1, 1], [1, 2], False),
        ([1], [1, 1], False),
        ([1.0], [1.0 + 1e-12], True),
        ([1.0], [1.0 + 1e-6], False),
        ([None], [0], False),
        ([None, 1], [1, None], True),
        ([decimal.Decimal("1.50")], [1.5], True),
        ([10**17 + 1], [10**17], False),
        ([datetime.datetime(2021, 1, 1, 2, tzinfo=BERLIN)], [datetime.datetime(2021, 1, 1, tzinfo=UTC)], True),
        (["a"], ["A"], False),
        ([float("nan")], [float("nan")], True),
        ([[1, 2]], [[2, 1]], False),
        ([True], [1], False),
    ],
)
def test_the_comparison_rule(ours, theirs, same):
    assert (difference(pa.table({"a": ours}), pa.table({"a": theirs})) is None) == same
