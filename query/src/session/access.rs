//! Who may do what with which table? Roles over patterns of table names, and the caller that holds them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tidewater_storage::catalog::check_name;
use tidewater_storage::limits::MAX_NAME_BYTES;
use tidewater_storage::{Code, Error, Result, StoredGrant};

/// What a caller may do with a table. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads rows.
    Reader,
    /// Inserts and deletes rows, sees rejected ones, and runs upkeep such as `CALL seal`.
    Writer,
    /// Creates, alters, drops and renames. On `*`: everything that is about the server, such as users and its events.
    Admin,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Reader, Role::Writer, Role::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }

    /// What stands for it in a [`StoredGrant`]; never changes.
    fn number(self) -> u8 {
        match self {
            Role::Reader => 1,
            Role::Writer => 2,
            Role::Admin => 3,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    /// Small letters or capitals; `INVALID_PARAMETER` for anything else.
    fn from_str(text: &str) -> Result<Self> {
        let role = Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(text));
        role.ok_or_else(|| invalid(text, "is not a role", "the roles are reader, writer and admin"))
    }
}

/// Which tables and views a grant is about, by name; they need not be there yet.
///
/// `*` is every table of every schema, `schema.*` every table of a schema, `schema.pre*` those whose names begin so, and
/// `schema.table` one. Names are compared as the catalog keeps them: a table that was created without quotes has small letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TablePattern {
    All,
    /// Names in `schema` that begin with `prefix`, which may be empty.
    Prefix {
        schema: String,
        prefix: String,
    },
    Table {
        schema: String,
        table: String,
    },
}

impl TablePattern {
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        match self {
            TablePattern::All => true,
            TablePattern::Prefix { schema: own, prefix } => own == schema && table.starts_with(prefix.as_str()),
            TablePattern::Table { schema: own, table: name } => own == schema && name == table,
        }
    }

    /// Whether it matches every name that `inner` matches.
    pub fn covers(&self, inner: &TablePattern) -> bool {
        match (self, inner) {
            (TablePattern::All, _) => true,
            (_, TablePattern::All) => false,
            (
                TablePattern::Prefix { schema: outer, prefix: start },
                TablePattern::Prefix { schema: inner, prefix: rest }
                | TablePattern::Table { schema: inner, table: rest },
            ) => outer == inner && rest.starts_with(start.as_str()),
            (TablePattern::Table { .. }, TablePattern::Prefix { .. }) => false,
            (TablePattern::Table { .. }, TablePattern::Table { .. }) => self == inner,
        }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TablePattern::All => f.write_str("*"),
            TablePattern::Prefix { schema, prefix } => write!(f, "{schema}.{prefix}*"),
            TablePattern::Table { schema, table } => write!(f, "{schema}.{table}"),
        }
    }
}

impl FromStr for TablePattern {
    type Err = Error;

    /// `INVALID_PARAMETER` for what is no pattern, and for a pattern of the server's own schemas, where roles decide nothing;
    /// `INVALID_NAME` for names that no table can have.
    fn from_str(text: &str) -> Result<Self> {
        if text == "*" {
            return Ok(TablePattern::All);
        }
        let refuse = |why| invalid(text, why, "write *, schema.*, schema.table or schema.prefix*");
        let (schema, table) = text.split_once('.').ok_or_else(|| refuse("is not a pattern of tables"))?;
        if matches!(schema, "system" | "information_schema") {
            return Err(refuse("is about a schema of the server: what it shows depends on the roles on other tables"));
        }
        let (name, is_prefix) = match table.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (table, false),
        };
        if schema.contains('*') || name.contains('*') {
            return Err(refuse("has a * that is not at its end"));
        }
        check_name("schema", schema)?;
        if !(is_prefix && name.is_empty()) {
            check_name("table", name)?;
        }
        let (schema, name) = (schema.to_owned(), name.to_owned());
        Ok(match is_prefix {
            true => TablePattern::Prefix { schema, prefix: name },
            false => TablePattern::Table { schema, table: name },
        })
    }
}

/// A role on some tables. As text `role:pattern`, such as `writer:public.detections`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    pub role: Role,
    pub tables: TablePattern,
}

impl Grant {
    pub fn new(role: Role, tables: TablePattern) -> Self {
        Self { role, tables }
    }
}

impl From<&Grant> for StoredGrant {
    fn from(grant: &Grant) -> Self {
        Self { role: grant.role.number(), tables: grant.tables.to_string() }
    }
}

impl TryFrom<&StoredGrant> for Grant {
    type Error = Error;

    /// `LOG_UNKNOWN_VERSION` for a role or a pattern that this program did not write.
    fn try_from(stored: &StoredGrant) -> Result<Self> {
        let role = Role::ALL.into_iter().find(|role| role.number() == stored.role);
        let (Some(role), Ok(tables)) = (role, stored.tables.parse::<TablePattern>()) else {
            let message = format!("the data folder has a grant that is not known here: {stored:?}");
            return Err(Error::new(Code::LogUnknownVersion, message).hint("open it with the version that wrote it"));
        };
        Ok(Self { role, tables })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.role, self.tables)
    }
}

