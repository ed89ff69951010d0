"""Is every row there exactly once? The stream over gRPC, over ADBC, over HTTP and by the command line, with batches sent twice and one in ten again
later."""

import re
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import data
from harness.bulk import CONTENT_TYPES, Bulk, encoded
from harness.client import Loader
from harness.relay import Relay
from harness.server import binary

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


@pytest.mark.parametrize("form", CONTENT_TYPES)
def test_over_http(server, client, form):
    table = f"by_http_{form}"
    client.execute(data.CREATE_EVENTS.format(name=table))
    with Bulk(server.http) as bulk:
        bodies = [encoded(pa.Table.from_batches([batch]), form) for batch in BATCHES]
        for at, body in enumerate(bodies):
            for repeated in (False, True):
                status, answer = bulk.ingest(table, body, form, Idempotency_Key=f"batch {at}")
                assert (status, answer["repeated"], answer["rejected"]) == (200, repeated, 0), answer
        for sequence, _ in LATER:
            _, answer = bulk.ingest(table, bodies[sequence - 1], form)
            assert (answer["accepted"], answer["duplicate"]) == (0, answer["received"])
    assert_whole(client, table)
    assert ledger(client, table) == {
        "received": 2 * N + N_LATER, "accepted": N, "duplicate": N_LATER, "repeated": N, "rejected": 0,
    }  # fmt: skip


def test_over_adbc_create(client, adbc):
    """A table made from data has no key, so every append stays."""
    with adbc.cursor() as cursor:
        first = pa.Table.from_batches(BATCHES[:3])
        assert cursor.adbc_ingest("made_from_data", first, mode="create") == first.num_rows
        assert client.value("SELECT count(*) FROM made_from_data") == first.num_rows
        with pytest.raises(Exception, match="(?i)already exists|ALREADY_EXISTS"):
            cursor.adbc_ingest("made_from_data", first, mode="create")
        cursor.adbc_ingest("made_from_data", BATCHES[3], mode="append")
    expected = first.num_rows + BATCHES[3].num_rows
    assert client.rows("SELECT count(*), count(DISTINCT event_id) FROM made_from_data") == [(expected, expected)]


# The command line cuts the file at the same rows as the batches above.
CHUNK_ROWS = data.batch_rows(EVENTS)
COUNTS = re.compile(r"(\d+) rows received, (\d+) accepted, (\d+) duplicate, (\d+) rejected, (\d+) repeated")
CLI_TIMEOUT_S = 300


