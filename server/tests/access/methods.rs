//! Every method of our own gRPC services, as their descriptors list them.

use futures::{FutureExt, stream};
use prost::Message;
use prost_types::FileDescriptorSet;
use tidewater_proto::admin::v1 as admin;
use tidewater_proto::admin::v1::admin_client::AdminClient;
use tidewater_proto::ingest::v1 as ingest;
use tidewater_proto::ingest::v1::ingest_client::IngestClient;
use tidewater_proto::query::v1 as query;
use tidewater_proto::query::v1::query_client::QueryClient;
use tonic::Status;

use super::world::{Caller, password};
use super::{Least, Row};

/// `package.Service/Method` of all of them.
pub fn there() -> Vec<String> {
    let set = FileDescriptorSet::decode(tidewater_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                methods.push(format!("{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    assert!(methods.len() >= 15, "{methods:?}");
    methods
}

fn row(of: &'static str, least: Least, call: super::Call) -> Row {
    Row { of, least, call }
}

pub fn rows() -> Vec<Row> {
    let mut rows = admins();
    rows.extend(ingests());
    rows.extend(queries());
    rows
}

fn of(caller: &Caller) -> AdminClient<tonic::transport::Channel> {
    AdminClient::new(caller.channel.clone())
}

fn admins() -> Vec<Row> {
    vec![
        row("tidewater.admin.v1.Admin/CreateUser", Least::Root, |_, caller| {
            async move {
                let name = format!("made-by-{}", caller.least.name());
                let request = admin::CreateUserRequest { name, password: None, grants: Vec::new() };
                of(caller).create_user(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.admin.v1.Admin/AlterUser", Least::Root, |_, caller| {
            async move {
                let name = "target".to_owned();
                let request = admin::AlterUserRequest { name, disabled: Some(false), ..Default::default() };
                of(caller).alter_user(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        // One's own password, by who knows it.
        row("tidewater.admin.v1.Admin/AlterUser", Least::Anyone, |_, caller| {
            async move {
                let name = caller.least.name().to_owned();
                let current = Some(password(&name));
                let request = admin::AlterUserRequest {
                    password: current.clone(),
                    current_password: current,
                    name,
                    ..Default::default()
                };
                of(caller).alter_user(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        // More rights for oneself.
        row("tidewater.admin.v1.Admin/AlterUser", Least::Root, |_, caller| {
            async move {
                let all = admin::Grant { role: admin::Role::Admin.into(), tables: "*".to_owned() };
                let request = admin::AlterUserRequest {
                    name: caller.least.name().to_owned(),
                    grants: Some(admin::Grants { grants: vec![all] }),
                    ..Default::default()
                };
                of(caller).alter_user(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.admin.v1.Admin/DropUser", Least::Root, |_, caller| {
            async move {
                let request = admin::DropUserRequest { name: "dropped".to_owned() };
                of(caller).drop_user(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.admin.v1.Admin/ListUsers", Least::Root, |_, caller| {
            async move { of(caller).list_users(caller.request(admin::ListUsersRequest {})).await.map(drop) }.boxed()
        }),
        row("tidewater.admin.v1.Admin/CreateToken", Least::Anyone, |world, caller| {
            async move {
                let made = of(caller).create_token(caller.request(admin::CreateTokenRequest::default())).await?;
                world.tokens.lock().expect("not poisoned").push(made.into_inner().secret);
                Ok(())
            }
            .boxed()
        }),
        row("tidewater.admin.v1.Admin/CreateToken", Least::Root, |_, caller| {
            async move {
                let request = admin::CreateTokenRequest { user: "target".to_owned(), ..Default::default() };
                of(caller).create_token(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        // Wider than what its user may.
        row("tidewater.admin.v1.Admin/CreateToken", Least::Root, |_, caller| {
            async move {
                let all = admin::Grant { role: admin::Role::Reader.into(), tables: "*".to_owned() };
                let request = admin::CreateTokenRequest { grants: vec![all], ..Default::default() };
                of(caller).create_token(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.admin.v1.Admin/RevokeToken", Least::Anyone, |_, caller| {
            async move {
                let made = of(caller).create_token(caller.request(admin::CreateTokenRequest::default())).await?;
                let id = made.into_inner().token.expect("told").id;
                of(caller).revoke_token(caller.request(admin::RevokeTokenRequest { id })).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.admin.v1.Admin/RevokeToken", Least::Root, |world, caller| {
            async move {
                let options = tidewater_client::TokenOptions { user: Some("target".to_owned()), ..Default::default() };
                let id = world.root.create_token(options).await.expect("made").token.id;
                of(caller).revoke_token(caller.request(admin::RevokeTokenRequest { id })).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.admin.v1.Admin/ListTokens", Least::Anyone, |_, caller| {
            async move { of(caller).list_tokens(caller.request(admin::ListTokensRequest::default())).await.map(drop) }
                .boxed()
        }),
        row("tidewater.admin.v1.Admin/ListTokens", Least::Root, |_, caller| {
            async move {
                let request = admin::ListTokensRequest { user: "target".to_owned() };
                of(caller).list_tokens(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
    ]
}

fn orders() -> Option<ingest::TableRef> {
    Some(ingest::TableRef { catalog: String::new(), schema: "shop".to_owned(), table: "orders".to_owned() })
}

fn writer(caller: &Caller) -> IngestClient<tonic::transport::Channel> {
    IngestClient::new(caller.channel.clone())
}

fn ingests() -> Vec<Row> {
    vec![
        row("tidewater.ingest.v1.Ingest/Write", Least::Writer, |_, caller| {
            async move {
                let rows = ingest::payload::Format::JsonRows("{\"id\": 1}".into());
                let payload = Some(ingest::Payload { format: Some(rows) });
                let request = ingest::WriteRequest { table: orders(), payload, ..Default::default() };
                writer(caller).write(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.ingest.v1.Ingest/WriteStream", Least::Writer, |_, caller| {
            async move {
                let open = ingest::Open { table: orders(), ..Default::default() };
                let open = ingest::WriteStreamRequest { msg: Some(ingest::write_stream_request::Msg::Open(open)) };
                let answers = writer(caller).write_stream(caller.request(stream::iter([open]))).await?;
                answers.into_inner().message().await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.ingest.v1.Ingest/InitProducer", Least::Writer, |_, caller| {
            async move {
                let producer_id = format!("of-{}", caller.least.name());
                let request = ingest::InitProducerRequest { table: orders(), producer_id, ..Default::default() };
                writer(caller).init_producer(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.ingest.v1.Ingest/GetTableSchema", Least::Reader, |_, caller| {
            async move {
                let request = ingest::GetTableSchemaRequest { table: orders() };
                writer(caller).get_table_schema(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
    ]
}

/// Runs a statement to its end.
async fn execute(caller: &Caller, sql: &str) -> Result<(), Status> {
    let request = query::QueryRequest { sql: sql.to_owned(), ..Default::default() };
    let mut answer = QueryClient::new(caller.channel.clone()).execute(caller.request(request)).await?.into_inner();
    while answer.message().await?.is_some() {}
    Ok(())
}

fn queries() -> Vec<Row> {
    const EXECUTE: &str = "tidewater.query.v1.Query/Execute";
    vec![
        row(EXECUTE, Least::Anyone, |_, caller| execute(caller, "SELECT 1").boxed()),
        row(EXECUTE, Least::Reader, |_, caller| execute(caller, "SELECT * FROM shop.orders").boxed()),
        row(EXECUTE, Least::Writer, |_, caller| execute(caller, "INSERT INTO shop.orders VALUES (2)").boxed()),
        row(EXECUTE, Least::Writer, |_, caller| execute(caller, "DELETE FROM shop.orders WHERE id = 7").boxed()),
        row(EXECUTE, Least::Keeper, |_, caller| {
            async move { execute(caller, &format!("CREATE TABLE shop.by_{} (id BIGINT)", caller.least.name())).await }
                .boxed()
        }),
        row(EXECUTE, Least::Keeper, |_, caller| execute(caller, "TRUNCATE TABLE shop.orders").boxed()),
        row(EXECUTE, Least::Root, |_, caller| {
            async move { execute(caller, &format!("CREATE TABLE other.by_{} (id BIGINT)", caller.least.name())).await }
                .boxed()
        }),
        row("tidewater.query.v1.Query/Explain", Least::Anyone, |_, caller| {
            async move {
                let request = query::ExplainRequest { sql: "SELECT 1".to_owned(), ..Default::default() };
                QueryClient::new(caller.channel.clone()).explain(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.query.v1.Query/Explain", Least::Reader, |_, caller| {
            async move {
                let request =
                    query::ExplainRequest { sql: "SELECT * FROM shop.orders".to_owned(), ..Default::default() };
                QueryClient::new(caller.channel.clone()).explain(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
        row("tidewater.query.v1.Query/Cancel", Least::Anyone, |_, caller| {
            async move {
                let request = query::CancelRequest { query_id: "00000000-0000-4000-8000-000000000000".to_owned() };
                match QueryClient::new(caller.channel.clone()).cancel(caller.request(request)).await {
                    // Asked and answered.
                    Err(status) if status.message().ends_with("(TW-1106)") => Ok(()),
                    outcome => outcome.map(drop),
                }
            }
            .boxed()
        }),
        row("tidewater.query.v1.Query/ListQueries", Least::Anyone, |_, caller| {
            async move {
                let request = query::ListQueriesRequest::default();
                QueryClient::new(caller.channel.clone()).list_queries(caller.request(request)).await.map(drop)
            }
            .boxed()
        }),
    ]
}
