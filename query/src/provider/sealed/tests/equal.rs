//! Does every statement give the same rows from files as from memory? Types, filters, orders, aggregates, joins, after a restart.

use tidewater_storage::catalog::{ColumnDef, TableChange};

use super::support::{Fixture, Session, every_type, open, rows};
use crate::provider::tests::support::Random;

/// A condition on each kind of column, with literals that are and are not there.
fn condition(random: &mut Random) -> String {
    let op = random.pick(&["=", "<", "<=", ">", ">=", "<>"]);
    let n = random.below(100);
    match random.below(22) {
        0 => format!("id {op} {}", random.below(3_000)),
        1 => format!("ts {op} TIMESTAMP '1970-01-01 0{}:30:00'", random.below(9)),
        2 => format!("i8 {op} {}", n as i64 - 50),
        3 => format!("i16 {op} {n}"),
        4 => format!("i32 {op} {n}"),
        5 => format!("u8 {op} {}", random.pick(&["0", "255", "17", "-1", "256"])),
        6 => format!("u16 {op} {}", random.pick(&["0", "65535", "17"])),
        7 => format!("u32 {op} {}", random.pick(&["0", "4294967295", "17"])),
        8 => format!("u64 {op} {}", random.pick(&["0", "18446744073709551615", "9223372036854775808", "17"])),
        9 => format!("f32 {op} {}", random.pick(&["0.0", "-0.0", "1.5", "1e9"])),
        10 => format!("f64 {op} {}", random.pick(&["0.0", "-0.0", "12", "1e300", "CAST('NaN' AS DOUBLE)"])),
        11 => format!("price {op} {}.5", random.below(50)),
        12 => format!("name {op} 'name {}'", random.below(10)),
        13 => format!("day {op} DATE '1985-03-0{}'", 1 + random.below(9)),
        14 => format!("clock {op} arrow_cast(TIME '1{}:00:00', 'Time64(Microsecond)')", random.below(9)),
        15 => format!("seen {op} TIMESTAMP '1970-06-01 00:00:00'"),
        16 => {
            random.pick(&["ok", "NOT ok", "ok IS NULL", "nested IS NULL", "tags IS NOT NULL", "u64 IS NULL"]).to_owned()
        }
        17 => format!("nested['a'] {op} {}", random.below(9)),
        18 => format!("nested['b'] {op} 18446744073709551615"),
        19 => random.pick(&["array_has(tags, 'tag 1')", "array_has(bytes, 3)", "cardinality(bytes) = 2"]).to_owned(),
        20 => format!("name LIKE '%{}'", random.below(10)),
        _ => format!("length(name) {op} 6 AND i32 IN ({n}, {}, NULL)", random.below(100)),
    }
}

fn predicate(random: &mut Random) -> String {
    let mut sql = condition(random);
    for _ in 0..random.below(3) {
        let junction = random.pick(&["AND", "AND", "OR"]);
        sql = format!("({sql}) {junction} ({})", condition(random));
    }
    sql
}

/// The statements of all tests here: over whatever `{t}` is.
fn statements(random: &mut Random, n: usize) -> Vec<String> {
    let mut all: Vec<String> = [
        "SELECT * FROM {t}",
        "SELECT count(*) FROM {t}",
        "SELECT count(u64), count(name), count(nested), count(ok) FROM {t}",
        "SELECT min(id), max(id), min(ts), max(ts), min(u64), max(u64), min(u8), max(i8), min(day), max(clock) FROM {t}",
        "SELECT min(name), max(name), min(f64), max(f64), min(price), max(price), min(seen), max(ok) FROM {t}",
        "SELECT nested['a'], nested['c'], tags, bytes FROM {t}",
    ]
    .map(str::to_owned)
    .to_vec();
    for _ in 0..n {
        let filter = predicate(random);
        let direction = random.pick(&["ASC", "DESC"]);
        let column = random.pick(&["id", "ts", "i32", "u64", "f64", "name", "price", "clock"]);
        let limit = 1 + random.below(40);
        all.extend([
            format!("SELECT * FROM {{t}} WHERE {filter}"),
            format!("SELECT count(*) FROM {{t}} WHERE {filter}"),
            format!("SELECT name, id FROM {{t}} WHERE {filter}"),
            format!("SELECT i32, count(*), min(u64), max(ts), sum(id) FROM {{t}} WHERE {filter} GROUP BY i32"),
            format!("SELECT min({column}), max({column}), count({column}) FROM {{t}} WHERE {filter}"),
            format!("SELECT {column} AS c, id FROM {{t}} WHERE {filter} ORDER BY {column} {direction} NULLS LAST, id LIMIT {limit}"),
            format!("SELECT a.id FROM {{t}} a JOIN {{t}} b ON a.id = b.id + 7 WHERE b.i32 < 50 AND a.{column} IS NOT NULL"),
            format!("SELECT id FROM {{t}} WHERE id IN (SELECT id * 2 FROM {{t}} WHERE {filter})"),
        ]);
    }
    all
}

