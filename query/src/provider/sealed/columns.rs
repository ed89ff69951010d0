//! Where does each column that a table shows come from, when its rows are in files? From the file, or it is made for its rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::parquet::arrow::RowNumber;
use tidewater_storage::catalog::TableDef;
use tidewater_storage::ids::CommitSeq;

use crate::provider::realtime::system_fields;

/// The place of a row's file among those of the snapshot.
const FILE: &str = "(file)";
/// The place of a row in its file, deleted rows counted.
const ROW: &str = "(row)";

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A column of the table. Files that are older than it do not have it.
    Stored,
    /// Behind the table's columns in each file of a table with system columns.
    CommitSeq,
    /// Looked up by `_commit_seq` in what the file says about its entries.
    IngestedAt,
    File,
    Row,
}

/// The columns that a table shows in one statement.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// As the table announces them: its own columns; then the system columns and the address of a row, if they were asked for.
    pub schema: SchemaRef,
    n_table_columns: usize,
    shows_system: bool,
    shows_address: bool,
}

impl Columns {
    pub fn new(def: &TableDef, shows_system: bool, shows_address: bool) -> Self {
        let mut fields = def.arrow_schema.fields().iter().cloned().collect::<Vec<_>>();
        let n_table_columns = fields.len();
        if shows_system {
            fields.extend(system_fields().map(Arc::new));
        }
        if shows_address {
            fields.extend(address_fields().map(Arc::new));
        }
        Self { schema: Arc::new(Schema::new(fields)), n_table_columns, shows_system, shows_address }
    }

    pub fn shows_system(&self) -> bool {
        self.shows_system
    }

    /// A column of the table that is called like a part of the address: which of the two a name means could not be told.
    pub fn clash(&self) -> Option<&str> {
        let own = &self.schema.fields()[..self.n_table_columns];
        let names = own.iter().map(|field| field.name().as_str());
        names.filter(|_| self.shows_address).find(|name| [FILE, ROW].contains(name))
    }

    pub fn origin(&self, column: usize) -> Origin {
        let Some(behind) = column.checked_sub(self.n_table_columns) else { return Origin::Stored };
        let origins = [Origin::CommitSeq, Origin::IngestedAt, Origin::File, Origin::Row];
        let shown = if self.shows_system { &origins[..] } else { &origins[2..] };
        shown.get(behind).copied().unwrap_or(Origin::Row)
    }

    /// The columns as the reader of files has them: what files hold, then the file, then the row. Of files whose rows all came with one
    /// entry, `_commit_seq` is a constant of the file and stands at the same place.
    pub fn of_source(&self, of_one_entry: bool) -> TableSchema {
        let n_held = if of_one_entry { self.n_table_columns } else { self.n_stored() };
        let (held, constant) = self.schema.fields()[..self.n_stored()].split_at(n_held);
        let mut constant: Vec<_> = constant.to_vec();
        let schema = TableSchema::builder(Arc::new(Schema::new(held.to_vec())));
        if !self.shows_address {
            return match constant.is_empty() {
                true => schema.build(),
                false => schema.with_table_partition_cols(constant).build(),
            };
        }
        let [file, row] = address_fields().map(Arc::new);
        constant.push(file);
        schema.with_table_partition_cols(constant).with_virtual_columns(vec![row]).build()
    }

    /// What [`Self::of_source`] takes for constants of a file: the entry of all its rows, and its place in the snapshot.
    pub fn constants(&self, entry: Option<CommitSeq>, place: usize) -> Vec<ScalarValue> {
        let entry = entry.filter(|_| self.shows_system).map(|seq| ScalarValue::Int64(Some(seq.0 as i64)));
        let place = self.shows_address.then(|| ScalarValue::Int32(i32::try_from(place).ok()));
        entry.into_iter().chain(place).collect()
    }

    /// The column of [`Self::of_source`] that a column is, or is made from.
    pub fn in_source(&self, column: usize) -> usize {
        match self.origin(column) {
            Origin::Stored | Origin::CommitSeq => column,
            Origin::IngestedAt => self.n_table_columns,
            Origin::File => self.n_stored(),
            Origin::Row => self.n_stored() + 1,
        }
    }

    /// Columns of [`Self::of_source`].
    pub fn n_source(&self) -> usize {
        self.n_stored() + if self.shows_address { address_fields().len() } else { 0 }
    }

    fn n_stored(&self) -> usize {
        self.n_table_columns + usize::from(self.shows_system)
    }
}

fn address_fields() -> [Field; 2] {
    [Field::new(FILE, DataType::Int32, false), Field::new(ROW, DataType::Int64, false).with_extension_type(RowNumber)]
}
