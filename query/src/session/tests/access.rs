//! Are patterns and grants read as documented, and do they give what they say?

use tidewater_storage::{Code, StoredGrant};

use crate::session::{Grant, Principal, Role, TablePattern};

fn caller(grants: &[&str]) -> Principal {
    let grants: Vec<Grant> = grants.iter().map(|text| text.parse().expect("a grant")).collect();
    Principal::new("anna", grants)
}

#[test]
fn patterns_match_whole_names_and_prefixes() {
    for (pattern, schema, table, matches) in [
        ("*", "public", "t", true),
        ("*", "sales", "orders", true),
        ("public.*", "public", "t", true),
        ("public.*", "publica", "t", false),
        ("public.*", "sales", "t", false),
        ("public.t", "public", "t", true),
        ("public.t", "public", "tt", false),
        ("public.t", "public", "T", false),
        ("public.t*", "public", "t", true),
        ("public.t*", "public", "tt", true),
        ("public.t*", "public", "st", false),
        ("public.t*", "sales", "t", false),
        // A name may have a dot: the first one ends the schema.
        ("public.a.b", "public", "a.b", true),
        ("public.a.b", "public.a", "b", false),
        ("public.a.*", "public", "a.b", true),
    ] {
        let read: TablePattern = pattern.parse().expect("a pattern");
        assert_eq!(read.matches(schema, table), matches, "{pattern} on {schema}.{table}");
        assert_eq!(read.to_string(), pattern);
    }
}

#[test]
fn what_is_no_pattern_or_grant_is_refused() {
    for text in
        ["", "t", "**", "p*.t", "*.t", "*.*", "public.t*s", "public.**", "system.tables", "information_schema.*"]
    {
        let error = text.parse::<TablePattern>().expect_err(text);
        assert_eq!(error.code(), Code::InvalidParameter, "{text}: {error}");
    }
    for text in [".t", "public.", "public.a b", "a b.t"] {
        let error = text.parse::<TablePattern>().expect_err(text);
        assert_eq!(error.code(), Code::InvalidName, "{text}: {error}");
    }
    for text in ["", "owner", "owner:*", ":*", "reader:", "reader:t", "reader*"] {
        let error = text.parse::<Grant>().expect_err(text);
        assert_eq!(error.code(), Code::InvalidParameter, "{text}: {error}");
    }
    assert_eq!("Writer".parse::<Grant>().expect("a role alone").to_string(), "writer:*");
}

#[test]
fn the_highest_role_counts() {
    let anna = caller(&["reader:*", "writer:public.a*", "admin:public.ab", "reader:public.ab"]);
    assert_eq!(anna.role_on("public", "x"), Some(Role::Reader));
    assert_eq!(anna.role_on("public", "a"), Some(Role::Writer));
    assert_eq!(anna.role_on("public", "ab"), Some(Role::Admin));
    assert!(!anna.is_admin());
    assert!(!caller(&["admin:public.*"]).is_admin());
    assert!(caller(&["reader:*", "admin:*"]).is_admin() && Principal::admin("root").is_admin());
    assert_eq!(caller(&[]).role_on("public", "a"), None);
}

#[test]
fn a_table_without_any_role_on_it_is_not_there() {
    let anna = caller(&["writer:public.a", "admin:public.b"]);
    let code = |needed, table: &str| anna.check(needed, "public", table, "write to").err().map(|error| error.code());
    assert_eq!(code(Role::Reader, "a"), None);
    assert_eq!(code(Role::Writer, "a"), None);
    assert_eq!(code(Role::Admin, "a"), Some(Code::PermissionDenied));
    assert_eq!(code(Role::Admin, "b"), None);
    assert_eq!(code(Role::Reader, "c"), Some(Code::TableNotFound));
    let error = anna.check(Role::Admin, "public", "a", "DROP TABLE").expect_err("not admin").to_string();
    assert!(error.contains("'anna' may not DROP TABLE public.a") && error.contains("'admin'"), "{error}");
    let new = |table| anna.check_new("public", table, "CREATE TABLE").err().map(|error| error.code());
    assert_eq!((new("b"), new("a"), new("c")), (None, Some(Code::PermissionDenied), Some(Code::PermissionDenied)));
    assert_eq!(anna.check_admin("read system.events").expect_err("no").code(), Code::PermissionDenied);
}

#[test]
fn grants_stand_on_disk_as_they_are() {
    for text in ["reader:*", "writer:public.*", "admin:sales.orders", "reader:public.det*"] {
        let grant: Grant = text.parse().expect("a grant");
        let stored = StoredGrant::from(&grant);
        assert_eq!(Grant::try_from(&stored).expect("known"), grant);
    }
    assert_eq!(StoredGrant::from(&Grant::new(Role::Reader, TablePattern::All)).role, 1);
    assert_eq!(StoredGrant::from(&Grant::new(Role::Writer, TablePattern::All)).role, 2);
    assert_eq!(StoredGrant::from(&Grant::new(Role::Admin, TablePattern::All)).role, 3);
    for (role, tables) in [(0, "*"), (4, "*"), (1, "x")] {
        let stored = StoredGrant { role, tables: tables.into() };
        assert_eq!(Grant::try_from(&stored).expect_err("unknown").code(), Code::LogUnknownVersion);
    }
}

#[test]
fn grants_that_were_taken_back_are_noticed() {
    let before = caller(&["reader:public.a", "writer:public.b"]);
    assert!(before.still_has(&before));
    assert!(caller(&["writer:public.b", "admin:public.c", "reader:public.a"]).still_has(&before));
    assert!(Principal::admin("root").still_has(&before));
    assert!(!caller(&["reader:public.a"]).still_has(&before));
    assert!(!caller(&["reader:public.a", "reader:public.b"]).still_has(&before));
    // More is no less.
    assert!(caller(&["writer:public.*"]).still_has(&before));
    assert!(caller(&["admin:public.a", "writer:public.b*"]).still_has(&before));
    assert!(!caller(&["writer:public.a*"]).still_has(&before));
    assert!(!before.still_has(&caller(&["reader:public.a*"])) && !before.still_has(&caller(&["reader:*"])));
}
