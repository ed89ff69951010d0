"""Do values and frames arrive as they were?"""

import datetime
import decimal
import enum
import io
import json
import math
import uuid

import numpy
import pandas
import polars
import pyarrow
import pytest

import tidewater
from tidewater.ingest.rows import encode_row, pieces

BERLIN = datetime.timezone(datetime.timedelta(hours=1))


class Colour(enum.Enum):
    RED = "red"


class Scalar:
    """As numpy has them."""

    def item(self):
        return 7


LOOP: list = []
LOOP.append(LOOP)

VALUES = {
    "null": (None, None),
    "boolean": (True, True),
    "a large integer": (2**63, 2**63),
    "double": (0.1, 0.1),
    "NaN": (math.nan, "NaN"),
    "infinity": (-math.inf, "-Infinity"),
    "text": ("ä\n\U0001f600", "ä\n\U0001f600"),
    "decimal": (decimal.Decimal("12.340"), "12.340"),
    "bytes": (b"\x00\xff", "00ff"),
    "date": (datetime.date(2026, 1, 31), "2026-01-31"),
    "time": (datetime.time(12, 0, 0, 5), "12:00:00.000005"),
    "timestamp": (datetime.datetime(2026, 1, 31, 12), "2026-01-31T12:00:00"),
    "instant": (datetime.datetime(2026, 1, 31, 12, tzinfo=BERLIN), "2026-01-31T12:00:00+01:00"),
    "UUID": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "enum": (Colour.RED, "red"),
    "list": ([1, None, [2.5, math.inf]], [1, None, [2.5, "Infinity"]]),
    "struct": ({"a": decimal.Decimal(1), "b": [datetime.date(2026, 1, 1)]}, {"a": "1", "b": ["2026-01-01"]}),
    "scalar of numpy": (Scalar(), 7),
    "time of numpy": (numpy.datetime64("2026-01-31T12:00:00.5", "ns"), "2026-01-31T12:00:00.500000000"),
    "times of numpy": (numpy.array(["2026-01-31", "NaT"], "datetime64[D]"), ["2026-01-31", None]),
    "no time of numpy": (numpy.datetime64("NaT"), None),
    "no time of pandas": (pandas.NaT, None),
}


@pytest.mark.parametrize("value, sent", VALUES.values(), ids=VALUES)
def test_a_value(value, sent):
    line = encode_row({"v": value}, 0)
    assert json.loads(line) == {"v": sent} and b"\n" not in line


@pytest.mark.parametrize(
    "rows, says",
    [
        ([{"id": 1}, ["id"]], "row 1 is of type list"),
        ({"id": object()}, "row 0, column 'id': a value of type object"),
        ({"id": datetime.timedelta(1)}, "a value of type timedelta"),
        ({"id": numpy.timedelta64(1, "ns")}, "a value of type timedelta64"),
        ({"id": "\ud800"}, "row 0, column 'id': a text that is no Unicode"),
        ({"id": LOOP}, "row 0 is nested too deep"),
        ("id=1", "rows of type str"),
        (7, "rows of type int"),
    ],
)
def test_what_cannot_be_sent(rows, says):
    with pytest.raises(tidewater.InvalidRequestError, match=says):
        list(pieces(rows, 10, 1000))


def decoded(piece) -> list[dict]:
    return pyarrow.ipc.open_stream(piece.data).read_all().to_pylist()


TABLE = pyarrow.table({"id": pyarrow.array(range(25), pyarrow.int64()), "name": [f"name {number}" for number in range(25)]})
FRAMES = {
    "pyarrow table": TABLE,
    "pyarrow record batch": TABLE.to_batches()[0],
    "pyarrow reader": TABLE.to_reader(),
    "polars": polars.DataFrame(TABLE),
    "another library": type("Frame", (), {"__arrow_c_stream__": lambda self, requested_schema=None: TABLE.__arrow_c_stream__()})(),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame(frame):
    found = list(pieces(frame, 10, 1 << 20))
    assert [(piece.n_rows, piece.first_row, piece.is_json) for piece in found] == [(10, 0, False), (10, 10, False), (5, 20, False)]
    assert [row for piece in found for row in decoded(piece)] == TABLE.to_pylist()


def test_slices_are_about_so_many_bytes():
    wide = pyarrow.table({"text": ["x" * 1000] * 100})
    for frame in (wide, polars.DataFrame(wide)):
        found = list(pieces(frame, 1000, 10_000))
        assert sum(piece.n_rows for piece in found) == 100 and max(len(piece.data) for piece in found) < 20_000, len(found)


def test_polars_sends_types_that_every_reader_knows():
    (piece,) = pieces(polars.DataFrame({"text": ["a"], "kind": polars.Series(["x"], dtype=polars.Categorical)}), 10, 1000)
    kinds = {field.name: field.type for field in pyarrow.ipc.open_stream(io.BytesIO(piece.data)).schema}
    assert kinds["text"] in (pyarrow.string(), pyarrow.large_string())


def test_frames_without_pyarrow_go_by_polars(monkeypatch):
    monkeypatch.setattr("tidewater.ingest.rows._has", lambda module: module == "polars")
    (piece,) = pieces(FRAMES["another library"], 100, 1 << 20)
    assert decoded(piece) == TABLE.to_pylist()


def test_frames_without_any_library_are_refused(monkeypatch):
    monkeypatch.setattr("tidewater.ingest.rows._has", lambda module: False)
    with pytest.raises(tidewater.InvalidRequestError, match="install tidewater-client\\[polars\\]"):
        list(pieces(FRAMES["another library"], 100, 1 << 20))


def test_rejected_rows_of_a_frame_are_its_rows(server):
    told = []
    server.reject(lambda row: tidewater.RowError(0, "id", "OUT_OF_RANGE", "no") if row["id"] % 10 == 3 else None)
    with tidewater.Producer("t", "p", server.url, on_rejected=lambda rows, reasons: told.extend(rows)) as producer:
        producer.send(TABLE)
    assert [row["id"] for row in told] == [3, 13, 23]
