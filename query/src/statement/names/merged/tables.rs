//! Which columns does USING merge, and what has `*` of the tables that it joins?

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, TableFactor, TableWithJoins,
};
use tidewater_storage::Result;

use super::{Column, Columns, first_of, refused};
use crate::statement::measure::Copies;
use crate::statement::names::fold;

/// Tables with a column that USING merges for which the planner finds it.
const MAX_FOUND: usize = 3;

/// What is known of tables that are joined.
#[derive(Default)]
pub(super) struct Tables {
    /// The name of the only one.
    only: Option<Vec<Ident>>,
    pub merged: Columns,
    pub star: Star,
    pub planned: Planned,
}

/// What is known of `*` where it is left to the planner, which keeps of each two columns that are merged that of the table whose name comes first in
/// the alphabet. Of three it may keep two.
#[derive(Default)]
pub(super) struct Planned {
    /// The names of the tables, those without one empty.
    tables: Vec<Vec<String>>,
    /// Nobody knows here which columns are merged.
    is_natural: bool,
    /// A merged column may be there twice.
    pub is_repeated: bool,
}

impl Planned {
    fn of(name: Option<&Vec<Ident>>) -> Self {
        let parts = name.map(|parts| parts.iter().map(fold).collect::<Vec<_>>());
        Self { tables: vec![parts.unwrap_or_default()], ..Self::default() }
    }

    fn beside(mut self, other: Self) -> Self {
        self.tables.extend(other.tables);
        self.is_natural |= other.is_natural;
        self.is_repeated |= other.is_repeated;
        self
    }

    /// Whether the first of any two tables is the one whose column is kept.
    fn is_in_order(&self) -> bool {
        self.tables.is_sorted_by_key(|name| (name.len(), name))
    }
}

/// What `*` is.
pub(super) enum Star {
    Parts(Vec<Part>),
    /// A table has no name, or nobody knows which columns are merged. With the join that makes it matter which table such a column is of: the planner
    /// takes the table whose name comes first in the alphabet.
    Unknown {
        is_outer: bool,
    },
}

#[derive(Clone)]
pub(super) enum Part {
    Merged(Column),
    /// One of the second table, that some table before it has in its place.
    LeftOut(Column),
    /// All other columns of a table.
    Rest(ObjectName),
}

impl Part {
    /// What tables do not have among the rest of their columns.
    pub fn column(&self) -> Option<&Column> {
        match self {
            Self::Merged(column) | Self::LeftOut(column) => Some(column),
            Self::Rest(_) => None,
        }
    }
}

impl Default for Star {
    fn default() -> Self {
        Self::Parts(Vec::new())
    }
}

impl Star {
    pub fn beside(self, other: Self) -> Self {
        match (self, other) {
            (Self::Parts(left), Self::Parts(right)) => Self::Parts(left.into_iter().chain(right).collect()),
            (one, other) => Self::Unknown { is_outer: one.is_outer() || other.is_outer() },
        }
    }

    pub fn is_outer(&self) -> bool {
        match self {
            Self::Parts(parts) => parts.iter().filter_map(Part::column).any(|column| !column.is_inner),
            Self::Unknown { is_outer } => *is_outer,
        }
    }

    /// Behind a join that merges these: they come first, as in standard SQL. `None`: nobody knows of which tables one is.
    fn merging(self, right: Self, merged: Vec<Option<Part>>, is_outer: bool) -> Self {
        let known: Option<Vec<Part>> = merged.into_iter().collect();
        match (self.beside(right), known) {
            (Self::Parts(parts), Some(mut known)) => {
                let is_again = |part: &Part| match part {
                    Part::Merged(column) => known.iter().filter_map(Part::column).any(|again| again.is(&column.name)),
                    _ => false,
                };
                let rest: Vec<Part> = parts.into_iter().filter(|part| !is_again(part)).collect();
                known.extend(rest);
                Self::Parts(known)
            }
            (joined, _) => Self::Unknown { is_outer: is_outer || joined.is_outer() },
        }
    }
}

enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

/// Of which tables a join has rows.
enum Rows {
    Both(Kind),
    /// SEMI and ANTI.
    Left,
    Right,
}

impl Rows {
    /// With what is compared. `None` for joins that nobody knows here.
    fn of(operator: &mut JoinOperator) -> Option<(Self, &mut JoinConstraint)> {
        Some(match operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => {
                (Self::Both(Kind::Inner), on)
            }
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (Self::Both(Kind::Left), on),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (Self::Both(Kind::Right), on),
            JoinOperator::FullOuter(on) => (Self::Both(Kind::Full), on),
            JoinOperator::LeftSemi(on) | JoinOperator::LeftAnti(on) => (Self::Left, on),
            JoinOperator::RightSemi(on) | JoinOperator::RightAnti(on) => (Self::Right, on),
            _ => return None,
        })
    }
}

