//! Does what is known of damaged files hold while a process runs, whatever the folder says of them?

use std::collections::BTreeMap;

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
