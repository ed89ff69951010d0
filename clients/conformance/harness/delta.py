"""What does a Delta table's own log say? Read by hand, by the rules of the protocol, without a library."""

import datetime
import json
import pathlib
import re
import shutil
from typing import Callable

import pyarrow as pa

COMMIT = re.compile(r"(\d{20})\.json$")
APP_ID = re.compile(r"tidewater/[0-9a-f-]{36}/\d+/[0-9a-f-]{36}$")
EXCLUSIVE_WRITER = "tidewater.exclusiveWriter"
# What a Delta table has that the SQL table does not show.
HIDDEN = "_commit_seq"


class Log:
    """The commits in `_delta_log`, from the first that is there."""

    def __init__(self, names: list[str], read: Callable[[str], bytes]):
        self.names = names
        found = sorted((int(match[1]), name) for name in names if (match := COMMIT.search(name)))
        self.commits = {version: [json.loads(line) for line in read(name).splitlines() if line.strip()] for version, name in found}

    @classmethod
    def of_folder(cls, table: pathlib.Path) -> "Log":
        folder = table / "_delta_log"
        return cls([path.name for path in folder.iterdir()], lambda name: (folder / name).read_bytes())

    @classmethod
    def of_bucket(cls, bucket, location: str) -> "Log":
        prefix = location.removeprefix(f"s3://{bucket.name}/") + "/_delta_log/"
        return cls(bucket.names(prefix), bucket.read)

    @property
    def version(self) -> int:
        return max(self.commits)

    def upto(self, version: int | None) -> list[list[dict]]:
        """The actions of each commit through a version, oldest first."""
        return [self.commits[v] for v in sorted(self.commits) if version is None or v <= version]

    def actions(self, kind: str, version: int | None = None) -> list[dict]:
        """All actions of one kind, oldest first."""
        return [action[kind] for actions in self.upto(version) for action in actions if kind in action]

    def last(self, kind: str) -> dict:
        return self.actions(kind)[-1]

    def columns(self) -> list[dict]:
        return json.loads(self.last("metaData")["schemaString"])["fields"]

    def through(self, version: int | None = None) -> int:
        """Through which `_commit_seq` a version has the table's rows; 0 before the first rows."""
        txns = self.actions("txn", version)
        return txns[-1]["version"] if txns else 0

    def foreign_versions(self) -> list[int]:
        """What others committed: each commit of ours says so."""
        return [version for version, actions in self.commits.items() if not any("tidewater" in a.get("commitInfo", {}) for a in actions)]

    def live(self, version: int | None = None) -> dict[str, dict]:
        """The `add` of each file of a version."""
        live = {}
        for actions in self.upto(version):
            # Within a version a file may be taken away and added again, with another deletion vector, in any order.
            for action in actions:
                if "remove" in action:
                    live.pop(action["remove"]["path"], None)
            for action in actions:
                if "add" in action:
                    live[action["add"]["path"]] = action["add"]
        return live

    def live_rows(self, version: int | None = None) -> int:
        adds = self.live(version).values()
        return sum(json.loads(add["stats"])["numRecords"] - (add.get("deletionVector") or {}).get("cardinality", 0) for add in adds)

    def assert_sound(self):
        """What must hold in every version, whatever happened to the commits on their way."""
        assert list(self.commits) == list(range(self.version + 1)), "a version is missing"
        for version in self.commits:
            names = [name for name in self.names if name.endswith(f"{version:020}.json")]
            assert len(names) == 1, names
        self._assert_protocol()
        self._assert_each_range_once()
        self._assert_files()

    def _assert_protocol(self):
        assert all(EXCLUSIVE_WRITER in protocol.get("writerFeatures", []) for protocol in self.actions("protocol"))
        versions = [protocol["minReaderVersion"] for protocol in self.actions("protocol")]
        assert versions and versions == sorted(versions) and set(versions) <= {1, 3}
        metadata = self.actions("metaData")
        assert metadata and not any(entry["partitionColumns"] for entry in metadata)
        assert len({entry["id"] for entry in metadata}) == 1, "the table changed its identity"
        times = [info["timestamp"] for info in self.actions("commitInfo") if "timestamp" in info]
        assert times == sorted(times), "a commit is older than the one before"

    def _assert_each_range_once(self):
        """A range of the log is committed once: each `txn` goes on from the one before, and none expires."""
        for version, actions in self.commits.items():
            assert len([action for action in actions if "txn" in action]) <= 1, version
        txns = self.actions("txn")
        assert all(APP_ID.match(txn["appId"]) and txn.get("lastUpdated") is None for txn in txns), txns
        assert len({txn["appId"] for txn in txns}) <= 1, "one log has one name"
        for version in list(self.commits)[1:]:
            before, now = self.through(version - 1), self.through(version)
            brings = [add for add in self._new_files(version) if add["dataChange"]]
            assert now > before or (now == before and not brings), f"version {version}: {before} to {now} was committed already"

    def _new_files(self, version: int) -> list[dict]:
        """Files that the version before does not have."""
        before = self.live(version - 1)
        return [add for path, add in self.live(version).items() if path not in before]

    def _assert_files(self):
        live, ever = set(), set()
        for version in sorted(self.commits):
            actions = self.commits[version]
            removed = {action["remove"]["path"] for action in actions if "remove" in action}
            added = [action["add"]["path"] for action in actions if "add" in action]
            assert len(added) == len(set(added)), f"version {version} adds a file twice"
            assert removed <= live, f"version {version} removes what is not there: {removed - live}"
            assert not set(added) & (live - removed), f"version {version} adds what is there: {set(added) & live}"
            assert not (set(added) - removed) & ever, f"version {version} uses a name again"
            live = live - removed | set(added)
            ever |= set(added)


def copy_of(table: pathlib.Path, to: pathlib.Path):
    """A folder whose server goes on: the log first, then what it names, which stays for as long as the table keeps old versions. The other
    way round the log may name a file that came after the files were listed."""
    log, copy = table / "_delta_log", to / "_delta_log"
    copy.mkdir(parents=True)
    # The checkpoint that it names is there before it.
    shutil.copy(log / "_last_checkpoint", copy)
    # Files under way have names that end with their write.
    shutil.copytree(log, copy, ignore=shutil.ignore_patterns(".staged#*", "_last_checkpoint"), dirs_exist_ok=True)
    shutil.copytree(table, to, ignore=shutil.ignore_patterns(".staged#*", "_delta_log"), dirs_exist_ok=True)


def stored(table: pa.Table) -> pa.Table:
    """The same values in the types that Delta has: unsigned as the next wider, TIME as microseconds."""
    fields = [pa.field(field.name, stored_type(field.type)) for field in table.schema]
    columns = [
        column if column.type == field.type else pa.array(map(stored_value, column.to_pylist()), field.type)
        for column, field in zip(table.columns, fields)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def stored_type(kind: pa.DataType) -> pa.DataType:
    match kind:
        case pa.ListType():
            return pa.list_(stored_type(kind.value_type))
        case pa.StructType():
            return pa.struct([(field.name, stored_type(field.type)) for field in kind])
    wider = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20, 0)}
    return pa.int64() if pa.types.is_time64(kind) else wider.get(kind, kind)


def stored_value(value):
    match value:
        case list():
            return [stored_value(item) for item in value]
        case dict():
            return {name: stored_value(item) for name, item in value.items()}
        case datetime.time():
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return value
