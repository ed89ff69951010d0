//! Metadata over the wire: what clients browse is what there is.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::IpcMessage;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo,
    SqlInfo,
};
use futures::stream::TryStreamExt;

use super::{Server, schema_of, text, ticket_of};

const TABLE: &str = "CREATE TABLE a_b (id BIGINT NOT NULL, price DECIMAL(10,2), name VARCHAR, at TIMESTAMPTZ, n BIGINT NOT NULL, PRIMARY KEY (n, id))";

async fn rows(server: &Server, info: arrow_flight::FlightInfo) -> Vec<RecordBatch> {
    let (schema, batches) = server.fetch(&info).await.unwrap();
    assert_eq!(*schema, schema_of(&info));
    batches
}

fn column(batches: &[RecordBatch], index: usize) -> Vec<String> {
    let values = |batch: &RecordBatch| {
        batch.column(index).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    batches.iter().flat_map(values).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_and_schemas() {
    let server = Server::start().await;
    let mut client = server.sql();
    assert_eq!(column(&rows(&server, client.get_catalogs().await.unwrap()).await, 0), ["tidewater"]);
    let schemas = rows(&server, client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap()).await;
    let names = column(&schemas, 1);
    assert!(names.contains(&"public".to_owned()) && names.contains(&"system".to_owned()), "{names:?}");
    let other = CommandGetDbSchemas { catalog: Some(String::new()), ..Default::default() };
    assert!(column(&rows(&server, client.get_db_schemas(other).await.unwrap()).await, 1).is_empty());
    let types = rows(&server, client.get_table_types().await.unwrap()).await;
    assert_eq!(column(&types, 0), ["SYSTEM TABLE", "TABLE", "VIEW"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_their_columns() {
    let server = Server::start().await;
    server.run(&[TABLE, "CREATE TABLE axb (id BIGINT)", "CREATE VIEW v AS SELECT id FROM a_b"]).await;
    let mut client = server.sql();
    let user = |types: &[&str]| CommandGetTables {
        table_types: types.iter().map(|&name| name.into()).collect(),
        include_schema: true,
        ..Default::default()
    };
    let tables = rows(&server, client.get_tables(user(&["BASE TABLE", "view"])).await.unwrap()).await;
    assert_eq!(column(&tables, 2), ["a_b", "axb", "v"]);
    assert_eq!(column(&tables, 3), ["TABLE", "TABLE", "VIEW"]);
    let schemas = tables[0].column(4).as_binary::<i32>();
    let schema =
        |index: usize| Schema::try_from(IpcMessage(bytes::Bytes::copy_from_slice(schemas.value(index)))).unwrap();
    let a_b = schema(0);
    let meta = |column: &str, key: &str| {
        a_b.field_with_name(column).unwrap().metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).cloned()
    };
    assert_eq!(a_b.field(0).data_type(), &DataType::Int64);
    assert!(!a_b.field(0).is_nullable() && a_b.field(1).is_nullable());
    assert_eq!(meta("id", "TYPE_NAME").as_deref(), Some("BIGINT"));
    assert_eq!(meta("price", "TYPE_NAME").as_deref(), Some("DECIMAL"));
    assert_eq!((meta("price", "PRECISION").as_deref(), meta("price", "SCALE").as_deref()), (Some("10"), Some("2")));
    assert_eq!(meta("at", "TYPE_NAME").as_deref(), Some("TIMESTAMPTZ"));
    assert_eq!(meta("name", "TABLE_NAME").as_deref(), Some("a_b"));
    assert_eq!(schema(2).field(0).name(), "id");
    let is_read_only = |schema: Schema| schema.field(0).metadata()["ARROW:FLIGHT:SQL:IS_READ_ONLY"].clone();
    assert_eq!([0, 1, 2].map(|index| is_read_only(schema(index))), ["0", "0", "1"], "a view takes no rows");
    let system = rows(&server, client.get_tables(user(&["SYSTEM TABLE"])).await.unwrap()).await;
    let names = column(&system, 2);
    for name in ["tables", "columns", "producers", "ledger", "rejected", "queries"] {
        assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
    }
    let schemas = system[0].column(4).as_binary::<i32>();
    let first = Schema::try_from(IpcMessage(bytes::Bytes::copy_from_slice(schemas.value(0)))).unwrap();
    assert_eq!(is_read_only(first), "1", "nor does a system table");
    let named = CommandGetTables { table_name_filter_pattern: Some("a_b".into()), ..Default::default() };
    assert_eq!(column(&rows(&server, client.get_tables(named).await.unwrap()).await, 2), ["a_b", "axb"]);
}

/// Its columns are of the types in which a SELECT from it is sent; what they are called in SQL stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_described_in_the_types_that_are_sent() {
    let server = Server::start().await;
    let half = "CREATE VIEW half AS SELECT arrow_cast(1.5, 'Float16') AS x, arrow_cast('a', 'LargeUtf8') AS s";
    server.run(&[half]).await;
    let wanted = CommandGetTables {
        table_name_filter_pattern: Some("half".into()),
        include_schema: true,
        ..CommandGetTables::default()
    };
    let info = server.sql().get_tables(wanted).await.unwrap();
    for (types, x, s) in [
        ("portable", DataType::Float32, DataType::Utf8),
        ("native", DataType::Float16, DataType::LargeUtf8),
        ("grafana", DataType::Float32, DataType::Utf8),
    ] {
        let mut request = tonic::Request::new(ticket_of(&info));
        request.metadata_mut().insert("x-flight-types", types.parse().unwrap());
        let stream = server.raw().do_get(request).await.unwrap().into_inner();
        let rows = FlightRecordBatchStream::new_from_flight_data(stream.map_err(Into::into));
        let tables: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        let schemas = tables[0].column(4).as_binary::<i32>();
        let schema = Schema::try_from(IpcMessage(bytes::Bytes::copy_from_slice(schemas.value(0)))).unwrap();
        assert_eq!((schema.field(0).data_type(), schema.field(1).data_type()), (&x, &s), "{types}");
        assert_eq!(schema.field(1).metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "VARCHAR", "{types}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys() {
    let server = Server::start().await;
    server.run(&[TABLE]).await;
    let mut client = server.sql();
    let query = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "a_b".into() };
    let keys = rows(&server, client.get_primary_keys(query).await.unwrap()).await;
    assert_eq!(column(&keys, 3), ["n", "id"]);
    let query = CommandGetExportedKeys { table: "a_b".into(), ..Default::default() };
    let exported = rows(&server, client.get_exported_keys(query).await.unwrap()).await;
    assert!(exported.iter().all(|batch| batch.num_rows() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_info_and_types() {
    let server = Server::start().await;
    let mut client = server.sql();
    let all = rows(&server, client.get_sql_info(vec![]).await.unwrap()).await;
    assert_eq!(all.iter().map(RecordBatch::num_rows).sum::<usize>(), 91);
    let one = rows(&server, client.get_sql_info(vec![SqlInfo::FlightSqlServerTransaction]).await.unwrap()).await;
    assert_eq!(one[0].column(1).as_union().type_ids().to_vec(), [3]);
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: Some(12) }).await.unwrap();
    assert!(text(&rows(&server, info).await).contains("VARCHAR"));
}

/// The functions that SqlInfo names are there.
#[tokio::test(flavor = "multi_thread")]
async fn listed_functions_exist() {
    let server = Server::start().await;
    let info = crate::flight_sql::metadata::sql_info_rows(&[509, 510, 511, 512]).unwrap();
    let values = info.column(1).as_union();
    let missing = async |name: &str| {
        // Called without arguments, a function that is there complains about its arguments.
        match server.info(&format!("SELECT {name}()")).await {
            Ok(_) => false,
            Err(status) => status.code() == tonic::Code::NotFound,
        }
    };
    assert!(missing("no_such_function").await);
    for row in 0..values.len() {
        let list = values.value(row);
        let names = list.as_list::<i32>().value(0);
        for name in names.as_string::<i32>().iter().flatten() {
            assert!(!missing(name).await, "{name} is not a function");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_tables() {
    let server = Server::start().await;
    server.run(&[TABLE]).await;
    let flights: Vec<_> = server
        .raw()
        .list_flights(arrow_flight::Criteria::default())
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(flights.len(), 1);
    let descriptor = flights[0].flight_descriptor.clone().unwrap();
    assert_eq!(descriptor.path, ["public", "a_b"]);
    let info = server.raw().get_flight_info(descriptor).await.unwrap().into_inner();
    assert_eq!(schema_of(&info), schema_of(&flights[0]));
}
