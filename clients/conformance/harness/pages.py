"""What is in a page of the documentation, and how does somebody follow it? Blocks of a page, and a reader with a folder, a server and a shell."""

import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

from .certificates import Authority, Files
from .server import POLL_S, START_TIMEOUT_S, STOP_TIMEOUT_S, binary, free_port

ROOT = pathlib.Path(__file__).resolve().parents[3]
DOCS = ROOT / "server" / "docs"

# What one block may take: the longest loads a file with a debug build.
BLOCK_TIMEOUT_S = 120

# The addresses that pages name; each reader has others.
GRPC, HTTP = "127.0.0.1:8815", "127.0.0.1:8080"

# Where pages have the files of a server's TLS; each reader has its own.
CERTIFICATES = "/etc/tidewater/"

# What `serve --set auth=on` prints when there is no user; pages write it like this.
SETUP_CODE = "vE0…"

# Languages of blocks that are run, that are checked otherwise, and that are for people.
RUN = ("sql", "sh", "console", "python")
CHECKED = ("json", "toml")
SHOWN = ("text", "csv", "markdown", "ini", "proto", "rust", "service", "yaml", "go", "javascript", "java")

# Packages beside those of requirements.txt that pages and examples may tell people to install.
OPTIONAL_PACKAGES = {"pandas", "streamlit"}

_FENCE = re.compile(r"```(\S*)\s*(.*)")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_ASSIGNMENTS = r"(?:[A-Z_]+=\S+ +)*"


@dataclasses.dataclass
class Block:
    page: str
    line: int
    language: str
    # What stands behind the language: `error=TW-1003`, `output`.
    words: list[str]
    text: str
    # Why it is not run.
    reason: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def error(self) -> str | None:
        return next((word.removeprefix("error=") for word in self.words if word.startswith("error=")), None)

    @property
    def is_output(self) -> bool:
        """It is what the block before it prints."""
        return "output" in self.words


def blocks(path: pathlib.Path) -> list[Block]:
    """Fenced blocks in their order."""
    out, reason, begun = [], None, None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence = _FENCE.fullmatch(line)
        if begun and line == "```":
            begun.text = "\n".join(begun.text) + "\n"
            out.append(begun)
            begun = None
        elif begun:
            begun.text.append(line)
        elif fence:
            begun = Block(path.name, number, fence[1], fence[2].split(), [], reason)
            reason = None
        elif line.strip():
            marker = _NOT_RUN.fullmatch(line.strip())
            reason = marker[1] if marker else None
    assert begun is None, f"{begun.place}: the block does not end"
    return out


def statements(text: str) -> list[str]:
    """Statements that end at the end of a line."""
    parts = re.split(r";\s*(?:--.*)?(?:\n|$)", text)
    return [part.strip() for part in parts if part.strip()]


