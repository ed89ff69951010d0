//! Which keys does a statement ask for? Those that are left when its filters fix every column of the primary key.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{Guarantee, LiteralGuarantee};
use tidewater_storage::catalog::TableDef;
use tidewater_storage::sealed::sidecar::{Filter, key_hashes};

/// So many keys that are nowhere are admitted by a fifth of all blocks, by mistake; many more, by most of them.
const MAX_KEYS: usize = 64;

/// The only keys that rows can have which pass a filter, as sidecars know them.
#[derive(Debug, Clone)]
pub(in crate::provider::sealed) struct Keys {
    hashes: Vec<u64>,
}

impl Keys {
    /// Of a filter over columns of the table `def`, by their names. `None`: it leaves open what the key is, or allows for more than
    /// [`MAX_KEYS`].
    ///
    /// A value counts if it has the column's own type: where a filter compares in another type, the column stands within a cast, and
    /// several keys may become one value.
    pub fn of(filter: &Arc<dyn PhysicalExpr>, def: &TableDef) -> Option<Self> {
        if def.key.is_empty() {
            return None;
        }
        let fixed = LiteralGuarantee::analyze(filter);
        let mut columns: Vec<Vec<ScalarValue>> = Vec::with_capacity(def.key.len());
        let mut n_keys = 1_usize;
        for &column in &def.key {
            let field = def.arrow_schema.field(column);
            let is_fixed = |one: &&LiteralGuarantee| one.guarantee == Guarantee::In && one.column.name == *field.name();
            let fixed = fixed.iter().find(is_fixed)?;
            // Nothing equals NULL.
            let values: Vec<ScalarValue> = fixed.literals.iter().filter(|value| !value.is_null()).cloned().collect();
            if values.is_empty() || values.iter().any(|value| value.data_type() != *field.data_type()) {
                return None;
            }
            n_keys = n_keys.checked_mul(values.len()).filter(|n_keys| *n_keys <= MAX_KEYS)?;
            columns.push(values);
        }
        Self::combined(&columns, n_keys)
    }

    /// Of all `n_keys` combinations of one value of each column.
    fn combined(columns: &[Vec<ScalarValue>], n_keys: usize) -> Option<Self> {
        let mut stride = n_keys;
        let mut arrays = Vec::with_capacity(columns.len());
        for values in columns {
            stride /= values.len();
            let of_keys = (0..n_keys).map(|key| values[key / stride % values.len()].clone());
            arrays.push(ScalarValue::iter_to_array(of_keys).ok()?);
        }
        let hashes = key_hashes(&arrays).ok()?;
        Some(Self { hashes })
    }

    /// How many keys, one at least.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether the block of a filter may hold one of them.
    pub fn are_admitted_by(&self, filter: &Filter) -> bool {
        self.hashes.iter().any(|hash| filter.contains(*hash))
    }
}
