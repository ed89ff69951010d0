//! What is said of the rounds? Each query by itself, then all of them beside each engine.

use serde_json::{Map, Value, json};

use super::contest::{Engine, Tally};
use super::figures::{Quartiles, geomean, median};
use super::queries::Question;
use crate::report::{Bound, Report};

/// CPU of ours to that of DataFusion over the same files: the geometric mean of the queries that read many rows. A look-up by key would hide
/// the others.
const MARK_CPU_RATIO: f64 = 1.3;

/// Figures of each query, and what they come to.
pub fn summarise(asked: &[(&Question, Vec<Tally>)], report: &mut Report) {
    let mut queries = Map::new();
    for (question, tallies) in asked {
        let mut query = Map::new();
        query.insert("calls_per_round".into(), json!(question.calls));
        for tally in tallies {
            let (latency_ms, cpu_ms) = (median(&tally.latency_ms), median(&tally.cpu_ms));
            query.insert(tally.engine.name().into(), json!({ "latency_ms": latency_ms, "cpu_ms": cpu_ms }));
        }
        for theirs in &tallies[1..] {
            let ratios = json!({ "latency": latency_ratio(tallies, theirs), "cpu": cpu_ratio(tallies, theirs) });
            query.insert(format!("ratio_to_{}", theirs.engine.name()), ratios);
        }
        queries.insert(question.name.into(), Value::Object(query));
    }
    report.figure("queries", queries);

    let counted: Vec<_> = asked.iter().filter(|(question, _)| question.is_counted).collect();
    let Some((_, engines)) = asked.first() else { return };
    for (at, theirs) in engines.iter().enumerate().skip(1) {
        let of = |ratio: fn(&[Tally], &Tally) -> Quartiles| -> Vec<f64> {
            counted.iter().map(|(_, tallies)| ratio(tallies, &tallies[at]).median).collect()
        };
        let (cpu, latency) = (of(cpu_ratio), of(latency_ratio));
        let name = theirs.engine.name();
        let cpu_name = format!("geomean_cpu_ratio_to_{name}");
        match theirs.engine {
            Engine::Raw => {
                let scans = counted.iter().zip(&cpu).filter(|((question, _), _)| !question.is_look_up);
                let scans: Vec<f64> = scans.map(|(_, ratio)| *ratio).collect();
                report.marked(&format!("{cpu_name}_of_scans"), geomean(&scans), Bound::AtMost, MARK_CPU_RATIO);
                report.figure(&cpu_name, geomean(&cpu));
            }
            _ => report.figure(&cpu_name, geomean(&cpu)),
        }
        report.figure(&format!("geomean_latency_ratio_to_{name}"), geomean(&latency));
        let worst = counted.iter().zip(&cpu).max_by(|a, b| a.1.total_cmp(b.1));
        let worst = worst.map(|((question, _), ratio)| json!({ "query": question.name, "ratio": ratio }));
        report.figure(&format!("worst_cpu_ratio_to_{name}"), worst);
    }
}

/// Of ours, which stand first.
fn latency_ratio(tallies: &[Tally], theirs: &Tally) -> Quartiles {
    Quartiles::of_ratios(&tallies[0].latency_ms, &theirs.latency_ms)
}

fn cpu_ratio(tallies: &[Tally], theirs: &Tally) -> Quartiles {
    Quartiles::of_ratios(&tallies[0].cpu_ms, &theirs.cpu_ms)
}
