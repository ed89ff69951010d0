//! Does every filter, projection, order and limit give the rows of a plain evaluation?

use super::support::{Random, fixture, stamp_us};

/// A random condition over the columns of `t`.
fn condition(random: &mut Random) -> String {
    let op = random.pick(&["=", "<", "<=", ">", ">=", "<>"]);
    match random.below(14) {
        0 => format!("loc {op} {}", random.below(52)),
        1 => format!("loc = {} AND ts {op} TIMESTAMP '1970-01-01 0{}:00:00'", random.below(50), random.below(9)),
        2 => format!("ts {op} TIMESTAMP '1970-01-01 0{}:{}0:00'", random.below(9), random.below(6)),
        3 => format!("id {op} {}", random.below(60_000)),
        4 => format!("name {op} 'name {}'", random.below(20)),
        5 => format!("v {op} {}", random.pick(&["0.0", "-0.0", "1.5", "150", "1e9", "CAST('NaN' AS DOUBLE)"])),
        6 => random.pick(&["ok", "NOT ok", "ok IS NULL", "ok IS NOT TRUE", "loc IS NULL", "v IS NOT NULL"]).to_owned(),
        7 => format!("day {op} DATE '1970-01-0{}'", 1 + random.below(7)),
        8 => format!("loc IN ({}, {}, NULL)", random.below(50), random.below(50)),
        9 => format!("loc NOT IN ({}, {})", random.below(50), random.below(50)),
        10 => format!("name LIKE '%{}'", random.below(9)),
        11 => format!("id BETWEEN {} AND {}", random.below(60_000), random.below(60_000)),
        12 => format!("loc + 1 {op} {}", random.below(50)),
        _ => format!("length(name) {op} 7"),
    }
}

fn predicate(random: &mut Random) -> String {
    let mut sql = condition(random);
    for _ in 0..random.below(4) {
        let junction = random.pick(&["AND", "AND", "OR"]);
        let next = condition(random);
        sql = if random.chance(15) {
            format!("NOT ({sql}) {junction} {next}")
        } else {
            format!("({sql}) {junction} ({next})")
        };
    }
    sql
}

#[tokio::test]
async fn random_filters_and_projections_give_the_rows_of_a_memory_table() {
    for seed in 0..3 {
        let fixture = fixture(seed, 1 + seed as usize % 3, false);
        let mut random = Random::new(seed + 100);
        for _ in 0..40 {
            let columns = random.pick(&["*", "id", "name, id", "ts, loc, v", "count(*)", "v", "loc, id, ok, day"]);
            fixture.check(&format!("SELECT {columns} FROM {{t}} WHERE {}", predicate(&mut random))).await;
        }
    }
}

#[tokio::test]
async fn random_aggregates_orders_and_joins_give_the_rows_of_a_memory_table() {
    for seed in 0..2 {
        let fixture = fixture(seed, 1 + seed as usize * 2, false);
        let mut random = Random::new(seed + 200);
        for _ in 0..15 {
            let filter = predicate(&mut random);
            let direction = random.pick(&["ASC", "DESC"]);
            let column = random.pick(&["id", "ts", "loc", "name", "v", "day"]);
            let n = 1 + random.below(40);
            for sql in [
                format!("SELECT loc, count(*), min(ts), max(id), sum(id) FROM {{t}} WHERE {filter} GROUP BY loc"),
                format!("SELECT min({column}), max({column}), count({column}) FROM {{t}} WHERE {filter}"),
                format!(
                    "SELECT {column} AS c, id FROM {{t}} WHERE {filter} ORDER BY {column} {direction} NULLS LAST, id LIMIT {n}"
                ),
                format!(
                    "SELECT a.id FROM {{t}} a JOIN {{t}} b ON a.id = b.id + 7 WHERE b.loc = {} AND a.{column} IS NOT NULL",
                    random.below(50)
                ),
                format!("SELECT id FROM {{t}} WHERE id IN (SELECT id * 2 FROM {{t}} WHERE {filter})"),
            ] {
                fixture.check(&sql).await;
            }
        }
    }
}

#[tokio::test]
async fn whole_tables_and_metadata_answers_are_exact() {
    for seed in 0..2 {
        let fixture = fixture(seed, 2, false);
        for sql in [
            "SELECT * FROM {t}",
            "SELECT count(*) FROM {t}",
            "SELECT count(loc), count(name), count(v), count(ok) FROM {t}",
            "SELECT min(id), max(id), min(loc), max(loc), min(ts), max(ts), min(day), max(day), min(ok), max(ok) FROM {t}",
            "SELECT min(name), max(name), min(v), max(v) FROM {t}",
        ] {
            fixture.check(sql).await;
        }
    }
}

#[tokio::test]
async fn limits_are_neither_short_nor_long() {
    for target_partitions in [1, 3] {
        let fixture = fixture(1, target_partitions, false);
        let all = fixture.n_rows;
        let of_loc = fixture.lines("SELECT id FROM m WHERE loc = 7").await.len();
        for n in [0, 1, 39, 1023, 1024, 8192, 8193, 20_000, 1_000_000] {
            for offset in [0, 5, 9_000] {
                let got = fixture.count(&format!("SELECT id FROM t LIMIT {n} OFFSET {offset}")).await;
                assert_eq!(got, n.min(all - offset), "limit {n} offset {offset}");
                let got = fixture.count(&format!("SELECT id FROM t WHERE loc = 7 LIMIT {n} OFFSET {offset}")).await;
                assert_eq!(got, n.min(of_loc.saturating_sub(offset)), "filtered limit {n} offset {offset}");
            }
        }
        // A filter above a limit must not choose the rows that the limit keeps.
        let sql = "SELECT count(*) FROM (SELECT loc FROM t LIMIT 500) WHERE loc IS NULL OR loc >= 0";
        assert_eq!(fixture.lines(sql).await, ["| 500      |"]);
    }
}

#[tokio::test]
async fn system_columns_belong_to_their_rows() {
    let fixture = fixture(2, 2, true);
    // Entries were made in the order of the ids.
    let sql = "SELECT _commit_seq, min(id), max(id), count(*), min(_ingested_at), max(_ingested_at) FROM t GROUP BY 1 ORDER BY 1";
    let mut expected = 0;
    for batch in fixture.run(sql).await {
        let column =
            |at: usize| arrow::compute::cast(batch.column(at), &arrow::datatypes::DataType::Int64).expect("a number");
        let value = |at: usize, row: usize| {
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&column(at)).value(row)
        };
        for row in 0..batch.num_rows() {
            assert_eq!(value(1, row), expected, "first id of an entry");
            expected = value(2, row) + 1;
            assert_eq!(value(3, row), value(2, row) - value(1, row) + 1, "all ids of an entry");
            assert_eq!((value(4, row), value(5, row)), (stamp_us(value(0, row)), stamp_us(value(0, row))));
        }
    }
    assert_eq!(expected as usize, fixture.n_rows);
    for k in [0, 3, 7, 100] {
        let above = fixture.lines(&format!("SELECT count(*) FROM t WHERE _commit_seq > {k}")).await;
        let computed = fixture.lines(&format!("SELECT count(*) FROM t WHERE _commit_seq + 0 > {k}")).await;
        assert_eq!(above, computed);
    }
}
