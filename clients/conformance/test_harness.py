"""Do the tests themselves work? The half of them that needs no server."""

import contextlib
import datetime
import decimal
import importlib.metadata
import itertools
import json
import pathlib
import re
import subprocess
import sys
import time

import boto3
import botocore.config
import botocore.exceptions
import pyarrow as pa
import pytest

from harness import data, programs, results
from harness.compare import difference
from harness.delta import EXCLUSIVE_WRITER, Log, stored
from harness.oracle import KINDS, QUERIES, Oracle
from harness.store import KEYS, REGION, Moto
from harness.store_relay import StoreRelay

HERE = pathlib.Path(__file__).parent


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


class Store:
    """A client of the store behind a relay that does not try again."""

    def __init__(self, moto: Moto, relay: StoreRelay):
        self.relay = relay
        self.bucket = moto.bucket(f"bucket-{time.monotonic_ns()}")
        config = botocore.config.Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, proxies={}, connect_timeout=2, read_timeout=2
        )
        keys = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
        self.s3 = boto3.client("s3", endpoint_url=f"http://{relay.address}", region_name=REGION, config=config, **keys)

    def create(self, name: str, body: bytes = b"1") -> int:
        """The status of a put that must not replace anything; 0 if there is no answer."""
        try:
            answer = self.s3.put_object(Bucket=self.bucket.name, Key=name, Body=body, IfNoneMatch="*")
        except botocore.exceptions.ClientError as error:
            answer = error.response
        except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError):
            return 0
        return answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    moto = Moto(tmp_path_factory.mktemp("moto"))
    yield moto
    moto.stop()


@pytest.fixture
def store(moto):
    with StoreRelay(moto.address) as relay:
        yield Store(moto, relay)


def version(n: int) -> str:
    return f"t/_delta_log/{n:020}.json"


def test_the_store_does_conditional_puts_through_the_relay(store):
    assert [store.create(version(0), body) for body in (b"first", b"second")] == [200, 412]
    assert store.bucket.read(version(0)) == b"first"
    assert store.bucket.names("t/") == [version(0)]
    assert store.s3.get_object(Bucket=store.bucket.name, Key=version(0), Range="bytes=1-2")["Body"].read() == b"ir"
    assert store.s3.head_object(Bucket=store.bucket.name, Key=version(0))["ContentLength"] == 5
    assert [found["Key"] for found in store.s3.list_objects_v2(Bucket=store.bucket.name, Prefix="t/")["Contents"]] == [version(0)]
    assert [(headers["if-none-match"], status) for _, headers, status in store.relay.commits()] == [("*", 200), ("*", 412)]
    store.s3.delete_object(Bucket=store.bucket.name, Key=version(0))
    assert store.bucket.names() == []


@pytest.mark.parametrize(
    ("how", "answer", "stored"),
    [
        ({}, 0, True),
        ({"answer": 500}, 500, True),
        ({"answer": 412}, 412, True),
        ({"answer": 409, "executed": False}, 409, False),
        ({"executed": False}, 0, False),
        ({"held": True}, 0, False),
    ],
)
def test_the_relay_disturbs_commits_only(store, how, answer, stored):
    fault = store.relay.fault(**how)
    assert store.create("t/a.parquet") == 200 and not fault.fired.is_set()
    assert store.create(version(0)) == answer and fault.fired.is_set()
    assert store.bucket.names() == (["t/_delta_log/00000000000000000000.json"] if stored else []) + ["t/a.parquet"]
    # Only once.
    assert store.create(version(0), b"again") == (412 if stored else 200)
    assert store.relay.release() == ([412] if how.get("held") else [])
    assert store.bucket.read(version(0)) == (b"1" if stored else b"again")


def test_the_relay_is_away(store):
    for how, answer in (("gone", 0), ("silent", 0), (503, 503)):
        with store.relay.absent(how):
            assert store.create("a") == answer
    fault = store.relay.fault(held=True, then_away="gone")
    assert (store.create(version(0)), store.create("b")) == (0, 0) and fault.fired.is_set()
    assert store.relay.release() == [200]
    store.relay.go_on()
    assert store.create(version(0)) == 412
    store.relay.stripped = {"if-none-match"}
    assert store.create(version(0), b"2") == 200
    assert store.bucket.names() == [version(0)]


