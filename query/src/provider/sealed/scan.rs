//! How does a plan come to read files? Those that its filters leave, newest first, each with its deleted rows and what is known of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::internal_err;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::object_store::ObjectMeta;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_plan::ExecutionPlan;
use tidewater_storage::{Code, Error};

use super::columns::Origin;
use super::files::{Chosen, SealedFiles};
use super::reader::{ScannedFile, SealedReaders};
use super::source::{Scan, SealedSource};
use super::stamps::{Stamps, ingested_at};
use super::statistics;
use crate::error::to_datafusion;
use crate::provider::counters::ScanCounters;
use crate::provider::retention::Cut;

/// Columns that filters have read are kept up to here, for each file that is being read, so that the output need not read them again. A row
/// group has 524,288 rows.
const KEPT_FILTER_COLUMNS_BYTES: usize = 16 << 20;

/// IN lists up to this length are tested value by value against the bounds of a row group; longer ones by nothing.
const MAX_PRUNED_IN_LIST: usize = 256;

/// What a statement wants of a table.
pub(in crate::provider) struct Asked<'a> {
    pub projection: &'a [usize],
    pub filters: &'a [Expr],
    /// At most so many rows of each partition.
    pub limit: Option<usize>,
    pub cut: Option<Cut>,
}

/// Files that are read alike.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// All rows of a file came with one entry, and the file does not say with which.
    of_one_entry: bool,
    /// Some rows are past the table's retention, or may be.
    straddles: bool,
}

const KINDS: [Kind; 4] = [
    Kind { of_one_entry: false, straddles: false },
    Kind { of_one_entry: true, straddles: false },
    Kind { of_one_entry: false, straddles: true },
    Kind { of_one_entry: true, straddles: true },
];

impl SealedFiles {
    /// Scans of what is asked, of all rows that may pass its filters; none if there are no such rows.
    pub fn scan(
        &self,
        state: &dyn Session,
        asked: &Asked<'_>,
        counters: &Arc<ScanCounters>,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        if let Some(name) = self.columns.clash() {
            return Err(to_datafusion(
                Error::new(Code::UnsupportedStatement, format!("rows cannot be addressed beside a column '{name}'"))
                    .hint("create a table without such a column and INSERT INTO … SELECT"),
            ));
        }
        let Chosen { mut files, pruned } = self.choose(state, asked.filters);
        let n_before = files.len();
        files.retain(|&at| !self.is_past(at, asked.cut));
        counters.add_files_pruned(pruned + n_before - files.len());
        let mut scans = Vec::new();
        for kind in KINDS {
            let files: Vec<usize> = files.iter().copied().filter(|&at| self.kind(at, asked.cut) == kind).collect();
            if files.is_empty() {
                continue;
            }
            scans.push(match asked.cut.filter(|_| kind.straddles) {
                None => self.scan_alike(state, asked.projection, &files, kind, asked.limit, counters)?,
                Some(cut) => {
                    let wide = cut.widened(asked.projection);
                    let scan = self.scan_alike(state, &wide, &files, kind, None, counters)?;
                    cut.apply(scan, asked.projection, self.schema())?
                }
            });
        }
        Ok(scans)
    }

    fn is_past(&self, at: usize, cut: Option<Cut>) -> bool {
        let times = || self.snapshot.event_times(&self.files()[at]);
        cut.is_some_and(|cut| times().is_some_and(|(_, last)| last < cut.at_us))
    }

    fn kind(&self, at: usize, cut: Option<Cut>) -> Kind {
        let file = &self.files()[at];
        let times = || self.snapshot.event_times(file);
        Kind {
            // Without system columns nobody asks for it.
            of_one_entry: file.file.entry.is_some() && self.columns.shows_system(),
            straddles: cut.is_some_and(|cut| times().is_none_or(|(first, _)| first < cut.at_us)),
        }
    }