def is_like(expected: str, got: str) -> bool:
    """Equal, where `…` in what is expected stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, got.strip(), re.DOTALL) is not None


class Reader:
    """Somebody who follows a page from the root of the repository, with `tidewater` in PATH.

    What runs is a server of the reader's own: one over `./data` as soon as it is needed, or what `tidewater serve` in a block says. The
    folder is not the repository, but has its top folders as links. What a block exports, later ones have.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder, self.private = folder / "work", folder / "private"
        self.folder.mkdir(parents=True)
        (self.private / "bin").mkdir(parents=True)
        for name in ("benches", "clients", "proto", "server"):
            (self.folder / name).symlink_to(ROOT / name)
        self.certificates = self.private / "certificates"
        self.certificates.mkdir()
        authority = Authority()
        Files(self.certificates).put(authority.issue())
        (self.certificates / "clients.pem").write_bytes(authority.pem)
        self.grpc, self.http = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.setup_code = None
        self.process = None
        (self.private / "bin" / "tidewater").symlink_to(binary().resolve())
        for name in ("python", "python3"):
            # Not a link: Python looks for its environment beside the name that it was called by.
            script = self.private / "bin" / name
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
            script.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{self.private / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.private),
            "TIDEWATER_SERVER": self.grpc,
            "TIDEWATER__SERVER__GRPC": self.grpc,
            "TIDEWATER__SERVER__HTTP": self.http,
            # curl and gRPC would ask a proxy for 127.0.0.1.
            "no_proxy": "127.0.0.1,localhost",
            "NO_PROXY": "127.0.0.1,localhost",
            "NO_COLOR": "1",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)
        # A log takes its space in advance, and there are many readers.
        shutil.rmtree(self.folder)
        shutil.rmtree(self.private)

    def here(self, text: str) -> str:
        """A text of a page, with this reader's addresses and certificates."""
        text = text.replace(GRPC, self.grpc).replace(HTTP, self.http).replace(CERTIFICATES, f"{self.certificates}/")
        return text.replace(SETUP_CODE, self.setup_code) if self.setup_code else text

    def there(self, text: str) -> str:
        """What was printed, with the addresses of the pages."""
        return text.replace(self.grpc, GRPC).replace(self.http, HTTP)

    def serve(self, arguments: list[str]):
        """In place of the server that runs."""
        self.stop(signal.SIGTERM)
        out, log = self.private / "server.out", self.private / "server.log"
        with out.open("wb") as stdout, log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [binary(), *arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=self.folder, env=self.environment
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        wanted = ["ready ", "setup "] if "auth=on" in arguments and self.setup_code is None else ["ready "]
        while not all(f"\n{word}" in f"\n{out.read_text()}".rpartition("\n")[0] for word in wanted):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"tidewater {shlex.join(arguments)} did not become ready:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(POLL_S)
        if len(wanted) > 1:
            (link,) = (line for line in out.read_text().splitlines() if line.startswith("setup "))
            self.setup_code = link.split("code=")[1]

    def stop(self, how: signal.Signals):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def run(self, block: Block) -> str:
        """Runs a block and returns what it printed; AssertionError if it did not do what the page says."""
        text = self.here(block.text)
        match block.language:
            case "sh":
                return self.shell(text)
            case "console":
                return self.shell(commands(text))
            case "python":
                return self.program(["python", "-"], text)
            case "sql" if block.error:
                for statement in statements(text):
                    self.refused(statement, block.error)
                return ""
            case "sql":
                return self.program(["tidewater", "sql", "--format", "csv"], text)
            case "json":
                json.loads(text)
                return ""
            case "toml":
                file = self.private / "checked.toml"
                file.write_text(text)
                return self.program(["tidewater", "config", "check", "--config", str(file)], "")
        raise AssertionError(f"'{block.language}' is no language of a block: use one of {RUN + CHECKED + SHOWN}")

    def shell(self, script: str) -> str:
        """Runs lines of a shell, those that start a server beside the others."""
        printed, waiting = "", []

        def run_waiting():
            nonlocal printed
            lines = without_installs("\n".join(waiting))
            waiting.clear()
            if lines.strip():
                exported = self.private / "exported"
                printed += self.program(["bash", "-euo", "pipefail"], f"trap 'env -0 >{exported}' EXIT\n{lines}")
                variables = (line.partition("=") for line in exported.read_text().split("\0") if line)
                self.environment = {name: value for name, _, value in variables}

        for line in logical_lines(script):
            if re.match(r"tidewater serve\b", line):
                run_waiting()
                self.serve(shlex.split(line.replace("\\\n", " "), comments=True)[1:])
            else:
                waiting.append(line)
        run_waiting()
        return printed

    def refused(self, statement: str, code: str):
        status, printed = self._call(["tidewater", "sql", "--format", "csv", "-c", statement], "")
        assert status == 1 and f"({code})" in printed, f"not refused with {code}, but with status {status}:\n{statement}\n{printed}"

    def program(self, command: list[str], text: str) -> str:
        status, printed = self._call(command, text)
        assert status == 0, f"status {status} of {shlex.join(command)}:\n{text}\n{printed}"
        return self.there((self.private / "stdout").read_text())

    def _call(self, command: list[str], text: str) -> tuple[int, str]:
        """Status, and all that was printed."""
        is_check = command[:3] == ["tidewater", "config", "check"]
        if not is_check and self.process is None:
            self.serve(["serve", "--data", str(self.folder / "data")])
        # A file is checked as it stands there: what the environment says would count more.
        environment = {name: value for name, value in self.environment.items() if not (is_check and name.startswith("TIDEWATER__"))}
        program = shutil.which(command[0], path=self.environment["PATH"])
        out, err, given = self.private / "stdout", self.private / "stderr", self.private / "stdin"
        given.write_text(text)
        # Files, not pipes: what a block leaves running would hold a pipe open.
        with given.open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [program, *command[1:]], stdin=stdin, stdout=stdout, stderr=stderr, cwd=self.folder, env=environment, start_new_session=True
            )
            try:
                status = process.wait(BLOCK_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
        return status, out.read_text(errors="replace") + err.read_text(errors="replace")


def commands(text: str) -> str:
    """What is typed of what a terminal shows: lines behind `$ `, with those that go on."""
    out, goes_on = [], False
    for line in text.splitlines():
        if goes_on or line.startswith("$ "):
            out.append(line if goes_on else line[2:])
            goes_on = line.endswith("\\")
    return "\n".join(out) + "\n"


def logical_lines(script: str) -> list[str]:
    """Lines, with those that a backslash joins."""
    out = []
    for line in script.splitlines():
        if out and out[-1].endswith("\\"):
            out[-1] += "\n" + line
        else:
            out.append(line)
    return out


def without_installs(script: str) -> str:
    """Without what builds or installs something; that it could be run is checked instead."""
    kept = []
    for line in logical_lines(script):
        words = shlex.split(line, comments=True) if re.match(rf"{_ASSIGNMENTS}(make|cargo|python3? -m pip)\b", line) else []
        while words and "=" in words[0]:
            words = words[1:]
        match words:
            case ["make", target]:
                assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"there is no target: {line}"
            case ["cargo", "build", *_]:
                pass
            case ["python" | "python3", "-m", "pip", "install", *packages]:
                known = {name.split("==")[0].lower() for name in (ROOT / "clients/conformance/requirements.txt").read_text().split()}
                # The Python client is in the environment already.
                unknown = {name for name in packages if name.lower() not in known | OPTIONAL_PACKAGES and not name.startswith("./clients/python")}
                assert not unknown, f"the tests do without {unknown}: {line}"
            case _:
                kept.append(line)
    return "\n".join(kept) + "\n"


def header_commands(path: pathlib.Path) -> list[str]:
    """How a file says that it is run: the lines of its first comment that are indented by four more than its text."""
    lines = []
    for number, line in enumerate(path.read_text().splitlines()):
        match path.suffix:
            case ".py":
                found = re.fullmatch(r"    (\S.*)", line)
                is_end = number > 0 and line.endswith('"""')
            case ".sql":
                found = re.fullmatch(r"--     (\S.*)", line)
                is_end = not line.startswith("--")
            case _:
                found = re.fullmatch(r"#     (\S.*)", line)
                is_end = not line.startswith("#")
        if is_end:
            break
        if found:
            lines.append(found[1])
    return lines