def test_a_store_that_was_brought_back_stays_there_while_answers_are_lost(store):
    store.relay.fault(times=3, then_away="gone")
    assert (store.create(version(0)), store.create("a")) == (0, 0)
    store.relay.go_on()
    assert (store.create(version(0)), store.create("a")) == (0, 200)
    assert (store.create(version(0)), store.create("b")) == (0, 200)
    assert store.create(version(0)) == 412
    # The first is executed, the others find it.
    assert [status for _, _, status in store.relay.commits()] == [200, 412, 412, 412]


UUID = "00000000-0000-0000-0000-000000000000"


def log_of(commits: list[list[dict]]) -> Log:
    texts = {f"{n:020}.json": "\n".join(map(json.dumps, actions)).encode() for n, actions in enumerate(commits)}
    return Log(list(texts), texts.__getitem__)


def good_commits() -> list[list[dict]]:
    def add(path: str, through: int, **more):
        txn = {"txn": {"appId": f"tidewater/{UUID}/0/{UUID}", "version": through}}
        return [{"add": {"path": path, "dataChange": True, "stats": json.dumps({"numRecords": 10}), **more}}, txn]

    def info() -> dict:
        return {"commitInfo": {"timestamp": 1, "tidewater": {}}}

    protocol = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [EXCLUSIVE_WRITER]}}
    metadata = {"metaData": {"id": UUID, "partitionColumns": [], "schemaString": json.dumps({"fields": []})}}
    vector = {"deletionVector": {"cardinality": 3}}
    return [
        [info(), protocol, metadata],
        [info(), *add("a", 5)],
        [info(), {"remove": {"path": "a"}}, *add("a", 7, **vector)],
        [info(), *add("b", 8)],
    ]


def test_the_log_of_a_delta_table():
    log = log_of(good_commits())
    log.assert_sound()
    assert [log.live_rows(version) for version in range(4)] == [0, 10, 7, 17]
    assert [log.through(version) for version in range(4)] == [0, 5, 7, 8]
    assert log.foreign_versions() == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda commits: commits.append(commits[3]), id="a range twice"),
        pytest.param(lambda commits: commits[3][2]["txn"].update(version=6), id="a range that goes back"),
        pytest.param(lambda commits: commits[3][1]["add"].update(path="a"), id="a file twice"),
        pytest.param(lambda commits: commits[2][1]["remove"].update(path="c"), id="a file that is not there"),
        pytest.param(lambda commits: commits[3][0]["commitInfo"].update(timestamp=0), id="time goes back"),
        pytest.param(lambda commits: commits[0][1]["protocol"].update(writerFeatures=[]), id="others may write"),
        pytest.param(lambda commits: commits[3][2]["txn"].update(lastUpdated=1), id="a range that expires"),
    ],
)
def test_a_log_that_is_not_sound(change):
    commits = good_commits()
    change(commits)
    with pytest.raises(AssertionError):
        log_of(commits).assert_sound()


def test_values_in_the_types_of_delta():
    inner = pa.struct([("u", pa.uint64()), ("t", pa.list_(pa.time64("us")))])
    table = pa.table({"a": pa.array([[{"u": 2**64 - 1, "t": [datetime.time(1), None]}, None], [], None], pa.list_(inner))})
    item = {"u": decimal.Decimal(2**64 - 1), "t": [3_600_000_000, None]}
    assert stored(table)["a"].to_pylist() == [[item, None], [], None]


class Report:
    """As much of pytest's as results look at."""

    longrepr = ("file", 1, "Skipped: because")

    def __init__(self, when: str, outcome: str = "passed"):
        self.when, self.skipped, self.failed = when, outcome == "skipped", outcome == "failed"


