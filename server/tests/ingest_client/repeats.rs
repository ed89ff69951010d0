//! Is a batch that is sent again there once? Twice, at once, over lost answers and restarts (H01).

use futures::future::join_all;
use tidewater_client::{BatchResult, Client, Identity};

use super::relay::Relay;
use super::{Fixture, PLAIN, assert_first, assert_repeat, batch, bounded, number, send, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_sent_again_is_there_once() {
    bounded(async {
        let mut fixture = Fixture::with(PLAIN).await;
        let key = || Identity::IdempotencyKey("once".to_owned());
        assert_first(&write(&fixture.client, number("p", 0, 1), &[1, 2]).await.expect("stored"), 2);
        assert_first(&write(&fixture.client, key(), &[3]).await.expect("stored"), 1);
        assert_repeat(&write(&fixture.client, number("p", 0, 1), &[1, 2]).await.expect("answered"), 2);
        assert_repeat(&write(&fixture.client, key(), &[3]).await.expect("answered"), 1);

        let other = fixture.reconnect().await;
        assert_repeat(&write(&other, number("p", 0, 1), &[1, 2]).await.expect("answered"), 2);
        assert_repeat(&write(&other, key(), &[3]).await.expect("answered"), 1);

        for kill in [false, true] {
            fixture = fixture.restart(kill).await;
            assert_repeat(&write(&fixture.client, number("p", 0, 1), &[1, 2]).await.expect("answered"), 2);
            assert_repeat(&write(&fixture.client, key(), &[3]).await.expect("answered"), 1);
        }
        // What is the same is the number, not the rows.
        assert_first(&write(&fixture.client, number("p", 0, 2), &[1, 2]).await.expect("stored"), 2);
        assert_eq!(fixture.ids().await, [1, 1, 2, 2, 3]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_sent_by_many_at_once_is_there_once() {
    bounded(async {
        let fixture = Fixture::with(PLAIN).await;
        let clients = join_all((0..8).map(|_| fixture.reconnect())).await;
        for sequence in 1..=20 {
            let keyed = Identity::IdempotencyKey(format!("k{sequence}"));
            for (identity, id) in [(number("p", 0, sequence), sequence as i64), (keyed, 100 + sequence as i64)] {
                let ids = [id];
                let sends = clients.iter().map(|client| write(client, identity.clone(), &ids));
                let results: Vec<BatchResult> =
                    join_all(sends).await.into_iter().map(|outcome| outcome.expect("answered")).collect();
                assert_eq!(results.iter().filter(|result| !result.repeated).count(), 1, "{identity:?}");
                assert!(results.iter().all(|result| (result.received, result.accepted) == (1, 1)));
            }
        }
        let expected: Vec<i64> = (1..=20).chain(101..=120).collect();
        assert_eq!(fixture.ids().await, expected);
    })
    .await;
}

/// The server stores, its answer is lost, the connection breaks: the client sends again by itself, and is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_there_once() {
    bounded(async {
        let fixture = Fixture::with(PLAIN).await;
        let relay = Relay::start(&fixture.server.grpc).await;
        let client = Client::connect(&relay.address).await.expect("connects");
        let mut producer = client.producer("t", "p").await.expect("begins");
        assert_first(&send(&mut producer, batch(&[1])).await.expect("stored"), 1);

        relay.lose_answers();
        let mut acks = Vec::new();
        for id in [2, 3, 4] {
            acks.push(producer.send(batch(&[id])).await.expect("handed over"));
        }
        fixture.wait_for_rows(4).await;
        relay.hang_up();
        for ack in acks {
            assert_repeat(&ack.await.expect("answered"), 1);
        }
        assert_first(&send(&mut producer, batch(&[5])).await.expect("stored"), 1);
        producer.close().await.expect("all is stored");

        // A single write with a key does the same.
        relay.lose_answers();
        let once = tokio::spawn(async move { write(&client, Identity::IdempotencyKey("k".to_owned()), &[6]).await });
        fixture.wait_for_rows(6).await;
        relay.hang_up();
        assert_repeat(&once.await.expect("no panic").expect("answered"), 1);
        assert_eq!(fixture.ids().await, [1, 2, 3, 4, 5, 6]);
    })
    .await;
}

/// A producer outlives its server: stopped or killed, what was under way is sent again, and is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_goes_on_over_restarts() {
    bounded(async {
        let mut fixture = Fixture::with(PLAIN).await;
        let relay = Relay::start(&fixture.server.grpc).await;
        let client = Client::connect(&relay.address).await.expect("connects");
        let mut producer = client.producer("t", "p").await.expect("begins");
        let mut id = 0;
        for kill in [true, false, true] {
            let mut acks = Vec::new();
            for _ in 0..20 {
                id += 1;
                acks.push(producer.send(batch(&[id])).await.expect("handed over"));
            }
            fixture = fixture.restart(kill).await;
            relay.point_to(&fixture.server.grpc);
            for ack in acks {
                let result = ack.await.expect("stored or repeated");
                // The server remembers the counts of the last five batches; of an older one only that it was stored, as it was received.
                let counts = (result.received, result.accepted);
                assert!(counts == (1, 1) || (result.repeated && counts == (1, 0)), "{result:?}");
            }
        }
        assert_eq!(producer.last_sequence(), 60);
        producer.close().await.expect("all is stored");
        assert_eq!(fixture.ids().await, (1..=60).collect::<Vec<i64>>());

        // The next run of the program learns where it stopped, and may send again what it is not sure of.
        let mut next = client.producer("t", "p").await.expect("begins");
        assert_eq!((next.last_sequence(), next.was_known()), (60, true));
        let again = next.send_at(60, batch(&[60])).await.expect("handed over").await.expect("answered");
        assert_repeat(&again, 1);
        assert_first(&send(&mut next, batch(&[61])).await.expect("stored"), 1);
        next.close().await.expect("all is stored");
        assert_eq!(fixture.ids().await.len(), 61);
    })
    .await;
}
