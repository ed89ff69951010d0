//! Does a dry run say what a write would, and leave nothing behind?

use super::support::{Fixture, batch, keys_of, request};
use crate::admission::json::decode;
use crate::sealing::StageOptions;
use crate::trial::DryRunOutcome;

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_a_write_would_and_stores_nothing() {
    let fixture = Fixture::open();
    let table = fixture.create("t").await;
    table.write(request(batch(&[1, 2, 3]))).await.expect("stored");
    table.build().await.expect("built");
    table.write(request(batch(&[4]))).await.expect("stored");
    let text = b"{\"id\": 1, \"at\": 0}\n{\"id\": 4, \"at\": 0}\n{\"id\": 5, \"at\": 0}\n{\"at\": 0}\n{\"id\": 5, \"at\": 0}\n[1]";
    let rows = || decode(&table.def(), text, false).expect("read");
    let ledger = table.ledger().expect("readable");
    for _ in 0..2 {
        let mut run = table.dry_run(StageOptions::default()).expect("begins");
        run.push(rows()).await.expect("tried");
        run.push(batch(&[5, 6]).into()).await.expect("tried");
        let DryRunOutcome { received, accepted, duplicates, rejected, row_errors, .. } = run.outcome();
        assert_eq!((received, accepted, duplicates, rejected), (8, 2, 4, 2));
        assert_eq!(row_errors.iter().map(|row| row.row).collect::<Vec<_>>(), [3, 5]);
    }
    assert_eq!(keys_of(&table), [1, 2, 3, 4]);
    assert_eq!(table.ledger().expect("readable"), ledger);
    assert!(table.rejected().expect("readable").is_empty());
    let outcome = table.write(crate::table::RowsRequest::new("me", vec![rows()])).await.expect("stored");
    assert_eq!((outcome.received, outcome.accepted, outcome.duplicates, outcome.rejected), (6, 1, 3, 2));
}