@pytest.mark.parametrize(("phases", "passed", "failed", "skipped"), [
    (["passed", "passed", "passed"], ["a"], {}, {}),
    (["passed", "skipped", "passed"], [], {}, {"a": "because"}),
    (["skipped", "passed"], [], {}, {"a": "because"}),
    (["failed", "passed"], [], {"a": "failed in its setup"}, {}),
    (["passed", "passed", "failed"], [], {"a": "failed in its teardown"}, {}),
    (["passed", "failed", "failed"], [], {"a": "failed in its teardown"}, {}),
    (["passed", "skipped", "failed"], [], {"a": "failed in its teardown"}, {}),
])  # fmt: skip
def test_a_test_has_one_outcome(phases, passed, failed, skipped):
    suite = results.Suite("s", "1")
    names = ["setup", "call", "teardown"] if len(phases) == 3 else ["setup", "teardown"]
    for when, outcome in zip(names, phases, strict=True):
        suite.reports("a", Report(when, outcome))
    assert (suite.passed, suite.failed, suite.skipped, suite.n_cases) == (passed, failed, skipped, 1)


def test_two_cases_of_one_name_are_a_mistake():
    for first, second in itertools.permutations(["passes", "skips", "fails"], 2):
        suite = results.Suite("s", "1")
        tell = {"passes": (), "skips": ("why",), "fails": ("why",)}
        getattr(suite, first)("a", *tell[first])
        with pytest.raises(ValueError, match="a is told twice"):
            getattr(suite, second)("a", *tell[second])


def test_results_say_what_ran(monkeypatch):
    # Not beyond this: the outcome of this test itself is to be recorded.
    with monkeypatch.context() as patched:
        patched.setattr(results, "_suites", {})
        one = results.suite("One", "1", flows=True)
        one.passes("flow")
        one.skips("not here", "its client\ncannot")
        one.notes.append("a note")
        many = results.suite("many", "2")
        for i in range(results.MAX_NAMED + 1):
            many.skips(f"c{i}", "by design")
        many.fails("bad", "wrong")
        results.not_run("gone", "3", "no tool")
        text, whole = results.text("server 1", "-q test_a.py"), results.text("server 1")
    for line in (
        "| One | 1 | 2 | 1 | 0 | 1 |", "| many | 2 | 102 | 0 | 1 | 101 |", "| gone | 3 | 1 | 0 | 0 | 1 |", "- One: a note",
        "- One: `not here`: its client cannot", "- gone: `the whole suite`: NOT CHECKED: no tool", "- many: `bad`: wrong", "- One: `flow`",
        "Only a part was run, and what is not below was not: `pytest -q test_a.py`",
        "- many: " + ", ".join(f"`c{i}`" for i in range(8)) + " and 93 more: by design",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "Only a part" not in whole


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_of_the_environment_is_pinned():
    """So that a run of today and one of next year try the same."""
    lines = [line for file in ("requirements.txt", "constraints.txt") for line in (HERE / file).read_text().splitlines()]
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {normalized(name): version for name, version in pinned.items()}
    here = {normalized(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    own = {"pip", "setuptools", "tidewater-client"}
    assert {name: version for name, version in here.items() if name not in own and pinned.get(name) != version} == {}


TELL = "import json; print(json.dumps({'case': 'a', 'outcome': 'passed', 'why': ''}), flush=True);"


@pytest.mark.parametrize(("program", "limit_s", "failed"), [
    (TELL, 60, {}),
    (TELL + "raise SystemExit(3)", 60, {"the program": "ended with 3: "}),
    (TELL + "import signal; signal.pause()", 1, {"the program": "did not end within 1 s"}),
    ("", 60, {"the number of cases": "0 were told, there are at least 1: "}),
], ids=["well", "ends badly", "hangs", "silent"])  # fmt: skip
def test_a_program_that_ends_badly_is_in_the_results(monkeypatch, program, limit_s, failed):
    monkeypatch.setattr(programs, "LIMIT_S", limit_s)
    suite = results.Suite("s", "1")
    with pytest.raises((AssertionError, subprocess.TimeoutExpired)) if failed else contextlib.nullcontext():
        programs.run([sys.executable, "-c", program], suite, 1)
    assert suite.failed == failed