/// Some entries of 3,000 rows, the first of them at `first`.
async fn write(fixture: &Fixture, random: &mut Random, first: i64) {
    for (at, n) in [(0, 1_000), (1_000, 1_500), (2_500, 499), (2_999, 1)] {
        fixture.write(rows(random, first + at, n)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn built_rows_are_the_rows_that_were() {
    for seed in 0..2 {
        let fixture = Fixture::new(every_type()).await;
        let mut random = Random::new(seed);
        write(&fixture, &mut random, 0).await;
        let fresh = fixture.table.snapshot();
        let built = fixture.build().await;
        assert_eq!(built.n_rows(), fresh.n_rows());
        let session = Session::new(1 + seed as usize * 2);
        session.show("fresh", &fresh, false);
        let counters = session.show("built", &built, false);
        for sql in statements(&mut random, 12) {
            session.same(&sql, "built", "fresh").await;
        }
        assert!(counters.rows_read_sealed() > 0 && counters.rows_read_realtime() == 0);
        assert_eq!(counters.rows_read_built(), counters.rows_read_sealed(), "none of them is published");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_halves_are_one_table() {
    let fixture = Fixture::new(every_type()).await;
    let mut random = Random::new(7);
    write(&fixture, &mut random, 0).await;
    let first = fixture.table.snapshot();
    fixture.build().await;
    write(&fixture, &mut random, 3_000).await;
    let both = fixture.table.snapshot();
    fixture.build().await;
    write(&fixture, &mut random, 6_000).await;
    let three = fixture.table.snapshot();
    let session = Session::new(2);
    session.show("first", &first, false);
    session.show("both", &both, false);
    let counters = session.show("three", &three, false);
    // The later rows from a snapshot in which they were fresh: each row of the union is in exactly one of its parts.
    session.run("CREATE VIEW later AS SELECT * FROM both WHERE id >= 3000").await;
    session.run("CREATE VIEW one AS SELECT * FROM first UNION ALL SELECT * FROM later").await;
    for sql in statements(&mut random, 6).into_iter().filter(|sql| !sql.contains("nested[")) {
        // DataFusion does not plan the field of a struct over a UNION.
        session.same(&sql, "both", "one").await;
    }
    session.same("SELECT * FROM {t} WHERE id < 6000", "three", "both").await;
    session.same("SELECT id, u64 FROM {t} WHERE id < 6000 ORDER BY ts DESC LIMIT 5", "three", "both").await;
    assert_eq!(session.number("SELECT count(*) FROM three").await, 9_000);
    assert_eq!(session.number("SELECT count(DISTINCT id) FROM three").await, 9_000);
    assert!(counters.rows_read_sealed() > 0 && counters.rows_read_realtime() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_changes_nothing() {
    let fixture = Fixture::new(every_type()).await;
    let mut random = Random::new(11);
    write(&fixture, &mut random, 0).await;
    fixture.build().await;
    write(&fixture, &mut random, 3_000).await;
    let session = Session::new(2);
    session.show("before", &fixture.table.snapshot(), false);
    let sql = statements(&mut random, 2);
    let mut expected = Vec::new();
    for sql in &sql {
        expected.push(session.rows(&sql.replace("{t}", "before")).await);
    }
    let Fixture { engine, table, folder } = fixture;
    engine.shutdown().await.expect("the log closes");
    drop((session, table, engine));
    let engine = open(&folder);
    let table = engine.table("public", "t").expect("it is there");
    let session = Session::new(2);
    session.show("after", &table.snapshot(), false);
    for (sql, expected) in sql.iter().zip(expected) {
        assert!(session.rows(&sql.replace("{t}", "after")).await == expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_older_than_a_column_have_null_there() {
    let fixture = Fixture::new(every_type()).await;
    let mut random = Random::new(3);
    write(&fixture, &mut random, 0).await;
    fixture.build().await;
    fixture.write(rows(&mut random, 3_000, 500)).await;
    for (name, data_type) in [
        ("extra", arrow::datatypes::DataType::UInt64),
        ("words", arrow::datatypes::DataType::Utf8),
        ("more", every_type().columns[20].data_type.clone()),
    ] {
        let column = ColumnDef { name: name.into(), data_type, nullable: true, comment: None, max_chars: None };
        fixture.engine.alter_table("public", "t", TableChange::AddColumn(column)).await.expect("added");
    }
    let table = fixture.engine.table("public", "t").expect("it is there");
    let session = Session::new(2);
    session.show("t", &table.snapshot(), false);
    for (sql, expected) in [
        ("SELECT count(*) FROM t", 3_500),
        ("SELECT count(extra) + count(words) + count(more) FROM t", 0),
        ("SELECT count(*) FROM t WHERE extra IS NULL AND words IS NULL AND more IS NULL", 3_500),
        ("SELECT count(*) FROM t WHERE extra > 5 OR words = 'x' OR extra IS NOT NULL", 0),
        ("SELECT count(*) FROM t WHERE id < 10 AND coalesce(words, 'none') = 'none'", 10),
        ("SELECT count(*) FROM (SELECT extra, more['a'] AS a FROM t ORDER BY extra, a LIMIT 7)", 7),
        ("SELECT count(*) FROM t WHERE more['b'] IS NULL", 3_500),
    ] {
        assert_eq!(session.number(sql).await, expected, "{sql}");
    }
}
