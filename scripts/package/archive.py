"""How are files packed so that the same input gives the same bytes? Sorted, with one time, and nobody's name on them."""

import gzip
import io
import lzma
import os
import tarfile
import time
import zipfile
from dataclasses import dataclass

# ZIP knows no time before 1980.
ZIP_BEGIN_S = 315_532_800


@dataclass(frozen=True)
class Entry:
    """A file of an archive: where it goes, what it holds, and whether it can be run."""

    path: str
    data: bytes
    mode: int = 0o644


def epoch() -> int:
    """The time that everything in a package has: SOURCE_DATE_EPOCH, seconds since 1970."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def tar(entries: list[Entry]) -> bytes:
    """With the folders that lead to the files, as packages of Debian have them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        folders = set()
        for entry in sorted(entries, key=lambda entry: entry.path):
            parts = entry.path.split("/")[:-1]
            for depth in range(len(parts) + 1):
                folder = "/".join([".", *parts[:depth]])
                if folder not in folders:
                    folders.add(folder)
                    archive.addfile(_info(folder + "/", 0o755, tarfile.DIRTYPE))
            info = _info(f"./{entry.path}", entry.mode, tarfile.REGTYPE)
            info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def _info(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, epoch()
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def xz(data: bytes) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_XZ, preset=6)


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def ar(members: list[tuple[str, bytes]]) -> bytes:
    """The form of a .deb, in the order given."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{epoch():<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data
        out += b"\n" * (len(data) % 2)
    return out


def zip_of(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    date = time.gmtime(max(epoch(), ZIP_BEGIN_S))[:6]
    with zipfile.ZipFile(out, "w") as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.path, date)
            info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, (0o100000 | entry.mode) << 16, 3
            archive.writestr(info, entry.data, compresslevel=6)
    return out.getvalue()
