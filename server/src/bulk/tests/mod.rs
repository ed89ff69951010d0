//! Is every body read as it is meant, cut at any place, and refused before it costs more than it may?

mod bodies;
mod files;
mod pace;
mod requests;

use std::io::{self, Read};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tidewater_storage::admission::IncomingRows;
use tidewater_storage::catalog::{ColumnDef, NewTable, TableDef};
use tidewater_storage::{Engine, EngineOptions, Result};

use super::options::Options;
use super::pieces::Pieces;
use crate::http::Problem;

/// `t (id BIGINT NOT NULL, name VARCHAR, list BIGINT[])`
async fn table() -> Arc<TableDef> {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EngineOptions { min_free_bytes: 0, ..EngineOptions::new(folder.path(), 1 << 30) };
    let engine = tokio::task::spawn_blocking(move || Engine::open(options)).await.expect("opened").expect("opened").0;
    let column = |name: &str, data_type: DataType, nullable: bool| ColumnDef {
        name: name.to_owned(),
        data_type,
        nullable,
        comment: None,
        max_chars: None,
    };
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let new = NewTable {
        schema_name: "public".to_owned(),
        name: "t".to_owned(),
        columns: vec![
            column("id", DataType::Int64, false),
            column("name", DataType::Utf8, true),
            column("list", list, true),
        ],
        ..NewTable::default()
    };
    let def = engine.create_table(new).await.expect("created").0.def();
    engine.shutdown().await.expect("a clean end");
    def
}

fn options(query: &str, headers: &[(&'static str, &str)]) -> std::result::Result<Options, Problem> {
    let uri: Uri = format!("/api/v1/ingest/t?{query}").parse().expect("a URI");
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"));
    }
    Options::read("t", &uri, &map)
}

fn csv(query: &str) -> Options {
    options(query, &[("content-type", "text/csv")]).expect("understood")
}

/// What comes in small portions.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(buffer.len()).min(self.0.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

/// All pieces.
fn all(pieces: &mut dyn Pieces) -> Result<Vec<IncomingRows>> {
    std::iter::from_fn(|| pieces.next().transpose()).collect()
}

/// Rows that were read, and the reasons of those that were not.
fn told(pieces: &[IncomingRows]) -> (usize, Vec<(u64, String)>) {
    let read = pieces.iter().map(|rows| rows.batch.num_rows()).sum();
    let rejected = pieces.iter().flat_map(|rows| rows.rejected.iter().map(|row| (row.row, row.message.clone())));
    (read, rejected.collect())
}
