//! Which statements are prepared, and with which values? Handles on the server, each with the last values bound to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, NullArray, RecordBatch, UInt64Array, UnionArray};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parking_lot::Mutex;
use tidewater_query::{Parameters, Prepared, Principal};
use tidewater_storage::env::{Clock, Rng};
use tidewater_storage::memory::{Charge, MemoryLedger, Share};
use tidewater_storage::{Code, Error, Result};

use super::tickets::check_owner;
use crate::connections::Presence;

/// A handle that nobody uses for this long is forgotten. SqlInfo 100 says the same.
pub(super) const HANDLE_TTL: Duration = Duration::from_secs(3600);

/// One whose connection has ended is kept for this long, for a client that connects again.
pub(super) const ABANDONED_TTL: Duration = Duration::from_secs(60);

/// Handles of one user.
pub(super) const MAX_HANDLES: usize = 10_000;

/// Statements and bound values of all handles together.
const MAX_BYTES: usize = 256 << 20;

/// Of one user's: most clients prepare whatever they ask, so the others need some, too.
const MAX_BYTES_OF_USER: usize = 192 << 20;

/// Values that one bind may hold: the rows of an `executemany`.
pub(super) const MAX_BOUND_BYTES: usize = 64 << 20;

/// Parameters of this many bytes are taken however many are on their way.
const SMALL_BYTES: u64 = 64 << 10;

/// Large ones on their way have this part of what is held by nobody by name, all together; or one stream what it may hold.
/// Clients decide how long they take.
const ARRIVING_DIVISOR: u64 = 2;

struct Entry {
    owner: String,
    /// By the clock's uptime.
    expires: Duration,
    /// The one over which it was used last, until that is known to have ended.
    connection: Presence,
    statement: Statement,
    charge: Charge,
}

/// A prepared statement.
#[derive(Clone)]
pub(super) struct Statement {
    pub sql: Arc<str>,
    pub prepared: Arc<Prepared>,
    /// One row an execution; columns by position.
    pub bound: Option<RecordBatch>,
}

/// The registry of one service.
pub(super) struct PreparedStatements {
    entries: Mutex<HashMap<Bytes, Entry>>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    memory: Arc<MemoryLedger>,
    /// Bytes of parameters that are on their way.
    arriving: Arc<AtomicU64>,
}

impl PreparedStatements {
    pub fn new(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>, memory: Arc<MemoryLedger>) -> Self {
        Self { entries: Mutex::new(HashMap::new()), clock, rng, memory, arriving: Arc::default() }
    }

    /// For the parameters of one stream; it holds nothing yet.
    pub fn arriving(&self) -> Arriving {
        let part = self.memory.share(Share::Unassigned) / ARRIVING_DIVISOR;
        Arriving {
            charge: self.memory.charge(Share::Unassigned, 0),
            together: Arc::clone(&self.arriving),
            limit: part.max(MAX_BOUND_BYTES as u64),
        }
    }

    /// Keeps a statement and returns its handle: 16 random bytes.
    pub fn create(&self, owner: &str, sql: &str, prepared: Prepared, over: &Presence) -> Result<Bytes> {
        let mut handle = [0; 16];
        self.rng.fill(&mut handle);
        let handle = Bytes::copy_from_slice(&handle);
        self.sweep();
        let mut entries = self.entries.lock();
        if entries.values().filter(|entry| entry.owner == owner).count() >= MAX_HANDLES {
            return Err(full(format!("{owner} has {MAX_HANDLES} prepared statements open")));
        }
        let statement = Statement { sql: sql.into(), prepared: Arc::new(prepared), bound: None };
        let n_bytes = statement.own_bytes();
        check_space(&entries, owner, n_bytes)?;
        let charge = self.memory.charge(Share::Unassigned, n_bytes as u64);
        let expires = self.clock.uptime() + HANDLE_TTL;
        let entry = Entry { owner: owner.to_owned(), expires, connection: over.clone(), statement, charge };
        entries.insert(handle.clone(), entry);
        Ok(handle)
    }

