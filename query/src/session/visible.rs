//! What is in the catalog for one caller? The tables and views that they have a role on; the others do not exist.

use std::fmt;
use std::sync::Arc;

use tidewater_storage::{Engine, Table, View};

use super::{Principal, Role};

/// The names of one engine as one caller sees them.
///
/// A view runs with the rights of whoever selects from it: a role on the view's name lets them name it, and each table behind it needs a
/// role too, or the view cannot be planned. So nobody reads through a view what they may not read without it, whoever made it.
#[derive(Clone)]
pub struct VisibleCatalog {
    storage: Arc<Engine>,
    principal: Principal,
}

impl VisibleCatalog {
    pub fn new(storage: &Arc<Engine>, principal: &Principal) -> Self {
        Self { storage: Arc::clone(storage), principal: principal.clone() }
    }

    /// All of the engine, whoever asks. What is made and changed here was checked before.
    pub(crate) fn storage(&self) -> &Arc<Engine> {
        &self.storage
    }

    /// Whether a table or view of this name would be seen, if there is one.
    pub fn sees(&self, schema: &str, name: &str) -> bool {
        self.principal.sees(schema, name)
    }

    pub fn table(&self, schema: &str, name: &str) -> Option<Table> {
        self.sees(schema, name).then(|| self.storage.table(schema, name)).flatten()
    }

    pub fn view(&self, schema: &str, name: &str) -> Option<View> {
        self.sees(schema, name).then(|| self.storage.view(schema, name)).flatten()
    }

    /// Sorted by schema and name.
    pub fn tables(&self) -> Vec<Table> {
        self.tables_as(Role::Reader)
    }

    /// Those on which the caller has at least this role, sorted by schema and name.
    pub fn tables_as(&self, role: Role) -> Vec<Table> {
        let mut tables = self.storage.tables();
        tables.retain(|table| {
            let def = table.def();
            self.principal.role_on(&def.schema_name, &def.name) >= Some(role)
        });
        tables
    }

    /// Sorted by schema and name.
    pub fn views(&self) -> Vec<View> {
        let mut views = self.storage.views();
        views.retain(|view| self.sees(&view.schema_name, &view.name));
        views
    }

    /// Schemas with a table or view that the caller sees; `public` is always there. Sorted.
    pub fn schemas(&self) -> Vec<String> {
        let mut schemas: Vec<String> = self.tables().iter().map(|table| table.def().schema_name.clone()).collect();
        schemas.extend(self.views().into_iter().map(|view| view.schema_name));
        schemas.push("public".to_owned());
        schemas.sort();
        schemas.dedup();
        schemas
    }

    /// Whether [`Self::schemas`] has this one.
    pub fn has_schema(&self, schema: &str) -> bool {
        let has_table = || {
            self.storage.tables().iter().any(|table| {
                let def = table.def();
                def.schema_name == schema && self.sees(schema, &def.name)
            })
        };
        let has_view =
            || self.storage.views().iter().any(|view| view.schema_name == schema && self.sees(schema, &view.name));
        schema == "public" || has_table() || has_view()
    }
}

impl fmt::Debug for VisibleCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisibleCatalog").field("principal", &self.principal).finish_non_exhaustive()
    }
}
