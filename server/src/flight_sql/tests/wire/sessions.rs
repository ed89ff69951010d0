//! Which clients can set something? Those that are known again by their next call.

use tidewater_storage::Code;
use tonic::metadata::MetadataMap;

use super::Server;
use crate::auth::ANONYMOUS;
use crate::sessions::Client;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_without_cookies_sets_is_refused_rather_than_forgotten() {
    let server = Server::start().await;
    let own = concat!("tidewater-client/", env!("CARGO_PKG_VERSION"), " tonic/0.14");
    for (agent, keeps_cookies) in
        [(own, false), ("ADBC Flight SQL Driver v1.9.0 grpc-go/1.76.0", false), ("grpc-java-netty/1.65.0", true)]
    {
        let mut metadata = MetadataMap::new();
        metadata.insert("user-agent", agent.parse().unwrap());
        let client = Client::of(&server.app, ANONYMOUS, &metadata);
        let refused = client.check_known_again().err().map(|error| error.code());
        assert_eq!(refused, (!keeps_cookies).then_some(Code::NoSession), "{agent}");
        metadata.insert("cookie", "tidewater_cookies=1".parse().unwrap());
        assert!(Client::of(&server.app, ANONYMOUS, &metadata).is_known_again(), "{agent}");
        metadata.remove("cookie");
        let bearer = server.app.auth.handshake(&server.app.storage, None).await.unwrap();
        metadata.insert("authorization", format!("Bearer {}", bearer.expose()).parse().unwrap());
        assert!(Client::of(&server.app, ANONYMOUS, &metadata).is_known_again(), "{agent}");
    }
}
