//! Which complaints of DataFusion are said in the words of SQL? Those that name its own types and signatures.

use arrow::datatypes::DataType;
use tidewater_storage::catalog::sql_type;
use tidewater_storage::{Code, Error};

/// What the planner complains of, in other words; `None` where its own will do.
pub(super) fn of_planner(message: &str) -> Option<Error> {
    wrong_arguments(message)
        .or_else(|| not_grouped(message))
        .or_else(|| no_function(message))
        .or_else(|| repeated_column(message))
}

/// A subquery that the planner made no join of, in the place of which it shows its own expression; `None` for all else.
pub(super) fn of_subquery(message: &str) -> Option<Error> {
    let (_, expression) = message.split_once("Physical plan does not support logical expression ")?;
    let (what, hint) = match expression.split_once('(')?.0 {
        "Exists" | "InSubquery" | "SetComparison" => (
            "EXISTS, IN or ANY of a subquery is not supported in this place",
            "it is in WHERE, HAVING and ON, and in a SELECT list with comparisons of the two queries by = alone, behind no \
             aggregate or LIMIT; elsewhere select it in a WITH first, or join the tables",
        ),
        "ScalarSubquery" => (
            "a subquery that gives a value is not supported in this place, or with these comparisons",
            "compare with columns of the query around it by = alone, and not within an aggregate, or join the tables",
        ),
        "OuterReferenceColumn" => (
            "what a subquery takes from the tables beside it (LATERAL), or around it, is not supported",
            "take their columns in conditions of its WHERE, by = alone and without LIMIT, or join the tables",
        ),
        _ => return None,
    };
    Some(Error::new(Code::UnsupportedStatement, what).hint(hint))
}

/// Two columns of one name where each needs its own: in a view, a table, or a query in FROM.
pub(super) fn repeated(column: &str) -> Error {
    Error::new(Code::InvalidStatement, format!("column '{column}' is specified more than once"))
        .hint("give one of them another name with AS, or leave it out")
}

/// A value that cannot be cast, with the type as SQL names it.
pub(super) fn of_cast(message: &str) -> String {
    let parts = message
        .split_once(" to value of ")
        .and_then(|(value, rest)| Some((value, rest.strip_suffix(" type")?)))
        .or_else(|| message.split_once(" to type "));
    match parts {
        Some((value, data_type)) => format!("{value} to {}", in_sql(data_type)),
        None => message.to_owned(),
    }
}

fn wrong_arguments(message: &str) -> Option<Error> {
    let (function, types) = match message.split_once("given name and argument types '") {
        Some((_, rest)) => rest.split_once("'. ")?.0.strip_suffix(')')?.split_once('(')?,
        None => {
            let (_, rest) = message.split_once("Function '")?;
            let (function, rest) = rest.split_once("' failed to match any signature")?;
            let (_, rest) = rest.split_once("(DataType: ")?;
            (function, rest.split_once(").")?.0)
        }
    };
    let types: Vec<String> = arguments(types).into_iter().map(in_sql).collect();
    Some(
        Error::new(Code::InvalidStatement, format!("{function}({}) cannot be computed", types.join(", ")))
            .hint(format!("give {function} as many arguments as it takes, and CAST them to types that it takes")),
    )
}

fn not_grouped(message: &str) -> Option<Error> {
    let (before, _) = message.split_once("\" must appear in the GROUP BY clause")?;
    let (_, column) = before.rsplit_once("column \"")?;
    Some(
        Error::new(
            Code::InvalidStatement,
            format!("the column '{column}' stands neither in GROUP BY nor in an aggregate function"),
        )
        .hint("add it to GROUP BY, or say which of its values: min, max, first_value"),
    )
}

fn repeated_column(message: &str) -> Option<Error> {
    let (_, rest) = message.split_once(" require unique expression names but the expression \"")?;
    let (column, _) = rest.split_once("\" at position ")?;
    let is_path = || column.split('.').all(|part| part.chars().all(|c| c.is_alphanumeric() || c == '_'));
    Some(repeated(match column.rsplit_once(" AS ") {
        Some((_, name)) => name,
        None if is_path() => column.rsplit('.').next().unwrap_or(column),
        None => column,
    }))
}

/// The planner names the nearest function, however far it is.
fn no_function(message: &str) -> Option<Error> {
    let in_select = || {
        let (name, rest) = message.strip_prefix("Invalid function '")?.split_once('\'')?;
        let nearest = rest.split_once("Did you mean '").and_then(|(_, nearest)| nearest.strip_suffix("'?"));
        Some((name, nearest))
    };
    let in_from = || Some((message.strip_prefix("table function '")?.strip_suffix("' not found")?, None));
    let (name, nearest) = in_select().or_else(in_from)?;
    let hint = match nearest.filter(|nearest| strsim::jaro_winkler(nearest, name) > 0.8) {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => "SHOW FUNCTIONS lists what there is".to_owned(),
    };
    Some(Error::new(Code::FunctionNotFound, format!("there is no function '{name}'")).hint(hint))
}

/// The parts between the outermost commas.
fn arguments(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = text.split(|sign: char| {
        match sign {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        sign == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Arrow's name of a type as SQL has it, where it is one.
pub(crate) fn in_sql(arrow: &str) -> String {
    arrow.parse::<DataType>().map_or_else(|_| arrow.to_owned(), |data_type| sql_type(&data_type))
}