def start_cli(address: str, table: str, file=None, chunk_rows: int = CHUNK_ROWS, flags=()) -> subprocess.Popen:
    command = [binary(), "ingest", table, file or data.events_file(), "--server", address, "--chunk-rows", str(chunk_rows), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(cli: subprocess.Popen) -> tuple[str, str]:
    try:
        return cli.communicate(timeout=CLI_TIMEOUT_S)
    finally:
        cli.kill()


def load(*arguments, **named) -> dict:
    """What the command line says at the end of a load that succeeds."""
    cli = start_cli(*arguments, **named)
    said, complaint = ended(cli)
    assert cli.returncode == 0, complaint
    (counts,) = COUNTS.findall(said)
    return dict(zip(("received", "accepted", "duplicate", "rejected", "repeated"), map(int, counts)))


def test_by_cli(server, client, tmp_path):
    client.execute(data.CREATE_EVENTS.format(name="by_cli"))
    # Behind a connection that loses every first answer the program sends each chunk twice.
    with Relay(server.grpc) as relay:
        counts = load(relay.address, "by_cli")
        assert relay.n_broken >= 2
    assert counts["received"] == counts["accepted"] + counts["repeated"] == N
    assert_whole(client, "by_cli")
    expected = {"received": 2 * N, "accepted": N, "duplicate": 0, "repeated": N, "rejected": 0}
    assert ledger(client, "by_cli") == expected

    # One in ten again later. In another file they are another producer's: every row is a duplicate by its key.
    later = tmp_path / "later.parquet"
    pq.write_table(pa.Table.from_batches([batch for _, batch in LATER]), later)
    assert load(server.grpc, "by_cli", later) == {"received": N_LATER, "accepted": 0, "duplicate": N_LATER, "rejected": 0, "repeated": 0}
    expected["received"] += N_LATER
    expected["duplicate"] += N_LATER
    assert_whole(client, "by_cli")
    assert ledger(client, "by_cli") == expected

    # A second full load: the program asks where it stopped, and sends nothing, however it cuts the file.
    for chunk_rows in (CHUNK_ROWS, CHUNK_ROWS + 1):
        counts = load(server.grpc, "by_cli", chunk_rows=chunk_rows)
        assert counts == {"received": N, "accepted": 0, "duplicate": 0, "rejected": 0, "repeated": N}
    assert_whole(client, "by_cli")
    assert ledger(client, "by_cli") == expected

    # A second full load of the same rows in another form sends everything once more.
    other_form = tmp_path / "events.arrow"
    with pa.ipc.new_file(other_form, EVENTS.schema) as writer:
        writer.write(EVENTS)
    assert load(server.grpc, "by_cli", other_form) == {"received": N, "accepted": 0, "duplicate": N, "rejected": 0, "repeated": 0}
    expected["received"] += N
    expected["duplicate"] += N
    assert_whole(client, "by_cli")
    assert ledger(client, "by_cli") == expected


def test_by_cli_again(server, client):
    """A file that was loaded is loaded anew only where that is asked for: TRUNCATE forgets rows and keys, not what was loaded."""
    client.execute(data.CREATE_EVENTS.format(name="by_again"))
    stored = {"received": N, "accepted": N, "duplicate": 0, "rejected": 0, "repeated": 0}
    repeated = {**stored, "accepted": 0, "repeated": N}
    duplicate = {**stored, "accepted": 0, "duplicate": N}
    assert load(server.grpc, "by_again") == stored
    client.execute("TRUNCATE TABLE by_again")
    cli = start_cli(server.grpc, "by_again")
    said, hint = ended(cli)
    assert cli.returncode == 0 and f"{N} repeated" in said and "--again" in hint
    assert client.value("SELECT count(*) FROM by_again") == 0

    assert load(server.grpc, "by_again", flags=["--again"]) == stored
    assert_whole(client, "by_again")
    # The keys are known, whoever brings the rows.
    assert load(server.grpc, "by_again", flags=["--again"]) == duplicate
    assert load(server.grpc, "by_again") == repeated
    assert_whole(client, "by_again")
    # What is repeated by the program itself is never sent.
    assert ledger(client, "by_again") == {"received": 3 * N, "accepted": 2 * N, "duplicate": N, "repeated": 0, "rejected": 0}


def test_by_several_clis_at_once(server, client):
    """They have the same name, so the one that comes last fences the others; whoever comes back goes on behind what is stored."""
    client.execute(data.CREATE_EVENTS.format(name="by_race"))
    clis = [start_cli(server.grpc, "by_race") for _ in range(3)]
    endings = [(cli, *ended(cli)) for cli in clis]
    assert any(cli.returncode == 0 for cli, _, _ in endings), [complaint for _, _, complaint in endings]
    for cli, _, complaint in endings:
        assert cli.returncode == 0 or (cli.returncode == 1 and "PRODUCER_FENCED" in complaint), complaint
    assert_whole(client, "by_race")
    sums = ledger(client, "by_race")
    assert (sums["accepted"], sums["duplicate"], sums["rejected"]) == (N, 0, 0)
    assert load(server.grpc, "by_race") == {"received": N, "accepted": 0, "duplicate": 0, "rejected": 0, "repeated": N}
    assert ledger(client, "by_race") == sums


def test_by_cli_that_is_killed(server, client):
    """It is killed behind the first rows that are there; the next run goes on where it stopped."""
    client.execute(data.CREATE_EVENTS.format(name="by_killed"))
    cli = start_cli(server.grpc, "by_killed")
    try:
        while cli.poll() is None and not client.value("SELECT count(*) FROM by_killed"):
            pass
    finally:
        cli.kill()
        cli.communicate()
    counts = load(server.grpc, "by_killed")
    assert counts["accepted"] + counts["repeated"] == N and counts["duplicate"] == 0
    assert_whole(client, "by_killed")
    assert ledger(client, "by_killed")["accepted"] == N
