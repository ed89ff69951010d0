"""Is each row stored once, whatever breaks on the way, and is nothing lost without a word?"""

import concurrent.futures
import subprocess
import sys
import threading

import pytest

import tidewater
from conftest import QUICK
from tidewater.testing import FakeServer


def ids(server, table: str = "t") -> list[int]:
    return [row["id"] for row in server.rows[table]]


def rows(first: int, n: int) -> list[dict]:
    return [{"id": number} for number in range(first, first + n)]


def test_rows_are_there_when_flush_returns(server, producer_of):
    producer = producer_of()
    producer.send({"id": 0})
    producer.send(rows(1, 9))
    token = producer.flush()
    assert ids(server) == list(range(10)) and isinstance(token, tidewater.CommitToken) and token
    statistics = producer.statistics
    assert (statistics.rows_taken, statistics.rows_accepted, statistics.rows_buffered, statistics.bytes_buffered) == (10, 10, 0, 0)


def test_flush_without_rows_returns_at_once(producer_of):
    producer = producer_of()
    assert producer.flush() is None
    producer.close()
    assert producer.flush() is None


@pytest.mark.parametrize("option", [{"batch_max_rows": 5}, {"batch_max_bytes": 40}, {"flush_interval_s": 0.001}])
def test_a_batch_is_sent_by_rows_bytes_and_time(server, producer_of, option):
    producer = producer_of(**{"flush_interval_s": 3600.0, **option})
    with server.stored:
        producer.send(rows(0, 5))
        assert server.stored.wait_for(lambda: server.rows["t"], 10)


def test_a_batch_has_at_most_so_many_bytes(server, producer_of):
    producer = producer_of(batch_max_bytes=100, flush_interval_s=3600.0)
    producer.send([{"id": number, "text": "x" * 30} for number in range(6)])
    producer.flush()
    assert [len(batch) for batch in server.batches["t"]] == [2, 2, 2]


