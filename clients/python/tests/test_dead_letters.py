"""Is what the server did not take kept, and can it be sent again without a row being stored twice?"""

import concurrent.futures
import dataclasses
import json
import os

import pytest

import tidewater
from conftest import QUICK
from tidewater.__main__ import main
from tidewater.ingest.dead_letters import DeadLetter, DeadLetterFile

REFUSED = {"kind": "refuse", "status": "INVALID_ARGUMENT", "reason": "MALFORMED_PAYLOAD", "message": "not for us; mend it (TW-1211)"}


def ids(server) -> list[int]:
    return [row["id"] for row in server.rows["t"]]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "dead.ndjson")


def gives_up(server, producer_of, path, **options):
    """A producer whose first batch is stored without an answer, and that then has no server."""
    producer = producer_of(dead_letter=path, retry_deadline_s=0.05, **options)
    server.fail("lose_answer")
    server.fail("break", n_times=10_000)
    for first in (0, 2):
        producer.send_batch([{"id": first}, {"id": first + 1}])
    with pytest.raises(tidewater.ProducerStoppedError):
        producer.flush()
    server._faults.clear()
    return producer


def test_a_refused_batch_is_kept_and_the_others_go_on(server, producer_of, path):
    producer = producer_of(dead_letter=path, batch_max_rows=2)
    server.fail("throttle")
    server.fail(**REFUSED)
    producer.send({"id": number} for number in range(10))
    with pytest.raises(tidewater.InvalidRequestError, match="a batch of 2 rows was refused and is in") as refused:
        producer.flush()
    assert refused.value.code == "TW-1211"
    assert producer.flush()  # It is told once.
    assert ids(server) == [0, 1, 4, 5, 6, 7, 8, 9]
    (letter,) = DeadLetterFile(path).read()
    assert (letter.table, letter.producer, letter.n_rows, letter.sequence, letter.data) == ("t", "p", 2, None, b'{"id":2}\n{"id":3}\n')
    assert "MALFORMED_PAYLOAD" in letter.cause
    (line,) = open(path)
    assert json.loads(line)["json_rows"] == '{"id":2}\n{"id":3}\n'
    assert (producer.statistics.rows_dead, producer.statistics.last_sequence) == (2, 4)

    result = tidewater.replay(path, server.url)
    assert (result.batches_stored, result.rows_accepted, result.batches_left) == (1, 2, 0)
    assert sorted(ids(server)) == list(range(10))
    assert DeadLetterFile(path).read() == []


def test_what_is_refused_again_stays(server, producer_of, path):
    producer = producer_of(dead_letter=path)
    for _ in range(2):
        server.fail(**REFUSED)
        producer.send({"id": 1})
        with pytest.raises(tidewater.InvalidRequestError):
            producer.flush()
    server.fail(**REFUSED)
    result = tidewater.replay(path, server.url)
    assert (result.batches_stored, result.batches_left, [error.code for error in result.errors]) == (1, 1, ["TW-1211"])
    assert len(DeadLetterFile(path).read()) == 1


def test_a_batch_that_was_given_up_is_stored_once(server, producer_of, path):
    """The first batch was stored, its answer was lost; the second was not."""
    gives_up(server, producer_of, path)
    assert ids(server) == [0, 1]
    assert [(letter.sequence, letter.epoch) for letter in DeadLetterFile(path).read()] == [(1, 1), (2, 1)]
    result = tidewater.replay(path, server.url)
    assert (result.batches_stored, result.batches_left) == (2, 0)
    assert ids(server) == [0, 1, 2, 3] and server.n_repeated >= 1
    # The next run goes on behind what was replayed.
    producer = producer_of(dead_letter=path)
    assert producer.last_sequence == 2


def test_the_next_run_settles_what_is_stored(server, producer_of, path):
    gives_up(server, producer_of, path)
    producer = producer_of(dead_letter=path)
    assert [(letter.sequence, letter.data) for letter in DeadLetterFile(path).read()] == [(None, b'{"id":2}\n{"id":3}\n')]
    producer.send({"id": 9})
    producer.flush()
    tidewater.replay(path, server.url)
    assert sorted(ids(server)) == [0, 1, 2, 3, 9]


def test_a_run_without_the_file_leaves_a_question(server, producer_of, path):
    gives_up(server, producer_of, path)
    other = producer_of()
    other.send({"id": 9})
    other.flush()
    result = tidewater.replay(path, server.url)
    assert (result.batches_stored, result.batches_left) == (0, 2) and {error.reason for error in result.errors} == {"PRODUCER_FENCED"}
    assert len(DeadLetterFile(path).read()) == 2
    # Not even the next run with the file can tell: number 2 may be the other's.
    producer_of(dead_letter=path)
    assert [letter.sequence for letter in DeadLetterFile(path).read()] == [1, 2]
    assert tidewater.replay(path, server.url, unsettled="drop").batches_dropped == 2


