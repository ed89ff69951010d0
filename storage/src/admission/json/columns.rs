//! How do cells become Arrow columns? Text for scalars, lists and structs of text for the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, NullBufferBuilder, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};

use super::row::Cell;
use crate::error::{Code, Error, Result};

/// A column that is being built.
pub(super) enum Column {
    Text(StringBuilder),
    List { lengths: Vec<usize>, nulls: NullBufferBuilder, items: Box<Column> },
    Struct { names: Vec<String>, columns: Vec<Column>, nulls: NullBufferBuilder },
}

impl Column {
    /// A column for values of `data_type` that begins with `n` NULLs.
    pub fn with_nulls(data_type: &DataType, n: usize) -> Self {
        let mut column = Self::new(data_type);
        for _ in 0..n {
            column.append_null();
        }
        column
    }

    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::List(item) => Column::List {
                lengths: Vec::new(),
                nulls: NullBufferBuilder::new(0),
                items: Box::new(Self::new(item.data_type())),
            },
            DataType::Struct(fields) => Column::Struct {
                names: fields.iter().map(|field| field.name().clone()).collect(),
                columns: fields.iter().map(|field| Self::new(field.data_type())).collect(),
                nulls: NullBufferBuilder::new(0),
            },
            _ => Column::Text(StringBuilder::new()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Column::Text(text) => arrow::array::ArrayBuilder::len(text),
            Column::List { lengths, .. } => lengths.len(),
            Column::Struct { nulls, .. } => nulls.len(),
        }
    }

    pub fn append_null(&mut self) {
        match self {
            Column::Text(text) => text.append_null(),
            Column::List { lengths, nulls, .. } => {
                lengths.push(0);
                nulls.append_null();
            }
            Column::Struct { columns, nulls, .. } => {
                columns.iter_mut().for_each(Column::append_null);
                nulls.append_null();
            }
        }
    }

    /// Appends a cell that was read for this column's type.
    pub fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Column::Text(text), Cell::Text(value)) => text.append_value(value),
            (Column::List { lengths, nulls, items }, Cell::List(cells)) => {
                cells.iter().for_each(|cell| items.append(cell));
                lengths.push(cells.len());
                nulls.append_non_null();
            }
            (Column::Struct { columns, nulls, .. }, Cell::Struct(cells)) => {
                for (i, cell) in cells {
                    columns[*i].append(cell);
                }
                nulls.append_non_null();
                for column in columns.iter_mut().filter(|column| column.len() < nulls.len()) {
                    column.append_null();
                }
            }
            // The reader gives a cell of the column's shape or NULL.
            (column, _) => column.append_null(),
        }
    }

    pub fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Column::Text(mut text) => Arc::new(text.finish()),
            Column::List { lengths, mut nulls, items } => {
                let items = items.finish()?;
                let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
                if i32::try_from(items.len()).is_err() {
                    return Err(Error::new(Code::BatchTooLarge, "the lists of a column have too many elements"));
                }
                Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, nulls.finish())?)
            }
            Column::Struct { names, columns, mut nulls } => {
                let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
                let fields: Fields = names
                    .into_iter()
                    .zip(&arrays)
                    .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
                    .collect();
                let len = nulls.len();
                Arc::new(StructArray::try_new_with_length(fields, arrays, nulls.finish(), len)?)
            }
        })
    }
}
