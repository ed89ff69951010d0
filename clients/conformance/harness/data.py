"""Which rows are loaded? The sample in the repository, or the whole stream where TIDEWATER_GIT_EVENTS points."""

import os
import pathlib

import pyarrow as pa
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


def events_file() -> pathlib.Path:
    return pathlib.Path(os.environ.get("TIDEWATER_GIT_EVENTS", SAMPLE)).resolve()


def events() -> pa.Table:
    return pq.read_table(events_file())


def batch_rows(table: pa.Table) -> int:
    """For about fifty batches, of at most 10,000 rows."""
    return min(10_000, max(1, table.num_rows // 50))


def batches(table: pa.Table) -> list[pa.RecordBatch]:
    return table.combine_chunks().to_batches(max_chunksize=batch_rows(table))
