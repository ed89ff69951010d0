//! What does a client want to be sent? Four readings of the engine's types; one function decides for each of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use tidewater_storage::{Code, Error};

/// Which types a client is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Those that every client reads.
    #[default]
    Portable,
    /// Those that the engine has, as wide and as exact. Views, dictionaries and run-ends are spelled out all the same: what they share
    /// cannot be cut into messages.
    Native,
    /// Those that Grafana draws: times in nanoseconds, numbers, and text for the rest.
    Grafana,
    /// Those that the JDBC driver reads right: it takes unsigned numbers for signed ones. Of parameters it has types of its own.
    Jdbc,
}

impl Profile {
    pub const ALL: [Profile; 4] = [Profile::Portable, Profile::Native, Profile::Grafana, Profile::Jdbc];

    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Portable => "portable",
            Profile::Native => "native",
            Profile::Grafana => "grafana",
            Profile::Jdbc => "jdbc",
        }
    }

    /// The schema that a client is told for a result of `schema`. Metadata is dropped. Every field is nullable: plans disagree with their
    /// batches about that, and clients compare.
    pub fn schema(self, schema: &SchemaRef) -> SchemaRef {
        Arc::new(Schema::new(self.fields(schema.fields())))
    }

    /// The type that a client sees for a column of `data_type`.
    pub fn data_type(self, data_type: &DataType) -> DataType {
        match self {
            Profile::Portable => self.plain(portable(data_type)),
            Profile::Native => self.plain(data_type.clone()),
            Profile::Grafana => drawn(Profile::Portable.data_type(data_type)),
            Profile::Jdbc => self.plain(signed(portable(data_type))),
        }
    }

    /// The schema of a statement's parameters as a client is told it: that of [`Profile::Portable`], but for JDBC.
    pub fn parameters(self, schema: &SchemaRef) -> SchemaRef {
        if self != Profile::Jdbc {
            return Profile::Portable.schema(schema);
        }
        let field = |field: &FieldRef| Field::new(field.name(), bound_by_jdbc(field.data_type()), true);
        Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
    }

    fn fields(self, fields: &Fields) -> Fields {
        fields.iter().map(|field| self.field(field)).collect()
    }

    fn field(self, field: &FieldRef) -> FieldRef {
        Arc::new(Field::new(field.name(), self.data_type(field.data_type()), true))
    }

    /// The same values without a layout of their own, and so inside.
    fn plain(self, data_type: DataType) -> DataType {
        match data_type {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            DataType::Dictionary(_, values) => self.data_type(&values),
            DataType::RunEndEncoded(_, values) => self.data_type(values.data_type()),
            DataType::List(item) | DataType::ListView(item) => DataType::List(self.field(&item)),
            DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(self.field(&item)),
            DataType::FixedSizeList(item, size) => DataType::FixedSizeList(self.field(&item), size),
            DataType::Struct(fields) => DataType::Struct(self.fields(&fields)),
            DataType::Map(entries, sorted) => DataType::Map(self.entries(&entries), sorted),
            other => other,
        }
    }

    /// A map's entries and keys are never NULL; clients rely on it.
    fn entries(self, entries: &FieldRef) -> FieldRef {
        let fields = match entries.data_type() {
            DataType::Struct(fields) => fields
                .iter()
                .enumerate()
                .map(|(i, f)| Arc::new(Field::new(f.name(), self.data_type(f.data_type()), i > 0)))
                .collect(),
            _ => Fields::empty(),
        };
        Arc::new(Field::new(entries.name(), DataType::Struct(fields), false))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = Error;

    /// Small letters or capitals; `INVALID_SETTING` for anything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let named = |profile: &Profile| profile.as_str().eq_ignore_ascii_case(text.trim());
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Error::new(Code::InvalidSetting, format!("there are no types '{shown}'"))
                .hint("the types are portable, native, grafana and jdbc")
        })
    }
}

/// Large variants become plain, small decimals Decimal128, Float16 Float32; instants are labelled `UTC`.
fn portable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 => DataType::Utf8,
        DataType::LargeBinary => DataType::Binary,
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::List(Arc::clone(item)),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal256(precision, scale) if *precision <= DECIMAL128_MAX_PRECISION => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        other => other.clone(),
    }
}

/// Grafana takes every timestamp for nanoseconds, and leaves columns of other types empty. Of a portable type.
fn drawn(data_type: DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone),
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => DataType::Float64,
        DataType::Binary
        | DataType::FixedSizeBinary(_)
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Interval(_)
        | DataType::Null => DataType::Utf8,
        nested if is_nested(&nested) => DataType::Utf8,
        other => other,
    }
}

/// Unsigned numbers as the narrowest type with a sign that holds them.
fn signed(data_type: DataType) -> DataType {
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        other => other,
    }
}

/// The type that the JDBC driver is told of a parameter. It puts milliseconds into times of any unit, as if they were of that unit; it
/// takes nothing but `BigDecimal` for a decimal, which nobody gives for a whole number; and it has no way to bind what has no type.
fn bound_by_jdbc(data_type: &DataType) -> DataType {
    match data_type {
        DataType::UInt64 => DataType::Int64,
        DataType::Null => DataType::Utf8,
        other => match Profile::Jdbc.data_type(other) {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone),
            DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
            other => other,
        },
    }
}

/// What becomes JSON where only text is understood.
pub(super) fn is_nested(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(_, _)
            | DataType::Struct(_)
            | DataType::Map(_, _)
    )
}
