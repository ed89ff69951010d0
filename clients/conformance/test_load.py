"""Is every row there exactly once? The stream over gRPC and over ADBC, with batches sent twice and one in ten again later."""

import pyarrow as pa
import pytest

from harness import data
from harness.client import Loader

EVENTS = data.events()
N = EVENTS.num_rows
BATCHES = data.batches(EVENTS)
LATER = [(sequence, batch) for sequence, batch in enumerate(BATCHES, 1) if sequence % 10 == 0]
N_LATER = sum(batch.num_rows for _, batch in LATER)


def ledger(client, table: str) -> dict:
    sql = f"""SELECT CAST(sum(received) AS BIGINT) AS received, CAST(sum(accepted) AS BIGINT) AS accepted,
      CAST(sum(duplicate) AS BIGINT) AS duplicate, CAST(sum(repeated) AS BIGINT) AS repeated,
      CAST(sum(rejected) AS BIGINT) AS rejected
      FROM system.ledger WHERE table_id = (SELECT id FROM system.tables WHERE name = '{table}')"""
    answer, _ = client.execute(sql)
    (sums,) = answer.to_pylist()
    assert sums["received"] == sums["accepted"] + sums["duplicate"] + sums["repeated"] + sums["rejected"]
    return sums


def assert_whole(client, table: str):
    """Each row of the stream once, with its values."""
    assert client.rows(f"SELECT count(*), count(DISTINCT event_id) FROM {table}") == [(N, N)]
    stored, _ = client.execute(f'SELECT event_id, repo, "commit", author, change, path, authored_at, committed_at FROM {table}')
    stored = stored.cast(EVENTS.schema).sort_by("event_id")
    assert stored.equals(EVENTS.sort_by("event_id"))


def test_over_grpc(client):
    client.execute(data.CREATE_EVENTS.format(name="by_grpc"))
    loader = Loader(client, "by_grpc", "load-1")
    answers = loader.load(BATCHES, twice=True)
    assert [answer.repeated for answer in answers] == [False, True] * len(BATCHES)
    assert all(answer.accepted == answer.received for answer in answers[::2])
    assert all(answer.repeated for answer in loader.again(LATER))
    assert_whole(client, "by_grpc")
    assert ledger(client, "by_grpc") == {
        "received": 2 * N + N_LATER, "accepted": N, "duplicate": 0, "repeated": N + N_LATER, "rejected": 0,
    }  # fmt: skip

    # Another producer knows nothing of these batches: every row is a duplicate by its key.
    answers = Loader(client, "by_grpc", "load-2").load(BATCHES)
    assert {(answer.repeated, answer.accepted) for answer in answers} == {(False, 0)}
    assert sum(answer.duplicates for answer in answers) == N
    assert_whole(client, "by_grpc")
    assert ledger(client, "by_grpc")["accepted"] == N


def test_over_adbc_append(client, adbc):
    client.execute(data.CREATE_EVENTS.format(name="by_adbc"))
    with adbc.cursor() as cursor:
        for batch in BATCHES:
            for _ in range(2):
                cursor.adbc_ingest("by_adbc", batch, mode="append")
        for _, batch in LATER:
            cursor.adbc_ingest("by_adbc", batch, mode="append")
        assert_whole(client, "by_adbc")
        assert ledger(client, "by_adbc") == {
            "received": 2 * N + N_LATER, "accepted": N, "duplicate": N + N_LATER, "repeated": 0, "rejected": 0,
        }  # fmt: skip
        # A second full load, in one call.
        cursor.adbc_ingest("by_adbc", EVENTS.to_reader(max_chunksize=10_000), mode="append")
    assert_whole(client, "by_adbc")
    assert ledger(client, "by_adbc")["accepted"] == N


def test_over_adbc_create(client, adbc):
    """A table made from data has no key, so every append stays."""
    with adbc.cursor() as cursor:
        first = pa.Table.from_batches(BATCHES[:3])
        assert cursor.adbc_ingest("made_from_data", first, mode="create") in (-1, first.num_rows)
        assert client.value("SELECT count(*) FROM made_from_data") == first.num_rows
        with pytest.raises(Exception, match="(?i)already exists|ALREADY_EXISTS"):
            cursor.adbc_ingest("made_from_data", first, mode="create")
        cursor.adbc_ingest("made_from_data", BATCHES[3], mode="append")
    expected = first.num_rows + BATCHES[3].num_rows
    assert client.rows("SELECT count(*), count(DISTINCT event_id) FROM made_from_data") == [(expected, expected)]
