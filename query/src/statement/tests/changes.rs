//! Do DELETE, ALTER TABLE, UNDROP TABLE and CALL say what they change?

use super::{front_end, on_big_stack, read};
use crate::statement::Kind;

/// The query for the addresses of a DELETE's rows.
fn addresses(sql: &str) -> String {
    let sql = sql.to_string();
    on_big_stack(move || match front_end(&sql).map(|statement| statement.kind) {
        Ok(Kind::Delete(delete)) => delete.addresses.to_string(),
        other => panic!("{sql}: {other:?}"),
    })
}

#[test]
fn a_delete_asks_for_the_addresses_of_its_rows() {
    for (sql, expected) in [
        ("DELETE FROM T", r#"SELECT "(file)", "(row)" FROM "locator"."public"."t""#),
        ("DELETE FROM t WHERE false", r#"SELECT "(file)", "(row)" FROM "locator"."public"."t" WHERE false"#),
        (
            "DELETE FROM s.t AS x WHERE x.a > ? AND b IS NULL;",
            r#"SELECT "(file)", "(row)" FROM "locator"."s"."t" AS x WHERE x.a > $1 AND b IS NULL"#,
        ),
        (
            r#"DELETE FROM tidewater.s."T" WHERE a IN (SELECT a FROM t)"#,
            r#"SELECT "(file)", "(row)" FROM "locator"."s"."T" WHERE a IN (SELECT a FROM t)"#,
        ),
        (
            "DELETE FROM t WHERE at < TIMESTAMP '2026-01-01'",
            r#"SELECT "(file)", "(row)" FROM "locator"."public"."t" WHERE at < TIMESTAMP(6) '2026-01-01'"#,
        ),
    ] {
        assert_eq!(addresses(sql), expected, "{sql}");
    }
    let kind = read("DELETE FROM Sales.T WHERE a = 1").expect("a DELETE");
    assert!(kind.contains(r#"Delete { table: TableName { schema: "sales", name: "t" }"#), "{kind}");
}

#[test]
fn definitions_change_by_one_thing_at_a_time() {
    for (sql, part) in [
        (
            "ALTER TABLE T ADD COLUMN B INT",
            r#"AddColumn(ColumnDef { name: "b", data_type: Int32, nullable: true, comment: None, max_chars: None })"#,
        ),
        ("ALTER TABLE S.t ADD COLUMN b INT", r#"table: TableName { schema: "s", name: "t" }, if_exists: false"#),
        (r#"ALTER TABLE t ADD "B" BIGINT NULL"#, r#"name: "B", data_type: Int64, nullable: true"#),
        ("ALTER TABLE t ADD COLUMN b VARCHAR COMMENT 'x'", r#"comment: Some("x")"#),
        ("ALTER TABLE IF EXISTS t ADD COLUMN IF NOT EXISTS b INT", "if_exists: true"),
        ("ALTER TABLE IF EXISTS t ADD COLUMN IF NOT EXISTS b INT", "if_not_exists: true"),
        ("ALTER TABLE t ALTER COLUMN A DROP NOT NULL", r#"DropNotNull { column: "a" }"#),
        ("ALTER TABLE t ALTER a TYPE BIGINT", r#"SetType { column: "a", data_type: Int64, max_chars: None }"#),
        ("ALTER TABLE t ALTER COLUMN a SET DATA TYPE DOUBLE", r#"data_type: Float64, max_chars: None }"#),
        ("ALTER TABLE t ALTER a TYPE VARCHAR(9)", r#"data_type: Utf8, max_chars: Some(9) }"#),
        ("ALTER TABLE t ADD COLUMN b CHAR(9)", r#"data_type: Utf8, nullable: true, comment: None, max_chars: Some(9)"#),
        ("ALTER TABLE s.t RENAME TO U", r#"Rename { name: "u" }"#),
        ("ALTER TABLE s.t RENAME TO s.u", r#"Rename { name: "u" }"#),
        (
            "ALTER TABLE t SET (seal_after_rows = 10, Durability = 'os')",
            r#"SetOptions([("seal_after_rows", "10"), ("durability", "os")])"#,
        ),
        ("ALTER TABLE t SET TBLPROPERTIES ('durability' = 'os')", r#"SetOptions([("durability", "os")])"#),
        ("UNDROP TABLE Sales.T;", r#"UndropTable { name: TableName { schema: "sales", name: "t" } }"#),
        ("-- back\nundrop /* it */ table \"T\"", r#"UndropTable { name: TableName { schema: "public", name: "T" } }"#),
    ] {
        let got = read(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(got.contains(part), "{sql}: {got}");
    }
}

#[test]
fn procedures_take_the_name_of_a_table_as_sql_writes_it() {
    for (sql, part) in [
        ("CALL seal('T')", r#"procedure: Seal, table: TableName { schema: "public", name: "t" }"#),
        ("CALL Build('sales.t');", r#"procedure: Build, table: TableName { schema: "sales", name: "t" }"#),
        ("CALL attach('/old/t-1')", r#"Attach(Attach { url: "/old/t-1", table: None })"#),
        (
            "CALL Attach('s3://b/t-1', 'U')",
            r#"url: "s3://b/t-1", table: Some(TableName { schema: "public", name: "u" })"#,
        ),
        (
            "CALL purge_dropped('sales.T')",
            r#"procedure: PurgeDropped, table: TableName { schema: "sales", name: "t" }"#,
        ),
        ("CALL replay_rejected('T')", r#"name: "t" }, only: Only { producer: None, since: None }"#),
        ("CALL replay_rejected('t', '')", r#"only: Only { producer: Some(""), since: None }"#),
        ("CALL replay_rejected('t', NULL, '2026')", r#"only: Only { producer: None, since: Some("2026") }"#),
        (r#"CALL seal('"S x"."T"')"#, r#"table: TableName { schema: "S x", name: "T" }"#),
        ("CALL seal('tidewater.s.t')", r#"table: TableName { schema: "s", name: "t" }"#),
    ] {
        let got = read(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(got.contains(part), "{sql}: {got}");
    }
}

#[test]
fn who_answers_with_rows_and_who_runs_at_once() {
    let kinds = |sql: &'static str| {
        on_big_stack(move || {
            let kind = front_end(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).kind;
            (kind.is_update(), kind.runs_when_planned())
        })
    };
    for sql in ["DELETE FROM t", "ALTER TABLE t RENAME TO u", "UNDROP TABLE t", "INSERT INTO t VALUES (1)"] {
        assert_eq!(kinds(sql), (true, true), "{sql}");
    }
    assert_eq!(kinds("CALL seal('t')"), (false, true));
    assert_eq!(kinds("SELECT 1"), (false, false));
    assert_eq!(kinds("SHOW TABLES"), (false, false));
}
