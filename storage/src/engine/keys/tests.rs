//! Who is asked for memory, and how often?

use super::*;

const MIB: u64 = 1 << 20;

fn table(closed_mib: u64, open_mib: u64) -> KeysHeld {
    KeysHeld { closed_bytes: closed_mib * MIB, open_bytes: open_mib * MIB, ..KeysHeld::default() }
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn nobody_is_asked_while_there_is_memory() {
    assert!(pick_asked(&[table(60, 15)], seconds(9), 75, 100).is_empty());
    assert_eq!(pick_asked(&[table(60, 16)], seconds(9), 76, 100), [0]);
    assert!(pick_asked(&[], seconds(9), 100, 100).is_empty());
}

#[test]
fn the_largest_holder_of_closed_layers_is_asked_and_then_the_next() {
    let mut tables = [table(1, 50), table(20, 0), table(10, 5), table(0, 0)];
    let ask = |tables: &mut [KeysHeld], at: u64| {
        let asked = pick_asked(tables, seconds(at), 100, 100);
        asked.iter().for_each(|i| tables[*i].asked_at = Some(seconds(at)));
        asked
    };
    assert_eq!(ask(&mut tables, 10), [1]);
    assert_eq!(ask(&mut tables, 11), [2]);
    assert_eq!(ask(&mut tables, 12), [0]);
    assert!(ask(&mut tables, 14).is_empty(), "the last has nothing, the others were asked a moment ago");
    assert_eq!(ask(&mut tables, 15), [1]);
    // What is open is only worth a question when nothing is closed.
    let mut tables = [table(0, 3), table(0, 8)];
    assert_eq!(ask(&mut tables, 10), [1]);
    assert_eq!(ask(&mut tables, 10), [0]);
}

#[test]
fn filters_go_last_and_only_when_others_are_refused() {
    let filters = KeysHeld { filter_bytes: 20 * MIB, ..table(0, 0) };
    let refused = KeysHeld { is_short: true, ..table(0, 0) };
    let ask = |tables: &[KeysHeld]| pick_asked(tables, seconds(9), 100, 100);
    assert!(ask(&[filters, table(0, 0)]).is_empty());
    assert_eq!(ask(&[filters, refused]), [0]);
    assert_eq!(ask(&[filters, refused, table(0, 1)]), [2]);
    // Its own went before it was refused.
    assert!(ask(&[KeysHeld { is_short: true, ..filters }]).is_empty());
    assert!(is_another_short(&[filters, refused], 0) && !is_another_short(&[filters, refused], 1));
}

#[test]
fn while_one_gives_nobody_else_is_asked() {
    let busy = KeysHeld { is_busy: true, ..table(20, 0) };
    assert!(pick_asked(&[busy, table(30, 0)], seconds(9), 100, 100).is_empty());
}

#[test]
fn who_failed_is_asked_when_its_time_has_come_whatever_memory_there_is() {
    let failed = |retry_at, asked_at: Option<u64>| KeysHeld {
        retry_at: Some(seconds(retry_at)),
        asked_at: asked_at.map(seconds),
        ..table(20, 0)
    };
    assert!(pick_asked(&[failed(10, None)], seconds(9), 0, 100).is_empty());
    assert_eq!(pick_asked(&[failed(10, None)], seconds(10), 0, 100), [0]);
    assert!(pick_asked(&[failed(10, Some(10))], seconds(10), 0, 100).is_empty(), "it was asked just now");
    assert_eq!(pick_asked(&[failed(10, Some(10))], seconds(11), 0, 100), [0]);
    // Until then it is not asked to give either.
    assert_eq!(pick_asked(&[failed(10, None), table(5, 0)], seconds(9), 100, 100), [1]);
}
