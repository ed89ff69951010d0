"""How does Debian install and run the server? A package with the program, a service, its configuration and the documentation."""

import hashlib
import pathlib
import re

from archive import Entry, ar, gz, tar, xz

FILES = pathlib.Path(__file__).parent / "files"
DATA = "/var/lib/tidewater"
CONFIG = "etc/tidewater/tidewater.toml"
DOC = "usr/share/doc/tidewater"


def build(folder: pathlib.Path, program: bytes, version: str, packages: dict[str, str], example: str, texts: dict[str, str]) -> pathlib.Path:
    """Writes the package into `folder`. `packages` must be there in at least these versions; `example` is what `config example` prints, and
    `texts` are what goes to the documentation."""
    entries = [
        Entry("usr/bin/tidewater", program, 0o755),
        Entry("usr/lib/systemd/system/tidewater.service", (FILES / "tidewater.service").read_bytes()),
        # Paths of stores and certificates may be there: for root, and for the service by its group.
        Entry(CONFIG, config(example).encode(), 0o640),
        Entry(f"{DOC}/copyright", texts["copyright"].encode()),
        Entry(f"{DOC}/changelog.gz", gz(texts["CHANGELOG.md"].encode())),
    ]
    entries += [Entry(f"{DOC}/{name}", text.encode()) for name, text in texts.items() if name not in ("copyright", "CHANGELOG.md")]
    size_kib = sum((len(entry.data) + 1023) // 1024 + 1 for entry in entries)
    md5sums = "".join(f"{hashlib.md5(entry.data).hexdigest()}  {entry.path}\n" for entry in entries if entry.path != CONFIG)
    control = [
        Entry("control", _control(version, packages, size_kib).encode()),
        Entry("conffiles", f"/{CONFIG}\n".encode()),
        Entry("md5sums", md5sums.encode()),
        *(Entry(name, (FILES / name).read_bytes(), 0o755) for name in ("postinst", "prerm", "postrm")),
    ]
    path = folder / f"tidewater_{version}_amd64.deb"
    path.write_bytes(ar([("debian-binary", b"2.0\n"), ("control.tar.xz", xz(tar(control))), ("data.tar.xz", xz(tar(entries)))]))
    return path


def config(example: str) -> str:
    """The example with the package's own data folder; everything else is as without a file."""
    text, n = re.subn(r'(?m)^# ?data = ".*"$', f'data = "{DATA}"', example)
    if n != 1:
        raise SystemExit("package: `tidewater config example` has not exactly one line for server.data")
    return text


def _control(version: str, packages: dict[str, str], size_kib: int) -> str:
    depends = ", ".join(f"{name} (>= {least})" for name, least in sorted(packages.items()))
    return f"""Package: tidewater
Version: {version}
Architecture: amd64
Maintainer: Tidewater <tidewater@localhost>
Installed-Size: {size_kib}
Depends: {depends}, passwd
Recommends: ca-certificates
Section: database
Priority: optional
Description: real-time OLAP store with a built-in query server
 One binary in place of a message broker, a stream processor, a serving store
 and a query engine. Producers send batches over gRPC; a batch that is
 acknowledged is durable, deduplicated and visible to SQL. Dashboards ask over
 Arrow Flight SQL, gRPC or HTTP; settled rows are a Delta Lake table.
"""
