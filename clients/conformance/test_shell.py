"""What does a person see who types statements? The real shell in a terminal of the test's own."""

import fcntl
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import sys
import termios
import time

import pytest

from harness.client import Client
from harness.server import POLL_S, binary

TIMEOUT_S = 60
ROWS, COLUMNS = 50, 200
CTRL_C, CTRL_D, TAB, ENTER = "\x03", "\x04", "\t", "\r"

# Colours, cursor movements and modes, titles and marks, and what else begins with an escape.
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78cM]")
WHERE_IS_THE_CURSOR, IT_IS_HERE = "\x1b[6n", b"\x1b[1;1R"

# A shell of its own terminal, as at a desk: Ctrl-C is a signal while a statement runs.
AT_A_TERMINAL = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Shell:
    def __init__(self, server, state):
        self.prompt = f"tidewater {server.grpc}> "
        self.keys, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(state), "TIDEWATER_SERVER": server.grpc}
        environment.pop("NO_COLOR", None)
        command = [sys.executable, "-c", AT_A_TERMINAL, str(binary()), "sql"]
        self.process = subprocess.Popen(command, stdin=screen, stdout=screen, stderr=screen, env=environment)
        os.close(screen)
        self.raw = ""
        # What was shown and not expected yet.
        self.shown = ""
        self.expect(self.prompt)

    def type(self, keys: str):
        os.write(self.keys, keys.encode())

    def expect(self, text: str):
        """Until `text` is shown behind what was expected last."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.shown:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.keys], [], [], max(left, 0))
            if not ready or not self._read():
                raise AssertionError(f"{text!r} is not shown, but:\n{self.shown}")
        self.shown = self.shown.split(text, 1)[1]

    def figure(self, pattern: str) -> float:
        """The first number that is shown as `pattern` has it, behind what was expected last."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := re.search(pattern, self.shown)):
            ready, _, _ = select.select([self.keys], [], [], max(deadline - time.monotonic(), 0))
            if not ready or not self._read():
                raise AssertionError(f"{pattern!r} is not shown, but:\n{self.shown}")
        self.shown = self.shown[found.end() :]
        return float(found[1])

    def _read(self) -> bool:
        """Takes what is shown, and answers as a terminal does; false when nobody is there any more."""
        try:
            read = os.read(self.keys, 65536)
        except OSError:
            return False
        self.raw += read.decode(errors="replace")
        while WHERE_IS_THE_CURSOR in self.raw:
            self.raw = self.raw.replace(WHERE_IS_THE_CURSOR, "", 1)
            os.write(self.keys, IT_IS_HERE)
        # A sequence may arrive in two parts: what may be the beginning of one waits.
        whole, escape, begun = self.raw.rpartition("\x1b")
        is_whole = not escape or ESCAPES.match(escape + begun)
        self.shown += ESCAPES.sub("", self.raw if is_whole else whole)
        self.raw = "" if is_whole else escape + begun
        return bool(read)

    def run(self, line: str, *shown: str):
        """Types a line, and waits for what it shows and for the next prompt."""
        self.type(line + ENTER)
        for text in shown:
            self.expect(text)
        self.expect(self.prompt)

    def ended(self) -> int:
        deadline = time.monotonic() + TIMEOUT_S
        while select.select([self.keys], [], [], max(deadline - time.monotonic(), 0))[0] and self._read():
            pass
        return self.process.wait(TIMEOUT_S)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.keys)


@pytest.fixture
def shell(server, tmp_path):
    shell = Shell(server, tmp_path)
    yield shell
    shell.close()


def test_statements_are_answered_and_the_shell_ends(shell):
    shell.run("SELECT 40 + 2 AS answer;", "| answer |", "| 42     |", "(1 row, ")
    shell.type("SELECT 1" + ENTER)
    shell.expect("... ")
    shell.run(" + 50 AS lines;", "| 51    |")
    # What was typed is dropped, and a line of several statements runs all of them.
    shell.type("SELECT junk")
    shell.expect("junk")
    shell.type(CTRL_C)
    shell.expect(shell.prompt)
    shell.run("SELECT 6 AS six; SELECT 7 AS seven;", "| 6   |", "| 7     |")
    shell.type(CTRL_D)
    assert shell.ended() == 0


def test_errors_say_where_and_what_to_do(shell):
    shell.run("SELEC 1;", "error: ", "TW-1001", "line 1: SELEC 1", "^")
    shell.run("SELECT * FROM nowhere;", "SHOW TABLES lists what there is (TW-1010)")
    shell.run("\\tming", "did you mean \\timing?")
    shell.run("SELECT 8 AS eight;", "| 8     |")
    shell.type("\\q" + ENTER)
    assert shell.ended() == 0