def test_a_replay_that_is_broken_off_is_repeated(server, producer_of, path):
    producer = producer_of(dead_letter=path)
    for number in range(3):
        server.fail(**REFUSED)
        producer.send({"id": number})
        with pytest.raises(tidewater.InvalidRequestError):
            producer.flush()
    server.fail("throttle")
    server.fail("lose_answer", n_times=10_000)
    with pytest.raises(tidewater.GivenUpError):
        tidewater.replay(path, server.url, retry_deadline_s=0.05)
    server._faults.clear()
    assert tidewater.replay(path, server.url).batches_left == 0
    assert ids(server) == [0, 1, 2] and server.n_repeated >= 1


def test_a_stored_batch_that_would_be_refused_now_is_stored(server, producer_of, path):
    """Its answer was lost, and by now the server would not take it: it is no dead letter, and its number is used up."""
    producer = producer_of(dead_letter=path, batch_max_rows=1)
    server.fail("lose_answer")
    server.fail(**REFUSED)
    producer.send([{"id": 1}, {"id": 2}, {"id": 3}])
    producer.flush()
    assert ids(server) == [1, 2, 3] and DeadLetterFile(path).read() == []
    assert (producer.statistics.rows_repeated, producer.statistics.last_sequence) == (1, 3)


def test_frames_go_and_come_back(server, producer_of, path):
    polars = pytest.importorskip("polars")
    producer = producer_of(dead_letter=path)
    server.fail(**REFUSED)
    producer.send(polars.DataFrame({"id": [1, 2], "name": ["a", None]}))
    with pytest.raises(tidewater.InvalidRequestError):
        producer.flush()
    tidewater.replay(path, server.url)
    assert server.rows["t"] == [{"id": 1, "name": "a"}, {"id": 2, "name": None}]


def test_rows_of_an_abandoned_producer_are_kept(server, producer_of, path):
    producer = producer_of(dead_letter=path, flush_interval_s=3600.0)
    producer.send([{"id": 1}, {"id": 2}])
    producer.abandon()
    (letter,) = DeadLetterFile(path).read()
    assert (letter.n_rows, letter.sequence) == (2, None)


def test_a_line_that_a_crash_cut_is_no_letter(server, producer_of, path):
    producer = producer_of(dead_letter=path)
    server.fail(**REFUSED)
    producer.send({"id": 1})
    with pytest.raises(tidewater.InvalidRequestError):
        producer.flush()
    with open(path, "a") as file:
        file.write('{"id": "half')
    assert len(DeadLetterFile(path).read()) == 1
    server.fail(**REFUSED)
    producer.send({"id": 2})
    with pytest.raises(tidewater.InvalidRequestError):
        producer.flush()
    assert [letter.data for letter in DeadLetterFile(path).read()] == [b'{"id":1}\n', b'{"id":2}\n']


def test_a_file_that_cannot_be_written_is_told(server, producer_of, tmp_path):
    producer = producer_of(dead_letter=str(tmp_path / "nowhere" / "dead"))
    server.fail(**REFUSED)
    producer.send({"id": 1})
    with pytest.raises(tidewater.ProducerStoppedError, match="dead-letter file cannot be written"):
        producer.flush()


def test_from_a_shell(server, producer_of, path, monkeypatch, capsys):
    producer = producer_of(dead_letter=path)
    server.fail(**REFUSED)
    producer.send({"id": 1})
    with pytest.raises(tidewater.InvalidRequestError):
        producer.flush()
    monkeypatch.setattr("sys.argv", ["tidewater", "replay", path, "--server", server.address])
    assert main() == 0
    assert capsys.readouterr().out == "1 batches stored: 1 rows accepted, 0 duplicate, 0 rejected; 0 batches dropped, 0 left\n"
    assert ids(server) == [1]


def test_options_of_the_batch_come_back(server, producer_of, path):
    producer = producer_of(dead_letter=path, on_row_error="abort", time_zone="Europe/Berlin", **QUICK)
    server.fail(**REFUSED)
    producer.send({"id": 1})
    with pytest.raises(tidewater.InvalidRequestError):
        producer.flush()
    (letter,) = DeadLetterFile(path).read()
    assert letter.batch_options == producer._core.options.batch_options()


def test_a_reset_settles_before_it_forgets(server, producer_of, path):
    """A server that was asked to forget stands at 0, and what it has stored would seem not to be."""
    gives_up(server, producer_of, path)
    producer_of(dead_letter=path, reset=True)
    assert [(letter.sequence, letter.data) for letter in DeadLetterFile(path).read()] == [(None, b'{"id":2}\n{"id":3}\n')]
    tidewater.replay(path, server.url)
    assert ids(server) == [0, 1, 2, 3]