impl Tables {
    /// All of a FROM. What ON names of their merged columns is written in its place.
    pub fn of_from(from: &mut [TableWithJoins], copies: &mut Copies) -> Result<Self> {
        let mut all = Self::default();
        for tables in from {
            all = all.beside(Self::of(tables, copies)?);
        }
        Ok(all)
    }

    fn of(tables: &mut TableWithJoins, copies: &mut Copies) -> Result<Self> {
        let first = Self::of_factor(&mut tables.relation, copies)?;
        tables.joins.iter_mut().try_fold(first, |joined, join| joined.joined(join, copies))
    }

    fn of_factor(factor: &mut TableFactor, copies: &mut Copies) -> Result<Self> {
        let only = match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let tables = Self::of(table_with_joins, copies)?;
                match alias {
                    None => return Ok(tables),
                    Some(_) if tables.has_of_others() => {
                        return Err(refused("another name for a RIGHT or FULL JOIN … USING"));
                    }
                    Some(alias) => Some(vec![alias.name.clone()]),
                }
            }
            // One with arguments is called otherwise.
            TableFactor::Table { name, alias: None, args: None, .. } => {
                name.0.iter().map(|part| part.as_ident().cloned()).collect::<Option<Vec<Ident>>>()
            }
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => Some(vec![alias.name.clone()]),
            _ => None,
        };
        let star = match &only {
            Some(name) => Star::Parts(vec![Part::Rest(ObjectName::from(name.clone()))]),
            None => Star::Unknown { is_outer: false },
        };
        let planned = Planned::of(only.as_ref());
        Ok(Self { only, merged: Columns::default(), star, planned })
    }

    /// Between the two is a comma.
    pub fn beside(self, other: Self) -> Self {
        Self {
            only: None,
            merged: self.merged.beside(other.merged),
            star: self.star.beside(other.star),
            planned: self.planned.beside(other.planned),
        }
    }

    fn has_of_others(&self) -> bool {
        self.merged.0.iter().any(|column| column.is_of_others)
    }

    fn joined(self, join: &mut Join, copies: &mut Copies) -> Result<Self> {
        let right = Self::of_factor(&mut join.relation, copies)?;
        let Some((rows, constraint)) = Rows::of(&mut join.join_operator) else {
            let star = Star::Unknown { is_outer: self.star.is_outer() || right.star.is_outer() };
            return Ok(Self { star, ..self.beside(right) });
        };
        let names: Vec<Ident> = match &mut *constraint {
            JoinConstraint::Using(names) => names.iter().filter_map(last).cloned().collect(),
            JoinConstraint::Natural if matches!(rows, Rows::Both(Kind::Right | Kind::Full)) => {
                return Err(refused("NATURAL RIGHT or FULL JOIN"));
            }
            JoinConstraint::Natural if self.has_of_others() || right.has_of_others() => {
                return Err(refused("NATURAL JOIN of what a RIGHT or FULL JOIN … USING gives"));
            }
            JoinConstraint::On(on) => {
                self.merged.clone().beside(right.merged.clone()).write(on, copies)?;
                Vec::new()
            }
            _ => Vec::new(),
        };
        let is_natural = matches!(constraint, JoinConstraint::Natural);
        let is_misread = names.iter().any(|name| self.is_misread(&right, name));
        if is_misread {
            let on = names.iter().map(|name| self.compared(&right, name, copies)).collect::<Result<Vec<_>>>()?;
            let and = |left: Expr, right: Expr| binary(left, BinaryOperator::And, right);
            *constraint = on.into_iter().reduce(and).map_or(JoinConstraint::None, JoinConstraint::On);
        }
        let kind = match rows {
            Rows::Both(kind) => kind,
            Rows::Left => return Ok(self),
            Rows::Right => return Ok(right),
        };
        let is_again = self.merges_again(&right, is_natural, &names);
        let parts = match is_natural {
            true => vec![None],
            false => names.iter().map(|name| self.part(&right, &kind, name)).collect::<Result<Vec<_>>>()?,
        };
        let merged = names.iter().map(|name| self.merge(&right, &kind, name)).collect::<Result<Vec<_>>>()?;
        let star = self.star.merging(right.star, parts, is_misread || !matches!(kind, Kind::Inner));
        let mut planned = self.planned.beside(right.planned);
        planned.is_natural |= is_natural;
        planned.is_repeated |= is_misread || is_again && !planned.is_in_order();
        let mut others = self.merged.beside(right.merged);
        others.0.retain(|column| !names.iter().any(|name| column.is(name)));
        others.0.extend(merged.into_iter().flatten());
        Ok(Self { only: None, merged: others, star, planned })
    }

    /// Whether a join may merge a column that another one merges.
    fn merges_again(&self, right: &Self, is_natural: bool, names: &[Ident]) -> bool {
        let may_merge_any = self.planned.is_natural || right.planned.is_natural;
        let may = |name: &Ident| may_merge_any || self.merged.find(name).is_some() || right.merged.find(name).is_some();
        let merges = |tables: &Self| tables.planned.is_natural || !tables.merged.0.is_empty();
        if is_natural { merges(self) || merges(right) } else { names.iter().any(may) }
    }

    /// Whether the planner takes a name in USING for another column than it stands for, or for several.
    fn is_misread(&self, right: &Self, name: &Ident) -> bool {
        let is_of_others = self.is_of_others(name) || right.is_of_others(name);
        // Of more than three the planner finds several.
        let are_many = self.all(name).len() + right.all(name).len() > MAX_FOUND;
        is_of_others || are_many && self.column(name).is_some() && right.column(name).is_some()
    }

    fn is_of_others(&self, name: &Ident) -> bool {
        self.merged.find(name).is_some_and(|column| column.is_of_others)
    }

    fn is_in_place(&self, name: &Ident) -> bool {
        self.merged.find(name).is_some_and(|column| column.is_in_place)
    }

    fn is_inner(&self, name: &Ident) -> bool {
        self.merged.find(name).is_none_or(|column| column.is_inner)
    }

    /// What USING says of a name, where the planner would take it for that of the first table.
    fn compared(&self, right: &Self, name: &Ident, copies: &mut Copies) -> Result<Expr> {
        let (Some(left), Some(right)) = (self.column(name), right.column(name)) else {
            return Err(refused(
                "USING over a column that a RIGHT or FULL JOIN … USING merges, of tables without a name",
            ));
        };
        let (left, right) = (first_of(&left), first_of(&right));
        copies.count(&left)?;
        copies.count(&right)?;
        Ok(binary(left, BinaryOperator::Eq, right))
    }

    /// What a name in USING stands for; `None` if nobody knows, and the planner takes it for what it is.
    fn merge(&self, right: &Self, kind: &Kind, name: &Ident) -> Result<Option<Column>> {
        let (of_left, of_right) = (self.column(name), right.column(name));
        let all = self.all(name).into_iter().chain(right.all(name)).collect();
        let is_of_others =
            matches!(kind, Kind::Right | Kind::Full) || self.is_of_others(name) || right.is_of_others(name);
        let is_inner = matches!(kind, Kind::Inner) && self.is_inner(name) && right.is_inner(name);
        let is_in_place = of_left.is_none() || self.is_in_place(name) || right.is_in_place(name);
        let first_of = match kind {
            Kind::Inner => of_left.or(of_right),
            Kind::Left => of_left,
            Kind::Right => Some(of_right.ok_or_else(|| refused("RIGHT JOIN … USING of tables without a name"))?),
            Kind::Full => match (of_left, of_right) {
                (Some(left), Some(right)) => Some(left.into_iter().chain(right).collect()),
                _ => return Err(refused("FULL JOIN … USING of tables that are joined already, or have no name")),
            },
        };
        Ok(first_of.map(|first_of| Column { name: name.clone(), first_of, all, is_of_others, is_inner, is_in_place }))
    }

    /// What `*` has of it.
    fn part(&self, right: &Self, kind: &Kind, name: &Ident) -> Result<Option<Part>> {
        Ok(match (self.column(name), right.column(name)) {
            _ if right.is_in_place(name) => None,
            (Some(_), Some(_)) if !self.is_in_place(name) => self.merge(right, kind, name)?.map(Part::Merged),
            (_, Some(first_of)) if matches!(kind, Kind::Inner | Kind::Left) => Some(Part::LeftOut(Column {
                name: name.clone(),
                first_of,
                all: right.all(name),
                is_of_others: false,
                is_inner: matches!(kind, Kind::Inner),
                is_in_place: true,
            })),
            _ => None,
        })
    }

    /// The columns of that name of all tables.
    fn all(&self, name: &Ident) -> Vec<Expr> {
        match self.merged.find(name) {
            Some(column) => column.all.clone(),
            None => self.column(name).unwrap_or_default(),
        }
    }

    /// It is the first of these that is not NULL.
    fn column(&self, name: &Ident) -> Option<Vec<Expr>> {
        let merged = self.merged.find(name).map(|column| column.first_of.clone());
        let of_only = || {
            let table = self.only.as_ref()?.iter();
            Some(vec![Expr::CompoundIdentifier(table.chain([name]).cloned().collect())])
        };
        merged.or_else(of_only)
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn last(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}
