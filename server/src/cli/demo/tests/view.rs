//! Does a demo look right on terminals of every size, and is it drawn in its place?

use std::time::Duration;

use crate::cli::demo::figures::{Answered, Busy, Figures, Halves, Quantiles};
use crate::cli::demo::view::{Snapshot, block, line};
use crate::cli::terminal::{ignores_hangup, lines_of, redrawn};

fn snapshot() -> Snapshot {
    let times = Quantiles { p50: Duration::from_micros(4_210), p99: Duration::from_millis(250), n: 7 };
    let busy = |location: &str| Busy {
        location: location.to_owned(),
        n_rows: 12_345,
        items: vec![("red backpack, seen with a long description".to_owned(), 1_234), ("blue van".to_owned(), 7)],
    };
    Snapshot {
        console: "http://127.0.0.1:8080/".to_owned(),
        elapsed: Duration::from_secs(3_725),
        rate: 10_003,
        answered: Answered {
            received: 1_000_000,
            accepted: 949_000,
            duplicates: 50_000,
            rejected: 1_000,
            ..Answered::default()
        },
        late: 9_500,
        acks: times,
        halves: Halves { realtime: 1_000, built: 0, sealed: 948_000, delta_version: Some(7) },
        busiest: vec![busy("1"), busy("390"), busy("779")],
        memory_bytes: 3 << 29,
        ..Snapshot::default()
    }
}

#[test]
fn a_block_has_the_figures_and_as_many_columns_as_fit() {
    let wide = block(&snapshot(), 120);
    let all = wide.join("\n");
    for part in [
        "1:02:05   Ctrl-C ends it   console http://127.0.0.1:8080/",
        "10,003 rows/s",
        "50,000 duplicates",
        "1,000 rejected",
        "9,500 sent, detected",
        "p50 4.2 ms p99 250 ms",
        "p50 - p99 -",
        "1,000 realtime   0 built   948,000 sealed   Delta version 7",
        "1.50 GiB",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(!all.contains("seen with"), "{all}");
    let row = wide.iter().find(|line| line.contains("red backpack")).expect("items");
    assert_eq!(row.matches("1,234 red backpack").count(), 3, "{all}");
    let narrow = block(&snapshot(), 60);
    assert!(narrow.iter().all(|line| line.matches("red backpack").count() <= 1));
    assert_eq!(narrow.join("\n").matches("1,234 red backpack").count(), 3);
}

#[test]
fn a_line_is_one_line() {
    assert!(line(&Snapshot::default()).contains("Delta version none"));
    let line = line(&snapshot());
    assert!(!line.contains('\n'));
    for part in ["10,003 rows/s", "50,000 duplicates dropped", "Delta version 7", "location 1: 12,345 rows"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(line.ends_with("1,234 red backpack"), "{line}");
}

#[test]
fn lines_are_drawn_in_the_place_of_those_before() {
    let lines: Vec<String> = ["short", "exactly10!", "more than ten"].map(str::to_owned).into();
    let first = redrawn(0, &lines, (11, 24));
    assert_eq!(first, "\rshort\x1b[K\nexactly10!\x1b[K\nmore than…\x1b[K\n\x1b[J");
    let n_drawn = first.matches('\n').count();
    assert_eq!(redrawn(n_drawn, &lines[..1], (11, 24)), "\x1b[3A\rshort\x1b[K\n\x1b[J");
    // What does not fit is left out: what scrolled away cannot be drawn again.
    assert_eq!(redrawn(0, &lines, (80, 3)).matches('\n').count(), 2);
    for size in [(0, 0), (1, 1), (2, 2)] {
        assert_eq!(redrawn(0, &lines, size).matches('\n').count(), 1);
    }
    // A terminal that became narrower has wrapped what was drawn.
    for (columns, n_lines) in [(80, 3), (40, 4), (20, 6), (0, 100)] {
        assert_eq!(lines_of(&[0, 20, 79], columns), n_lines, "{columns} columns");
    }
}

#[test]
fn times_that_one_long_time_hid_are_counted() {
    let mut figures = Figures::new().expect("figures");
    let ms = Duration::from_millis;
    for _ in 0..60 {
        figures.freshness.record_at_pace(ms(5), ms(250));
    }
    // One of ten seconds, during which 39 others were not looked at.
    figures.freshness.record_at_pace(ms(10_000), ms(250));
    let all = figures.freshness.all();
    assert_eq!(all.n, 100);
    assert!(all.p50 < ms(6) && all.p99 > ms(9_000), "{all:?}");
}

#[test]
fn a_hangup_is_ignored_where_the_process_was_told_so() {
    let status = |bits: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{bits}\nSigCgt:\t0001\n");
    assert!(ignores_hangup(&status("0000000000001001")));
    assert!(!ignores_hangup(&status("0000000000001000")) && !ignores_hangup(""));
}
