"""Can other engines read what is sealed, while the server runs, and do they keep from writing? deltalake, Polars, DuckDB and Spark must
have the rows of our own SELECT over the sealed part, after each thing that changes a table."""

import datetime
import decimal
import json
import threading
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from harness import data
from harness.client import Client, Loader, arrow_payload
from harness.compare import difference
from harness.delta import EXCLUSIVE_WRITER, HIDDEN, Log, copy_of, stored
from harness.engines import ENGINES, query
from harness.sealing import build, folder_of, places, rows_by_place, seal
from harness.server import Server
from harness.waiting import until

spark = pytest.mark.spark
by_engine = pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=spark) if name == "spark" else name for name in ENGINES], indirect=True
)
WRITES = [
    pytest.param(name, kind, id=f"{name}-{kind}", marks=[spark] if name == "spark" else [])
    for name, engine in ENGINES.items()
    for kind in engine.writes
]

# Every commit makes a file or two; a checkpoint comes with the hundredth.
N_COMMITS = 103
UTC = datetime.timezone.utc


def some_kinds(part: int, n: int = 2_000) -> pa.Table:
    """Rows of every type, in parts that have no row in common."""
    return KINDS.slice(part * n, n)


KINDS = data.kinds()


def create_kinds(client: Client, table: str):
    client.execute(data.CREATE_KINDS.replace("CREATE TABLE kinds", f"CREATE TABLE {table}"))


def write(client: Client, table: str, *parts: pa.Table):
    for rows in parts:
        result = client.write(table, arrow_payload(rows))
        assert (result.accepted, result.rejected) == (rows.num_rows, 0), list(result.row_errors)


# What happens to a table until it is read. Each function makes one, seals it, and returns the name it has at the end.


def sealed(client: Client, table: str) -> str:
    create_kinds(client, table)
    write(client, table, some_kinds(0), some_kinds(1))
    seal(client, table)
    return table


def sealed_several_times(client: Client, table: str) -> str:
    create_kinds(client, table)
    for part in range(4):
        write(client, table, some_kinds(part))
        seal(client, table)
    return table


def ahead_of_its_seal(client: Client, table: str) -> str:
    """More rows are built and in memory: they are not there yet for others."""
    sealed(client, table)
    write(client, table, some_kinds(2))
    build(client, table)
    write(client, table, some_kinds(3))
    return table


def deleted(client: Client, table: str) -> str:
    """Rows of several files, all rows of one, some that were not built when they went, and a duplicate of one that comes too late."""
    sealed_several_times(client, table)
    write(client, table, some_kinds(4))
    for condition in ("id % 7 = 3", "u16 = 17", "id >= 2000 AND id < 4000", "s = 'ä😀'", "item['x'] = 3"):
        client.execute(f"DELETE FROM {table} WHERE {condition}")
    assert client.write(table, arrow_payload(some_kinds(0))).accepted == 0
    seal(client, table)
    return table


def deleted_twice(client: Client, table: str) -> str:
    """The second time from files that have a deletion vector."""
    deleted(client, table)
    client.execute(f"DELETE FROM {table} WHERE id % 7 = 4")
    write(client, table, some_kinds(5))
    seal(client, table)
    client.execute(f"DELETE FROM {table} WHERE id % 7 = 5")
    seal(client, table)
    return table


def all_deleted(client: Client, table: str) -> str:
    sealed(client, table)
    client.execute(f"DELETE FROM {table}")
    seal(client, table)
    return table


def truncated(client: Client, table: str) -> str:
    """Rows of before come again, too: their keys are forgotten."""
    sealed_several_times(client, table)
    write(client, table, some_kinds(4))
    build(client, table)
    client.execute(f"TRUNCATE TABLE {table}")
    write(client, table, some_kinds(0), some_kinds(5))
    seal(client, table)
    return table


def truncated_only(client: Client, table: str) -> str:
    sealed(client, table)
    client.execute(f"TRUNCATE TABLE {table}")
    seal(client, table)
    return table