    fn scan_alike(
        &self,
        state: &dyn Session,
        projection: &[usize],
        files: &[usize],
        kind: Kind,
        limit: Option<usize>,
        counters: &Arc<ScanCounters>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let needs_stamps = projection.iter().any(|&column| self.columns.origin(column) == Origin::IngestedAt);
        let stamps = needs_stamps.then(Arc::<Stamps>::default);
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = SealedReaders::new(&self.snapshot, cache, stamps, Arc::clone(counters));
        let source = self.source(state, projection, &readers, kind)?;
        let built = files.iter().map(|&at| &self.files()[at].place).filter(|place| !place.is_published);
        counters.add_sealed_scan(source.metrics().clone(), built.map(|place| place.path.to_string()).collect());

        let known = statistics::columns_with_bounds(self, files.len(), projection);
        let group = FileGroup::new(files.iter().map(|&at| self.part(at, &known)).collect());
        // All readers are made by `readers`: the store of this address is asked for, and not used.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_group(group)
            .with_statistics(statistics::of_all(self, files, projection))
            .with_limit(limit)
            .build();
        let chosen = files.iter().map(|&at| &self.files()[at]);
        let scan = Scan {
            table: format!("{}.{}", self.snapshot.def().schema_name, self.snapshot.def().name),
            n_files: self.len(),
            n_rows: chosen.clone().map(|file| file.live_rows()).sum(),
            n_bytes: chosen.map(|file| file.file.bytes).sum(),
            untrusted: (0..self.schema().fields().len()).map(|column| self.may_have_nan(files, column)).collect(),
            def: Arc::clone(self.snapshot.def()),
            all_have_sidecars: files.iter().all(|&at| self.files()[at].file.sidecar.is_some()),
            readers,
        };
        Ok(DataSourceExec::from_data_source(SealedSource::new(config, Arc::new(scan), projection.to_vec())))
    }

    /// The reader of the files, with the columns that the scan gives.
    fn source(
        &self,
        state: &dyn Session,
        projection: &[usize],
        readers: &SealedReaders,
        kind: Kind,
    ) -> Result<Arc<dyn FileSource>> {
        let mut options = TableParquetOptions::default();
        options.global.max_predicate_cache_size = Some(KEPT_FILTER_COLUMNS_BYTES);
        options.global.max_in_list_size = MAX_PRUNED_IN_LIST;
        // Filters that cost least to read are asked first: none of those that are taken can fail. Files have no Bloom filters.
        let source = ParquetSource::new(self.columns.of_source(kind.of_one_entry))
            .with_table_parquet_options(options)
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_bloom_filter_on_read(false)
            .with_parquet_file_reader_factory(Arc::new(readers.clone()));
        let columns = projection.iter().map(|&column| {
            let place = self.columns.in_source(column);
            let source_schema = source.table_schema().table_schema();
            let stored: Arc<dyn PhysicalExpr> = Arc::new(Column::new(source_schema.field(place).name(), place));
            let expr = match (&readers.stamps, self.columns.origin(column)) {
                (Some(stamps), Origin::IngestedAt) => ingested_at(stamps, stored, state.config().options()),
                _ => stored,
            };
            ProjectionExpr::new(expr, self.schema().field(column).name())
        });
        match source.try_pushdown_projection(&ProjectionExprs::new(columns))? {
            Some(projected) => Ok(projected),
            None => internal_err!("the reader of files takes no projection"),
        }
    }

    /// One file as the reader gets it.
    fn part(&self, at: usize, known: &[usize]) -> PartitionedFile {
        let file = &self.files()[at];
        // What is cached of a file is of no use once it was restored.
        let restored = i64::from(self.snapshot.quarantine().n_restored(&file.file.name));
        let cached_as = DateTime::<Utc>::from_timestamp_micros(file.file.created_at_us.saturating_add(restored));
        let mut part = PartitionedFile::new_from_meta(ObjectMeta {
            location: file.place.path.clone(),
            last_modified: cached_as.unwrap_or_default(),
            size: file.file.bytes,
            e_tag: None,
            version: None,
        });
        part.statistics = Some(Arc::new(statistics::of_file(self, at, known)));
        // Its deleted rows are left out, and its sidecar is asked, when it is opened.
        part.extensions.insert(ScannedFile::new(file.clone()));
        part.partition_values = self.columns.constants(file.file.entry.map(|(seq, _)| seq), at);
        part
    }
}
