"""Are DataFusion's own sqllogictest files answered over Flight SQL as they say, but for a list of records with reasons?"""

import collections
import contextlib

import pytest

from harness import results, slt

NAME = "DataFusion sqllogictest over Flight SQL"
MIN_PASSED = 5_685
N_RECORDS = 6_374
"""Of the files themselves, without what they include."""

# Files that take a few seconds together, of many kinds of statements.
QUICK = [
    "aggregates_topk.slt", "array/", "case.slt", "coalesce.slt", "lateral_join.slt", "pg_compat/", "sort_merge_join.slt", "struct.slt",
    "table_functions.slt", "truncate.slt", "type_coercion.slt", "union_by_name.slt",
]  # fmt: skip
QUICK_TIMEOUT_S = 300
FULL_TIMEOUT_S = 1_800
PARTS = 2


def check(records: list[slt.Record]):
    """No record failed that is not in the skip list, none passed that is."""
    bad = [record for record in records if record.result not in ("passed", "skipped")]
    assert not bad, f"{len(bad)} of {len(records)} records:\n" + "\n".join(map(str, bad[:40]))


def record_results(records: list[slt.Record]):
    """What stands in the files themselves is a suite, and what they include another. A file may include the same one several times."""
    own = results.suite(NAME, slt.version())
    included = results.suite(f"{NAME}: what its files include", slt.version())
    why, times = slt.skips(), collections.Counter()
    for record in records:
        suite = own if record.is_own else included
        case = f"{record.file}:{record.place}"
        times[case] += 1
        case += f" ({times[case]})" if times[case] > 1 else ""
        match record.result:
            case "passed":
                suite.passes(case)
            case "skipped":
                # The reason alone: notes are in the list.
                suite.skips(case, why[record.file, record.place].partition(":")[0])
            case other:
                suite.fails(case, other)
    in_own_words = sum(record.own_words and record.result == "passed" for record in records if record.is_own)
    own.notes.append(f"of the {len(own.passed)} that passed, {in_own_words} are refusals that the server words otherwise than the file")
    by_design = collections.Counter(record.by_design for record in records if record.is_own and record.by_design)
    own.notes += [f"{n} are refused by design: {note}" for note, n in sorted(by_design.items())]


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
    unused = set(slt.refusals()) - {record.by_design for record in records}
    assert not unused, f"the list of refusals has what no record asks for: {sorted(unused)}"
    own = [record for record in records if record.is_own]
    assert len(own) == N_RECORDS
    counts = collections.Counter(record.result for record in own)
    assert counts["passed"] >= MIN_PASSED, counts


def test_results_tell_the_files_from_what_they_include(monkeypatch):
    records = [slt.Record("a.slt", "1", "passed"), slt.Record("a.slt", "2", "passed", own_words=True), slt.Record("a.slt", "3", "failed")]
    records += [slt.Record("a.slt", place, "passed", own_words=True, by_design="no UPDATE") for place in ("4", "5")]
    records += [slt.Record("a.slt", "b.slt.part:1", "passed")] * 2
    with monkeypatch.context() as patched:
        patched.setattr(results, "_suites", {})
        record_results(records)
        own, included = results._suites.values()
    assert (own.passed, own.failed, own.n_cases) == (["a.slt:1", "a.slt:2", "a.slt:4", "a.slt:5"], {"a.slt:3": "failed"}, 5)
    assert included.passed == ["a.slt:b.slt.part:1", "a.slt:b.slt.part:1 (2)"]
    assert own.notes == [
        "of the 4 that passed, 3 are refusals that the server words otherwise than the file",
        "2 are refused by design: no UPDATE",
    ]
