"""Which rows are loaded? The sample in the repository, or the whole stream where TIDEWATER_GIT_EVENTS points; rows of all types."""

import datetime
import decimal
import math
import os
import pathlib
import random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SAMPLE = pathlib.Path(__file__).resolve().parents[3] / "server/fixtures/git_events_sample.parquet"

CREATE_EVENTS = """
CREATE TABLE {name} (
  event_id BIGINT NOT NULL, repo VARCHAR NOT NULL, "commit" VARCHAR, author VARCHAR, change VARCHAR, path VARCHAR,
  authored_at TIMESTAMPTZ NOT NULL, committed_at TIMESTAMPTZ,
  PRIMARY KEY (event_id)
) WITH (time_column = 'authored_at', sort_by = 'repo, authored_at')
"""

# A dimension without a time column. One repository of the stream is missing, one is not in the stream, one owner is NULL.
CREATE_REPOS = "CREATE TABLE repos (repo VARCHAR NOT NULL, language VARCHAR, owner VARCHAR, founded INTEGER, PRIMARY KEY (repo))"
REPOS = pa.table(
    {
        "repo": ["apache/arrow", "apache/pinot", "facebook/rocksdb", "apache/arrow-rs", "duckdb/duckdb"],
        "language": ["C++", "Java", "C++", "Rust", "C++"],
        "owner": ["apache", "apache", "facebook", None, "duckdb"],
        "founded": pa.array([2016, 2014, 2012, 2021, 2018], pa.int32()),
    }
)


# Rows that are sorted together: the server's RUN_ROWS. Fewer are scanned as they came, without binary search and with few zones.
RUN_ROWS = 131_072
COPIES = 3

# NULLs in the columns that rows are sorted by, and in all others but the key.
CREATE_KINDS = """
CREATE TABLE kinds (
  id BIGINT NOT NULL, flag BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INTEGER, u8 TINYINT UNSIGNED, u16 SMALLINT UNSIGNED,
  u32 INTEGER UNSIGNED, u64 BIGINT UNSIGNED, r REAL, d DOUBLE, dec DECIMAL(18, 4), s VARCHAR, bin VARBINARY, day DATE, tod TIME,
  ts TIMESTAMP, tz TIMESTAMPTZ, tags BIGINT[], item STRUCT<x BIGINT, y VARCHAR>,
  PRIMARY KEY (id)
) WITH (sort_by = 'u16, ts')
"""
N_KINDS = 20_000
KINDS_COPIES = 7


def events_file() -> pathlib.Path:
    return pathlib.Path(os.environ.get("TIDEWATER_GIT_EVENTS", SAMPLE)).resolve()


def events() -> pa.Table:
    return pq.read_table(events_file())


def many_events() -> pa.Table:
    """Enough events for a sorted run and a tail: the whole stream, or the sample again with other ids and in other repositories.
    In the order of time, so that every batch has events of all repositories."""
    sample = events()
    many = sample if sample.num_rows > RUN_ROWS else pa.concat_tables(_copy(sample, i) for i in range(COPIES))
    return many.sort_by("authored_at")


def _copy(sample: pa.Table, i: int) -> pa.Table:
    if i == 0:
        return sample
    # Ids are random numbers of 64 bits; adding wraps round.
    ids = pc.add(sample["event_id"], pa.scalar(i * 0x1E3779B97F4A7C15, pa.int64()))
    repos = pc.binary_join_element_wise(sample["repo"], pa.scalar(f"~{i}"), "")
    return sample.set_column(0, "event_id", ids).set_column(1, "repo", repos)


def kinds() -> pa.Table:
    """Rows of every type that a table can have, ends of the types among them; enough for a sorted run and a tail."""
    rows = _kinds()
    copies = [rows.set_column(0, "id", pc.add(rows["id"], i * N_KINDS)) for i in range(KINDS_COPIES)]
    return pa.concat_tables(copies)


def _kinds() -> pa.Table:
    dice = random.Random(42)

    def column(arrow_type, value, ends=(), nulls=0.1):
        """Random values; a few are ends of the type, a tenth is NULL."""

        def one():
            if dice.random() < nulls:
                return None
            return dice.choice(ends) if ends and dice.random() < 0.02 else value()

        return pa.array([one() for _ in range(N_KINDS)], arrow_type)

    def integer(bits, signed=True):
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        arrow_type = getattr(pa, f"{'' if signed else 'u'}int{bits}")()
        return column(arrow_type, lambda: dice.randint(low // 1000, high // 1000), (low, high))

    ends = (math.nan, math.inf, -math.inf, 0.0)
    start = datetime.datetime(2024, 1, 1)
    utc = datetime.timezone.utc

    def moment():
        return start + datetime.timedelta(microseconds=dice.randrange(86_400_000_000 * 30))

    first, last = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999)
    words = ["", "a", "ä", "😀", "apache", "arrow", "x" * 40, "O'Hara", "tab\there", "Z"]
    columns = {
        "id": pa.array(range(N_KINDS), pa.int64()),
        "flag": column(pa.bool_(), lambda: dice.random() < 0.3),
        "i8": column(pa.int8(), lambda: dice.randint(-5, 5), (-128, 127)),
        "i16": integer(16),
        "i32": integer(32),
        "u8": column(pa.uint8(), lambda: dice.randint(0, 9), (255,)),
        "u16": column(pa.uint16(), lambda: dice.randint(0, 300), (0, 65535)),
        "u32": integer(32, signed=False),
        "u64": integer(64, signed=False),
        "r": column(pa.float32(), lambda: dice.uniform(-1e6, 1e6), ends),
        "d": column(pa.float64(), lambda: dice.uniform(-1e9, 1e9), ends),
        "dec": column(pa.decimal128(18, 4), lambda: decimal.Decimal(dice.randint(-(10**8), 10**8)).scaleb(-4),
                      (decimal.Decimal("99999999999999.9999"), decimal.Decimal("-99999999999999.9999"))),
        "s": column(pa.string(), lambda: dice.choice(words) + dice.choice(words)),
        "bin": column(pa.binary(), lambda: dice.randbytes(dice.randrange(6)), (b"", b"\xff\x00")),
        "day": column(pa.date32(), lambda: moment().date(), (first.date(), last.date())),
        "tod": column(pa.time64("us"), lambda: moment().time(), (datetime.time(0), last.time())),
        "ts": column(pa.timestamp("us"), moment, (first, last)),
        "tz": column(pa.timestamp("us", "UTC"), lambda: moment().replace(tzinfo=utc)),
        "tags": column(pa.list_(pa.int64()), lambda: [dice.choice([None, 1, 2, 3]) for _ in range(dice.randrange(4))]),
        "item": column(pa.struct([("x", pa.int64()), ("y", pa.string())]),
                       lambda: {"x": dice.choice([None, dice.randrange(9)]), "y": dice.choice(words)}),
    }  # fmt: skip
    return pa.table(columns)


def batch_rows(table: pa.Table) -> int:
    """For about fifty batches, of at most 10,000 rows."""
    return min(10_000, max(1, table.num_rows // 50))


def batches(table: pa.Table) -> list[pa.RecordBatch]:
    return table.combine_chunks().to_batches(max_chunksize=batch_rows(table))
