//! Does any text overflow a stack or pass the limits? Depth, length and width of statements.

use tidewater_storage::Code;

use super::read;

fn code(sql: &str) -> Option<Code> {
    read(sql).err().map(|(code, _)| code)
}

#[test]
fn deep_statements_are_refused() {
    let nested = |n: usize| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(code(&nested(30)), None);
    assert_eq!(code(&nested(10_000)), Some(Code::StatementTooComplex));
    assert_eq!(code(&nested(100_000)), Some(Code::StatementTooComplex));
    let subqueries = |n: usize| format!("{}SELECT 1{}", "SELECT * FROM (".repeat(n), ") AS t".repeat(n));
    assert_eq!(code(&subqueries(20)), None);
    assert_eq!(code(&subqueries(3_000)), Some(Code::StatementTooComplex));
    let cases = |n: usize| format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(n), " ELSE 0 END".repeat(n));
    assert_eq!(code(&cases(30)), None);
    assert_eq!(code(&cases(3_000)), Some(Code::StatementTooComplex));
    let calls = |n: usize| format!("SELECT {}1{}", "abs(".repeat(n), ")".repeat(n));
    assert_eq!(code(&calls(5_000)), Some(Code::StatementTooComplex));
    for prefix in ["NOT ", "- ", "~", "[", "EXISTS ("] {
        let sql = format!("SELECT {}1", prefix.repeat(5_000));
        assert!(code(&sql).is_some(), "{prefix}");
    }
    assert_eq!(code(&format!("SELECT {}1", "NOT ".repeat(100))), Some(Code::StatementTooComplex));
}

/// A parser that tries two readings of each parenthesis takes twice as long for each.
#[test]
fn nested_parentheses_of_every_place_are_read_in_time() {
    for (before, after) in [
        ("SELECT * FROM ", "t"),
        ("SELECT 1 FROM t WHERE ", "a = 1"),
        ("SELECT ", "1"),
        ("SELECT * FROM ", "SELECT 1"),
        ("", "SELECT 1"),
        ("SELECT 1 WHERE 1 IN ", "SELECT 1"),
        ("SELECT 1 GROUP BY ", "1"),
        ("SELECT 1 ORDER BY ", "1"),
        ("SELECT sum(1) OVER ", "1"),
        ("SELECT f", "1"),
        ("INSERT INTO t VALUES ", "1"),
        ("CREATE TABLE t ", "a INT"),
        ("DELETE FROM t WHERE ", "a = 1"),
        ("DELETE FROM ", "t"),
        ("ALTER TABLE t SET ", "a = 1"),
        ("CALL seal", "'t'"),
    ] {
        for n in [24, 38, 79] {
            for inner in ["(", "(a + (", "((a), "] {
                let open = inner.repeat(n / inner.matches('(').count().max(1));
                let balance = open.matches('(').count() - open.matches(')').count();
                // Well formed or not: what counts is that an answer comes.
                drop(read(&format!("{before}{open}{after}{}", ")".repeat(balance))));
                drop(read(&format!("{before}{open}{after}")));
            }
        }
    }
}

#[test]
fn long_chains_are_taken_up_to_a_limit() {
    let sum = |n: usize| format!("SELECT {}", vec!["1"; n].join("+"));
    assert_eq!(code(&sum(200)), None);
    assert_eq!(code(&sum(2_000)), None);
    assert_eq!(code(&sum(9_000)), Some(Code::StatementTooComplex));
    assert_eq!(code(&sum(100_000)), Some(Code::StatementTooComplex));
    let or = |n: usize| format!("SELECT 1 FROM t WHERE {}", vec!["a = 1"; n].join(" OR "));
    assert_eq!(code(&or(500)), None);
    assert_eq!(code(&or(6_000)), Some(Code::StatementTooComplex));
    let delete = |n: usize| format!("DELETE FROM t WHERE {}", vec!["a = 1"; n].join(" OR "));
    assert_eq!(code(&delete(500)), None);
    assert_eq!(code(&delete(6_000)), Some(Code::StatementTooComplex));
    let union = |n: usize| vec!["SELECT 1"; n].join(" UNION ALL ");
    assert_eq!(code(&union(200)), None);
    assert_eq!(code(&union(9_000)), Some(Code::StatementTooComplex));
    for chain in [" IS NULL", "::BIGINT", "[1]", " COLLATE x", " AT TIME ZONE 'UTC'"] {
        let sql = format!("SELECT a{}", chain.repeat(15_000));
        assert!(code(&sql).is_some(), "{chain}");
    }
}

#[test]
fn lists_of_values_are_flat() {
    let list = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(code(&format!("SELECT 1 FROM t WHERE a IN ({})", list(20_000))), None);
    assert_eq!(code(&format!("INSERT INTO t VALUES ({})", list(20_000))), None);
    let rows = vec!["(1, 'a', -1)"; 3_000].join(",");
    assert_eq!(code(&format!("INSERT INTO t VALUES {rows}")), None);
}

#[test]
fn one_megabyte_is_refused_by_its_size() {
    assert_eq!(code(&format!("SELECT '{}'", "x".repeat(1 << 20))), Some(Code::StatementTooLarge));
    assert_eq!(code(&format!("SELECT '{}'", "x".repeat(200 << 10))), None);
}

/// Every value of such a type is as wide as it says.
#[test]
fn types_of_a_fixed_width_are_narrow() {
    assert_eq!(code("SELECT CAST(NULL AS BIGINT[3])"), None);
    assert_eq!(code("SELECT CAST([1.5] AS FLOAT[1536]), CAST([1] AS BIGINT[])"), None);
    for data_type in ["BIGINT[1000000000]", "BIGINT[1000][1000]", "BIGINT[100000][]"] {
        for cast in ["CAST(NULL AS {})", "TRY_CAST(NULL AS {})", "NULL::{}"] {
            let sql = format!("SELECT {}", cast.replace("{}", data_type));
            assert_eq!(code(&sql), Some(Code::ExpansionTooLarge), "{sql}");
        }
    }
}