def test_a_server_that_has_forgotten_the_producer_settles_nothing(server, producer_of, path):
    gives_up(server, producer_of, path)
    with server.lock:
        server._producers.clear()
    producer_of(dead_letter=path)
    assert [letter.sequence for letter in DeadLetterFile(path).read()] == [1, 2]
    result = tidewater.replay(path, server.url)
    assert (result.batches_stored, result.batches_left) == (0, 2) and ids(server) == [0, 1]
    assert all("nobody can tell" in str(error) and error.hint.startswith("unsettled='send'") for error in result.errors)
    # Nor does one that has met fewer epochs: it is another, or an older copy.
    with server.lock:
        server._producers.clear()
    for _ in range(2):
        producer_of()
    DeadLetterFile(path).change(lambda letter: dataclasses.replace(letter, epoch=5))
    producer_of(dead_letter=path)
    assert [letter.sequence for letter in DeadLetterFile(path).read()] == [1, 2]


def test_a_file_that_fails_half_way_has_no_line_twice(server, producer_of, path, monkeypatch):
    """The first try fails after its line is written; the producer stops, and writes the batch again."""
    real, calls = os.fsync, []

    def fail_once(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        real(descriptor)

    producer = producer_of(dead_letter=path)
    monkeypatch.setattr("tidewater.ingest.dead_letters.os.fsync", fail_once)
    server.fail(**REFUSED)
    producer.send({"id": 1})
    with pytest.raises(tidewater.ProducerStoppedError, match="No space left"):
        producer.flush()
    assert len(calls) > 1 and len(DeadLetterFile(path).read()) == 1
    assert tidewater.replay(path, server.url).batches_stored == 1
    assert ids(server) == [1]


def test_a_long_line_that_a_crash_cut_is_no_letter(path):
    with open(path, "w") as file:
        file.write('{"id": "half' + "x" * 200_000)
    file = DeadLetterFile(path)
    letters = [DeadLetter("public", "t", "p", f'{{"id":{number}}}\n'.encode(), True, 1, "") for number in range(3)]
    file.append(letters[:2])
    with open(path, "a") as cut:
        cut.write("y" * 200_000)
    file.append(letters[2:])
    assert file.read() == letters


def without_last_line_break(path):
    with open(path, "rb+") as file:
        file.truncate(os.path.getsize(path) - 1)


def test_a_last_letter_that_an_editor_left_without_an_end_is_kept(server, path):
    file = DeadLetterFile(path)
    letters = [DeadLetter("public", "t", "p", f'{{"id":{number}}}\n'.encode(), True, 1, "") for number in range(3)]
    file.append(letters[:1])
    without_last_line_break(path)
    file.append(letters[1:])
    assert file.read() == letters
    without_last_line_break(path)
    file.change(lambda letter: None if letter == letters[0] else letter)
    assert file.read() == letters[1:]
    without_last_line_break(path)
    assert tidewater.replay(path, server.url).batches_stored == 2 and ids(server) == [1, 2]
    assert not os.path.exists(path)


def test_a_private_file_stays_private(path):
    file = DeadLetterFile(path)
    file.append([DeadLetter("public", "t", "p", b'{"id":1}\n', True, 1, "") for _ in range(2)])
    os.chmod(path, 0o600)
    first, second = file.read()
    file.change(lambda letter: None if letter == first else letter)
    assert (file.read(), os.stat(path).st_mode & 0o777) == ([second], 0o600)


def test_a_line_that_is_no_letter_is_told(server, producer_of, path, monkeypatch, capsys):
    with open(path, "w") as file:
        file.write('{"id":1}\n')
    with pytest.raises(tidewater.Error, match="line 1 of .* is no dead letter"):
        producer_of(dead_letter=path)
    monkeypatch.setattr("sys.argv", ["tidewater", "replay", path, "--server", server.address])
    assert main() == 1 and "line 1 of" in capsys.readouterr().err


def test_a_replay_writes_the_file_anew_once_and_not_once_a_line(server, path, monkeypatch):
    file, changes = DeadLetterFile(path), []
    file.append(DeadLetter("public", "t", "p", f'{{"id":{number}}}\n'.encode(), True, 1, "") for number in range(300))
    real = DeadLetterFile.change
    monkeypatch.setattr(DeadLetterFile, "change", lambda self, change: (changes.append(1), real(self, change)))
    assert tidewater.replay(path, server.url).batches_stored == 300
    assert ids(server) == list(range(300)) and len(changes) < 10 and file.read() == []


def test_two_replays_at_once_store_each_batch_once(server, path):
    DeadLetterFile(path).append(DeadLetter("public", "t", "p", f'{{"id":{number}}}\n'.encode(), True, 1, "") for number in range(100))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = [one.result(60) for one in [pool.submit(tidewater.replay, path, server.url) for _ in range(2)]]
    assert sorted(ids(server)) == list(range(100)) and [result.batches_left for result in results] == [0, 0]
    assert DeadLetterFile(path).read() == []


def test_a_file_that_is_not_there_is_told(server, path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tidewater", "replay", path, "--server", server.address])
    assert main() == 0 and f"there is no file {path}" in capsys.readouterr().err
