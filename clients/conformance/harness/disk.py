"""Where does a test get a small disk, a full one, or one that nobody can write? A mount of its own, in a namespace that ends with the
test."""

import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

# How a namespace with mounts of its own is made and entered: as root, or as anybody where the kernel lets them.
NAMESPACES = [
    (["--mount"], ["--mount"]),
    (["--user", "--map-root-user", "--mount"], ["--user", "--preserve-credentials", "--mount"]),
]
MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && echo mounted && exec cat'
STOP_TIMEOUT_S = 10

# A server under this limit meets a failed write where a full disk would make one. Without the trap the signal would end it.
LIMITED = 'trap "" XFSZ; exec prlimit --fsize="$0" -- "$@"'
# The same, as a shell's `ulimit -f` leaves it.
LIMITED_BY_SIGNAL = 'exec prlimit --fsize="$0" -- "$@"'


def limited(n_bytes: int, *, ignore_signal: bool = True) -> list[str]:
    """A wrapper under which no file grows beyond `n_bytes` (RLIMIT_FSIZE). Needs no rights."""
    return ["sh", "-c", LIMITED if ignore_signal else LIMITED_BY_SIGNAL, str(n_bytes)]


def without_override() -> list[str]:
    """A wrapper under which permissions bind, also for root."""
    if os.geteuid() != 0:
        return []
    capabilities = "-dac_override,-dac_read_search"
    wrapper = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    try:
        works = subprocess.run([*wrapper, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        pytest.skip("NOT CHECKED: permissions do not bind root, and there is no setpriv to change that")
    return wrapper


@contextlib.contextmanager
def syncs(process_id: int, inject: str):
    """Meanwhile each sync of a process to its disk does what `inject` says as strace has it: `delay_enter=500000` (microseconds), `error=EIO`."""
    calls = "fsync,fdatasync,msync,sync_file_range,syncfs"
    command = ["strace", "-f", "-o", os.devnull, "-e", f"trace={calls}", "-e", f"inject={calls}:{inject}", "-p", str(process_id)]
    try:
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("NOT CHECKED: there is no strace to make a disk slow or broken")
    try:
        said = strace.stderr.readline()
        if "attached" not in said:
            pytest.skip(f"NOT CHECKED: strace may not watch the server here: {said.strip()}")
        yield
    finally:
        # It lets go of the process; killed, it would leave it as it is.
        strace.send_signal(signal.SIGINT)
        strace.wait(STOP_TIMEOUT_S)
        strace.stderr.close()


class SmallDisk:
    """A tmpfs of `n_bytes` at `folder`. Inside the namespace it is at `folder`, from here at `path`; `wrapper` enters."""

    def __init__(self, folder: pathlib.Path, n_bytes: int):
        folder.mkdir()
        self.folder = folder
        said = []
        for make, enter in NAMESPACES:
            try:
                command = ["unshare", *make, "sh", "-c", MOUNT, "sh", str(n_bytes), folder]
                pipe = subprocess.PIPE
                # It lives until its standard input is closed: also when the test process is killed.
                self.holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
            except FileNotFoundError as error:
                said.append(str(error))
                continue
            if self.holder.stdout.readline() == b"mounted\n":
                self.wrapper = ["nsenter", "--target", str(self.holder.pid), *enter]
                self.path = pathlib.Path(f"/proc/{self.holder.pid}/root{folder}")
                return
            said.append(self.holder.communicate()[1].decode().strip())
        pytest.skip(f"NOT CHECKED: no disk of its own can be mounted here: {'; '.join(said)}")

    def free_bytes(self) -> int:
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave: int):
        """Another program takes all space but `leave` bytes."""
        with (self.path / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, self.free_bytes() - leave)

    def empty(self):
        """It gives the space back."""
        (self.path / "ballast").unlink()

    def set_writable(self, writable: bool):
        mode = "rw" if writable else "ro"
        subprocess.run([*self.wrapper, "mount", "-o", f"remount,bind,{mode}", self.folder], check=True, timeout=STOP_TIMEOUT_S)

    def close(self):
        self.holder.stdin.close()
        try:
            self.holder.wait(STOP_TIMEOUT_S)
        finally:
            self.holder.kill()
