"""Where do the package's stubs come from? From proto/, by `python clients/python/generate.py`, which needs grpcio-tools; a test compares.

What is made is committed, so that an installation takes no compiler. The stubs are under the names that everybody's own have
(`tidewater.ingest.v1`): who has generated them too finds the same.
"""

import pathlib
import re
import sys
from importlib import resources

from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"
FILES = [f"tidewater/{name}/v1/{name}.proto" for name in ("admin", "ingest", "query")]

# Both checks refuse libraries that are older than the tools of today. What is generated uses nothing that these lack (the oldest that
# pyproject.toml allows are tried by a test), and programs cannot all have the newest.
CHECKS = {
    "_pb2.py": [
        r"from google\.protobuf import runtime_version as _runtime_version\n",
        r"_runtime_version\.ValidateProtobufRuntimeVersion\(.*?\n\)\n",
    ],
    "_pb2_grpc.py": [r"import warnings\n\n", r"GRPC_GENERATED_VERSION = .*?\n    \)\n"],
}


def generate(folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the stubs below `folder`; their paths in it."""
    include = resources.files("grpc_tools") / "_proto"
    outs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{include}", *outs, *FILES]) != 0:
        raise RuntimeError(f"the stubs of {FILES} could not be generated")
    made = sorted(path for path in folder.glob("tidewater/*/v1/*_pb2*") if path.suffix in (".py", ".pyi"))
    for path in made:
        for ending, patterns in CHECKS.items():
            if path.name.endswith(ending):
                path.write_text(_without(path, patterns))
    return [path.relative_to(folder) for path in made]


def _without(path: pathlib.Path, patterns: list[str]) -> str:
    text = path.read_text()
    for pattern in patterns:
        text, n_found = re.subn(pattern, "", text, flags=re.DOTALL)
        if n_found != 1:
            raise RuntimeError(f"{path.name} has {n_found} times {pattern}: another version of grpcio-tools writes it otherwise")
    return text


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "src"
    for made in generate(target):
        print(made)
