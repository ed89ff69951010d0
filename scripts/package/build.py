"""What is shipped? From one release binary: a wheel, a .deb, what a container is built from, and the licences of everything inside.

    python3 scripts/package/build.py BINARY FOLDER [--metadata FILE]

Needs nothing but Python 3.11 and binutils. The same binary and SOURCE_DATE_EPOCH (default: the time of the last commit) give the same bytes.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import tomllib

import deb
import elf
import licences
import wheel

ROOT = licences.ROOT


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary", type=pathlib.Path)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--metadata", type=pathlib.Path, help="what `cargo metadata` says, instead of asking it")
    given = arguments.parse_args()
    os.environ.setdefault("SOURCE_DATE_EPOCH", _last_commit())
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    said = _run(given.binary, "--version")
    if version not in said.split():
        raise SystemExit(f"package: the binary says '{said.strip()}', and the sources are {version}: build it anew")
    needs = elf.needs(given.binary)
    metadata = json.loads(given.metadata.read_text()) if given.metadata else licences.metadata()
    third_party = licences.collect(licences.shipped(metadata))

    shutil.rmtree(given.folder, ignore_errors=True)
    container = given.folder / "container"
    container.mkdir(parents=True)
    program = _stripped(given.binary, container / "tidewater")
    texts = {"LICENSE": (ROOT / "LICENSE").read_text(), "THIRD-PARTY.txt": third_party}
    for name, text in texts.items():
        (container / name).write_text(text)
    recipe = (deb.FILES / "Containerfile").read_text()
    (container / "Containerfile").write_text(re.sub(r"(?m)^ARG BASE=.*$", f"ARG BASE={elf.container_base(needs)}", recipe))
    (given.folder / "THIRD-PARTY.txt").write_text(third_party)

    readme = (ROOT / "README.md").read_text()
    docs = {path.name: path.read_text() for path in sorted((ROOT / "server/docs").glob("*.md"))}
    copyright = f"Tidewater is under the Apache License, version 2.0, see /usr/share/common-licenses/Apache-2.0.\n\n{third_party}"
    changes = {"CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text(), "README.md": readme, "copyright": copyright}
    made = [
        wheel.build(given.folder, program, version, needs.wheel_glibc, readme, texts),
        deb.build(given.folder, program, version, needs.packages, _run(given.binary, "config", "example"), docs | changes),
    ]
    for path in [*made, container / "tidewater"]:
        print(f"{path} {path.stat().st_size >> 20} MiB")
    glibc, tagged = (".".join(map(str, number)) for number in (needs.glibc, needs.wheel_glibc))
    print(f"needs glibc {glibc} (with its C++ library {tagged}), {', '.join(f'{name} {least}' for name, least in needs.packages.items())}")


def _run(binary: pathlib.Path, *words: str) -> str:
    return subprocess.run([binary.resolve(), *words], check=True, capture_output=True, text=True).stdout


def _last_commit() -> str:
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else "0"


def _stripped(binary: pathlib.Path, to: pathlib.Path) -> bytes:
    """The program without the tables for debuggers, which are most of it. Names of functions go too: the log has none of them."""
    if not shutil.which("strip"):
        raise SystemExit("package: strip is not there: install binutils")
    subprocess.run(["strip", "--strip-all", "-o", to, binary], check=True)
    to.chmod(0o755)
    return to.read_bytes()


if __name__ == "__main__":
    main()
