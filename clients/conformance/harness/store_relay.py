"""What happens to a request between the server and its object store? A relay that loses, refuses, holds or strips, or is away."""

import contextlib
import http.client
import http.server
import re
import socket
import threading
from dataclasses import dataclass, field

ANSWER_TIMEOUT_S = 60
# A commit of a Delta table. Its own names, so a checkpoint is none.
COMMIT = re.compile(r"/_delta_log/\d{20}\.json$")
FILE = re.compile(r"(?<!\.checkpoint)\.parquet$")
# Headers that are between two neighbours only.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass
class Fault:
    """What happens to the next `times` requests of `method` whose path (without the query) matches.

    `executed`: the store gets it. `answer`: the status that the client gets instead of the store's; None: it gets none, the
    connection breaks. `held`: the store gets it only when `release` is called, however the client fared. `then_away`: nothing
    passes any more after the first of them, until `go_on`; the others do not send the store away again.
    """

    executed: bool = True
    answer: int | None = None
    held: bool = False
    then_away: str | None = None
    method: str = "PUT"
    path: re.Pattern = COMMIT
    times: int = 1
    fired: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class StoreRelay:
    """`away`: "gone" breaks each connection, "silent" never answers, a number is the status of every answer; None passes on.

    `stripped` are headers (in lower case) that do not reach the store. `seen` has (method, path, headers, status) of each request,
    with the store's status, None for what did not reach it.
    """

    def __init__(self, address: str):
        self.target = address
        self.away: str | int | None = None
        self.stripped: set[str] = set()
        self.seen: list[tuple] = []
        self.faults: list[Fault] = []
        self.waiting: list[Request] = []
        self.lock = threading.Lock()
        self.back = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.go_on()
        self.server.shutdown()
        self.server.server_close()

    def fault(self, **how) -> Fault:
        fault = Fault(**how)
        with self.lock:
            self.faults.append(fault)
        return fault

    def go_away(self, how: str | int):
        self.back.clear()
        self.away = how

    def go_on(self):
        self.away = None
        self.back.set()

    @contextlib.contextmanager
    def absent(self, how: str | int):
        self.go_away(how)
        try:
            yield
        finally:
            self.go_on()

    def release(self) -> list[int]:
        """What was held reaches the store now; its answers."""
        with self.lock:
            held, self.waiting = self.waiting, []
        return [self.pass_on(request)[0] for request in held]

    def commits(self) -> list[tuple]:
        """Each commit that was sent: (path, headers, status)."""
        return [(path, headers, status) for method, path, headers, status in list(self.seen) if method == "PUT" and COMMIT.search(path)]

    def fault_for(self, request: Request) -> Fault | None:
        path = request.path.partition("?")[0]
        with self.lock:
            for fault in self.faults:
                if fault.method == request.method and fault.path.search(path):
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                    if fault.held:
                        self.waiting.append(request)
                    return fault
        return None

    def pass_on(self, request: Request):
        """Status, reason, headers and body of the store's answer."""
        connection = http.client.HTTPConnection(self.target, timeout=ANSWER_TIMEOUT_S)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in HOP | self.stripped}
            connection.request(request.method, request.path, request.body or None, {**headers, "content-length": str(len(request.body))})
            answer = connection.getresponse()
            body = answer.read()
            self.note(request, answer.status)
            return answer.status, answer.reason, answer.getheaders(), body
        finally:
            connection.close()

    def note(self, request: Request, status: int | None):
        self.seen.append((request.method, request.path.partition("?")[0], request.headers, status))


class Broken(Exception):
    """The client gets no answer."""


def _handler_of(relay: StoreRelay):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                self.send(*_answer(relay, Request(self.command, self.path, headers, body)))
            except (Broken, OSError):
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        def send(self, status: int, reason: str, headers, body: bytes):
            self.send_response_only(status, reason)
            length = str(len(body))
            for name, value in headers:
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("content-length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def _answer(relay: StoreRelay, request: Request):
    if relay.away is not None:
        return _absence(relay)
    fault = relay.fault_for(request)
    if fault is None:
        return relay.pass_on(request)
    if fault.executed and not fault.held:
        relay.pass_on(request)
    else:
        relay.note(request, None)
    if fault.then_away and not fault.fired.is_set():
        relay.go_away(fault.then_away)
    fault.fired.set()
    if fault.answer is None:
        raise Broken
    return _refusal(fault.answer)


def _absence(relay: StoreRelay):
    match relay.away:
        case int() as status:
            return _refusal(status)
        case "silent":
            # Longer than anybody waits for one answer.
            relay.back.wait(ANSWER_TIMEOUT_S)
    raise Broken


def _refusal(status: int):
    codes = {409: "ConditionalRequestConflict", 412: "PreconditionFailed", 500: "InternalError", 503: "SlowDown"}
    body = f"<Error><Code>{codes[status]}</Code><Message>the relay says so</Message></Error>"
    return status, http.HTTPStatus(status).phrase, [("content-type", "application/xml")], body.encode()
