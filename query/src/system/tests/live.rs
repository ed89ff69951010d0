//! What do system tables say about a running engine? Rows of two tables, seen through SQL.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use futures::StreamExt;
use tidewater_storage::ids::ProducerId;
use tidewater_storage::{
    AccountChange, Engine, EngineOptions, ProducerBatch, RowsRequest, SequenceMode, StoredGrant, Token, TokenLimits,
    User, View,
};

use crate::{
    Code, EventRow, Grant, Interface, PlannedKind, Principal, QueryEngine, QueryEngineOptions, Role, RunOptions,
    SettingRow, SystemSources,
};

struct Fixture {
    storage: Arc<Engine>,
    engine: Arc<QueryEngine>,
}

impl Fixture {
    fn open() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let options = EngineOptions::temporary(Arc::clone(&folder), 2 << 30);
        let (storage, _) = Engine::open(options).expect("a new folder opens");
        let setting = SettingRow {
            name: "grpc".into(),
            value: "127.0.0.1:1".into(),
            origin: "flag".into(),
            default: "127.0.0.1:8815".into(),
            reloadable: false,
        };
        let event = EventRow {
            at_us: 1,
            level: "warn".into(),
            kind: "storage.table".into(),
            table_id: None,
            principal: None,
            message: "it stands still".into(),
            details: "{}".into(),
        };
        let sources = SystemSources {
            settings: Arc::new(move || vec![setting.clone()]),
            metrics: Arc::new(|| "rows_total{table=\"a\"} 7\n".to_owned()),
            events: Arc::new(move || vec![event.clone()]),
        };
        let options = QueryEngineOptions {
            spill_dir: folder.path().join("spill"),
            max_spill_bytes: 1 << 30,
            threads: 2,
            max_running: 4,
            max_waiting: 4,
            slow_query: None,
            sources,
        };
        let engine = QueryEngine::new(Arc::clone(&storage), options).expect("an engine");
        Self { storage, engine }
    }

    async fn run_as(&self, name: &str, role: Role, sql: &str) -> crate::Result<Vec<RecordBatch>> {
        self.run_by(Principal::with_role(name, role), sql).await
    }

    async fn run_by(&self, caller: Principal, sql: &str) -> crate::Result<Vec<RecordBatch>> {
        let session = self.engine.session(caller, Interface::Internal);
        match self.engine.plan(&session, sql, None, RunOptions::default()).await?.kind {
            PlannedKind::Update(_) => Ok(Vec::new()),
            PlannedKind::Rows { pending, .. } => {
                let stream = pending.start().await?;
                stream.collect::<Vec<_>>().await.into_iter().collect()
            }
        }
    }

    /// The rows as text, one string each, columns parted by a bar.
    async fn rows(&self, sql: &str) -> Vec<String> {
        self.rows_of(Principal::admin("me"), sql).await
    }

    async fn rows_of(&self, caller: Principal, sql: &str) -> Vec<String> {
        let batches = self.run_by(caller, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let text = pretty_format_batches(&batches).expect("printable").to_string();
        let row = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|");
        text.lines().filter(|line| line.starts_with('|')).skip(1).map(row).collect()
    }
}

fn batch(keys: &[i64]) -> RecordBatch {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("at", utc, true),
    ]);
    let names = StringArray::from_iter_values(keys.iter().map(|key| format!("name {key}")));
    let at = keys.iter().map(|key| (*key != 13).then_some(key * 1_000_000)).collect::<TimestampMicrosecondArray>();
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(Int64Array::from(keys.to_vec())), Arc::new(names), Arc::new(at.with_timezone("UTC"))];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns of one length")
}