def altered(client: Client, table: str) -> str:
    """Columns come, one need not be there any more, and the table gets another name: rows of before and after, in built files too."""
    client.execute(f"CREATE TABLE {table} (id BIGINT NOT NULL, must VARCHAR NOT NULL, i8 TINYINT, PRIMARY KEY (id))")
    first = pa.table({"id": [1, 2], "must": ["a", "ß"], "i8": pa.array([1, None], pa.int8())})
    write(client, table, first)
    seal(client, table)
    write(client, table, pa.table({"id": [3], "must": ["c"], "i8": pa.array([3], pa.int8())}))
    build(client, table)
    client.execute(f"ALTER TABLE {table} ADD COLUMN more BIGINT UNSIGNED")
    client.execute(f'ALTER TABLE {table} ADD COLUMN "Größe" TIMESTAMP')
    client.execute(f"ALTER TABLE {table} ALTER COLUMN must DROP NOT NULL")
    new = f"{table}_renamed"
    client.execute(f"ALTER TABLE {table} RENAME TO {new}")
    largest, moment = pa.array([2**64 - 1, None], pa.uint64()), pa.array([None, datetime.datetime(2024, 2, 29)], pa.timestamp("us"))
    rows = {"id": [4, 5], "must": [None, "e"], "i8": pa.array([None, 5], pa.int8()), "more": largest, "Größe": moment}
    write(client, new, pa.table(rows))
    seal(client, new)
    return new


# Each is a name that SQL must quote, or that other programs take for a path, a pattern or an escape.
NAMES = ["Upper", "größe→😀", "dotted.name", "per%cent", "select", 'quo"te', "it's", "back\\slash", "q?m#h", "a/b", "star*", "%41"]
ITEM = pa.struct([("A", pa.uint64()), ("t", pa.time64("us")), ("at", pa.timestamp("us")), ("tags", pa.list_(pa.uint8()))])
ITEM_SQL = 'STRUCT<"A" BIGINT UNSIGNED, t TIME, at TIMESTAMP, tags TINYINT UNSIGNED[]>'
LONG = "the same forty characters at the beginning, then "


def named_and_nested(client: Client, table: str) -> str:
    """Names and values that are hard to write into a log of JSON, and types inside of types."""
    columns = ", ".join('"{}" VARCHAR'.format(name.replace('"', '""')) for name in NAMES)
    client.execute(
        f"""CREATE TABLE {table} (id BIGINT NOT NULL, i8 TINYINT, {columns}, items {ITEM_SQL}[], item {ITEM_SQL}, lists TIME[][],
          wide DECIMAL(38, 10), small DECIMAL(3, 3), PRIMARY KEY (id))"""
    )
    item = {"A": 2**64 - 1, "t": datetime.time(23, 59, 59, 999_999), "at": datetime.datetime(1, 1, 1), "tags": [255, None]}
    empty = dict.fromkeys(item)
    texts = ["", "äß→😀 '\"\\\n\t\x00\x7f", LONG + "a", LONG + "😀", None]
    rows = {"id": pa.array(range(len(texts)), pa.int64()), "i8": pa.array(range(len(texts)), pa.int8())}
    rows |= {name: pa.array(texts[i % 5 :] + texts[: i % 5], pa.string()) for i, name in enumerate(NAMES)}
    rows["items"] = pa.array([[item, None, empty], [], None, [item], [None]], pa.list_(ITEM))
    rows["item"] = pa.array([item, empty, None, item, None], ITEM)
    time = datetime.time(1)
    rows["lists"] = pa.array([[[time], [], None], [], None, [None], [[None, time]]], pa.list_(pa.list_(pa.time64("us"))))
    wide = ["9999999999999999999999999999.9999999999", "-0.0000000001", "-9999999999999999999999999999.9999999999", "0", None]
    rows["wide"] = pa.array([value and decimal.Decimal(value) for value in wide], pa.decimal128(38, 10))
    rows["small"] = pa.array([decimal.Decimal("0.999"), None, decimal.Decimal("-0.999"), None, None], pa.decimal128(3, 3))
    write(client, table, pa.table(rows))
    seal(client, table)
    return table


def made_by_queries(client: Client, table: str) -> str:
    """Rows that may come as whole files: of such a file the place in the log is known to us, others read NULL."""
    sealed(client, f"{table}_source")
    create_kinds(client, table)
    client.execute(f"INSERT INTO {table} SELECT * FROM {table}_source WHERE id < 3000")
    client.execute(f"INSERT INTO {table} SELECT * FROM {table}_source WHERE id >= 3000")
    write(client, table, some_kinds(2))
    seal(client, table)
    return table


