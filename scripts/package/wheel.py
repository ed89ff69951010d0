"""How does `pip install` bring the binary? A wheel with the program among its scripts, and nothing to import."""

import base64
import hashlib
import pathlib

from archive import Entry, zip_of


def build(folder: pathlib.Path, program: bytes, version: str, glibc: tuple[int, int], readme: str, licences: dict[str, str]) -> pathlib.Path:
    """Writes the wheel into `folder`. `licences` are texts by file name; the program needs this glibc or a newer one."""
    tag = f"py3-none-manylinux_{glibc[0]}_{glibc[1]}_x86_64"
    info = f"tidewater-{version}.dist-info"
    entries = [Entry(f"tidewater-{version}.data/scripts/tidewater", program, 0o755)]
    entries += [Entry(f"{info}/licenses/{name}", text.encode()) for name, text in sorted(licences.items())]
    entries.append(Entry(f"{info}/METADATA", _metadata(version, readme, licences).encode()))
    entries.append(Entry(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: tidewater\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()))
    record = "".join(f"{entry.path},{_hash(entry.data)},{len(entry.data)}\n" for entry in entries) + f"{info}/RECORD,,\n"
    entries.append(Entry(f"{info}/RECORD", record.encode()))
    path = folder / f"tidewater-{version}-{tag}.whl"
    path.write_bytes(zip_of(entries))
    return path


def _hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _metadata(version: str, readme: str, licences: dict[str, str]) -> str:
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", "tidewater"),
        ("Version", version),
        ("Summary", "A real-time OLAP store with a built-in query server: the server and its command line"),
        ("License-Expression", "Apache-2.0"),
        *(("License-File", name) for name in sorted(licences)),
        ("Requires-Python", ">=3.8"),
        ("Description-Content-Type", "text/markdown"),
    ]
    return "".join(f"{name}: {value}\n" for name, value in fields) + "\n" + readme