    /// The statement of a handle; using it keeps it for another [`HANDLE_TTL`], or as long as the connection `over` which it is used.
    pub fn get(&self, handle: &[u8], caller: &Principal, over: &Presence) -> Result<Statement> {
        let now = self.clock.uptime();
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(handle).filter(|entry| entry.expires > now).ok_or_else(not_found)?;
        check_owner(&entry.owner, caller)?;
        entry.expires = now + HANDLE_TTL;
        entry.connection.clone_from(over);
        Ok(entry.statement.clone())
    }

    /// Sets the values of a handle; the last bind wins. A batch without columns means none.
    pub fn bind(&self, handle: &[u8], caller: &Principal, values: Option<RecordBatch>, over: &Presence) -> Result<()> {
        self.sweep();
        let mut entries = self.entries.lock();
        let found = entries.get(handle).ok_or_else(not_found)?;
        check_owner(&found.owner, caller)?;
        let n_bytes = found.statement.own_bytes() + values.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        let freed = usize::try_from(found.charge.bytes()).unwrap_or(0);
        check_space(&entries, &found.owner, n_bytes.saturating_sub(freed))?;
        let entry = entries.get_mut(handle).ok_or_else(not_found)?;
        entry.statement.bound = values;
        entry.charge.resize(n_bytes as u64);
        entry.expires = self.clock.uptime() + HANDLE_TTL;
        entry.connection.clone_from(over);
        Ok(())
    }

    /// Forgets a handle. One that is not known is fine: clients close twice.
    pub fn close(&self, handle: &[u8], caller: &Principal) -> Result<()> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(handle) {
            check_owner(&entry.owner, caller)?;
            entries.remove(handle);
        }
        Ok(())
    }

    /// Forgets what expired. What was used over a connection that has ended has [`ABANDONED_TTL`] left.
    pub fn sweep(&self) {
        let now = self.clock.uptime();
        self.entries.lock().retain(|_, entry| {
            if entry.connection.is_gone() {
                entry.connection = Presence::default();
                entry.expires = entry.expires.min(now + ABANDONED_TTL);
            }
            entry.expires > now
        });
    }

    /// Handles that are open.
    pub fn n_open(&self) -> usize {
        self.entries.lock().len()
    }
}

/// Parameters that a client sends, until they are bound or used: never waited for, refused when there are too many. Given back
/// when dropped.
pub(super) struct Arriving {
    charge: Charge,
    /// Of all streams.
    together: Arc<AtomicU64>,
    limit: u64,
}

impl Arriving {
    /// Holds `more` bytes, or says why not.
    pub fn grow(&mut self, more: u64) -> Result<()> {
        let total = self.charge.bytes().saturating_add(more);
        if total > MAX_BOUND_BYTES as u64 {
            return Err(Error::new(
                Code::StatementRowsTooLarge,
                format!("the parameters take more than {MAX_BOUND_BYTES} bytes"),
            )
            .hint("bind fewer rows at once, or use bulk append"));
        }
        let together = self.together.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if together > self.limit && total > SMALL_BYTES {
            self.together.fetch_sub(more, Ordering::Relaxed);
            return Err(Error::new(Code::MemoryPressure, "too many parameters are on their way")
                .hint("bind fewer rows at once, or try again later")
                .retry_after(Duration::from_secs(1)));
        }
        self.charge.resize(total);
        Ok(())
    }

    /// `less` bytes of what was held are gone.
    pub fn shrink(&mut self, less: u64) {
        let less = less.min(self.charge.bytes());
        self.together.fetch_sub(less, Ordering::Relaxed);
        self.charge.resize(self.charge.bytes() - less);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.together.fetch_sub(self.charge.bytes(), Ordering::Relaxed);
    }
}

impl Statement {
    /// Bytes of it without its values. Of a table with many columns its schema is most of them.
    fn own_bytes(&self) -> usize {
        let Prepared { dataset_schema, parameter_schema, .. } = &*self.prepared;
        self.sql.len() + dataset_schema.fields().size() + parameter_schema.fields().size()
    }

