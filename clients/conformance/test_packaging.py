"""Are packages made as pip and dpkg want them? Built here from a program that only says its name; `make package` installs the real ones."""

import email.parser
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "package"
sys.path.insert(0, str(SCRIPTS))

import archive  # noqa: E402
import deb  # noqa: E402
import elf  # noqa: E402
import licences  # noqa: E402
import wheel  # noqa: E402

PROGRAM = b"#!/bin/sh\necho tidewater 0.1.0 \"$@\"\n"
TEXTS = {"LICENSE": "ours\n", "THIRD-PARTY.txt": "theirs\n"}
EXAMPLE = '# Folder of all data.\n#data = "./tidewater-data"\n'
DOCS = {"copyright": "theirs\n", "CHANGELOG.md": "changes\n", "cli.md": "words\n"}
PACKAGES = {"libc6": "2.35", "libstdc++6": "12"}


@pytest.fixture(autouse=True)
def one_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def a_wheel(folder: pathlib.Path) -> pathlib.Path:
    return wheel.build(folder, PROGRAM, "0.1.0", (2, 35), "# Tidewater\n", TEXTS)


def a_deb(folder: pathlib.Path) -> pathlib.Path:
    return deb.build(folder, PROGRAM, "0.1.0", PACKAGES, EXAMPLE, DOCS)


def test_a_wheel_is_installed_runs_and_goes(tmp_path):
    made = a_wheel(tmp_path)
    assert made.name == "tidewater-0.1.0-py3-none-manylinux_2_35_x86_64.whl"
    if tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split("."))) < (2, 35):
        pytest.skip("NOT CHECKED: pip takes no wheel that is tagged for a newer glibc")
    venv.create(tmp_path / "venv", with_pip=False)
    purelib = subprocess.run(
        [tmp_path / "venv/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "venv/bin/python", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", made], check=True, timeout=120)
    said = subprocess.run([tmp_path / "venv/bin/tidewater", "--version"], check=True, capture_output=True, text=True).stdout
    assert said == "tidewater 0.1.0 --version\n"
    assert (pathlib.Path(purelib) / "tidewater-0.1.0.dist-info/licenses/THIRD-PARTY.txt").read_text() == "theirs\n"
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "tidewater"], check=True, timeout=120)
    assert not (tmp_path / "venv/bin/tidewater").exists()


def test_a_wheel_says_what_it_holds(tmp_path):
    with zipfile.ZipFile(a_wheel(tmp_path)) as made:
        names = made.namelist()
        record = made.read("tidewater-0.1.0.dist-info/RECORD").decode().splitlines()
        metadata = email.parser.Parser().parsestr(made.read("tidewater-0.1.0.dist-info/METADATA").decode())
        modes = {info.filename: info.external_attr >> 16 for info in made.infolist()}
    assert [line.split(",")[0] for line in record] == names and names[-1].endswith("RECORD")
    assert metadata["Name"] == "tidewater" and metadata["Version"] == "0.1.0" and metadata["License-Expression"] == "Apache-2.0"
    assert sorted(metadata.get_all("License-File")) == sorted(TEXTS)
    assert modes["tidewater-0.1.0.data/scripts/tidewater"] == 0o100755


@pytest.mark.parametrize("build", [a_wheel, a_deb])
def test_the_same_input_gives_the_same_bytes(tmp_path, build):
    (tmp_path / "again").mkdir()
    assert build(tmp_path).read_bytes() == build(tmp_path / "again").read_bytes()


def members(data: bytes) -> dict[str, bytes]:
    assert data.startswith(b"!<arch>\n")
    at, found = 8, {}
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        assert data[at + 58 : at + 60] == b"`\n"
        found[name] = data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return found


