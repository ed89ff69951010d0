//! Do concurrent writers keep every acknowledged row, once, wherever the kill strikes? Two tables, streams and single writes.

use crate::Doing;
use crate::front::Front;
use crate::model::TableModel;
use crate::points;
use crate::process::Server;
use crate::seen::look;
use crate::world::{Death, Work, World};
use crate::writers::{Caller, Signals, idempotent_writes, stream};

#[tokio::test(flavor = "multi_thread")]
async fn writers_are_struck_at_every_point() {
    let mut world = World::create().await;
    let mut doing = Doing::new("the first start");
    for point in points::of_writes() {
        for visit in [1, 13] {
            doing.now(format!("{point} at visit {visit}, or the start after the point before"));
            world.live_and_die(Work::Rows, Death::At(point, visit)).await;
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_struck_again_and_again() {
    let mut world = World::create().await;
    for death in [Death::At("log.after_write", 40), Death::At("table.before_publish", 20)] {
        world.live_and_die(Work::All, death).await;
        for visit in [1, 2, 5] {
            assert!(world.die_in_replay(visit), "the log has fewer than {visit} entries after {death:?}");
        }
    }
    world.finish().await;
}

/// The signal comes from outside, at no point that the code knows.
#[tokio::test(flavor = "multi_thread")]
async fn killed_from_outside() {
    let mut world = World::create().await;
    for n_answers in [1, 2, 20, 50] {
        world.live_and_die(Work::All, Death::After(n_answers)).await;
    }
    world.finish().await;
}

/// Users' programs keep their producers while servers come and go: every batch is acknowledged in the end, and there once.
#[tokio::test(flavor = "multi_thread")]
async fn producers_ride_out_every_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let signals = Signals::new();
    let server = Server::start(folder.path(), "");
    let client = Caller::connect(&server.grpc, &signals).await.client;
    for statement in [
        "CREATE TABLE keyed (id BIGINT NOT NULL, src BIGINT, PRIMARY KEY (id))",
        "CREATE TABLE keyless (id BIGINT NOT NULL, src BIGINT) WITH (durability = 'os')",
    ] {
        client.execute_update(statement).await.expect("created");
    }
    server.stop();
    let (keyed, keyless) = (TableModel::new("keyed", true, u64::MAX), TableModel::new("keyless", false, u64::MAX));

    let front = Front::listen().await;
    let start = async |fail_points: &'static str| {
        let folder = folder.path().to_owned();
        let server = tokio::task::spawn_blocking(move || Server::start(&folder, fail_points)).await.expect("started");
        front.lead_to(&server);
        server
    };
    let servers = async {
        for fail_points in [
            "log.before_write=kill:20",
            "table.before_publish=kill:9",
            "log.after_write=kill:12",
            "table.after_answer=kill:7",
        ] {
            let server = start(fail_points).await;
            let killed = tokio::task::spawn_blocking(move || server.was_killed()).await;
            assert!(killed.expect("waited for"), "{fail_points}");
        }
        let last = start("").await;
        signals.finish();
        last
    };
    let caller = Caller::connect_patiently(&front.address, &signals).await;
    let (left, right, single, by_key, server) = tokio::join!(
        stream(&caller, &keyed, "left"),
        stream(&caller, &keyed, "right"),
        stream(&caller, &keyless, "stream"),
        idempotent_writes(&caller, &keyless),
        servers,
    );
    assert_eq!([left, right, single, by_key], [true; 4], "who was answered to the end");
    for table in [keyed, keyless] {
        let name = table.lock().name;
        assert!(table.lock().is_answered(), "{name}: something has no answer");
        let seen = look(&client_of(&server, &signals).await, name).await;
        table.lock().settle(&seen);
    }
    server.stop();
}

async fn client_of(server: &Server, signals: &Signals) -> tidewater_client::Client {
    Caller::connect(&server.grpc, signals).await.client
}
