//! Which files does a snapshot have, and what is known of them without opening one? Bounds by column, for all files at once.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt64Array, new_null_array};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use tidewater_storage::TableSnapshot;
use tidewater_storage::ids::CommitSeq;
use tidewater_storage::sealed::{FileRef, SegmentFile};

use super::columns::{Columns, Origin};
use crate::provider::prune;

/// The files of one snapshot. Shared by all scans of a table in one statement.
pub(in crate::provider) struct SealedFiles {
    pub(super) snapshot: TableSnapshot,
    pub(super) columns: Columns,
    /// By column, made when a predicate first asks: most queries name few of them.
    bounds: Vec<OnceLock<Option<FileBounds>>>,
}

/// One value a file: bounds (NULL: unknown, or no value) and NULLs, those of deleted rows among them.
struct FileBounds {
    min: ArrayRef,
    max: ArrayRef,
    nulls: UInt64Array,
}

/// What is known of one column of one file. Deleted rows count: bounds hold without them, too.
pub(super) struct Known {
    pub min: Option<ArrayRef>,
    pub max: Option<ArrayRef>,
    pub nulls: u64,
}

/// The files that a scan reads.
pub(super) struct Chosen {
    /// Places in the snapshot, in the order of reading.
    pub files: Vec<usize>,
    /// Files with rows that bounds ruled out.
    pub pruned: usize,
}

impl SealedFiles {
    /// With system columns, and with the address of each row behind them, if they are asked for.
    pub fn new(snapshot: TableSnapshot, shows_system: bool, shows_address: bool) -> Self {
        let columns = Columns::new(snapshot.def(), shows_system, shows_address);
        let bounds = columns.schema.fields().iter().map(|_| OnceLock::new()).collect();
        Self { snapshot, columns, bounds }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.columns.schema
    }

    pub fn len(&self) -> usize {
        self.files().len()
    }

    pub(super) fn files(&self) -> &[FileRef] {
        self.snapshot.files()
    }

    /// The files that may hold rows that pass `filters`, newest first.
    pub(super) fn choose(&self, state: &dyn Session, filters: &[Expr]) -> Chosen {
        let mut files: Vec<usize> = (0..self.len()).filter(|&at| self.files()[at].live_rows() > 0).collect();
        let n_live = files.len();
        if n_live > 0
            && let Some(predicate) = self.predicate(state, filters)
        {
            let keep = prune::to_read(self.schema(), self, &predicate);
            files.retain(|&at| keep[at]);
        }
        self.newest_first(&mut files);
        Chosen { pruned: n_live - files.len(), files }
    }

    /// Filters that have no physical form here rule out nothing.
    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> Option<Arc<dyn PhysicalExpr>> {
        if filters.is_empty() {
            return None;
        }
        let schema = DFSchema::try_from(Arc::clone(self.schema())).ok()?;
        let known = filters.iter().filter_map(|filter| state.create_physical_expr(filter.clone(), &schema).ok());
        Some(conjunction(known))
    }

    /// A TopK by time soon rules out older files. Those without bounds come first: they may hold anything. Without a time column, what
    /// came last is newest: that is what a look-up by key and a limit most often want.
    fn newest_first(&self, files: &mut [usize]) {
        let Some(time) = self.snapshot.def().options.time_column else {
            files.sort_by_key(|at| Reverse(self.files()[*at].file.max_seq));
            return;
        };
        let newest = |at: &usize| {
            let max = self.known(*at, time).and_then(|known| known.max);
            let max = max.as_ref().and_then(|max| max.as_primitive_opt::<TimestampMicrosecondType>());
            Reverse(max.map_or(i64::MAX, |max| max.value(0)))
        };
        files.sort_by_cached_key(newest);
    }

    /// `None`: nothing is known of such a column.
    pub(super) fn known(&self, at: usize, column: usize) -> Option<Known> {
        let file = &*self.files()[at].file;
        match self.columns.origin(column) {
            Origin::Stored => Some(self.known_of_stored(file, column)),
            Origin::CommitSeq => {
                let value = |seq: CommitSeq| Some(Arc::new(Int64Array::from(vec![seq.0 as i64])) as ArrayRef);
                Some(Known { min: value(file.min_seq), max: value(file.max_seq), nulls: 0 })
            }
            Origin::IngestedAt | Origin::File | Origin::Row => None,
        }
    }

    fn known_of_stored(&self, file: &SegmentFile, column: usize) -> Known {
        // The column was added after the file was written: all of its rows have NULL there.
        let Some(bounds) = file.columns.get(column) else {
            return Known { min: None, max: None, nulls: file.rows };
        };
        let data_type = self.schema().field(column).data_type();
        let value = |bound: &Option<ArrayRef>| {
            bound.clone().filter(|bound| bound.len() == 1 && bound.is_valid(0) && bound.data_type() == data_type)
        };
        Known { min: value(&bounds.min), max: value(&bounds.max), nulls: bounds.nulls }
    }

    /// A NaN may be among the values of a column in one of `files`. Bounds within the files leave it out, while it compares as the
    /// largest number; the file's own bounds are unknown then.
    pub(super) fn may_have_nan(&self, files: &[usize], column: usize) -> bool {
        self.schema().field(column).data_type().is_floating()
            && files.iter().any(|&at| {
                let rows = self.files()[at].file.rows;
                let is_bounded = |known: Known| known.nulls >= rows || (known.min.is_some() && known.max.is_some());
                !self.known(at, column).is_some_and(is_bounded)
            })
    }

    fn bounds(&self, column: &Column) -> Option<&FileBounds> {
        let column = self.schema().index_of(&column.name).ok()?;
        self.bounds[column].get_or_init(|| self.make_bounds(column)).as_ref()
    }

    fn make_bounds(&self, column: usize) -> Option<FileBounds> {
        let data_type = self.schema().field(column).data_type();
        if data_type.is_nested() {
            return None;
        }
        let known: Vec<Known> = (0..self.len()).map(|at| self.known(at, column)).collect::<Option<_>>()?;
        let unknown = new_null_array(data_type, 1);
        let values = |pick: fn(&Known) -> Option<&ArrayRef>| {
            let values: Vec<&dyn Array> = known.iter().map(|known| pick(known).unwrap_or(&unknown).as_ref()).collect();
            arrow::compute::concat(&values).ok()
        };
        Some(FileBounds {
            min: values(|known| known.min.as_ref())?,
            max: values(|known| known.max.as_ref())?,
            nulls: UInt64Array::from_iter_values(known.iter().map(|known| known.nulls)),
        })
    }
}

impl PruningStatistics for SealedFiles {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.bounds(column)?.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.bounds(column)?.max))
    }

    fn num_containers(&self) -> usize {
        self.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::new(self.bounds(column)?.nulls.clone()))
    }

    /// With the deleted rows, as NULLs are counted: a column is all NULL when these two are equal.
    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.files().iter().map(|file| file.file.rows))))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
