//! Is a batch stored once, whatever its client does? Sequences, epochs, idempotency keys.

use futures::future::join_all;
use tidewater_proto::ingest::v1::{InitProducerRequest, Producer, SequenceMode, WriteRequest};
use tonic::Code;
use tonic_types::StatusExt;

use super::{Server, arrow, ids, json, reason, table, write};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_twice_side_by_side_and_after_reconnecting() {
    let server = Server::with_table().await;
    let first = server.write(write("p", 1, &[1, 2, 3])).await.unwrap();
    assert!((first.accepted, first.repeated) == (3, false) && !first.commit_token.is_empty());
    let again = server.write(write("p", 1, &[1, 2, 3])).await.unwrap();
    assert_eq!((again.received, again.accepted, again.repeated), (3, 3, true));

    let twice = join_all((0..8).map(|_| server.write(write("p", 2, &[4, 5])))).await;
    let results: Vec<_> = twice.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|result| !result.repeated).count(), 1);
    assert!(results.iter().all(|result| result.accepted == 2));

    let mut other = server.reconnect().await;
    let result = other.write(write("p", 2, &[4, 5])).await.unwrap().into_inner().result.unwrap();
    assert!(result.repeated);
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":5}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_whose_first_answer_is_forgotten_says_how_many_rows_it_has() {
    let server = Server::with_table().await;
    server.write(write("p", 1, &[1, 2, 3])).await.expect("stored");
    for sequence in 2..=100 {
        server.write(write("p", sequence, &[sequence as i64 + 2])).await.expect("stored");
    }
    let again = server.write(write("p", 1, &[1, 2, 3])).await.expect("a success");
    assert_eq!((again.received, again.accepted, again.duplicates, again.repeated), (3, 0, 0, true));
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":102}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_reused_numbers_and_strangers_are_refused() {
    let server = Server::with_table().await;
    server.write(write("p", 1, &[1])).await.unwrap();

    let gap = server.write(write("p", 5, &[5])).await.unwrap_err();
    assert_eq!(reason(&gap), (Code::OutOfRange, "SEQUENCE_GAP".to_owned()));
    assert_eq!(gap.get_details_error_info().unwrap().metadata["last_sequence"], "1");

    let reused = server.write(write("p", 1, &[9])).await.unwrap_err();
    assert_eq!(reason(&reused), (Code::AlreadyExists, "SEQUENCE_REUSED".to_owned()));

    let stranger = server.write(write("q", 7, &[7])).await.unwrap_err();
    assert_eq!(reason(&stranger), (Code::FailedPrecondition, "UNKNOWN_PRODUCER".to_owned()));

    let zero = server.write(write("p", 0, &[1])).await.unwrap_err();
    assert_eq!(reason(&zero), (Code::InvalidArgument, "INVALID_PRODUCER".to_owned()));
    let name = server.write(write("not a name", 1, &[1])).await.unwrap_err();
    assert_eq!(reason(&name), (Code::InvalidArgument, "INVALID_PRODUCER".to_owned()));
    assert_eq!(server.json("SELECT id FROM t").await, "{\"id\":1}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_fences_the_old_one() {
    let server = Server::with_table().await;
    server.write(write("p", 1, &[1])).await.unwrap();
    let init = |reset| InitProducerRequest { table: table("t"), producer_id: "p".to_owned(), reset };
    let info = server.ingest().init_producer(init(false)).await.unwrap().into_inner();
    assert_eq!((info.last_sequence, info.known), (1, true));
    assert!(info.epoch >= 1);

    let fenced = server.write(write("p", 2, &[2])).await.unwrap_err();
    assert_eq!(reason(&fenced), (Code::FailedPrecondition, "PRODUCER_FENCED".to_owned()));
    let with = |epoch, last_acked, sequence, rows: &[i64]| WriteRequest {
        producer: Some(Producer { id: "p".to_owned(), epoch, last_acked, ..Producer::default() }),
        ..write("p", sequence, rows)
    };
    server.write(with(info.epoch, Some(1), 2, &[2])).await.unwrap();
    let lost = server.write(with(info.epoch, Some(9), 3, &[3])).await.unwrap_err();
    assert_eq!(reason(&lost), (Code::DataLoss, "PRODUCER_STATE_LOST".to_owned()));
    let lost = server.write(with(info.epoch + 1, None, 3, &[3])).await.unwrap_err();
    assert_eq!(reason(&lost), (Code::DataLoss, "PRODUCER_STATE_LOST".to_owned()));

    let info = server.ingest().init_producer(init(true)).await.unwrap().into_inner();
    server.write(with(info.epoch, None, 100, &[100])).await.unwrap();
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":3}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_with_gaps_need_an_epoch() {
    let server = Server::with_table().await;
    let with = |epoch, sequence| WriteRequest {
        producer: Some(Producer {
            id: "m".to_owned(),
            epoch,
            mode: SequenceMode::Monotonic.into(),
            ..Producer::default()
        }),
        ..write("m", sequence, &[sequence as i64])
    };
    assert_eq!(reason(&server.write(with(0, 10)).await.unwrap_err()).1, "INVALID_PRODUCER");
    let init = InitProducerRequest { table: table("t"), producer_id: "m".to_owned(), reset: true };
    let epoch = server.ingest().init_producer(init).await.unwrap().into_inner().epoch;
    server.write(with(epoch, 10)).await.unwrap();
    server.write(with(epoch, 25)).await.unwrap();
    assert!(server.write(with(epoch, 25)).await.unwrap().repeated);
    assert_eq!(server.json("SELECT count(*) AS n FROM t").await, "{\"n\":2}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_a_write_repeatable() {
    let server = Server::with_table().await;
    let keyed = |key: &str| WriteRequest {
        table: table("t"),
        payload: json("{\"id\":1}"),
        idempotency_key: key.to_owned(),
        ..WriteRequest::default()
    };
    let first = server.write(keyed("k")).await.unwrap();
    let again = server.write(keyed("k")).await.unwrap();
    assert_eq!((first.accepted, first.repeated, again.accepted, again.repeated), (1, false, 1, true));
    let long = server.write(keyed(&"k".repeat(129))).await.unwrap_err();
    assert_eq!(reason(&long), (Code::InvalidArgument, "INVALID_IDEMPOTENCY_KEY".to_owned()));
    let both = WriteRequest { idempotency_key: "k2".to_owned(), ..write("p", 1, &[1]) };
    assert_eq!(reason(&server.write(both).await.unwrap_err()).1, "INVALID_IDEMPOTENCY_KEY");
    let number = WriteRequest { table: table("t"), sequence: 3, payload: arrow(&ids(&[3])), ..WriteRequest::default() };
    assert_eq!(reason(&server.write(number).await.unwrap_err()).1, "INVALID_REQUEST");
}
