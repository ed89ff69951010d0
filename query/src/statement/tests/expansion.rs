//! Is a statement measured as what it becomes, with every WITH and view in it, and before that becomes anything?

use std::collections::HashMap;
use std::time::Duration;

use tidewater_storage::Code;
use tokio::time::Instant;

use super::{front_end, on_big_stack};
use crate::statement::{Named, TableName, check_expansion};

/// Each is read once, so that even a debug build on a busy machine is far from this.
const IN_TIME: Duration = Duration::from_secs(20);

/// The error's code, with these views beside a table `t` of ten columns.
fn check(sql: &str, views: &[(String, String)]) -> Option<Code> {
    let (sql, views) = (sql.to_owned(), views.iter().cloned().collect::<HashMap<String, String>>());
    let start = Instant::now();
    let code = on_big_stack(move || {
        let named = |name: &TableName| match views.get(&name.name) {
            Some(sql) => Named::View { sql: sql.clone() },
            None if name.name == "t" => Named::Table { columns: 10 },
            None => Named::Nothing,
        };
        let statement = front_end(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        check_expansion(&statement.kind, "public", &named).err().map(|error| error.code())
    });
    assert!(start.elapsed() < IN_TIME, "it took {:?}", start.elapsed());
    code
}

/// A chain of WITH, each of which is `layer` with the one before in the place of `{}`.
fn chain(levels: usize, first: &str, layer: &str, last: &str) -> String {
    let names = (1..=levels).map(|i| format!(", c{i} AS ({})", layer.replace("{}", &format!("c{}", i - 1))));
    let names = names.collect::<String>();
    format!("WITH c0 AS ({first}){names} {}", last.replace("{}", &format!("c{levels}")))
}

/// `v0` over `t`, and each further view over the one before.
fn views(levels: usize, layer: &str) -> Vec<(String, String)> {
    let view = |i: usize| layer.replace("{}", &format!("tidewater.public.v{}", i - 1));
    let first = ("v0".to_owned(), "SELECT * FROM tidewater.public.t".to_owned());
    std::iter::once(first).chain((1..=levels).map(|i| (format!("v{i}"), view(i)))).collect()
}

#[test]
fn what_doubles_is_refused() {
    let many = |what: &str, n: usize, by: &str| vec![what; n].join(by);
    for sql in [
        chain(30, "SELECT 1 AS a", "SELECT x.a FROM {} x, {} y", "SELECT count(*) FROM {}"),
        chain(30, "SELECT 1 AS a", "SELECT (SELECT max(a) FROM {}) + (SELECT min(a) FROM {}) AS a", "SELECT * FROM {}"),
        chain(30, "SELECT 1 AS a", "SELECT a FROM {} WHERE a IN (SELECT a FROM {})", "SELECT * FROM {}"),
        chain(30, "SELECT 1 AS a", "SELECT a FROM {} UNION ALL SELECT a FROM {}", "SELECT * FROM {}"),
        chain(30, "SELECT 1 AS a", "SELECT a FROM {} UNION ALL SELECT a FROM {}", "SELECT * FROM {}").replacen(
            "WITH",
            "EXPLAIN WITH",
            1,
        ),
        chain(30, "SELECT 1 AS a", "SELECT a FROM {} UNION ALL SELECT a FROM {}", "SELECT * FROM {}").replacen(
            "WITH",
            "CREATE VIEW v AS WITH",
            1,
        ),
        chain(30, "SELECT 1 AS a", "SELECT a FROM {} UNION ALL SELECT a FROM {}", "SELECT * FROM {}").replacen(
            "WITH",
            "INSERT INTO t WITH",
            1,
        ),
        format!(
            "DELETE FROM t WHERE a IN ({})",
            chain(30, "SELECT 1 AS a", "SELECT a FROM {} UNION ALL SELECT a FROM {}", "SELECT * FROM {}")
        ),
        // The planner finds a WITH by the text of its name.
        chain(30, "SELECT 1 AS a", "SELECT x.a FROM {} x, {} y", "SELECT count(*) FROM {}")
            .replace("FROM c", "FROM C")
            .replace(", c", ", C"),
        format!(
            "WITH c0 AS (SELECT 1 AS a){} SELECT 1 FROM s.c30",
            (1..=30)
                .map(|i| format!(
                    ", \"s.c{i}\" AS (SELECT x.a FROM {0} x, {0} y)",
                    if i == 1 { "c0".into() } else { format!("s.c{}", i - 1) }
                ))
                .collect::<String>()
        ),
        format!("SELECT 1 FROM t GROUP BY CUBE ({})", (0..25).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ")),
        format!("SELECT {} AS b FROM t GROUP BY b HAVING {} > 0", many("a", 500, " + "), many("b", 500, " + ")),
        format!(
            "WITH v AS (VALUES {}) SELECT 1 FROM {}",
            many("(1, 2, 3)", 2_000, ", "),
            (0..40).map(|i| format!("v AS v{i}")).collect::<Vec<_>>().join(", ")
        ),
        format!("SELECT * FROM {}", (0..1_500).map(|i| format!("t AS t{i}")).collect::<Vec<_>>().join(", ")),
    ] {
        assert_eq!(check(&sql, &[]), Some(Code::StatementTooComplex), "{sql}");
    }
    let doubling = views(15, "SELECT x.a FROM {} x, {} y");
    assert_eq!(check("SELECT count(*) FROM v15", &doubling), Some(Code::StatementTooComplex));
    assert_eq!(check("SELECT count(*) FROM V15", &doubling), Some(Code::StatementTooComplex));
    let thrice = views(1, "SELECT 1 FROM {} x, {} y, {} z");
    let sql = format!("SELECT 1 FROM {}", (0..2_000).map(|i| format!("v1 AS v{i}")).collect::<Vec<_>>().join(", "));
    assert_eq!(check(&sql, &thrice), Some(Code::StatementTooComplex));
}

#[test]
fn what_people_write_passes() {
    let many = |what: &str, n: usize, by: &str| vec![what; n].join(by);
    for sql in [
        chain(30, "SELECT * FROM t", "SELECT a, a + 1 AS b FROM {} WHERE a > 1", "SELECT * FROM {}"),
        chain(6, "SELECT * FROM t", "SELECT x.a FROM {} x JOIN {} y ON x.a = y.a", "SELECT count(*) FROM {}"),
        many("SELECT * FROM t WHERE a = 1", 200, " UNION ALL "),
        format!("SELECT * FROM {}", (0..40).map(|i| format!("t AS t{i}")).collect::<Vec<_>>().join(", ")),
        "WITH t AS (SELECT * FROM t) SELECT * FROM t".to_owned(),
        "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT * FROM r".to_owned(),
        "WITH a AS (WITH b AS (WITH c AS (SELECT 1) SELECT * FROM c) SELECT * FROM b) SELECT * FROM a".to_owned(),
        format!("INSERT INTO t VALUES {}", many("(1, 'a', -1)", 3_000, ", ")),
        format!("SELECT 1 FROM t WHERE a IN ({})", many("17", 20_000, ", ")),
        format!("DELETE FROM t WHERE a IN ({}) AND b NOT IN (SELECT b FROM t)", many("17", 20_000, ", ")),
        "SELECT a, b, sum(c) AS s FROM t GROUP BY CUBE (a, b, c, d) HAVING s > 1 AND a + b > 2".to_owned(),
        format!("SELECT {} FROM t WINDOW w AS (PARTITION BY a ORDER BY b)", many("sum(a) OVER w", 50, ", ")),
    ] {
        assert_eq!(check(&sql, &[]), None, "{sql}");
    }
    let plain = views(15, "SELECT * FROM {} WHERE a > 0");
    assert_eq!(check("SELECT * FROM v15 x JOIN v15 y ON x.a = y.a", &plain), None);
    // What cannot be planned is refused where it is planned.
    let circle = [
        ("v".to_owned(), "SELECT * FROM tidewater.public.w".to_owned()),
        ("w".to_owned(), "SELECT * FROM tidewater.public.v, tidewater.public.v AS x".to_owned()),
    ];
    assert_eq!(check("SELECT * FROM v, w", &circle), None);
    assert_eq!(check("SELECT * FROM x", &[("x".to_owned(), "SELECT FROM".to_owned())]), None);
}