def test_a_deb_is_what_dpkg_wants(tmp_path):
    parts = members(a_deb(tmp_path).read_bytes())
    assert list(parts) == ["debian-binary", "control.tar.xz", "data.tar.xz"] and parts["debian-binary"] == b"2.0\n"
    with tarfile.open(fileobj=io.BytesIO(parts["data.tar.xz"])) as data:
        files = {info.name: info for info in data.getmembers()}
        assert data.extractfile("./etc/tidewater/tidewater.toml").read().decode().endswith('\ndata = "/var/lib/tidewater"\n')
        unit = data.extractfile("./usr/lib/systemd/system/tidewater.service").read().decode()
    assert files["./usr/bin/tidewater"].mode == 0o755 and files["./usr/bin"].isdir()
    assert {(info.uid, info.gid, info.mtime) for info in files.values()} == {(0, 0, 1700000000)}
    for line in ("Type=notify", "User=tidewater", "StateDirectory=tidewater", "LimitNOFILE=65536", "Restart=on-failure", "NoNewPrivileges=yes"):
        assert line in unit.splitlines()
    with tarfile.open(fileobj=io.BytesIO(parts["control.tar.xz"])) as control:
        fields = email.parser.Parser().parsestr(control.extractfile("./control").read().decode())
        assert control.extractfile("./conffiles").read() == b"/etc/tidewater/tidewater.toml\n"
        assert all(control.getmember(f"./{name}").mode == 0o755 for name in ("postinst", "prerm", "postrm"))
    assert fields["Depends"] == "libc6 (>= 2.35), libstdc++6 (>= 12), passwd" and fields["Architecture"] == "amd64"


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="NOT CHECKED: there is no dpkg-deb here")
def test_dpkg_can_unpack_it(tmp_path):
    made = a_deb(tmp_path)
    assert subprocess.run(["dpkg-deb", "-f", made, "Package"], check=True, capture_output=True, text=True).stdout == "tidewater\n"
    subprocess.run(["dpkg-deb", "-x", made, tmp_path / "system"], check=True)
    assert (tmp_path / "system/usr/bin/tidewater").read_bytes() == PROGRAM


def test_scripts_of_the_package_are_shell():
    for name in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", SCRIPTS / "files" / name], check=True)
    # What stops the server must leave it the time that it takes for itself.
    unit = (SCRIPTS / "files/tidewater.service").read_text()
    grace = (ROOT / "server/src/cli/serve.rs").read_text().split("const GRACE: Duration = Duration::from_secs(")[1].split(")")[0]
    assert f"TimeoutStopSec={3 * int(grace)}\n" in unit


