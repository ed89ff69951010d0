//! Is a number that is out of order refused with its code? Gaps, old epochs, strangers, reused numbers (H02).

use tidewater_client::ProducerOptions;
use tonic::Code;

use super::{Fixture, KEYED, assert_first, assert_refused, batch, bounded, number, send, write};

#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_order_are_refused_with_their_codes() {
    bounded(async {
        let mut fixture = Fixture::with(KEYED).await;
        for sequence in 1..=3 {
            write(&fixture.client, number("p", 0, sequence), &[sequence as i64]).await.expect("stored");
        }
        for restarted in [false, true] {
            if restarted {
                fixture = fixture.restart(true).await;
            }
            let client = &fixture.client;
            let gap = assert_refused(write(client, number("p", 0, 5), &[5]).await, Code::OutOfRange, "SEQUENCE_GAP");
            assert_eq!(gap.metadata("last_sequence"), Some("3"));
            let unknown = assert_refused(
                write(client, number("nobody", 0, 5), &[5]).await,
                Code::FailedPrecondition,
                "UNKNOWN_PRODUCER",
            );
            assert_eq!(unknown.metadata("last_sequence"), Some("0"));
            for sequence in 1..=3 {
                let other = write(client, number("p", 0, sequence), &[100 + sequence as i64]).await;
                assert_refused(other, Code::AlreadyExists, "SEQUENCE_REUSED");
            }
            let ahead = write(client, number("p", 7, 4), &[4]).await;
            let ahead = assert_refused(ahead, Code::DataLoss, "PRODUCER_STATE_LOST");
            assert_eq!(ahead.metadata("last_sequence"), Some("3"));
            assert_refused(
                write(client, number("not a name", 0, 1), &[4]).await,
                Code::InvalidArgument,
                "INVALID_PRODUCER",
            );
            assert_eq!(fixture.ids().await, [1, 2, 3]);
        }
        // What was refused used up no number.
        assert_first(&write(&fixture.client, number("p", 0, 4), &[4]).await.expect("stored"), 1);
        assert_first(&write(&fixture.client, number("nobody", 0, 1), &[5]).await.expect("stored"), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_client_fences_the_older_one() {
    bounded(async {
        let mut fixture = Fixture::with(KEYED).await;
        let mut older = fixture.client.producer("t", "p").await.expect("begins");
        assert_first(&send(&mut older, batch(&[1])).await.expect("stored"), 1);
        let other = fixture.reconnect().await;
        let mut newer = other.producer("t", "p").await.expect("takes over");
        assert!(newer.epoch() > older.epoch());
        assert_eq!((newer.last_sequence(), newer.was_known()), (1, true));

        assert_refused(send(&mut older, batch(&[2])).await, Code::FailedPrecondition, "PRODUCER_FENCED");
        assert_refused(send(&mut older, batch(&[3])).await, Code::FailedPrecondition, "PRODUCER_FENCED");
        let unary = write(&fixture.client, number("p", older.epoch(), 2), &[2]).await;
        assert_refused(unary, Code::FailedPrecondition, "PRODUCER_FENCED");
        assert_first(&send(&mut newer, batch(&[2])).await.expect("stored"), 1);

        let epoch = older.epoch();
        fixture = fixture.restart(true).await;
        let unary = write(&fixture.client, number("p", epoch, 3), &[3]).await;
        assert_refused(unary, Code::FailedPrecondition, "PRODUCER_FENCED");
        assert_eq!(fixture.ids().await, [1, 2]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_less_than_its_client_is_found_out() {
    bounded(async {
        let fixture = Fixture::with(KEYED).await;
        write(&fixture.client, number("p", 0, 1), &[1]).await.expect("stored");
        let options = ProducerOptions { last_acked: Some(7), ..ProducerOptions::default() };
        let lost = fixture.client.producer_with("t", "p", options).await.map(|_| ());
        assert_refused(lost, Code::DataLoss, "PRODUCER_STATE_LOST");

        // Only who says so begins anew, at any number.
        let options = ProducerOptions { reset: true, ..ProducerOptions::default() };
        let mut anew = fixture.client.producer_with("t", "p", options).await.expect("begins anew");
        let stored = anew.send_at(1000, batch(&[2])).await.expect("handed over").await.expect("stored");
        assert_first(&stored, 1);
        assert_first(&send(&mut anew, batch(&[3])).await.expect("stored"), 1);
        assert_eq!(anew.last_sequence(), 1001);
    })
    .await;
}