async fn filled() -> Fixture {
    let fixture = Fixture::open();
    fixture
        .rows("CREATE TABLE a (id BIGINT NOT NULL, name VARCHAR, at TIMESTAMPTZ NOT NULL, PRIMARY KEY (id)) WITH (sort_by = 'id')")
        .await;
    fixture.rows("CREATE TABLE b (x DOUBLE)").await;
    let table = fixture.storage.table("public", "a").expect("created");
    for (sequence, keys) in [(1, vec![1, 2, 3]), (2, vec![3, 4, 13])] {
        let id = ProducerId::new("p").expect("a valid id");
        let batch_of = ProducerBatch { id, epoch: 0, sequence, mode: SequenceMode::Contiguous, last_acked: None };
        let request = RowsRequest { producer: Some(batch_of), ..RowsRequest::new("me", vec![batch(&keys).into()]) };
        table.write(request).await.expect("stored");
    }
    fixture
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_system_table_answers() {
    let fixture = filled().await;
    for name in super::TABLE_NAMES {
        let n = fixture.rows(&format!("SELECT count(*) FROM system.{name}")).await;
        let all = fixture.rows(&format!("SELECT * FROM system.{name}")).await;
        if !["jobs", "queries"].contains(&name) {
            assert_eq!(n, [all.len().to_string()], "{name}");
        }
    }
    assert_eq!(
        fixture.rows("SELECT name, key_columns, time_column, sort_by, realtime_rows, sealed_rows, commit_seq, dedup_keys, health FROM system.tables ORDER BY name").await,
        ["a|id|at|id|4|0|2|4|ok", "b||||0|0|0|0|ok"]
    );
    assert_eq!(
        fixture.rows("SELECT c.name, position, sql_type, delta_type, nullable FROM system.columns c JOIN system.tables t ON t.id = table_id WHERE t.name = 'a' ORDER BY 2").await,
        ["id|1|BIGINT|long|false", "name|2|VARCHAR|string|true", "at|3|TIMESTAMPTZ|timestamp|false"]
    );
    assert_eq!(
        fixture.rows("SELECT kind, min_time, max_time, min_seq, max_seq, rows FROM system.segments").await,
        ["realtime|1970-01-01T00:00:01Z|1970-01-01T00:00:04Z|1|2|4"]
    );
    assert_eq!(
        fixture.rows("SELECT producer, last_sequence, last_commit_seq, rows, duplicates, rejected, principal FROM system.producers").await,
        ["p|2|2|4|1|1|me"]
    );
    assert_eq!(
        fixture
            .rows(
                "SELECT sum(received), sum(accepted), sum(duplicate), sum(repeated), sum(rejected) FROM system.ledger"
            )
            .await,
        ["6|4|1|0|1"]
    );
    assert_eq!(
        fixture.rows("SELECT producer, sequence, row, \"column\", code FROM system.rejected").await,
        ["p|2|2|at|NULL_VIOLATION"]
    );
    assert_eq!(
        fixture.rows("SELECT name, origin, \"default\" FROM system.settings").await,
        ["grpc|flag|127.0.0.1:8815"]
    );
    assert_eq!(
        fixture.rows("SELECT name, labels, value FROM system.metrics").await,
        ["rows_total|{\"table\":\"a\"}|7.0"]
    );
    assert_eq!(
        fixture.rows("SELECT level, kind, message, details FROM system.events").await,
        ["warn|storage.table|it stands still|{}"]
    );
    // The question itself holds the table that it reads.
    let pinned = "SELECT pinned_bytes > 0 FROM system.queries, a WHERE state = 'running' LIMIT 1";
    assert_eq!(fixture.rows(pinned).await, ["true"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_show_others_only_to_admins() {
    let fixture = filled().await;
    fixture.run_as("anna", Role::Reader, "SELECT 1").await.expect("runs");
    fixture.run_as("bert", Role::Reader, "SELECT 2").await.expect("runs");
    let seen = |batches: Vec<RecordBatch>| pretty_format_batches(&batches).expect("printable").to_string();
    let sql = "SELECT DISTINCT principal FROM system.queries";
    let annas = seen(fixture.run_as("anna", Role::Reader, sql).await.expect("runs"));
    assert!(annas.contains("anna") && !annas.contains("bert"), "{annas}");
    let all = seen(fixture.run_as("root", Role::Admin, sql).await.expect("runs"));
    assert!(all.contains("anna") && all.contains("bert"), "{all}");
    // By a token for less, what was run by one for more is not there: its text may name tables, and hold values of them.
    let narrow = Principal::new("anna", vec!["reader:public.b".parse::<Grant>().expect("a grant")]);
    let own = "SELECT count(*) FROM system.queries WHERE sql LIKE 'SELECT 1%'";
    assert_eq!(fixture.rows_of(Principal::with_role("anna", Role::Reader), own).await, ["1"]);
    assert_eq!(fixture.rows_of(narrow, own).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_tables_show_what_the_caller_sees() {
    let fixture = filled().await;
    fixture.storage.table("public", "a").expect("created").build().await.expect("built");
    let caller = |grant: &str| Principal::new("anna", vec![grant.parse::<Grant>().expect("a grant")]);
    for name in ["tables", "columns", "segments", "producers", "ledger", "rejected"] {
        let rows = format!("SELECT count(*) > 0 FROM system.{name}");
        assert_eq!(fixture.rows_of(caller("writer:public.a"), &rows).await, ["true"], "{name} of a writer");
        assert_eq!(fixture.rows_of(caller("admin:public.c*"), &rows).await, ["false"], "{name} of a stranger");
        // Rows that a table refused are for those who may write it.
        let seen = if name == "rejected" { "false" } else { "true" };
        assert_eq!(fixture.rows_of(caller("reader:public.a"), &rows).await, [seen], "{name} of a reader");
        let id = if name == "tables" { "id" } else { "table_id" };
        let others = format!(
            "SELECT count(*) FROM system.{name} WHERE {id} NOT IN (SELECT id FROM system.tables WHERE name = 'a')"
        );
        assert_eq!(fixture.rows_of(caller("writer:public.a"), &others).await, ["0"], "{name}");
    }
    for name in ["events", "metrics", "settings", "users"] {
        let error = fixture.run_by(caller("admin:public.*"), &format!("SELECT * FROM system.{name}")).await;
        assert_eq!(error.expect_err("for admins").code(), Code::PermissionDenied, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_tokens_are_shown_without_their_secrets() {
    let fixture = Fixture::open();
    let grant = |role, tables: &str| StoredGrant { role, tables: tables.into() };
    for name in ["anna", "bert"] {
        let user = User {
            name: name.into(),
            password_hash: Some("$argon2id$canary".into()),
            grants: vec![grant(2, "public.a*"), grant(1, "*")],
            disabled: name == "bert",
            created_at_us: 1_000_000,
            changed_at_us: 2_000_000,
        };
        let token = Token {
            id: format!("{name}1"),
            user: name.into(),
            secret_hash: [0xca; 32],
            label: format!("of {name}"),
            grants: Vec::new(),
            created_at_us: 3_000_000,
            expires_at_us: (name == "bert").then_some(4_000_000),
            limits: TokenLimits::default(),
        };
        fixture.storage.change_accounts(move |_| Ok(AccountChange::PutUser(user))).await.expect("stored");
        fixture.storage.change_accounts(move |_| Ok(AccountChange::PutToken(token))).await.expect("stored");
    }
    assert_eq!(
        fixture.rows("SELECT * FROM system.users ORDER BY name").await,
        [
            "anna|writer:public.a*, reader:*|false|1970-01-01T00:00:01Z|1970-01-01T00:00:02Z",
            "bert|writer:public.a*, reader:*|true|1970-01-01T00:00:01Z|1970-01-01T00:00:02Z",
        ]
    );
    let tokens = "SELECT * FROM system.tokens ORDER BY id";
    let (annas, berts) =
        ("anna1|anna|of anna||1970-01-01T00:00:03Z|", "bert1|bert|of bert||1970-01-01T00:00:03Z|1970-01-01T00:00:04Z");
    assert_eq!(fixture.rows(tokens).await, [annas, berts]);
    assert_eq!(fixture.rows_of(Principal::with_role("anna", Role::Writer), tokens).await, [annas]);
    assert!(fixture.rows_of(Principal::with_role("carl", Role::Writer), tokens).await.is_empty());
    // By a token for less than anna may.
    let narrow = Principal::new("anna", vec!["writer:public.a*".parse::<Grant>().expect("a grant")]);
    assert!(fixture.rows_of(narrow, tokens).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_seen_once_and_joins_see_one_state() {
    let fixture = filled().await;
    assert_eq!(fixture.rows("SELECT id FROM a ORDER BY id").await, ["1", "2", "3", "4"]);
    assert_eq!(fixture.rows("SELECT id, _commit_seq FROM a ORDER BY id").await, ["1|1", "2|1", "3|1", "4|2"]);
    assert_eq!(fixture.rows("SELECT * FROM a WHERE _commit_seq > 1").await, ["4|name 4|1970-01-01T00:00:04Z"]);
    assert_eq!(fixture.rows("SELECT count(*) FROM a x JOIN a y ON x.id = y.id").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_lost_its_table_breaks_only_its_users() {
    let fixture = filled().await;
    let view = |name: &str, sql: &str| View { schema_name: "public".into(), name: name.into(), sql: sql.into() };
    fixture.storage.create_view(view("v", "SELECT x FROM public.b"), false).await.expect("created");
    fixture.storage.create_view(view("w", "SELECT id FROM public.a"), false).await.expect("created");
    fixture.storage.create_view(view("loop1", "SELECT * FROM public.loop2"), false).await.expect("created");
    fixture.storage.create_view(view("loop2", "SELECT * FROM public.loop1"), false).await.expect("created");
    assert_eq!(fixture.rows("SELECT count(*) FROM w").await, ["4"]);
    fixture.storage.drop_table("public", "b").await.expect("dropped");
    let error = fixture.run_as("me", Role::Admin, "SELECT * FROM v").await.expect_err("its table is gone").to_string();
    assert!(error.contains("view public.v") && error.contains("b"), "{error}");
    let error = fixture.run_as("me", Role::Admin, "SELECT * FROM loop1").await.expect_err("a cycle").to_string();
    assert!(error.contains("selects from itself"), "{error}");
    let columns =
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2";
    assert_eq!(fixture.rows(columns).await, ["a|at", "a|id", "a|name", "w|id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rejected_rows_come_page_by_page() {
    let fixture = filled().await;
    let table = fixture.storage.table("public", "a").expect("created");
    for _ in 0..2 {
        let request = RowsRequest::new("me", vec![batch(&[13; 9_000]).into()]);
        assert_eq!(table.write(request).await.expect("answered").rejected, 9_000);
    }
    assert_eq!(fixture.rows("SELECT count(*), max(\"row\") FROM system.rejected").await, ["18001|8999"]);
    assert_eq!(fixture.rows("SELECT code FROM system.rejected LIMIT 2").await, ["NULL_VIOLATION", "NULL_VIOLATION"]);
    assert_eq!(fixture.rows("SELECT sum(rejected) FROM system.ledger").await, ["18001"]);
}
