"""What does a binary need of the system that runs it? Its libraries and the versions of their symbols, as readelf tells."""

import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field

# Which package of Debian has a library, and from which of its versions on it has a symbol version. libc6 and libgcc-s1 count as the symbols do.
# https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html
LIBSTDCXX = {
    "GLIBCXX": {21: "5", 22: "6", 24: "7", 25: "8", 26: "9", 28: "10", 29: "11", 30: "12", 31: "13", 32: "13.2", 33: "14", 34: "15"},
    "CXXABI": {9: "5", 10: "6", 11: "7", 12: "9", 13: "11", 14: "13", 15: "14", 16: "15"},
}

# The first glibc that came with a distribution whose compiler has the symbols: what a wheel's tag promises for the C++ library, too.
GLIBC_OF_GCC = {"5": (2, 19), "6": (2, 24), "7": (2, 27), "8": (2, 28), "9": (2, 31), "10": (2, 31), "11": (2, 34), "12": (2, 35), "13": (2, 38)}

LIBRARIES = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "libdl.so.2": "libc6",
    "libpthread.so.0": "libc6",
    "librt.so.1": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
}


# What a container can be built on, the oldest first, with its glibc and the gcc of its C++ library.
CONTAINER_BASES = {"debian:bookworm-slim": ((2, 36), 12), "debian:trixie-slim": ((2, 41), 14)}


@dataclass
class Needs:
    """`glibc` is the newest version of its symbols, `packages` are Debian's with the least version of each."""

    glibc: tuple[int, int]
    wheel_glibc: tuple[int, int] = (0, 0)
    packages: dict[str, str] = field(default_factory=dict)


def is_elf(binary: pathlib.Path) -> bool:
    with binary.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def needs(binary: pathlib.Path) -> Needs:
    if "X86-64" not in _readelf("-h", binary):
        raise SystemExit("package: the binary is not for x86-64, and the packages say that it is")
    return from_readelf(_readelf("-d", binary), _readelf("-V", binary))


def _readelf(option: str, binary: pathlib.Path) -> str:
    if not shutil.which("readelf"):
        raise SystemExit("package: readelf is not there: install binutils")
    return subprocess.run(["readelf", "-W", option, binary], check=True, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout


def from_readelf(dynamic: str, versions: str) -> Needs:
    libraries = re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", dynamic)
    unknown = [library for library in libraries if library not in LIBRARIES]
    if unknown:
        raise SystemExit(f"package: the binary needs {', '.join(unknown)}, and no package is known that has it")
    found: dict[str, list[tuple[int, ...]]] = {}
    for name, version in re.findall(r"Name: ([A-Z]+)_([0-9.]+)", versions):
        found.setdefault(name, []).append(tuple(int(part) for part in version.split(".")))
    newest = {name: max(versions) for name, versions in found.items()}
    glibc = newest.get("GLIBC", (2, 17))[:2]
    packages = {"libc6": f"{glibc[0]}.{glibc[1]}"}
    wheel_glibc = glibc
    if "libgcc_s.so.1" in libraries:
        packages["libgcc-s1"] = ".".join(str(part) for part in newest.get("GCC", (3, 0)))
    if "libstdc++.so.6" in libraries:
        gcc = max((_gcc(name, newest[name][-1]) for name in LIBSTDCXX if name in newest), key=_as_numbers, default="5")
        packages["libstdc++6"] = gcc
        major = gcc.split(".")[0]
        if major not in GLIBC_OF_GCC:
            raise SystemExit(f"package: no glibc is known that comes with the C++ library of gcc {gcc}")
        wheel_glibc = max(glibc, GLIBC_OF_GCC[major])
    return Needs(glibc, wheel_glibc, packages)


def container_base(needs: Needs) -> str:
    """The oldest image that has what the binary needs."""
    gcc = int(needs.packages.get("libstdc++6", "0").split(".")[0])
    for name, (glibc, last_gcc) in CONTAINER_BASES.items():
        if needs.glibc <= glibc and gcc <= last_gcc:
            return name
    raise SystemExit(f"package: no image for containers is known that has glibc {needs.glibc} and the C++ library of gcc {gcc}")


def _gcc(name: str, last: int) -> str:
    """The gcc that brought the symbols `name`_….`last`."""
    known = LIBSTDCXX[name]
    if last > max(known):
        raise SystemExit(f"package: no gcc is known that has {name} … {last}")
    return next(gcc for symbol, gcc in sorted(known.items()) if symbol >= last)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