FAULTS = {
    "a connection that breaks": {"kind": "break"},
    "an answer that is lost": {"kind": "lose_answer"},
    "a server without memory": {"kind": "refuse", "status": "RESOURCE_EXHAUSTED", "reason": "MEMORY_PRESSURE", "retry_after_s": 0.01},
    "a table that is altered": {"kind": "refuse", "status": "FAILED_PRECONDITION", "reason": "SCHEMA_VERSION_MISMATCH"},
    "an HTTP/2 reset": {"kind": "break", "status": "INTERNAL"},
    "a throttle": {"kind": "throttle"},
    "a server that goes away": {"kind": "go_away"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_row_is_stored_once_with(server, producer_of, fault):
    producer = producer_of(batch_max_rows=10)
    for n_times in (1, 3):
        server.fail(**fault, n_times=n_times)
        producer.send(rows(len(server.rows["t"]), 200))
        producer.flush()
    assert ids(server) == list(range(400))
    statistics = producer.statistics
    assert (statistics.rows_accepted, statistics.rows_buffered, statistics.rows_dead) == (400, 0, 0)
    assert server.n_repeated >= (4 if fault["kind"] == "lose_answer" else 0)


def test_a_server_that_is_silent_is_left(server, producer_of):
    producer = producer_of(answer_timeout_s=0.2)
    server.fail("silence")
    producer.send(rows(0, 3))
    producer.flush()
    assert ids(server) == [0, 1, 2] and "did not answer within 0.2 s" in str(producer.statistics.last_error)


def test_a_server_that_is_started_again(server, producer_of):
    producer = producer_of(batch_max_rows=10)
    producer.send(rows(0, 50))
    producer.flush()
    server.stop()
    producer.send(rows(50, 50))
    server.start()
    producer.flush()
    assert ids(server) == list(range(100))


def test_a_producer_goes_on_where_it_stopped(server, producer_of):
    with producer_of() as first:
        assert first.send_batch(rows(0, 3)).result(10).sequence == 1
        assert first.send_batch(rows(3, 3)).result(10).sequence == 2
    with producer_of() as second:
        assert (second.last_sequence, second.epoch) == (2, 2)
        result = second.send_batch(rows(6, 3)).result(10)
        assert (result.sequence, result.accepted, result.repeated) == (3, 3, False)
    assert ids(server) == list(range(9))


def test_the_older_of_two_producers_is_fenced(producer_of):
    older = producer_of()
    newer = producer_of()
    older.send({"id": 1})
    with pytest.raises(tidewater.ProducerStoppedError) as stopped:
        older.flush()
    assert stopped.value.reason == "PRODUCER_FENCED" and isinstance(stopped.value.__cause__, tidewater.ConflictError)
    assert older.statistics.rows_dead == 1
    with pytest.raises(tidewater.ProducerStoppedError):
        older.send({"id": 2})
    newer.send({"id": 1})
    assert newer.flush()


def test_a_server_that_lost_what_it_had_is_told(server, producer_of):
    producer = producer_of()
    producer.send({"id": 1})
    producer.flush()
    with server.lock:
        server._producers["t", "p"].last_sequence = 0
    server.fail("break")
    producer.send({"id": 2})
    with pytest.raises(tidewater.ProducerStoppedError) as stopped:
        producer.flush()
    assert stopped.value.reason == "PRODUCER_STATE_LOST"
    with pytest.raises(tidewater.DataLossError):
        producer_of(last_acked=1)


def test_it_gives_up_at_its_deadline(server, producer_of):
    producer = producer_of(retry_deadline_s=0.1)
    server.fail("break", n_times=1000)
    producer.send({"id": 1})
    with pytest.raises(tidewater.ProducerStoppedError, match="given up after") as stopped:
        producer.flush()
    assert isinstance(stopped.value.__cause__, tidewater.GivenUpError)
    with pytest.raises(tidewater.GivenUpError):
        producer.close()


def test_an_idle_time_is_no_failure(server, producer_of):
    """The deadline begins with what fails while something waits, not with a connection that nobody needs."""
    producer = producer_of(retry_deadline_s=0.3)
    producer.send({"id": 1})
    producer.flush()
    server.stop()
    threading.Event().wait(0.5)
    server.start()
    producer.send({"id": 2})
    producer.flush()
    assert ids(server) == [1, 2]


def test_no_server_at_the_start():
    with FakeServer() as gone:
        url = gone.url
    with pytest.raises(tidewater.GivenUpError, match="given up after"):
        tidewater.Producer("t", "p", url, connect_timeout_s=0.1, **QUICK)


def test_a_full_buffer_blocks_until_there_is_space(server, producer_of):
    producer = producer_of(buffer_max_rows=10, batch_max_rows=5)
    server.hold()
    producer.send(rows(0, 10))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sent = pool.submit(producer.send, rows(10, 15))
        with pytest.raises(TimeoutError):
            sent.result(0.1)
        assert producer.statistics.rows_buffered <= 10
        server.release()
        sent.result(10)
    producer.flush()
    assert ids(server) == list(range(25))


@pytest.mark.parametrize("bound", [{"buffer_max_rows": 10}, {"buffer_max_bytes": 90}])
def test_a_full_buffer_is_told(server, producer_of, bound):
    producer = producer_of(on_full="raise", **bound)
    server.hold()
    with pytest.raises(tidewater.BufferFullError) as full:
        producer.send(rows(0, 25))
    assert full.value.n_taken == 10 and full.value.retryable
    server.release()
    producer.flush()
    producer.send(rows(10, 5))
    producer.flush()
    assert ids(server) == list(range(15))


def test_what_never_fits_is_told(producer_of):
    producer = producer_of(buffer_max_bytes=100)
    with pytest.raises(tidewater.InvalidRequestError, match="buffer_max_bytes=100"):
        producer.send({"text": "x" * 100})


def test_rejected_rows_are_handed_back(server, producer_of):
    told = []
    server.reject(lambda row: tidewater.RowError(0, "id", "OUT_OF_RANGE", "too large") if row["id"] > 7 else None)
    producer = producer_of(on_rejected=lambda rows, reasons: told.append((rows, reasons)))
    producer.send(rows(0, 10))
    producer.flush()
    ((bad, reasons),) = told
    assert bad == [{"id": 8}, {"id": 9}]
    assert [(reason.row, reason.column, reason.code) for reason in reasons] == [(0, "id", "OUT_OF_RANGE"), (1, "id", "OUT_OF_RANGE")]
    assert (producer.statistics.rows_accepted, producer.statistics.rows_rejected) == (8, 2)


def test_a_callback_that_fails_stops_nothing(server, producer_of, caplog):
    server.reject(lambda row: tidewater.RowError(0, None, "MALFORMED", "bad"))
    producer = producer_of(on_rejected=lambda rows, reasons: 1 / 0, on_progress=lambda statistics: 1 / 0)
    producer.send(rows(0, 2))
    producer.flush()
    assert "on_rejected failed" in caplog.text and "on_progress failed" in caplog.text


def test_progress_is_told(server, producer_of):
    told = []
    with producer_of(on_progress=told.append, batch_max_rows=10) as producer:
        producer.send(rows(0, 30))
    assert [(one.rows_acknowledged, one.last_sequence) for one in told] == [(10, 1), (20, 2), (30, 3)]


def test_a_refused_batch_stops_a_producer_without_a_dead_letter_file(server, producer_of):
    producer = producer_of()
    server.fail("refuse", status="FAILED_PRECONDITION", reason="SCHEMA_MISMATCH", message="no column 'nope'; see SHOW TABLES (TW-1202)")
    answer = producer.send_batch(rows(0, 3))
    with pytest.raises(tidewater.ConflictError) as refused:
        answer.result(10)
    assert (refused.value.code, refused.value.hint) == ("TW-1202", "see SHOW TABLES")
    with pytest.raises(tidewater.ProducerStoppedError, match="a batch of 3 rows was refused"):
        producer.flush()
    assert not server.rows["t"]


def test_a_block_that_fails_sends_what_it_had(server, producer_of):
    with pytest.raises(KeyError), producer_of(flush_interval_s=3600.0) as producer:
        producer.send(rows(0, 2))
        raise KeyError("the program's own")
    assert ids(server) == [0, 1]


def test_a_closed_producer_takes_nothing(producer_of):
    producer = producer_of()
    producer.close()
    producer.close()
    with pytest.raises(tidewater.ProducerStoppedError, match="closed"):
        producer.send({"id": 1})


def test_several_threads_and_a_small_buffer(server, producer_of):
    producer = producer_of(buffer_max_rows=20, batch_max_rows=7)
    server.fail("lose_answer", n_times=5)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda first: producer.send(rows(first, 100)), range(0, 400, 100)))
    producer.close()
    assert sorted(ids(server)) == list(range(400))


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_max_rows": 0},
        {"batch_max_bytes": 64 << 20},
        {"on_full": "drop"},
        {"retry_deadline_s": -1.0},
        {"retry_max_delay_s": 0.0001},
        {"durability": "none"},
    ],
)
def test_options_that_mean_nothing(wrong):
    with pytest.raises(tidewater.InvalidRequestError):
        tidewater.ProducerOptions(**wrong)