    /// The values that are bound, checked against what the statement wants.
    pub fn query_parameters(&self) -> Result<Option<Parameters>> {
        self.parameters(self.bound.as_ref())
    }

    /// `values` for this statement; `None` when it has no parameters.
    pub fn parameters(&self, values: Option<&RecordBatch>) -> Result<Option<Parameters>> {
        let wanted = self.prepared.parameter_schema.fields().len();
        let given = values.filter(|values| values.num_rows() > 0).map_or(0, RecordBatch::num_columns);
        if wanted != given {
            return Err(Error::new(Code::InvalidParameter, format!("expected {wanted} parameters, got {given}"))
                .hint("bind one value for each parameter"));
        }
        Ok(values.filter(|_| wanted > 0).cloned().map(Parameters))
    }
}

/// Rows of parameters as one batch with plain values: dictionaries, as some clients send them, are spelled out.
pub(super) fn joined(batches: Vec<RecordBatch>) -> Result<Option<RecordBatch>> {
    let Some(first) = batches.first() else { return Ok(None) };
    let joined = concat_batches(&first.schema(), &batches)?;
    let mut fields = Vec::with_capacity(joined.num_columns());
    let mut columns = Vec::with_capacity(joined.num_columns());
    for (index, (field, column)) in joined.schema().fields().iter().zip(joined.columns()).enumerate() {
        let column = plain(column).map_err(|error| {
            Error::new(Code::InvalidParameter, format!("parameter {}: {}", index + 1, error.message()))
        })?;
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    if columns.is_empty() {
        return Ok(None);
    }
    Ok(Some(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?))
}

fn plain(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Dictionary(_, values) => Ok(cast(column, values)?),
        DataType::RunEndEncoded(_, values) => Ok(cast(column, values.data_type())?),
        DataType::Union(..) => match column.as_any().downcast_ref::<UnionArray>() {
            Some(union) => plain(&one_type(union)?),
            None => Err(Error::internal("a column of unions is none")),
        },
        _ => Ok(column.clone()),
    }
}

/// The values of a union, of which flightsql-dbapi makes every parameter: those of all rows have one type, but for NULLs.
fn one_type(union: &UnionArray) -> Result<ArrayRef> {
    let is_null = |number: i8| union.child(number).data_type().is_null();
    let mut numbers = union.type_ids().iter().copied().filter(|number| !is_null(*number));
    let Some(number) = numbers.next() else { return Ok(Arc::new(NullArray::new(union.len()))) };
    if numbers.any(|other| other != number) {
        return Err(Error::new(Code::InvalidParameter, "its values have different types"));
    }
    let place = |row: usize| (union.type_id(row) == number).then(|| union.value_offset(row) as u64);
    let places: UInt64Array = (0..union.len()).map(place).collect();
    Ok(take(union.child(number), &places, None)?)
}

/// Whether `owner` may hold `n_bytes` more.
fn check_space(entries: &HashMap<Bytes, Entry>, owner: &str, n_bytes: usize) -> Result<()> {
    let (mut own, mut all) = (0, 0);
    for entry in entries.values() {
        let bytes = entry.charge.bytes();
        all += bytes;
        own += if entry.owner == owner { bytes } else { 0 };
    }
    if own + n_bytes as u64 > MAX_BYTES_OF_USER as u64 {
        return Err(full(format!("prepared statements of {owner} and their parameters hold {own} bytes")));
    }
    if all + n_bytes as u64 > MAX_BYTES as u64 {
        return Err(full(format!("prepared statements and their parameters hold {all} bytes")));
    }
    Ok(())
}

fn full(message: String) -> Error {
    Error::new(Code::MemoryPressure, message)
        .hint("close prepared statements that are not needed any more")
        .retry_after(Duration::from_secs(5))
}

fn not_found() -> Error {
    Error::new(Code::HandleNotFound, "the prepared statement is unknown or expired").hint("prepare it again")
}
