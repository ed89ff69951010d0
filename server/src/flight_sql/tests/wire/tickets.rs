//! Tickets over the wire: until when they wait, how they wait on, and what comes of those of queries that were cancelled.

use std::time::Duration;

use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint, FlightInfo,
    RenewFlightEndpointRequest,
};
use futures::stream::TryStreamExt;
use prost::Message;
use tonic::{Code, Request, Status};

use super::{Server, descriptor, text, ticket_of};

async fn act(server: &Server, name: &str, body: Vec<u8>) -> Result<bytes::Bytes, Status> {
    let answers: Vec<_> = server.raw().do_action(Action::new(name, body)).await?.into_inner().try_collect().await?;
    assert_eq!(answers.len(), 1);
    Ok(answers[0].body.clone())
}

async fn renew(server: &Server, endpoint: &FlightEndpoint) -> Result<FlightEndpoint, Status> {
    let body = RenewFlightEndpointRequest::new(endpoint.clone()).encode_to_vec();
    Ok(FlightEndpoint::decode(act(server, "RenewFlightEndpoint", body).await?).unwrap())
}

async fn cancel(server: &Server, info: &FlightInfo) -> Result<CancelStatus, Status> {
    let body = CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
    Ok(CancelFlightInfoResult::decode(act(server, "CancelFlightInfo", body).await?).unwrap().status())
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_say_until_when_they_wait_and_wait_on() {
    let server = Server::start().await;
    let info = server.info("SELECT 1 AS one").await.unwrap();
    let clock = server.app.storage.env().clock.clone();
    let now_s = clock.now_us() / 1_000_000;
    let expires = info.endpoint[0].expiration_time.unwrap().seconds;
    assert!((now_s + 50..=now_s + 61).contains(&expires), "{expires} after {now_s}");
    let renewed = renew(&server, &info.endpoint[0]).await.unwrap();
    assert_eq!(renewed.ticket, info.endpoint[0].ticket);
    assert!(renewed.expiration_time.unwrap().seconds >= expires);
    let (_, rows) = server.fetch(&info).await.unwrap();
    assert!(text(&rows).contains("| 1 "));
    assert_eq!(renew(&server, &info.endpoint[0]).await.unwrap_err().code(), Code::FailedPrecondition);
    // What an update answers lasts.
    let update = server.info("CREATE TABLE t (id BIGINT)").await.unwrap();
    assert_eq!(update.endpoint[0].expiration_time, None);
    assert_eq!(renew(&server, &update.endpoint[0]).await.unwrap(), update.endpoint[0]);
    assert_eq!(renew(&server, &FlightEndpoint::new()).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_refused_waits_on() {
    let server = Server::start().await;
    server.run(&["CREATE TABLE t (id BIGINT)", "INSERT INTO t VALUES (1)"]).await;
    let info = server.info("SELECT count(*) AS n FROM t").await.expect("planned");
    let later = server.raw().get_flight_info(descriptor("INSERT INTO t VALUES (2)")).await.expect("inserted");
    let token = later.metadata().get("x-tidewater-commit-token").expect("a token").clone();
    let mut request = Request::new(ticket_of(&info));
    request.metadata_mut().insert("x-tidewater-min-commit", token);
    let refused = server.raw().do_get(request).await.map(drop).expect_err("it was planned before");
    assert!(refused.message().contains("planned before a commit"), "{refused}");
    let (_, rows) = server.fetch(&info).await.expect("it was not used up");
    assert!(text(&rows).contains("| 1 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_query_is_cancelled_and_its_ticket_says_so() {
    let server = Server::start().await;
    let endless = "SELECT a.value FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let info = server.info(endless).await.unwrap();
    let mut stream = server.raw().do_get(ticket_of(&info)).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert!(matches!(cancel(&server, &info).await.unwrap(), CancelStatus::Cancelling | CancelStatus::Cancelled));
    let end = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                ended => break ended,
            }
        }
    });
    assert_eq!(end.await.unwrap().unwrap_err().code(), Code::Cancelled);
    assert_eq!(cancel(&server, &info).await.unwrap(), CancelStatus::Cancelled);
    assert_eq!(server.fetch(&info).await.unwrap_err().code(), Code::Cancelled);
    let ended = server.info("SELECT 1").await.unwrap();
    server.fetch(&ended).await.unwrap();
    assert_eq!(cancel(&server, &ended).await.unwrap_err().code(), Code::NotFound);
}
