"""Where do the Python stubs come from? They are generated from the .proto files when the tests begin."""

import importlib
import pathlib
import sys
import tempfile
from importlib import resources

from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"
FILES = ["tidewater/admin/v1/admin.proto", "tidewater/ingest/v1/ingest.proto", "tidewater/query/v1/query.proto"]

_folder = tempfile.TemporaryDirectory(prefix="tidewater-stubs-")
_include = resources.files("grpc_tools") / "_proto"
# google/rpc comes from googleapis-common-protos, so only our own files are generated.
_arguments = ["protoc", f"-I{PROTO}", f"-I{_include}", f"--python_out={_folder.name}", f"--grpc_python_out={_folder.name}"]
if protoc.main([*_arguments, *FILES]) != 0:
    raise RuntimeError(f"the stubs of {FILES} could not be generated")
sys.path.insert(0, _folder.name)
# Where the Python client is installed, its stubs have the same names. What is tested here is what the .proto files say now.
for _name in ("admin", "ingest", "query"):
    _package = importlib.import_module(f"tidewater.{_name}")
    if isinstance(_package.__path__, list):
        _package.__path__.insert(0, f"{_folder.name}/tidewater/{_name}")

admin = importlib.import_module("tidewater.admin.v1.admin_pb2")
admin_grpc = importlib.import_module("tidewater.admin.v1.admin_pb2_grpc")
ingest = importlib.import_module("tidewater.ingest.v1.ingest_pb2")
ingest_grpc = importlib.import_module("tidewater.ingest.v1.ingest_pb2_grpc")
query = importlib.import_module("tidewater.query.v1.query_pb2")
query_grpc = importlib.import_module("tidewater.query.v1.query_pb2_grpc")
