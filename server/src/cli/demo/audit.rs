//! Has the server what it was sent? Each figure of the oracle beside the server's own answer; nothing is taken from what the run remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};

use anyhow::{Context, Result};
use arrow::array::AsArray;
use tidewater_client::Client;

use super::ask::{counts, integers, items, one_row, rows, texts, top_items};
use super::feed::producer_name;
use super::figures::Answered;
use super::items::Items;
use super::oracle::{MODULUS, Oracle, Sent, Window};
use super::table::{CAMERA, KEY, LOCATION, TABLE, TIME};
use super::watch::halves;

/// The reason of a row whose clock is ahead.
const FUTURE: &str = "FUTURE_TIME";

/// Locations whose items are compared, by how busy they are in a window.
const PLACES: [usize; 5] = [0, 1, 2, 9, 99];
const N_TOP: usize = 5;

/// Differences that are written out.
const SHOWN: usize = 3;

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub what: String,
    /// What the oracle says.
    pub expected: String,
    /// What the server says.
    pub found: String,
}

impl Check {
    fn of(what: impl Into<String>, expected: impl Display, found: impl Display) -> Self {
        Self { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Compares all entries and writes out the first that differ.
    fn of_all(what: impl Into<String>, expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Self {
        let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        let differing = |name: &&String| expected.get(*name) != found.get(*name);
        let [mut of_oracle, mut of_server] = [expected, found].map(|counts| format!("{} entries", counts.len()));
        for name in names.into_iter().filter(differing).take(SHOWN) {
            let begin: String = name.chars().take(40).collect();
            for (text, counts) in [(&mut of_oracle, expected), (&mut of_server, found)] {
                let _ = write!(text, ", {begin}: {}", counts.get(name).copied().unwrap_or_default());
            }
        }
        Self::of(what, of_oracle, of_server)
    }

    pub fn agrees(&self) -> bool {
        self.expected == self.found
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.agrees() {
            true => write!(f, "{}: {}", self.what, self.found),
            false => write!(f, "{}: {} expected, {} found", self.what, self.expected, self.found),
        }
    }
}

/// What queries over the table answer: rows, keys, sums of values, rows of each location, items of the last minute, and the most frequent items of several
/// locations and windows. Everything that was sent must have been answered.
pub async fn audit_rows(client: &Client, oracle: &Oracle, names: &Items) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    // Grouped, because a distinct count would have to hold all keys in memory.
    let keys = format!(
        "SELECT count(*), coalesce(sum(n), 0), coalesce(max(n), 0) \
         FROM (SELECT count(*) AS n FROM {TABLE} GROUP BY {KEY})"
    );
    let found = numbers(client, &keys).await?;
    checks.push(Check::of("different keys", oracle.accepted, found[0]));
    checks.push(Check::of("rows by key", oracle.accepted, found[1]));
    checks.push(Check::of("rows of a key at most", u64::from(oracle.accepted > 0), found[2]));
    let found = numbers(client, &format!("SELECT count(*) FROM {TABLE}")).await?;
    checks.push(Check::of("rows", oracle.accepted, found[0]));
    let sums = format!(
        "SELECT coalesce(sum({KEY} % {MODULUS}), 0), coalesce(sum({CAMERA} % {MODULUS}), 0), \
         coalesce(sum(CAST({TIME} AS BIGINT) % {MODULUS}), 0) FROM {TABLE}"
    );
    let found = numbers(client, &sums).await?;
    checks.push(Check::of("sums of keys, cameras and times", told(&oracle.sums), told(&found)));
    let by_location = format!("SELECT {LOCATION}, count(*) AS n FROM {TABLE} GROUP BY {LOCATION}");
    let found = counts(client, &by_location).await?.into_iter().collect();
    checks.push(Check::of_all("rows of each location", &oracle.by_location(), &found));
    let Some(whole) = oracle.whole() else { return Ok(checks) };
    let last_minute = Window { from_s: whole.from_s.max(whole.to_s - 60), to_s: whole.to_s };
    let expected = oracle.items(last_minute).into_iter().map(|(item, n)| (names.name(item).to_owned(), n)).collect();
    let found = counts(client, &items(last_minute)?).await?.into_iter().collect();
    checks.push(Check::of_all("rows of each item in the last minute", &expected, &found));
    for (name, window) in windows(whole) {
        let busiest = oracle.busiest(window, PLACES[PLACES.len() - 1] + 1);
        for (location, _) in PLACES.iter().filter_map(|place| busiest.get(*place)) {
            let what = format!("top {N_TOP} items of location {location}, {name}");
            let expected = oracle.top_items(*location, window, N_TOP);
            let expected: Vec<_> = expected.into_iter().map(|(item, n)| (names.name(item).to_owned(), n)).collect();
            let found = counts(client, &top_items(&location.to_string(), window, N_TOP)?).await?;
            checks.push(Check::of(what, ranking(&expected), ranking(&found)));
        }
    }
    Ok(checks)
}

/// Windows of several kinds within the one that the oracle remembers.
fn windows(whole: Window) -> Vec<(&'static str, Window)> {
    let Window { from_s, to_s } = whole;
    let middle_s = from_s + (to_s - from_s) / 2;
    let within = |from: i64, to: i64| Window { from_s: from.max(from_s), to_s: to.min(to_s) };
    vec![
        ("last minute", within(to_s - 60, to_s)),
        ("last 10 seconds", within(to_s - 10, to_s)),
        ("first minute", within(from_s, from_s + 60)),
        ("a second in the middle", within(middle_s, middle_s + 1)),
        ("all that is remembered", whole),
    ]
}

/// `item 12, item 7`; of fat names what tells them apart, and how long they are.
fn ranking(items: &[(String, u64)]) -> String {
    let one = |(name, n): &(String, u64)| {
        let begin: String = name.chars().take(40).collect();
        format!("{n} {begin} ({} bytes)", name.len())
    };
    items.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What the answers of all batches said.
pub(super) fn audit_answers(answered: &Answered, oracle: &Oracle) -> Vec<Check> {
    let repeated = Check::of("answered: repeated on purpose", oracle.repeated, answered.repeated);
    // Of a batch that was resent the server may know no more than that it is stored: its ledger has the figures.
    if answered.resent > 0 {
        return vec![repeated];
    }
    vec![
        Check::of("answered: received", oracle.received, answered.received),
        Check::of("answered: accepted", oracle.accepted, answered.accepted),
        Check::of("answered: duplicates dropped", oracle.duplicates, answered.duplicates),
        Check::of("answered: rejected", oracle.rejected, answered.rejected),
        repeated,
    ]
}

/// What the ledger says, and what is kept of rejected rows. `resent` rows were sent again because a connection broke.
pub async fn audit_ledger(client: &Client, oracle: &Oracle, resent: u64) -> Result<Vec<Check>> {
    let of_table = format!("(SELECT id FROM system.tables WHERE schema = 'public' AND name = '{TABLE}')");
    let sums = format!(
        "SELECT coalesce(sum(received), 0), coalesce(sum(accepted), 0), coalesce(sum(duplicate), 0), \
         coalesce(sum(repeated), 0), coalesce(sum(rejected), 0), coalesce(sum(future), 0) \
         FROM system.ledger WHERE table_id = {of_table}"
    );
    let found = numbers(client, &sums).await?;
    let sum: u64 = found[1..5].iter().sum();
    let repeated = oracle.repeated + resent;
    let mut checks = vec![
        Check::of("ledger: accepted + duplicate + repeated + rejected is received", found[0], sum),
        Check::of("ledger: received", oracle.received + repeated, found[0]),
        Check::of("ledger: accepted", oracle.accepted, found[1]),
        Check::of("ledger: duplicates dropped", oracle.duplicates, found[2]),
        Check::of("ledger: repeated", repeated, found[3]),
        Check::of("ledger: rejected", oracle.rejected, found[4]),
        Check::of("ledger: rejected for a time that is ahead", oracle.rejected, found[5]),
    ];
    checks.extend(audit_producers(client, oracle, resent, &of_table).await?);
    let reasons = format!(
        "SELECT code || ' in ' || \"column\" AS reason, count(*) AS n \
         FROM system.rejected WHERE table_id = {of_table} GROUP BY 1"
    );
    let found: BTreeMap<String, u64> = counts(client, &reasons).await?.into_iter().collect();
    let expected = (oracle.rejected > 0).then(|| (format!("{FUTURE} in {TIME}"), oracle.rejected));
    checks.push(Check::of_all("rejected rows by their reason", &expected.into_iter().collect(), &found));
    Ok(checks)
}

/// Which producer's row of a key came first is for the server to say; what each sent is not.
async fn audit_producers(client: &Client, oracle: &Oracle, resent: u64, of_table: &str) -> Result<Vec<Check>> {
    let by_producer = format!(
        "SELECT producer, sum(received), sum(repeated), sum(rejected) FROM system.ledger \
         WHERE table_id = {of_table} GROUP BY producer ORDER BY producer"
    );
    let found = rows(client, &by_producer).await?;
    let columns = [integers(&found, 1)?, integers(&found, 2)?, integers(&found, 3)?];
    let names = texts(&found, 0)?;
    let told = |name: &str, sent: &Sent| format!("{name}: {} rows, {} rejected", sent.rows, sent.rejected);
    let mut of_server = Vec::new();
    for (row, name) in names.iter().enumerate() {
        let [received, repeated, rejected] =
            [0, 1, 2].map(|column: usize| columns[column][row].unwrap_or_default().unsigned_abs());
        of_server.push(told(name, &Sent { rows: received.saturating_sub(repeated), repeated, rejected }));
    }
    let sent = oracle.producers().iter().enumerate().filter(|(_, sent)| sent.rows > 0);
    let of_oracle: Vec<_> = sent.map(|(producer, sent)| told(&producer_name(producer), sent)).collect();
    let mut checks = vec![Check::of("ledger: what each producer sent", of_oracle.join("; "), of_server.join("; "))];
    // Where nothing was resent, it is known whose batches were repeated.
    if resent == 0 {
        let expected = oracle.producers().iter().enumerate().filter(|(_, sent)| sent.repeated > 0);
        let expected = expected.map(|(producer, sent)| (producer_name(producer), sent.repeated)).collect();
        let repeated = columns[1].iter().map(|n| n.unwrap_or_default().unsigned_abs());
        let found = names.into_iter().zip(repeated).filter(|(_, n)| *n > 0).collect();
        checks.push(Check::of_all("ledger: repeated of each producer", &expected, &found));
    }
    Ok(checks)
}

/// After a seal: all rows are in the Delta table, and the server's own checks of it pass.
pub async fn audit_sealed(client: &Client, oracle: &Oracle) -> Result<Vec<Check>> {
    let found = halves(client).await?;
    let mut checks = vec![
        Check::of("rows that are not sealed", 0, found.realtime + found.built),
        Check::of("sealed rows", oracle.accepted, found.sealed),
        Check::of("there is a Delta version", oracle.accepted > 0, found.delta_version.is_some()),
    ];
    let verified = rows(client, &format!("CALL verify('{TABLE}')")).await?;
    let (names, details) = (texts(&verified, 0)?, texts(&verified, 2)?);
    checks.push(Check::of("the server checks its table", true, !names.is_empty()));
    let passed = verified.column(1).as_boolean_opt().context("the second column of CALL verify is no truth value")?;
    for ((name, detail), ok) in names.iter().zip(details).zip(passed) {
        // What is NULL could not be checked; it says why.
        let found = if ok == Some(false) { format!("not passed: {detail}") } else { detail.clone() };
        checks.push(Check::of(format!("verify {name}"), detail, found));
    }
    Ok(checks)
}

fn told(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// The numbers of one row, none of them NULL or negative.
async fn numbers(client: &Client, sql: &str) -> Result<Vec<u64>> {
    let row = one_row(client, sql).await?;
    Ok(row.into_iter().map(|n| n.unwrap_or_default().unsigned_abs()).collect())
}