def test_a_program_that_does_not_close_ends_and_says_so(server, tmp_path):
    program = (
        "import sys, tidewater\n"
        "producer = tidewater.Producer('t', 'p', sys.argv[1], flush_interval_s=3600, dead_letter=sys.argv[2])\n"
        "producer.send({'id': 1})\n"
        "producer.flush()\n"
        "producer.send({'id': 2})\n"
    )
    path = tmp_path / "dead.ndjson"
    found = subprocess.run([sys.executable, "-c", program, server.url, path], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and "1 rows for t have no answer" in found.stderr, found.stderr
    assert ids(server) == [1] and '{\\"id\\":2}' in path.read_text()


class OutcomeError(BaseException):
    """As test frameworks have them: no Exception."""


def test_a_callback_that_ends_its_thread_loses_nothing(server, producer_of):
    def leave(rows, reasons):
        raise OutcomeError

    server.reject(lambda row: tidewater.RowError(0, None, "MALFORMED", "bad") if row["id"] == 0 else None)
    producer = producer_of(on_rejected=leave, batch_max_rows=1)
    producer.send(rows(0, 5))
    producer.close(10)
    assert ids(server) == [1, 2, 3, 4]


def test_a_thread_that_dies_is_told(server, producer_of, caplog):
    def leave(answer):
        raise OutcomeError

    producer = producer_of()
    server.hold()
    producer.send_batch(rows(0, 1)).add_done_callback(leave)
    producer.send(rows(1, 5))
    server.release()
    with pytest.raises(tidewater.ProducerStoppedError, match="thread failed: OutcomeError"):
        producer.flush(10)
    with pytest.raises(tidewater.Error, match="thread failed: OutcomeError"):
        producer.close(10)
    assert producer.statistics.rows_dead == 5 and "5 rows for t have no answer" in caplog.text


def test_what_is_lost_while_nobody_asks_is_logged(server, producer_of, caplog):
    producer = producer_of(retry_deadline_s=0.05)
    server.fail("break", n_times=1000)
    producer.send(rows(0, 3))
    concurrent.futures.wait([producer._core.finished], 10)
    assert "given up after" in caplog.text and "3 rows for t have no answer" in caplog.text


def test_a_callback_that_waits_for_its_own_thread_is_told(server, producer_of):
    told = []

    def wait(rows, reasons):
        for call in (producer.flush, producer.close, lambda: [producer.send({"id": 9}) for _ in range(10)]):
            try:
                call()
            except tidewater.Error as error:
                told.append(str(error))

    server.reject(lambda row: tidewater.RowError(0, None, "MALFORMED", "bad") if row["id"] == 0 else None)
    producer = producer_of(on_rejected=wait, buffer_max_rows=5)
    producer.send({"id": 0})
    producer.flush(10)
    assert ["a callback cannot wait" in text for text in told] == [True, True, True]
    producer.close(10)
    # What it sent was taken, as far as there was space.
    assert 0 < len(ids(server)) < 10 and set(ids(server)) == {9}


def test_a_callback_may_abandon(server, producer_of):
    server.reject(lambda row: tidewater.RowError(0, None, "MALFORMED", "bad"))
    producer = producer_of(on_rejected=lambda rows, reasons: producer.abandon())
    producer.send({"id": 0})
    producer.close(10)
    assert producer.statistics.rows_rejected == 1


def test_an_error_says_how_many_rows_were_taken(server, producer_of):
    producer = producer_of()
    with pytest.raises(tidewater.InvalidRequestError, match="row 2") as wrong:
        producer.send([{"id": 0}, {"id": 1}, {"id": object()}, {"id": 3}])
    assert wrong.value.n_taken == 2
    producer.send([{"id": 2}, {"id": 3}])
    producer.close()
    assert ids(server) == [0, 1, 2, 3]
    with pytest.raises(tidewater.ProducerStoppedError) as closed:
        producer.send(rows(4, 2))
    assert closed.value.n_taken == 0


def test_an_error_of_the_program_says_how_many_rows_were_taken(server, producer_of):
    def read():
        yield from rows(0, 3)
        raise KeyError("the program's own")

    producer = producer_of()
    with pytest.raises(KeyError) as broken:
        producer.send(read())
    assert broken.value.n_taken == 3


def test_a_batch_that_no_message_holds_is_told_at_once(producer_of):
    producer = producer_of(buffer_max_bytes=1 << 30)
    with pytest.raises(tidewater.InvalidRequestError, match="more than a message takes"):
        producer.send_batch([{"text": "x" * (33 << 20)}] * 2)
    assert producer.flush() is None


def test_numbers_that_another_has_used_are_told(server, producer_of):
    """Rows sent under them would be answered as repeats, and be lost."""
    producer = producer_of()
    producer.send({"id": 1})
    producer.flush()
    with server.lock:
        server._producers["t", "p"].last_sequence = 7
    server.stop()
    server.start()
    producer.send({"id": 2})
    with pytest.raises(tidewater.ProducerStoppedError, match="another sends in this name"):
        producer.flush()


def test_a_slow_callback_is_no_silence_of_the_server(server, producer_of):
    waits = threading.Event()
    producer = producer_of(answer_timeout_s=0.2, batch_max_rows=1, on_progress=lambda statistics: waits.wait(0.3))
    producer.send(rows(0, 4))
    producer.flush()
    assert (ids(server), producer.statistics.n_failures) == ([0, 1, 2, 3], 0)


def test_numbers_begin_anew_after_a_reset(server, producer_of):
    producer_of().send_batch(rows(0, 3)).result(10)
    again = producer_of(reset=True, last_acked=1)
    assert (again.last_sequence, again.send_batch(rows(3, 3)).result(10).sequence) == (0, 1)
    assert ids(server) == list(range(6))


def test_a_schema_of_its_own(server, producer_of):
    producer = producer_of(schema="sales")
    producer.send({"id": 1})
    producer.flush()
    assert server.rows == {"sales.t": [{"id": 1}]}


FORKING = """
import os, sys, tidewater
with tidewater.Producer("t", "p", sys.argv[1], flush_interval_s=3600, dead_letter=sys.argv[2]) as producer:
    producer.send({"id": 1})
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
    else:
        try:
            producer.send({"id": 2})
        except tidewater.ProducerStoppedError as error:
            assert "forked" in str(error)
            # It closes, or is closed when the program ends; the rows are not its own.
            if sys.argv[3] == "abandon":
                producer.abandon()
        else:
            os._exit(9)
"""


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_a_process_that_forks_sends_its_rows_once(server, tmp_path, end):
    path = tmp_path / "dead.ndjson"
    command = [sys.executable, "-W", "ignore", "-c", FORKING, server.url, path, end]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert ids(server) == [1] and not path.exists()
