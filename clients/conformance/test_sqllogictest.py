"""Are DataFusion's own sqllogictest files answered over Flight SQL as they say, but for a list of records with reasons?"""

import collections
import contextlib

import pytest

from harness import results, slt

NAME = "DataFusion sqllogictest over Flight SQL"
MIN_PASSED = 5_700
N_RECORDS = 6_374
"""Of the files themselves, without what they include."""

# Files that take a few seconds together, of many kinds of statements.
QUICK = [
    "aggregates_topk.slt", "array/", "case.slt", "coalesce.slt", "lateral_join.slt", "pg_compat/", "sort_merge_join.slt", "struct.slt",
    "table_functions.slt", "truncate.slt", "type_coercion.slt", "union_by_name.slt",
]  # fmt: skip
QUICK_TIMEOUT_S = 120
FULL_TIMEOUT_S = 1_800
PARTS = 2


def check(records: list[slt.Record]):
    """No record failed that is not in the skip list, none passed that is."""
    bad = [record for record in records if record.result not in ("passed", "skipped")]
    assert not bad, f"{len(bad)} of {len(records)} records:\n" + "\n".join(map(str, bad[:40]))


def record_results(records: list[slt.Record]):
    suite = results.suite(NAME, slt.version())
    why = slt.skips()
    for record in records:
        case = f"{record.file}:{record.place}"
        match record.result:
            case "passed":
                suite.passes(case)
            case "skipped":
                # The reason alone: notes are in the list.
                suite.skips(case, why[record.file, record.place].partition(":")[0])
            case other:
                suite.fails(case, other)


def test_some_files(tmp_path):
    with contextlib.closing(slt.Run(tmp_path, only=QUICK)) as run:
        check(run.records(QUICK_TIMEOUT_S))


@pytest.mark.slow
def test_all_files(tmp_path):
    with contextlib.ExitStack() as stack:
        runs = [slt.Run(tmp_path / f"part{i}", part=f"{i}/{PARTS}") for i in range(PARTS)]
        for run in runs:
            stack.callback(run.close)
        records = [record for run in runs for record in run.records(FULL_TIMEOUT_S)]
    record_results(records)
    check(records)
    unseen = slt.skips().keys() - {(record.file, record.place) for record in records}
    assert not unseen, f"the skip list names records that are not there: {sorted(unseen)[:20]}"
    own = [record for record in records if record.is_own]
    assert len(own) == N_RECORDS
    counts = collections.Counter(record.result for record in own)
    assert counts["passed"] >= MIN_PASSED, counts
