"""Whose software is in the binary, and under which terms? All crates that the server is linked from, with their licences, from what cargo fetched.

A licence that is not on the list stops the packaging: somebody has to read it first.
"""

import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
TARGET = "x86_64-unknown-linux-gnu"

# Licences whose terms a program under Apache-2.0 can be shipped under, by their SPDX names. Of alternatives one must be here.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    # Files under it stay under it, and their source is where the list says; nothing else of the program is bound.
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "zlib-acknowledgement",
}

# C and C++ that crates bring along and that is linked in: what it is, its terms, and where they stand in the crate. RocksDB is under two
# licences at our choice, Apache-2.0 is the one.
BUNDLED = {
    "librocksdb-sys": [
        ("RocksDB", "Apache-2.0", ["rocksdb/LICENSE.Apache"]),
        ("LevelDB, in RocksDB", "BSD-3-Clause", ["rocksdb/LICENSE.leveldb"]),
        ("xxHash, in RocksDB", "BSD-2-Clause", ["rocksdb/util/xxhash.h"]),
        # Under three licences at our choice.
        ("PerconaFT, in RocksDB", "Apache-2.0", ["rocksdb/utilities/transactions/lock/range/range_tree/lib/COPYING.APACHEv2"]),
    ],
    "lz4-sys": [("LZ4", "BSD-2-Clause", ["liblz4/LICENSE"])],
    "zstd-sys": [("Zstandard", "BSD-3-Clause", ["zstd/LICENSE"])],
    "tikv-jemalloc-sys": [("jemalloc", "BSD-2-Clause", ["jemalloc/COPYING"])],
}

# What every Rust program is linked from, and no crate of a registry.
STANDARD_LIBRARY = ("The Rust standard library", "MIT OR Apache-2.0", ["The Rust Project contributors"], [])

# Crates without a text whose text another one of the same repository has.
SIBLINGS = {"alloc-stdlib": "alloc-no-stdlib"}

LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def metadata() -> dict:
    """What cargo resolved; nothing is fetched for it, and the lock file stays."""
    command = ["cargo", "metadata", "--frozen", "--format-version", "1", "--filter-platform", TARGET]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def shipped(metadata: dict, root: str = "tidewater-server") -> list[dict]:
    """Packages of others that the program is linked from: what is needed to run, neither tests nor build scripts."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (start,) = [id for id, package in packages.items() if package["name"] == root]
    seen, waiting = {start}, [start]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    others = [packages[id] for id in seen if packages[id]["source"] is not None]
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def is_allowed(expression: str) -> bool:
    """An SPDX expression: AND binds closer than OR, both may stand in parentheses. A slash is how OR was written once."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    value, rest = _any(tokens)
    if rest:
        raise ValueError(f"'{expression}' is no licence expression")
    return value


def _any(tokens):
    value, tokens = _all(tokens)
    while tokens and tokens[0] == "OR":
        other, tokens = _all(tokens[1:])
        value = value or other
    return value, tokens


def _all(tokens):
    value, tokens = _one(tokens)
    while tokens and tokens[0] == "AND":
        other, tokens = _one(tokens[1:])
        value = value and other
    return value, tokens


def _one(tokens):
    if not tokens:
        raise ValueError("a licence expression ends too early")
    if tokens[0] == "(":
        value, tokens = _any(tokens[1:])
        if not tokens or tokens[0] != ")":
            raise ValueError("a licence expression misses a parenthesis")
        return value, tokens[1:]
    name, tokens = tokens[0], tokens[1:]
    if tokens and tokens[0] == "WITH":
        name, tokens = f"{name} WITH {tokens[1]}", tokens[2:]
    return name in ALLOWED, tokens


def collect(packages: list[dict]) -> str:
    """THIRD-PARTY.txt. Ends the program with all that is wrong if a licence is not on the list, or a text is missing."""
    problems, works = [], [STANDARD_LIBRARY]
    folders = {package["name"]: pathlib.Path(package["manifest_path"]).parent for package in packages}
    for package in packages:
        name, terms = f"{package['name']} {package['version']}", package["license"]
        folder = pathlib.Path(package["manifest_path"]).parent
        if not terms and not package["license_file"]:
            problems.append(f"{name} names no licence")
            continue
        if terms and not is_allowed(terms):
            problems.append(f"{name} is under '{terms}', which is not on the list of scripts/package/licences.py")
        files = {path for path in folder.iterdir() if LICENCE_FILE.match(path.name) and path.is_file()}
        if package["license_file"]:
            files.add((folder / package["license_file"]).resolve())
        if not files and SIBLINGS.get(package["name"]) in folders:
            files = {path for path in folders[SIBLINGS[package["name"]]].iterdir() if LICENCE_FILE.match(path.name)}
        texts = [_text(path) for path in sorted(files) if path.exists()]
        source = f", {package['repository']}" if package.get("repository") else ""
        works.append((f"{name}{source}", terms or "see below", package["authors"], texts))
        for what, terms, paths in BUNDLED.get(package["name"], []):
            missing = [path for path in paths if not (folder / path).is_file()]
            problems += [f"{what} of {name}: {path} is not there" for path in missing]
            works.append((f"{what}, in {name}", terms, [], [_text(folder / path) for path in paths if path not in missing]))
    for name, terms, _, texts in works:
        if not texts and not any(known in re.split(r"[\s()/]+", terms) for known in ("MIT", "Apache-2.0")):
            problems.append(f"{name} is under '{terms}' and brings no text of it")
    if problems:
        raise SystemExit("package: licences:\n  " + "\n  ".join(problems))
    return _written(works)


def _text(path: pathlib.Path) -> str:
    """Of a source file the comment with its terms."""
    text = path.read_text(errors="replace").replace("\r\n", "\n")
    if path.suffix == ".h":
        text = next(comment for comment in re.findall(r"/\*.*?\*/", text, re.DOTALL) if "Redistribution and use" in comment)
    lines = text.split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _written(works) -> str:
    bar = "=" * 78
    parts = ["Tidewater (LICENSE) is linked from the works below. Each stands under its own terms; texts that several have are printed once.\n"]
    by_text: dict[tuple, list[str]] = {}
    for name, terms, authors, texts in works:
        if texts:
            key = ("texts", *texts)
            by_text.setdefault(key, []).append(f"{name} ({terms})")
        else:
            # Its package has the name of its licence only.
            by = f", by {', '.join(authors)}" if authors else ""
            standard = "MIT" if "MIT" in re.split(r"[\s()/]+", terms) else "Apache-2.0"
            by_text.setdefault((standard,), []).append(f"{name} ({terms}){by}")
    printed: dict[str, int] = {}
    for key, names in by_text.items():
        parts.append(f"{bar}\n" + "\n".join(names) + f"\n{bar}\n")
        texts = key[1:] if key[0] == "texts" else [MIT.strip("\n") if key[0] == "MIT" else _text(ROOT / "LICENSE")]
        for text in texts:
            if text in printed:
                parts.append(f"(text {printed[text]} above)\n")
            else:
                printed[text] = len(printed) + 1
                parts.append(f"(text {printed[text]})\n\n{text}\n")
    return "\n".join(parts)
