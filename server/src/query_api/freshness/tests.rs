//! Are tokens read as they are written, in every form that clients give them?

use tidewater_query::{RunSummary, TableFreshness};
use tidewater_storage::Code;
use tidewater_storage::ids::{CommitSeq, CommitToken, LogId, SHARD_ZERO, TableId};
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::{
    COMMIT_TOKEN, MAX_HEADER_TOKENS, MAX_TOKENS, MIN_COMMIT, WATERMARK, check_covers, ended_json, min_commit,
    min_commit_of, planned_json, token_of, token_text, trailers,
};

fn token(table: u128, seq: u64) -> CommitToken {
    let id = |n: u128| Uuid::from_u128(u128::MAX / 3 * 2 + n);
    CommitToken { table: TableId(id(table)), shard: SHARD_ZERO, log: LogId(id(1_000)), seq: CommitSeq(seq) }
}

fn table(n: u128, seq: u64, watermark_us: Option<i64>) -> TableFreshness {
    TableFreshness { schema: "public".to_owned(), name: format!("t{n}"), token: token(n, seq), watermark_us }
}

#[test]
fn tokens_come_back_in_every_alphabet() {
    for seq in [0, 1, 62, 63, u64::MAX] {
        let text = token_text(&token(1, seq));
        let bare = text.trim_end_matches('=').to_owned();
        for form in [text.clone(), bare.clone(), text.replace('+', "-").replace('/', "_"), bare.replace('/', "_")] {
            assert_eq!(token_of(&form).expect("a token"), token(1, seq), "{form}");
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let longer = format!("{}AAAA", token_text(&token(1, 1)).trim_end_matches('='));
    for text in ["x", "nonsense", "AQE=", "ä", "a b", &longer] {
        assert_eq!(token_of(text).expect_err("refused").code(), Code::InvalidCommitToken, "{text}");
        let with_a_good_one = format!("{},{text}", token_text(&token(1, 1)));
        let refused = min_commit([with_a_good_one.as_str()].into_iter()).expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidCommitToken);
    }
}

#[test]
fn a_header_may_name_several_and_come_several_times() {
    let (a, b, c) = (token(1, 1), token(2, 2), token(3, 3));
    let both = format!(" {} , {},", token_text(&a), token_text(&b));
    let mut metadata = MetadataMap::new();
    metadata.insert(MIN_COMMIT, both.parse().expect("a header"));
    metadata.append(MIN_COMMIT, token_text(&c).parse().expect("a header"));
    assert_eq!(min_commit_of(&metadata).expect("tokens"), [a, b, c]);
    assert!(min_commit_of(&MetadataMap::new()).expect("none").is_empty());
    let many = vec![token_text(&a); MAX_TOKENS + 1].join(",");
    assert_eq!(min_commit([many.as_str()].into_iter()).expect_err("refused").code(), Code::InvalidRequest);
}

#[test]
fn a_planned_query_covers_what_its_tables_had() {
    let tables = [table(1, 10, None), table(2, 5, None)];
    let cases = [(token(1, 10), true), (token(1, 11), false), (token(2, 6), false), (token(3, 99), true)];
    for (wanted, is_covered) in cases {
        assert_eq!(check_covers(&tables, &[token(1, 1), wanted]).is_ok(), is_covered, "{wanted:?}");
    }
}

#[test]
fn rows_are_told_by_where_they_were() {
    let summary = RunSummary {
        rows_read_realtime: 1,
        rows_read_sealed: 30,
        rows_read_built: 10,
        tables: vec![table(1, 1, Some(2_000_000)), table(2, 2, Some(1_000_000)), table(3, 3, None)],
        ..RunSummary::default()
    };
    let told = trailers(&summary);
    let text = |name: &str| told.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    for (name, rows) in [("realtime", "1"), ("built", "10"), ("sealed", "20")] {
        assert_eq!(text(&format!("x-tidewater-rows-{name}")).as_deref(), Some(rows));
    }
    // The tables come no further than the slowest of those that say how far they are.
    assert_eq!(text(WATERMARK).as_deref(), Some("1970-01-01T00:00:01.000000Z"));
    let tokens = text(COMMIT_TOKEN).expect("tokens");
    assert_eq!(min_commit([tokens.as_str()].into_iter()).expect("tokens"), [token(1, 1), token(2, 2), token(3, 3)]);
    let json = ended_json("q", &summary);
    assert_eq!(json["rows_read"], serde_json::json!({"realtime": 1, "built": 10, "sealed": 20}));
    assert_eq!(json["tables"][2], planned_json("q", &summary.tables)["tables"][2]);
    assert_eq!(json["tables"][2]["watermark"], serde_json::Value::Null);
    assert_eq!(json["tables"][1]["name"], "t2");
}

#[test]
fn many_tables_stand_in_the_body_alone() {
    let tables = (0..=MAX_HEADER_TOKENS as u128).map(|n| table(n, 1, None)).collect();
    let summary = RunSummary { tables, ..RunSummary::default() };
    assert!(trailers(&summary).get(COMMIT_TOKEN).is_none());
    assert_eq!(ended_json("q", &summary)["tables"].as_array().map(Vec::len), Some(MAX_HEADER_TOKENS + 1));
}
