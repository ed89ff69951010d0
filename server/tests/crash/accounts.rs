//! Is a change of who may come in whole or not there, wherever the kill strikes? A user that goes takes their tokens along.

use tidewater_client::TokenOptions;
use tidewater_proto::admin::v1::{Grant, Role};

use crate::points::{LOG, is_durable};
use crate::process::Server;
use crate::writers::{Caller, Signals};

const NAME: &str = "anna";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_accounts_is_struck_at_every_point() {
    for point in LOG {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(folder.path(), "");
        let client = Caller::connect(&server.grpc, &Signals::new()).await.client;
        let grants = vec![Grant { role: Role::Reader.into(), tables: "public.*".to_owned() }];
        client.create_user(NAME, None, grants).await.expect("made");
        for _ in 0..2 {
            let options = TokenOptions { user: Some(NAME.to_owned()), ..TokenOptions::default() };
            client.create_token(options).await.expect("made");
        }
        server.kill();

        let server = Server::start(folder.path(), &format!("{point}/account=kill:1"));
        let client = Caller::connect(&server.grpc, &Signals::new()).await.client;
        client.drop_user(NAME).await.expect_err("the server died");
        assert!(server.was_killed(), "{point} was not reached");

        let server = Server::start(folder.path(), "");
        let client = Caller::connect(&server.grpc, &Signals::new()).await.client;
        let users = client.users().await.expect("listed").len();
        let tokens = client.tokens(None).await.expect("listed").len();
        let expected = if is_durable(point) { (0, 0) } else { (1, 2) };
        assert_eq!((users, tokens), expected, "{point}");
        server.stop();
    }
}