@pytest.fixture
def package_script(tmp_path):
    """Runs a script of the package on folders and commands of its own. Returns its status, and what it called."""
    commands = tmp_path / "commands"
    commands.mkdir()
    (tmp_path / "systemd").mkdir()
    # No user, no start: the worst that an installation meets.
    failing = {"getent", "deb-systemd-invoke"}
    for name in ("getent", "useradd", "chown", "chmod", "install", "systemctl", "deb-systemd-helper", "deb-systemd-invoke"):
        (commands / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/called\nexit {int(name in failing)}\n')
        (commands / name).chmod(0o755)

    def run(name: str, *words: str) -> tuple[int, list[str]]:
        (tmp_path / "called").write_text("")
        text = (SCRIPTS / "files" / name).read_text()
        places = {"/etc/tidewater": "etc", "/var/lib/tidewater": "data", "/run/systemd/system": "systemd"}
        for path, here in places.items():
            text = text.replace(path, str(tmp_path / here))
        text = text.replace("/usr/bin/deb-systemd-helper", str(commands / "deb-systemd-helper"))
        environment = {"PATH": f"{commands}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-c", text, name, *words], env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, (tmp_path / "called").read_text().splitlines()

    return run


def test_an_installation_does_not_fail_with_its_service(package_script, tmp_path):
    status, called = package_script("postinst", "configure", "")
    # There is no configuration here: somebody deleted it.
    assert status == 0 and any(call.startswith("useradd ") for call in called) and not any(call.startswith("chown") for call in called)
    assert "deb-systemd-invoke start tidewater.service" in called and "deb-systemd-helper enable tidewater.service" in called
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/tidewater.toml").touch()
    status, called = package_script("postinst", "configure", "0.1.0")
    assert status == 0 and "deb-systemd-invoke restart tidewater.service" in called
    assert sum(call.startswith("chown root:tidewater ") for call in called) == 2


def test_removing_stops_the_service_and_remembers_that_it_was_on(package_script, tmp_path):
    (tmp_path / "data").mkdir()
    assert package_script("prerm", "upgrade", "0.2.0") == (0, [])
    assert package_script("prerm", "remove") == (0, ["deb-systemd-invoke stop tidewater.service"])
    status, called = package_script("postrm", "remove")
    assert status == 0 and not any("disable" in call or "purge" in call for call in called)
    assert package_script("postrm", "purge")[0] == 0 and (tmp_path / "data").is_dir()


def test_an_example_without_its_line_is_told():
    with pytest.raises(SystemExit, match="server.data"):
        deb.config("# nothing\n")


def test_needs_are_read_from_symbols():
    dynamic = "\n".join(f" 0x01 (NEEDED)  Shared library: [{name}]" for name in ("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libc.so.6"))
    versions = "\n".join(f"  Name: {name}  Flags: none" for name in ("GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.9", "GLIBCXX_3.4.30", "CXXABI_1.3.13", "GCC_4.2.0"))
    needs = elf.from_readelf(dynamic, versions)
    assert (needs.glibc, needs.wheel_glibc) == ((2, 34), (2, 35))
    assert needs.packages == {"libc6": "2.34", "libgcc-s1": "4.2.0", "libstdc++6": "12"}
    assert elf.container_base(needs) == "debian:bookworm-slim"
    assert elf.container_base(elf.Needs((2, 39))) == "debian:trixie-slim"
    with pytest.raises(SystemExit, match="no image"):
        elf.container_base(elf.Needs((2, 36), packages={"libstdc++6": "15"}))
    with pytest.raises(SystemExit, match="libfoo"):
        elf.from_readelf(" (NEEDED)  Shared library: [libfoo.so.1]", "")
    with pytest.raises(SystemExit, match="no gcc is known"):
        elf.from_readelf(dynamic, "Name: GLIBCXX_3.4.99")


@pytest.mark.parametrize(
    "expression, allowed",
    [
        ("MIT", True),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("GPL-3.0 AND MIT", False),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", True),
        ("MIT AND (GPL-3.0 OR LGPL-3.0)", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0 WITH Classpath-exception-2.0", False),
        ("MIT OR Apache-2.0 AND GPL-3.0", True),
    ],
)
def test_licence_expressions(expression, allowed):
    assert licences.is_allowed(expression) == allowed


def test_licences_are_collected_or_the_packaging_stops(tmp_path):
    def package(name, terms, *, source="registry", text="the text"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        if text:
            (folder / "LICENSE").write_text(text)
        return {
            "id": name, "name": name, "version": "1.0.0", "source": source, "license": terms, "license_file": None,
            "authors": ["Somebody"], "manifest_path": str(folder / "Cargo.toml"), "repository": None,
        }  # fmt: skip

    def edge(name, kind=None):
        return {"pkg": name, "dep_kinds": [{"kind": kind, "target": None}]}

    packages = [package("tidewater-server", "Apache-2.0", source=None), package("a", "MIT"), package("b", "ISC"), package("tests", "GPL-3.0")]
    nodes = {"tidewater-server": [edge("a"), edge("tests", "dev")], "a": [edge("b"), edge("tests", "build")], "b": [], "tests": []}
    metadata = {"packages": packages, "resolve": {"nodes": [{"id": id, "deps": deps} for id, deps in nodes.items()]}}
    shipped = licences.shipped(metadata)
    assert [package["name"] for package in shipped] == ["a", "b"]
    collected = licences.collect(shipped)
    assert "a 1.0.0 (MIT)\nb 1.0.0 (ISC)\n" in collected and collected.count("the text\n") == 1
    assert "The Rust standard library (MIT OR Apache-2.0)" in collected
    assert "Permission is hereby granted" in licences.collect([package("c", "MIT", text=None)])
    header = tmp_path / "some.h"
    header.write_text("/* a header */\n/*\n * Redistribution and use\n */\nint a;\n")
    assert licences._text(header) == "/*\n * Redistribution and use\n */"
    for bad, told in [
        (package("d", "GPL-3.0"), "'GPL-3.0', which is not on the list"),
        (package("e", None), "names no licence"),
        (package("f", "BSD-3-Clause", text=None), "brings no text"),
        (package("lz4-sys", "MIT"), "liblz4/LICENSE is not there"),
    ]:
        with pytest.raises(SystemExit, match=told):
            licences.collect([bad])


def test_time_is_that_of_the_sources(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    made = zipfile.ZipFile(io.BytesIO(archive.zip_of([archive.Entry("a", b"b")])))
    assert made.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)