def with_a_checkpoint(client: Client, table: str) -> str:
    """Past a hundred commits, with deletion vectors and an altered table in the checkpoint, and commits behind it."""
    sealed(client, table)
    client.execute(f"DELETE FROM {table} WHERE id % 7 = 3")
    client.execute(f"ALTER TABLE {table} ADD COLUMN more VARCHAR")
    row = some_kinds(2)
    for n in range(N_COMMITS):
        write(client, table, row.slice(n, 1))
        seal(client, table)
    return table


MADE = {
    make.__name__: make
    for make in (
        sealed, sealed_several_times, ahead_of_its_seal, deleted, deleted_twice, all_deleted, truncated, truncated_only, altered,
        named_and_nested, made_by_queries, with_a_checkpoint,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A table, its log when it was made, and the rows of our SELECT over what is sealed in that version."""

    name: str
    location: str
    log: Log
    rows: pa.Table


@pytest.fixture(scope="module")
def made(server):
    """Each table once, when a test first asks for it."""

    known = {}

    def make(how: str) -> Made:
        if how not in known:
            try:
                with Client(server.grpc) as client:
                    name = MADE[how](client, f"t_{how}")
                    location = places(client, name).location
                    log = Log.of_folder(folder_of(location))
                    known[how] = Made(name, location, log, our_rows(client, name, log.through()))
            except Exception as error:  # noqa: BLE001: every test of this table fails by it, not by a table that is there already
                known[how] = error
        if isinstance(known[how], Exception):
            raise known[how]
        return known[how]

    return make


@pytest.fixture
def table(made, request) -> Made:
    return made(request.param)


by_table = pytest.mark.parametrize("table", MADE, indirect=True)


@pytest.fixture
def engine(request, engines):
    return engines(request.param)


def our_rows(client: Client, table: str, through: int) -> pa.Table:
    """What is sealed through `through`, in Delta's types, with the column that Delta has besides."""
    rows, _ = client.execute(f"SELECT *, {HIDDEN} FROM {table} WHERE {HIDDEN} <= {through}")
    return stored(rows)


@by_engine
@by_table
def test_the_rows_are_ours(table, engine):
    if not engine.can_read(table.log):
        pytest.skip("its Arrow reader knows no deletion vectors, which its QueryBuilder does")
    theirs, rows = engine.read(table.location, table.log.version), table.rows
    if table.name == "t_made_by_queries":
        theirs, rows = theirs.drop_columns(HIDDEN), rows.drop_columns(HIDDEN)
    assert difference(theirs, rows) is None


def test_what_was_made_is_what_is_meant(made, client):
    """The tables above have rows, files and versions, so that the comparison is not one of nothing with nothing."""
    rows = {how: made(how).rows.num_rows for how in MADE if how != "with_a_checkpoint"}
    assert rows == {
        "sealed": 4_000, "sealed_several_times": 8_000, "ahead_of_its_seal": 4_000, "deleted": rows["deleted"],
        "deleted_twice": rows["deleted_twice"], "all_deleted": 0, "truncated": 4_000, "truncated_only": 0, "altered": 5,
        "named_and_nested": 5, "made_by_queries": 6_000,
    }  # fmt: skip
    assert 6_000 < rows["deleted"] < 7_500 and 6_000 < rows["deleted_twice"] < 7_500
    assert rows_by_place(client, "t_sealed") == (0, 0, 4_000)
    found = places(client, "t_ahead_of_its_seal")
    assert (found.realtime, found.built + found.sealed) == (2_000, 6_000)


@by_table
def test_the_log_is_sound(table, client):
    log = Log.of_folder(folder_of(table.location))
    log.assert_sound()
    # Rows that were built in the meantime may have been published.
    if table.name != "t_ahead_of_its_seal":
        assert log.live_rows() == table.rows.num_rows

        def is_as_told() -> bool:
            found, log = places(client, table.name), Log.of_folder(folder_of(table.location))
            assert found.realtime == found.built == 0
            return (found.sealed, found.files, found.version) == (log.live_rows(), len(log.live()), log.version)

        # Files are merged meanwhile: of a commit, the folder and the server know one after the other.
        until(is_as_told, "the server tells what the log has")
    # A reader that knows no deletion vectors reads a table until it has one.
    has_deleted = any(add.get("deletionVector") for add in log.actions("add"))
    assert ("deletionVectors" in log.last("protocol").get("readerFeatures", [])) == has_deleted
    assert has_deleted == (table.name in ("t_deleted", "t_deleted_twice", "t_with_a_checkpoint"))


@by_table
def test_the_columns_are_ours(table, client):
    """Names, types and what may be NULL, as `system.columns` says them."""
    sql = f"""SELECT name, delta_type, nullable FROM system.columns
      WHERE table_id = (SELECT id FROM system.tables WHERE name = '{table.name}') ORDER BY position"""
    ours = client.rows(sql)
    columns = [(column["name"], delta_type(column["type"]), column["nullable"]) for column in table.log.columns()]
    assert [column for column in columns if column[0] != HIDDEN] == [column for column in ours if column[0] != HIDDEN]
    assert columns[-1][:2] == (HIDDEN, "long")
    # The protocol promises no more than the table needs, so that as many readers as can be read it.
    protocol = table.log.last("protocol")
    features = protocol.get("readerFeatures", [])
    assert ("timestampNtz" in features) == any("timestamp_ntz" in kind for _, kind, _ in columns)
    assert set(features) <= {"timestampNtz", "deletionVectors"} and protocol["minReaderVersion"] == (3 if features else 1)


def delta_type(kind) -> str:
    """The schema's JSON as `system.columns` writes it."""
    if isinstance(kind, str):
        return kind
    if kind["type"] == "array":
        return f"array<{delta_type(kind['elementType'])}>"
    fields = ",".join(f"{field['name']}:{delta_type(field['type'])}" for field in kind["fields"])
    return f"struct<{fields}>"


@by_table
def test_statistics_are_those_of_the_files(table):
    """Other engines skip files by them: counts are exact, bounds hold all values."""
    folder = folder_of(table.location)
    for path, add in table.log.live().items():
        stats = json.loads(add["stats"])
        rows = pq.read_table(folder / path)
        assert stats["numRecords"] == rows.num_rows
        # There are some to skip by.
        assert {"id", "i8"} <= stats["nullCount"].keys() and "id" in stats["minValues"] and "id" in stats["maxValues"]
        assert not (add.get("deletionVector") and stats.get("tightBounds", True)), "bounds of deleted rows are not tight"
        assert add["size"] == (folder / path).stat().st_size
        for name, n_nulls in stats.get("nullCount", {}).items():
            # A file of before a column came has only NULLs in it.
            if isinstance(n_nulls, int):
                assert n_nulls == (rows[name].null_count if name in rows.column_names else rows.num_rows), name
        for name, low in stats.get("minValues", {}).items():
            assert_bounds(rows[name], low, stats.get("maxValues", {}).get(name), name)


def assert_bounds(column, low, high, name: str):
    """No value lies outside, as far as JSON's values compare like the column's."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Delta writes them with milliseconds at least; the texts of one column are of one form.
        def normal(text):
            moment = datetime.datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

        values = [normal(value.isoformat()) for value in column.to_pylist() if value is not None]
        low, high = normal(low), high and normal(high)
    elif pa.types.is_integer(kind) or pa.types.is_string(kind):
        values = [value for value in column.to_pylist() if value is not None]
    else:
        return
    assert all(value >= low for value in values), f"{name}: {min(values)} is below {low}"
    assert high is None or all(value <= high for value in values), f"{name}: {max(values)} is above {high}"


# Conditions that a reader may answer by skipping files. The dialect is the same on both sides.
CONDITIONS = [
    "id BETWEEN 1990 AND 2010",
    "ts >= TIMESTAMP '2024-01-30 00:00:00'",
    # The rows of the years 1 and 9999; the literals stay where others have nanoseconds.
    "ts < TIMESTAMP '1700-01-01 00:00:00' OR ts > TIMESTAMP '2262-01-01 00:00:00'",
    "tz < TIMESTAMPTZ '2024-01-02 00:00:00+00'",
    "day < DATE '2024-01-01' OR day > DATE '9999-01-01'",
    "s > '😀'",
    "s = '" + "x" * 40 + "ä'",
    "dec > 99999999999999 OR dec < -99999999999999",
    "u16 IS NULL AND NOT flag",
    "u16 = 65535 OR u8 = 255 OR i8 = -128",
    "u32 > 4294967000",
]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("table", ["sealed_several_times", "deleted_twice"], indirect=True)
def test_files_are_skipped_rightly(table, client, condition):
    ours, _ = client.execute(f"SELECT *, {HIDDEN} FROM {table.name} WHERE {condition}")
    assert 0 < ours.num_rows < table.rows.num_rows
    assert difference(query(table.location, f"SELECT * FROM t WHERE {condition}"), stored(ours)) is None


@pytest.mark.parametrize(("engine", "kind"), WRITES, indirect=["engine"])
@pytest.mark.parametrize("table", ["sealed_several_times", "deleted"], indirect=True)
def test_other_writers_refuse(table, engine, kind, client):
    folder = folder_of(table.location)
    with pytest.raises(Exception, match=EXCLUSIVE_WRITER):
        engine.write(kind, table.location)
    log = Log.of_folder(folder)
    assert not log.foreign_versions() and log.commits.items() >= table.log.commits.items()
    assert difference(our_rows(client, table.name, log.through()), table.rows) is None


def test_a_table_that_others_tried_to_write_goes_on(client):
    """Files that they left behind are nobody's."""
    name = sealed_several_times(client, "t_tried")
    before = places(client, name)
    engine = ENGINES["deltalake"](None)
    for kind in engine.writes:
        with pytest.raises(Exception, match=EXCLUSIVE_WRITER):
            engine.write(kind, before.location)
    (folder_of(before.location) / "part-of-a-foreign-writer.parquet").write_bytes(b"PAR1")
    write(client, name, some_kinds(4))
    after = seal(client, name)
    assert after.delta_version > before.version and after.rows == 10_000
    assert difference(engine.read(after.location), our_rows(client, name, after.through)) is None


def test_a_foreign_vacuum_takes_nothing(server):
    """Other engines may remove what the log does not name: neither built files nor ours beside the sealed ones are missed."""
    with Client(server.grpc) as client:
        name = sealed(client, "t_vacuumed")
        write(client, name, some_kinds(2))
        build(client, name)
        location = places(client, name).location
        expected = client.rows(f"SELECT id, s FROM {name} ORDER BY id")
        DeltaTable(location).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    for restart in (False, True):
        if restart:
            server.restart()
        with Client(server.grpc) as client:
            assert client.rows(f"SELECT id, s FROM {name} ORDER BY id") == expected
            for key, text in expected[:: len(expected) // 20]:
                assert client.rows(f"SELECT s FROM {name} WHERE id = {key}") == [(text,)]
            assert client.write(name, arrow_payload(some_kinds(0))).accepted == 0
            moved = seal(client, name)
            assert difference(query(location, "SELECT * FROM t"), our_rows(client, name, moved.through)) is None


@pytest.mark.parametrize("table", ["deleted", "deleted_twice"], indirect=True)
def test_a_foreign_vacuum_spares_deletion_vectors(table):
    """deltalake's, which looks at the whole folder, takes files that it does not know for nobody's, deletion vectors and sidecars among them."""
    taken = DeltaTable(table.location).vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
    live = [add for add in table.log.live().values() if add.get("deletionVector")]
    # Writers that were refused may have left vectors of their own.
    assert live and not [path for path in taken if "_dv" in path or "_filters" in path]


@by_engine
@pytest.mark.parametrize("table", ["with_a_checkpoint"], indirect=True)
def test_a_table_is_read_from_its_checkpoint_on(table, engine, tmp_path):
    """Without the commits that the checkpoint stands for it is the same table."""
    if not engine.can_read(table.log):
        pytest.skip("its Arrow reader knows no deletion vectors, which its QueryBuilder does")
    folder = tmp_path / "table"
    copy_of(folder_of(table.location), folder)
    checkpoint = json.loads((folder / "_delta_log" / "_last_checkpoint").read_text())["version"]
    assert 100 <= checkpoint <= table.log.version
    for version in range(checkpoint + 1):
        (folder / "_delta_log" / f"{version:020}.json").unlink()
    assert difference(engine.read(folder.as_uri()), table.rows) is None


def test_old_versions_stay_readable(made, client):
    """Each version that had rows is what it was: nothing that a version names goes within the time that the table keeps."""
    table = made("deleted_twice")
    log = Log.of_folder(folder_of(table.location))
    counts = []
    for version in range(log.version + 1):
        rows = query(table.location, "SELECT count(*) AS n FROM t", version=version)["n"][0].as_py()
        assert rows == log.live_rows(version), version
        counts.append(rows)
    assert len(set(counts)) > 3 and max(counts) >= 8_000


@pytest.fixture
def own_server(tmp_path):
    server = Server(tmp_path / "server").start()
    yield server
    server.kill()


def test_it_is_read_while_rows_come_and_are_sealed(own_server):
    """At each version that a reader finds it has exactly the rows through that version's `txn`, each once, while producers write, and while
    the server seals."""
    events = data.events()
    stop, failures = threading.Event(), []

    def produce(client: Client):
        try:
            loader = Loader(client, "events", "reader-test")
            for batch in data.batches(events):
                for start in range(0, batch.num_rows, 200):
                    if stop.is_set():
                        return
                    loader.load([batch.slice(start, 200)])
        except Exception as error:  # noqa: BLE001: told to the test below
            failures.append(error)

    engines = [ENGINES[name](None) for name in ("deltalake", "deltalake-query", "polars")]
    with Client(own_server.grpc) as client, Client(own_server.grpc) as producer:
        client.execute(data.CREATE_EVENTS.format(name="events"))
        thread = threading.Thread(target=produce, args=(producer,))
        thread.start()
        try:
            # A table without rows has no Delta folder yet.
            while not failures and client.value("SELECT count(*) FROM events") == 0:
                pass
            through, seen = 0, set()
            for _ in range(8):
                moved = seal(client, "events")
                log = Log.of_folder(folder_of(moved.location))
                assert log.version >= moved.delta_version and log.through(moved.delta_version) >= moved.through >= through
                through = log.through(moved.delta_version)
                seen.add(through)
                expected = our_rows(client, "events", through).sort_by("event_id")
                for engine in engines:
                    read = engine.read(moved.location, moved.delta_version)
                    assert read.select(expected.column_names).cast(expected.schema).sort_by("event_id").equals(expected)
        finally:
            stop.set()
            thread.join()
        assert not failures, failures
        assert len(seen) > 1, "no rows came in between"
        own_server.restart(kill=True)
    with Client(own_server.grpc) as client:
        moved = seal(client, "events")
        expected = our_rows(client, "events", moved.through)
        assert client.value("SELECT count(*) FROM events") == expected.num_rows == moved.rows
        assert difference(engines[0].read(moved.location), expected) is None
        Log.of_folder(folder_of(moved.location)).assert_sound()


def test_a_name_that_comes_again_is_another_table(client):
    """The folder of a dropped table stays as it is and is never another's; UNDROP brings the table back with its rows."""
    old = sealed(client, "t_again")
    before = places(client, old)
    rows = our_rows(client, old, Log.of_folder(folder_of(before.location)).through())
    write(client, old, some_kinds(2))
    client.execute(f"DROP TABLE {old}")
    client.execute(f"CREATE TABLE {old} (id BIGINT NOT NULL, PRIMARY KEY (id))")
    write(client, old, pa.table({"id": [1, 2, 3]}))
    assert seal(client, old).location != before.location
    assert difference(query(before.location, "SELECT * FROM t"), rows) is None
    client.execute(f"ALTER TABLE {old} RENAME TO t_again_new")
    client.execute(f"UNDROP TABLE {old}")
    # What had not been sealed is back as well.
    assert client.value(f"SELECT count(*) FROM {old}") == 6_000
    after = seal(client, old)
    assert (after.location, after.rows) == (before.location, 6_000)
    assert difference(query(after.location, "SELECT * FROM t"), our_rows(client, old, after.through)) is None
    assert client.value("SELECT count(*) FROM t_again_new") == 3
