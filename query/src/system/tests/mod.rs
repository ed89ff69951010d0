//! Do system tables keep their contract?

mod live;

use super::columns::{TABLE_NAMES, schema};
use super::prometheus::{Sample, samples};

#[test]
fn columns_are_those_of_the_fixture() {
    let mut found = String::new();
    for name in TABLE_NAMES {
        for field in schema(name).expect("a schema").fields() {
            let null = if field.is_nullable() { "" } else { " NOT NULL" };
            found += &format!("{name}.{} {}{null}\n", field.name(), field.data_type());
        }
    }
    let fixture = include_str!("../../../tests/system_tables.txt");
    assert!(found == fixture, "the columns of system tables are a contract; they are now:\n{found}");
}

#[test]
fn the_exposition_format_is_read() {
    let text = "# HELP x what\n# TYPE x counter\nx 3\ny{a=\"b\",c=\"d \\\"e\\\" \\\\ \\n\"} 4.5e3\nz{quantile=\"0.5\"} NaN\n\nw{} +Inf 1700\nbad\n{} 1\n";
    let found = samples(text);
    let sample = |name: &str, labels: &[(&str, &str)], value| Sample {
        name: name.into(),
        labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        value,
    };
    assert_eq!(found[0], sample("x", &[], 3.0));
    assert_eq!(found[1], sample("y", &[("a", "b"), ("c", "d \"e\" \\ \n")], 4500.0));
    assert_eq!((found[2].name.as_str(), found[2].value.is_nan()), ("z", true));
    assert_eq!(found[3], sample("w", &[], f64::INFINITY));
    assert_eq!(found.len(), 4);
}