impl FromStr for Grant {
    type Err = Error;

    /// `role:pattern`, or a role alone for every table; errors as of the two.
    fn from_str(text: &str) -> Result<Self> {
        let (role, tables) = text.split_once(':').unwrap_or((text, "*"));
        Ok(Self { role: role.parse()?, tables: tables.parse()? })
    }
}

/// Who asks, and what they may do. The grants are shared by its clones and never change: who looks a caller up again gets new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    pub grants: Arc<[Grant]>,
}

impl Principal {
    pub fn new(name: impl Into<String>, grants: impl Into<Arc<[Grant]>>) -> Self {
        Self { name: name.into(), grants: grants.into() }
    }

    /// One with the same role on every table.
    pub fn with_role(name: impl Into<String>, role: Role) -> Self {
        Self::new(name, vec![Grant::new(role, TablePattern::All)])
    }

    /// One who may do everything.
    pub fn admin(name: impl Into<String>) -> Self {
        Self::with_role(name, Role::Admin)
    }

    /// Admin on every table, and so of the server.
    pub fn is_admin(&self) -> bool {
        self.grants.iter().any(|grant| grant.role == Role::Admin && grant.tables == TablePattern::All)
    }

    /// The highest role that a grant gives on a table or view of this name; `None`: it does not exist for this caller.
    pub fn role_on(&self, schema: &str, table: &str) -> Option<Role> {
        self.grants.iter().filter(|grant| grant.tables.matches(schema, table)).map(|grant| grant.role).max()
    }

    /// Whether this caller is told that such a table or view exists, and may read it.
    pub fn sees(&self, schema: &str, table: &str) -> bool {
        self.role_on(schema, table).is_some()
    }

    /// Whether this caller may do to a table or view what takes the role `needed`. `what` says it with a verb, such as "INSERT INTO".
    ///
    /// `TABLE_NOT_FOUND`, in the words of a table that is not there, without any role on the table; `PERMISSION_DENIED` with a lesser one.
    pub fn check(&self, needed: Role, schema: &str, table: &str, what: &str) -> Result<()> {
        match self.role_on(schema, table) {
            Some(role) if role >= needed => Ok(()),
            Some(_) => Err(self.denied(needed, schema, table, what)),
            None => Err(Error::new(Code::TableNotFound, format!("table '{}.{}' not found", cut(schema), cut(table)))
                .hint("SHOW TABLES lists what there is")),
        }
    }

    /// The same, but fine where this caller has no role: for whom the look-up that follows finds nothing, and says so in its own words.
    pub(crate) fn check_seen(&self, needed: Role, schema: &str, table: &str, what: &str) -> Result<()> {
        match self.sees(schema, table) {
            true => self.check(needed, schema, table, what),
            false => Ok(()),
        }
    }

    /// The same for a name that is to come into being: `PERMISSION_DENIED` unless this caller is admin of it, whether it is taken or not.
    pub fn check_new(&self, schema: &str, table: &str, what: &str) -> Result<()> {
        match self.role_on(schema, table) {
            Some(Role::Admin) => Ok(()),
            _ => Err(self.denied(Role::Admin, schema, table, what)),
        }
    }

    /// Whether this caller has, by a grant each, all that `earlier` had: the same caller some time ago, or by another token.
    pub(crate) fn still_has(&self, earlier: &Principal) -> bool {
        let has = |had: &Grant| self.grants.iter().any(|own| own.role >= had.role && own.tables.covers(&had.tables));
        self.is_admin() || earlier.grants.iter().all(has)
    }

    /// The same; `PERMISSION_DENIED` if not.
    pub(crate) fn check_still_has(&self, earlier: &Principal) -> Result<()> {
        if self.still_has(earlier) {
            return Ok(());
        }
        let message = format!("'{}' does not have the grants any more that this query was planned with", self.name);
        Err(Error::new(Code::PermissionDenied, message).hint("run the query again"))
    }

    /// `PERMISSION_DENIED` for anybody but an admin of the server. `what` says with a verb what is asked for.
    pub fn check_admin(&self, what: &str) -> Result<()> {
        if self.is_admin() {
            return Ok(());
        }
        Err(Error::new(Code::PermissionDenied, format!("'{}' may not {what}", self.name))
            .hint("that takes the role 'admin' on every table (*), of a token as of its user: ask an administrator"))
    }

    fn denied(&self, needed: Role, schema: &str, table: &str, what: &str) -> Error {
        let message = format!("'{}' may not {what} {}.{}", self.name, cut(schema), cut(table));
        Error::new(Code::PermissionDenied, message)
            .hint(format!("that takes the role '{needed}' on it, of a token as of its user: ask an administrator"))
    }
}

fn invalid(text: &str, why: &str, hint: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("'{}' {why}", cut(text))).hint(hint)
}

/// As much of a name from outside as an error repeats: any that a table can have.
fn cut(name: &str) -> String {
    name.chars().take(MAX_NAME_BYTES).collect()
}
