//! Do settled rows keep their entry and the time that they came at? Read, filtered, ordered, from files of several entries.

use super::support::{Fixture, Session, every_type, narrow, narrow_rows, rows};
use crate::provider::tests::support::Random;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_columns_are_those_of_the_fresh_rows() {
    let fixture = Fixture::new(every_type()).await;
    let mut random = Random::new(9);
    for first in 0..8 {
        fixture.write(rows(&mut random, first * 200, 200)).await;
    }
    let fresh = fixture.table.snapshot();
    let built = fixture.build().await;
    for target_partitions in [1, 2] {
        let session = Session::new(target_partitions);
        session.show("fresh", &fresh, true);
        session.show("built", &built, true);
        for sql in [
            "SELECT * FROM {t}",
            "SELECT id, _commit_seq, _ingested_at FROM {t}",
            "SELECT _ingested_at FROM {t} WHERE _commit_seq > 3",
            "SELECT id FROM {t} WHERE _commit_seq BETWEEN 2 AND 4 AND i32 > 10",
            "SELECT id FROM {t} WHERE _ingested_at <= (SELECT min(_ingested_at) FROM {t})",
            "SELECT id FROM {t} WHERE _ingested_at > TIMESTAMP '2000-01-01 00:00:00' AND id % 2 = 0",
            "SELECT _commit_seq, min(_ingested_at), max(_ingested_at), count(*) FROM {t} GROUP BY _commit_seq",
            "SELECT id, _ingested_at FROM {t} ORDER BY _ingested_at DESC, id LIMIT 13",
            "SELECT a.id FROM {t} a JOIN {t} b ON a._commit_seq = b._commit_seq AND a.id = b.id + 1",
            "SELECT min(_commit_seq), max(_commit_seq), min(_ingested_at), max(_ingested_at) FROM {t}",
            "SELECT count(*) FROM {t} WHERE _commit_seq > 100",
        ] {
            session.same(sql, "built", "fresh").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_feed_opens_only_the_files_that_are_new_to_it() {
    let fixture = Fixture::new(narrow()).await;
    for hour in 0..4 {
        fixture.write(narrow_rows(hour * 100, 100, hour, |_| None)).await;
        fixture.build().await;
    }
    let session = Session::new(1);
    session.show("all", &fixture.table.snapshot(), true);
    let newest = session.number("SELECT max(_commit_seq) FROM \"all\"").await;
    let counters = session.show("t", &fixture.table.snapshot(), true);
    let sql = format!("SELECT count(id) FROM t WHERE _commit_seq > {} AND id + 1 > 0", newest - 1);
    assert_eq!(session.number(&sql).await, 100);
    assert_eq!((counters.files_read(), counters.files_pruned()), (1, 3));
}
