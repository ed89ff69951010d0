//! How does a DELETE see its own table twice? Under its name with all rows, for subqueries; under the locator's catalog with the address of
//! each settled row.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::error::Result;

use crate::provider::StatementCatalog;
use crate::statement::{LOCATOR, TableName};

/// The catalogs of a DELETE: those of any statement, and one with nothing but its table.
#[derive(Debug)]
pub(super) struct WithLocator {
    catalog: Arc<StatementCatalog>,
    located: Located,
}

/// A table by its name; a catalog and a schema of it alone.
#[derive(Clone)]
struct Located {
    name: TableName,
    table: Arc<dyn TableProvider>,
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Located({})", self.name)
    }
}

impl WithLocator {
    pub(super) fn new(catalog: Arc<StatementCatalog>, name: TableName, table: Arc<dyn TableProvider>) -> Arc<Self> {
        Arc::new(Self { catalog, located: Located { name, table } })
    }
}

impl CatalogProviderList for WithLocator {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        // Whoever lists what there is does not see the locator's.
        self.catalog.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        match name {
            LOCATOR => Some(Arc::new(self.located.clone())),
            _ => self.catalog.catalog(name),
        }
    }
}

impl CatalogProvider for Located {
    fn schema_names(&self) -> Vec<String> {
        vec![self.name.schema.clone()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == self.name.schema).then(|| Arc::new(self.clone()) as Arc<dyn SchemaProvider>)
    }
}

#[async_trait]
impl SchemaProvider for Located {
    fn table_names(&self) -> Vec<String> {
        vec![self.name.name.clone()]
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok((name == self.name.name).then(|| Arc::clone(&self.table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        name == self.name.name
    }
}
