//! Can a log that the first version of this program wrote still be read?

use bytes::Bytes;

use super::super::Winner;
use super::{delta_in, events, file, memory};
use crate::sealed::SegmentFile;

/// As the log has them: a table of one file with system columns, and a file more.
const VERSIONS: [&str; 2] = [
    concat!(
        r#"{"commitInfo":{"engineInfo":"tidewater/0.1.0","operation":"CREATE TABLE","operationParameters":{},"#,
        r#""tidewater":{"commitId":"00000000-0000-0000-0000-000000000007","from":0,"log":"00000000-0000-0000-0000-000000000009","#,
        r#""through":10},"timestamp":1700000000000}}"#,
        "\n",
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["appendOnly","invariants","tidewater.exclusiveWriter"]}}"#,
        "\n",
        r#"{"metaData":{"configuration":{"delta.deletedFileRetentionDuration":"interval 7 days","#,
        r#""delta.logRetentionDuration":"interval 30 days","tidewater.definition":"{}","tidewater.key":"id"},"#,
        r#""createdTime":1700000000000,"format":{"options":{},"provider":"parquet"},"#,
        r#""id":"00010203-0405-4607-8809-0a0b0c0d0e0f","name":"t","partitionColumns":[],"#,
        r#""schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":false,\"metadata\":{}},"#,
        r#"{\"name\":\"name\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"#,
        r#"{\"name\":\"at\",\"type\":\"timestamp\",\"nullable\":false,\"metadata\":{}},"#,
        r#"{\"name\":\"_commit_seq\",\"type\":\"long\",\"nullable\":true,\"metadata\":{\"comment\":\"x\"}}]}"}}"#,
        "\n",
        r#"{"txn":{"appId":"app","version":10}}"#,
        "\n",
        r#"{"add":{"path":"a.parquet","partitionValues":{},"size":4096,"modificationTime":1700000001234,"dataChange":true,"#,
        r#""stats":"{\"numRecords\":100,\"minValues\":{\"id\":1,\"name\":\"apple\",\"at\":\"2023-11-14T22:13:20.000001Z\","#,
        r#"\"_commit_seq\":1},\"maxValues\":{\"id\":100,\"name\":\"pear\",\"at\":\"2023-11-14T22:13:20.999999Z\",\"_commit_seq\":10},"#,
        r#"\"nullCount\":{\"id\":0,\"name\":3,\"at\":0,\"_commit_seq\":0},\"tightBounds\":true}","#,
        r#""tags":{"tidewater.shard":"0","tidewater.checksum":"0123456789abcdef","tidewater.min_seq":"1","tidewater.max_seq":"10","#,
        r#""tidewater.hour":"472222","tidewater.schema":"1","tidewater.sidecar":"a.parquet.keys:130:000000000000004d","#,
        r#""tidewater.nulls":"0,3,0"},"baseRowId":null,"defaultRowCommitVersion":null,"clusteringProvider":null}}"#,
        "\n",
    ),
    concat!(
        r#"{"commitInfo":{"engineInfo":"tidewater/0.1.0","operation":"TRUNCATE","operationParameters":{},"#,
        r#""tidewater":{"commitId":"00000000-0000-0000-0000-000000000008","from":10,"log":"00000000-0000-0000-0000-000000000009","#,
        r#""through":11},"timestamp":1700000000001}}"#,
        "\n",
        r#"{"txn":{"appId":"app","version":11}}"#,
        "\n",
        r#"{"remove":{"path":"a.parquet","dataChange":true,"deletionTimestamp":1700000000001,"extendedFileMetadata":true,"#,
        r#""partitionValues":{},"size":4096,"tags":{"tidewater.shard":"0"}}}"#,
        "\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_first_form_is_still_read() {
    let store = memory();
    let delta = delta_in(&store);
    for (version, bytes) in (0..).zip(VERSIONS) {
        delta.put(version, Bytes::from_static(bytes.as_bytes())).await.expect("put");
    }
    let before = delta.load_at(0).await.expect("version 0");
    let files = before.segments(&events()).expect("ours");
    let expected: SegmentFile = file("a.parquet", 1);
    assert_eq!(format!("{files:?}"), format!("{:?}", [expected]));
    assert_eq!(before.definition.as_deref(), Some("{}"));
    let winner = delta.read(1).await.expect("read").expect("a commit");
    let expected = Winner {
        commit_id: Some("00000000-0000-0000-0000-000000000008".into()),
        txns: vec![("app".into(), 11)],
        removed: vec!["a.parquet".into()],
        timestamp_ms: Some(1_700_000_000_001),
        ..Winner::default()
    };
    assert_eq!(winner, expected);
    let after = delta.load().await.expect("version 1");
    assert_eq!((after.files.len(), after.txns), (0, vec![("app".to_owned(), 11)]));
}
