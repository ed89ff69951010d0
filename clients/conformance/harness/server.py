"""How is a server under test started, stopped and killed?"""

import itertools
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import grpc

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
POLL_S = 0.05


def binary() -> pathlib.Path:
    if "TIDEWATER_BIN" in os.environ:
        return pathlib.Path(os.environ["TIDEWATER_BIN"])
    target = os.environ.get("CARGO_TARGET_DIR", pathlib.Path.home() / ".cache/tidewater/target")
    return pathlib.Path(target) / "debug" / "tidewater"


# Below the ports that the kernel gives to whoever asks for any (Linux: 32768 and up, Windows and BSD: 49152): no outgoing
# connection and no listener on port 0 can take the port of a server that is down for a moment. Each is used once in a run; runs
# beside each other begin at different ones.
PORTS = itertools.islice(itertools.cycle(range(10_000, 32_768)), random.SystemRandom().randrange(22_768), None)


def free_port() -> int:
    return next(port for port in PORTS if is_free(port))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of before that are still ending are not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server:
    """One process on one data folder. `restart` keeps folder and ports.

    `data` is the data folder if it is not `folder`/data, `settings` go to --set, `environment` is added to the environment,
    `ca` is the PEM of who issued its certificate if it speaks TLS, and `wrapper` is a command that executes the server in its own place: the process is the server all the same.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        data: pathlib.Path | None = None,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        ca: bytes | None = None,
        wrapper=(),
    ):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = data or self.folder / "data"
        self.settings = settings or {}
        self.environment = environment or {}
        self.ca = ca
        self.wrapper = list(wrapper)
        self.grpc, self.http = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.log = self.folder / "server.log"
        self.process = None

    def _spawn(self):
        command = [*self.wrapper, binary(), "serve", "--data", self.data, "--grpc", self.grpc, "--http", self.http]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, env={**os.environ, **self.environment}
            )

    def start(self) -> "Server":
        self._spawn()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_healthy():
            code = self.process.poll()
            if code is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-4000:]
                self.kill()
                raise RuntimeError(f"the server did not become healthy (exit code {code}):\n{tail}")
            time.sleep(POLL_S)
        return self

    def channel(self) -> grpc.Channel:
        """A gRPC channel of its own."""
        if self.ca is None:
            return grpc.insecure_channel(self.grpc)
        return grpc.secure_channel(self.grpc, grpc.ssl_channel_credentials(self.ca))

    def is_healthy(self) -> bool:
        """grpc.health.v1.Health/Check by hand: an empty request, and field 1 = SERVING (1) in the answer."""
        with self.channel() as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda _: b"", lambda answer: answer)
            try:
                return check(None, timeout=1) == b"\x08\x01"
            except grpc.RpcError:
                return False

    def refused(self) -> tuple[int, str]:
        """Starts a server that ends by itself; its exit code and what it said."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        self._spawn()
        code = self.ended()
        return code, self.log.read_bytes()[begin:].decode(errors="replace")

    def ended(self) -> int:
        """Waits until the process ends by itself; its exit code, negative for a signal."""
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait_for_log(self, *words: str):
        """Until one line of its log has all of these words."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not any(all(word in line for word in words) for line in self.log.read_text(errors="replace").splitlines()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no line of the log has {words}:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(POLL_S)

    def peak_memory_bytes(self) -> int:
        """The most memory that the process has held since it began, or since `forget_peak`."""
        return self._memory_bytes("VmHWM")

    def forget_peak(self) -> int:
        """The peak begins anew. The memory that the process holds now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._memory_bytes("VmRSS")

    def _memory_bytes(self, what: str) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{what}:"))
        return int(line.split()[1]) << 10

    def stop(self) -> int:
        """Asks it to shut down and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self, *, kill: bool = False):
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()
