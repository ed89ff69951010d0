"""Which rows fill a bulk ingest of any size? Numbered ones with random bytes, which no format makes smaller."""

import random
from collections.abc import Iterable

import pyarrow as pa

BATCH_ROWS = 1_000
VALUE_BYTES = 1_000
SCHEMA = pa.schema([("n", pa.int64()), ("value", pa.binary())])


def batch(i: int) -> pa.RecordBatch:
    """The rows from `i` * BATCH_ROWS on: 1 MB."""
    offsets = pa.array(range(0, BATCH_ROWS * VALUE_BYTES + 1, VALUE_BYTES), pa.int32()).buffers()[1]
    values = pa.py_buffer(random.Random(i).randbytes(BATCH_ROWS * VALUE_BYTES))
    numbers = pa.array(range(i * BATCH_ROWS, (i + 1) * BATCH_ROWS), pa.int64())
    return pa.RecordBatch.from_arrays([numbers, pa.Array.from_buffers(pa.binary(), BATCH_ROWS, [None, offsets, values])], schema=SCHEMA)


def reader(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(SCHEMA, batches)
