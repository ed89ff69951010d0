//! Does what is known of damaged files hold while a process runs, whatever the folder says of them?

use std::collections::BTreeMap;

use crate::error::Code;
use crate::table::seal::{Damage, Quarantine};

fn damage(reason: &str) -> Damage {
    Damage { reason: reason.to_owned(), found_at_us: 1 }
}

#[test]
fn a_worker_that_opens_the_table_again_does_not_forget_what_is_not_on_record() {
    let on_record = BTreeMap::from([("a".to_owned(), damage("missing")), ("b".to_owned(), damage("cut"))]);
    let quarantine = Quarantine::default();
    quarantine.load(on_record.clone());
    assert_eq!(quarantine.all(), on_record);
    // There was no space to say so.
    assert!(quarantine.add("c", damage("changed")));
    assert!(quarantine.lift("b"));
    quarantine.load(on_record);
    assert_eq!(quarantine.all().into_keys().collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn a_store_that_is_away_is_told_once_for_all_suspects_until_they_are_tested() {
    let quarantine = Quarantine::default();
    assert!(quarantine.note_untested("a", Code::StoreUnavailable));
    assert!(!quarantine.note_untested("a", Code::StoreUnavailable));
    assert!(!quarantine.note_untested("b", Code::StoreUnavailable));
    // What is wrong with one file alone is told of each.
    assert!(quarantine.note_untested("c", Code::FolderUnusable));
    assert!(!quarantine.note_untested("c", Code::FolderUnusable));
    assert!(quarantine.note_untested("d", Code::FolderUnusable));
    assert!(!quarantine.lift("a"), "whole, and it never was damaged");
    assert!(!quarantine.note_untested("a", Code::StoreUnavailable), "b is away all the same");
    assert!(!quarantine.lift("a") && quarantine.add("b", damage("cut")));
    assert!(quarantine.note_untested("a", Code::StoreUnavailable), "it has answered in between");
}

#[test]
fn what_the_delta_log_lacks_is_news_once_and_keeps_its_time() {
    let quarantine = Quarantine::default();
    let note =
        |names: &[&str], now_us| quarantine.note_log(names.iter().map(|&name| name.to_owned()).collect(), now_us);
    assert_eq!(note(&[], 1), (Vec::new(), true));
    assert_eq!(note(&["a"], 2), (vec!["a".to_owned()], true));
    assert_eq!(note(&["a", "b"], 3), (vec!["b".to_owned()], false));
    let times =
        |damaged: BTreeMap<String, Damage>| damaged.into_values().map(|damage| damage.found_at_us).collect::<Vec<_>>();
    assert_eq!(times(quarantine.missing_log()), [2, 3]);
    assert!(!quarantine.has("a"), "no reader needs it");
    assert_eq!(note(&[], 4), (Vec::new(), false));
    assert_eq!(note(&["a"], 5), (vec!["a".to_owned()], true));
}