def test_commands(shell, table_name, tmp_path):
    shell.run(f"CREATE TABLE {table_name} (id BIGINT PRIMARY KEY, name VARCHAR);", "(ok, ")
    shell.run(f"INSERT INTO {table_name} VALUES (1, 'a'), (2, 'b');", "(ok, 2 rows changed, ")
    shell.run("\\d", f"| {table_name} ", "| table |")
    shell.run(f"\\d {table_name}", "| id          | BIGINT", "PRI", "key_columns", "| id")
    shell.run("\\dt", f"| {table_name} ", "| 2 ")
    # The new table is known at once.
    shell.type(f"SELECT count(*) + 70 AS n FROM {table_name[:-3]}")
    shell.expect(table_name[:-3])
    shell.type(TAB)
    shell.expect(table_name)
    shell.run(";", "| 72 |")
    shell.run("\\x", "one line a column is on")
    shell.run("SELECT 3 AS a, 4 AS b;", "-[ row 1 ]-", "a | 3", "b | 4")
    shell.run("\\x off", "is off")
    shell.run("\\format csv", "the form is csv")
    shell.run("SELECT 3 AS a, 4 AS b;", "a,b", "3,4")

    exported = tmp_path / "rows.ndjson"
    shell.run(f"\\o {exported}", "the next answer goes into")
    shell.run(f"SELECT id FROM {table_name} ORDER BY id;", "2 rows")
    assert exported.read_text() == '{"id":1}\n{"id":2}\n'
    statements = tmp_path / "statements.sql"
    statements.write_text("SELECT 'from a file' AS x;\nSELECT 99 AS y;\n")
    shell.run(f"\\i {statements}", "from a file", "99")
    shell.type("\\watch 0.1" + ENTER)
    for _ in range(3):
        shell.expect("99")
    shell.type(CTRL_C)
    shell.expect(shell.prompt)


def endless(name: str) -> str:
    return f"SELECT count(a.value + b.value) AS {name} FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b"


def wait_for_state(server, statement: str, state: str):
    with Client(server.grpc) as client:
        deadline = time.monotonic() + TIMEOUT_S
        while (found := client.rows(f"SELECT state FROM system.queries WHERE sql = '{statement}'")) != [(state,)]:
            assert time.monotonic() < deadline, found
            time.sleep(POLL_S)


def test_ctrl_c_cancels_a_statement(shell, server):
    shell.type(endless("one") + ";" + ENTER)
    wait_for_state(server, endless("one"), "running")
    shell.type(CTRL_C)
    shell.expect("TW-1105")
    shell.expect(shell.prompt)
    wait_for_state(server, endless("one"), "cancelled")
    shell.run("SELECT 5 AS five;", "| 5    |")


def test_a_statement_that_takes_its_time_says_how_far_it_is(shell, server):
    shell.type(endless("slow") + ";" + ENTER)
    first = shell.figure(r"0 rows read, ([\d.]+) s")
    while shell.figure(r"0 rows read, ([\d.]+) s") < first + 1:
        pass
    shell.type(CTRL_C)
    shell.expect("TW-1105")
    shell.expect(shell.prompt)
    # What is soon done says nothing of it.
    shell.type("SELECT 5 AS five;" + ENTER)
    shell.expect("| 5    |")
    assert "rows read" not in shell.shown
    shell.expect(shell.prompt)


def test_a_second_ctrl_c_does_not_wait_for_a_server_that_hangs(shell, server):
    shell.type(endless("two") + ";" + ENTER)
    wait_for_state(server, endless("two"), "running")
    server.process.send_signal(signal.SIGSTOP)
    try:
        shell.type(CTRL_C)
        shell.expect("cancelling")
        shell.type(CTRL_C)
        shell.expect("what the server had begun is not known here")
        shell.expect(shell.prompt)
    finally:
        server.process.send_signal(signal.SIGCONT)
    # The connection has said all the same that nobody waits any more.
    wait_for_state(server, endless("two"), "cancelled")
    shell.run("SELECT 6 AS six;", "| 6   |")


def test_the_history_is_kept_without_secrets(shell, server, tmp_path):
    shell.run("SELECT 11 AS kept;", "| 11   |")
    shell.run("SELECT 12 AS password_canary;", "| 12 ")
    shell.type("\\q" + ENTER)
    assert shell.ended() == 0
    history = tmp_path / "tidewater" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    text = history.read_text()
    assert "SELECT 11 AS kept;" in text and "canary" not in text, text
    # Another shell has what the first one was told.
    again = Shell(server, tmp_path)
    try:
        again.type("\x1b[A\x1b[A")
        again.expect("SELECT 11 AS kept;")
        again.type(ENTER)
        again.expect("| 11   |")
        # Before the next prompt the terminal itself would take the key.
        again.expect(again.prompt)
        again.type(CTRL_D)
        assert again.ended() == 0
    finally:
        again.close()
