//! May a caller run exactly what their roles allow, whichever way a statement touches its tables? And does a refusal give nothing away?

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use support::{Fixture, collect, render};
use tidewater_query::{Code, Error, Grant, Interface, PlannedKind, Principal, Role, RunOptions, Session};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

const TABLES: [&str; 6] = ["public.a", "public.ab", "public.b", "public.c", "s.a", "s.b"];

/// Each with its SELECT, and with what that names.
const VIEWS: [(&str, &str, &[&str]); 5] = [
    ("public.va", "SELECT id FROM public.a", &["public.a"]),
    ("public.vab", "SELECT v.id FROM public.va AS v JOIN s.a AS x ON x.id = v.id", &["public.va", "s.a"]),
    ("public.w", "WITH b AS (SELECT id FROM public.ab) SELECT id FROM b", &["public.ab"]),
    ("s.v", "SELECT id FROM s.b WHERE id IN (SELECT id FROM public.w)", &["s.b", "public.w"]),
    ("s.vv", "SELECT id FROM s.v UNION ALL SELECT id FROM public.vab", &["s.v", "public.vab"]),
];

const PATTERNS: [&str; 16] = [
    "*",
    "public.*",
    "public.a",
    "public.a*",
    "public.ab",
    "public.b",
    "public.c*",
    "public.v*",
    "public.va",
    "public.w",
    "s.*",
    "s.a",
    "s.b*",
    "s.v",
    "s.v*",
    "other.*",
];

/// Numbers without order, the same in every run (SplitMix64, Steele and others, 2014).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("less than n")
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn relation(&mut self) -> &'static str {
        match self.below(TABLES.len() + VIEWS.len()) {
            at if at < TABLES.len() => TABLES[at],
            at => VIEWS[at - TABLES.len()].0,
        }
    }

    /// Mostly few grants, so that most statements are refused by one of their tables and not by all.
    fn grants(&mut self) -> Vec<(Role, &'static str)> {
        (0..self.below(7)).map(|_| (Role::ALL[self.below(3)], self.one(&PATTERNS))).collect()
    }
}

/// A statement, and what the caller needs for it.
struct Touching {
    sql: String,
    /// Names that are there, or are to be made.
    needs: Vec<(Role, String)>,
    /// The one that is to be made, or is given to something: nobody is told whether it is there.
    new: Option<String>,
}

/// What selecting from a name touches: the name, and what is behind it.
fn behind(name: &str, into: &mut Vec<(Role, String)>) {
    into.push((Role::Reader, name.to_owned()));
    if let Some((_, _, names)) = VIEWS.iter().find(|(view, ..)| *view == name) {
        names.iter().for_each(|name| behind(name, into));
    }
}

/// A SELECT of one column, in one of the ways to name tables.
fn select(numbers: &mut Numbers) -> (String, Vec<(Role, String)>) {
    let (x, y) = (numbers.relation(), numbers.relation());
    let (sql, names) = match numbers.below(10) {
        0 => (format!("SELECT id FROM {x}"), vec![x]),
        1 => (format!("SELECT p.id FROM {x} AS p JOIN {y} AS q ON p.id = q.id"), vec![x, y]),
        2 => (format!("SELECT id FROM {x} WHERE id IN (SELECT id FROM {y})"), vec![x, y]),
        3 => (format!("SELECT p.id FROM {x} AS p WHERE EXISTS (SELECT 1 FROM {y} AS q WHERE q.id = p.id)"), vec![x, y]),
        4 => (format!("SELECT (SELECT max(id) FROM {y}) AS id FROM {x}"), vec![x, y]),
        5 => (format!("SELECT id FROM {x} UNION ALL SELECT id FROM {y}"), vec![x, y]),
        6 => (format!("WITH c AS (SELECT id FROM {x}) SELECT c.id FROM c, {y} AS q"), vec![x, y]),
        // These names are the statement's own, whatever tables there are.
        7 => (format!("WITH a AS (SELECT id FROM {x}), b AS (SELECT id FROM a) SELECT b.id FROM b, a"), vec![x]),
        8 => (format!("SELECT p.id FROM (SELECT id FROM (SELECT id FROM {x}) AS r) AS p"), vec![x]),
        _ => (format!("SELECT id FROM {x} EXCEPT SELECT id FROM {y}"), vec![x, y]),
    };
    let mut needs = Vec::new();
    names.into_iter().for_each(|name| behind(name, &mut needs));
    (sql, needs)
}

/// A statement that leaves everything as it is when it may run: all tables are empty, and what is made is there.
fn statement(numbers: &mut Numbers) -> Touching {
    let (query, mut needs) = select(numbers);
    let table = numbers.one(&TABLES).to_owned();
    let other = numbers.one(&TABLES).to_owned();
    let mut new = None;
    let mut only = |role: Role| needs = vec![(role, table.clone())];
    let sql = match numbers.below(14) {
        0..=4 => query,
        5 => format!("EXPLAIN {query}"),
        6 => {
            let target = table.clone();
            needs.push((Role::Writer, table));
            format!("INSERT INTO {target} (id) {query}")
        }
        7 => {
            let target = table.clone();
            needs.push((Role::Writer, table));
            format!("DELETE FROM {target} WHERE id IN ({query})")
        }
        8 => {
            let procedure = ["build", "verify", "give_up"][numbers.below(3)];
            only(if procedure == "give_up" { Role::Admin } else { Role::Writer });
            format!("CALL {procedure}('{table}')")
        }
        9 => {
            only(Role::Admin);
            match numbers.below(3) {
                0 => format!("TRUNCATE {table}"),
                1 => format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS id BIGINT"),
                // Named twice is an error, after both were found.
                _ => format!("DROP TABLE {table}, {table}"),
            }
        }
        10 => {
            new = Some(table.clone());
            needs.push((Role::Admin, table.clone()));
            format!("CREATE TABLE IF NOT EXISTS {table} AS {query}")
        }
        11 => {
            let (view, sql, _) = VIEWS[numbers.below(VIEWS.len())];
            needs = Vec::new();
            behind(view, &mut needs);
            needs.push((Role::Admin, view.to_owned()));
            new = Some(view.to_owned());
            format!("CREATE OR REPLACE VIEW {view} AS {sql}")
        }
        12 => {
            let (schema, name) = other.split_once('.').expect("a schema");
            let table = format!("{schema}.{}", if name == "a" { "b" } else { "a" });
            needs = vec![(Role::Admin, table.clone()), (Role::Admin, other.clone())];
            new = Some(other.clone());
            // The name is taken: an error, but not one of rights.
            format!("ALTER TABLE {table} RENAME TO {other}")
        }
        _ => {
            only(Role::Reader);
            format!("DESCRIBE {table}")
        }
    };
    Touching { sql, needs, new }
}

/// The oracle: what these grants give on a name, by nothing but the text of the patterns.
fn role_of(grants: &[(Role, &str)], name: &str) -> Option<Role> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    };
    grants.iter().filter(|(_, pattern)| matches(pattern)).map(|(role, _)| *role).max()
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    NotFound,
}

/// What may come of it. Where one name is not there and another is denied, either is told.
fn expected(grants: &[(Role, &str)], touching: &Touching) -> Vec<Verdict> {
    let mut verdicts = BTreeSet::new();
    for (needed, name) in &touching.needs {
        match role_of(grants, name) {
            Some(role) if role >= *needed => {}
            None if touching.new.as_ref() != Some(name) => {
                verdicts.insert(1);
            }
            _ => {
                verdicts.insert(0);
            }
        }
    }
    match verdicts.is_empty() {
        true => vec![Verdict::Allowed],
        false => verdicts.iter().map(|at| if *at == 0 { Verdict::Denied } else { Verdict::NotFound }).collect(),
    }
}

fn verdict(came: &Result<Vec<String>, Error>) -> Verdict {
    match came.as_ref().map_err(Error::code) {
        Err(Code::PermissionDenied) => Verdict::Denied,
        Err(Code::TableNotFound | Code::SchemaNotFound | Code::ViewNotFound) => Verdict::NotFound,
        Ok(_) | Err(_) => Verdict::Allowed,
    }
}

async fn filled(fixture: &Fixture) {
    let admin = fixture.admin();
    for table in TABLES {
        let sql = format!("CREATE TABLE {table} (id BIGINT)");
        fixture.run(&admin, &sql).await.expect("created");
    }
    for (view, sql, _) in VIEWS {
        fixture.run(&admin, &format!("CREATE VIEW {view} AS {sql}")).await.expect("created");
    }
}

fn session(fixture: &Fixture, name: &str, grants: &[(Role, &str)]) -> Session {
    let grant = |(role, pattern): &(Role, &str)| Grant::new(*role, pattern.parse().expect("a pattern"));
    let grants: Vec<Grant> = grants.iter().map(grant).collect();
    fixture.engine.session(Principal::new(name, grants), Interface::Internal)
}

#[test]
fn a_statement_runs_if_and_only_if_the_caller_has_the_role_on_all_that_it_touches() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        filled(&fixture).await;
        let mut numbers = Numbers(4);
        let mut seen = [0; 3];
        for case in 0..1_500 {
            let grants = numbers.grants();
            let touching = statement(&mut numbers);
            let came = fixture.run(&session(&fixture, "anna", &grants), &touching.sql).await;
            let (got, expected) = (verdict(&came), expected(&grants, &touching));
            assert!(
                expected.contains(&got),
                "case {case}: {} with {grants:?}: {got:?}, not {expected:?}; {:?}",
                touching.sql,
                came.err().map(|error| error.to_string()),
            );
            seen[got as usize] += 1;
        }
        assert!(seen.iter().all(|n| *n > 100), "the cases are lopsided: {seen:?}");
        let left = fixture.run(&fixture.admin(), "SHOW TABLES").await.expect("listed");
        assert_eq!(left.len(), TABLES.len() + VIEWS.len(), "{left:?}");
    });
}

/// The words of an error are the same whether a table is hidden or is not there.
#[test]
fn nobody_learns_whether_a_table_is_hidden_or_not_there() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        let admin = fixture.admin();
        for sql in [
            "CREATE TABLE secret_1 (id BIGINT)",
            "CREATE TABLE vault.secret_1 (id BIGINT)",
            "CREATE TABLE mine (id BIGINT)",
            "CREATE TABLE shelf.secret_1 (id BIGINT)",
            "DROP TABLE shelf.secret_1",
        ] {
            fixture.run(&admin, sql).await.expect(sql);
        }
        let anna = session(&fixture, "anna", &[(Role::Admin, "public.mine*")]);
        for template in [
            "SELECT * FROM NAME",
            "SELECT * FROM mine WHERE id IN (SELECT id FROM NAME)",
            "SELECT nosuch FROM NAME",
            "EXPLAIN SELECT * FROM NAME",
            "DESCRIBE NAME",
            "SHOW COLUMNS FROM NAME",
            "INSERT INTO NAME VALUES (1)",
            "INSERT INTO NAME (nosuch) VALUES (1)",
            "INSERT INTO NAME SELECT id FROM mine",
            "INSERT INTO mine SELECT id FROM NAME",
            "DELETE FROM NAME WHERE id = 1",
            "DELETE FROM NAME WHERE nosuch = 1",
            "CREATE TABLE NAME (id BIGINT)",
            "CREATE TABLE IF NOT EXISTS NAME (id BIGINT)",
            "CREATE TABLE NAME AS SELECT 1 AS id",
            "CREATE VIEW NAME AS SELECT 1 AS id",
            "CREATE OR REPLACE VIEW NAME AS SELECT 1 AS id",
            "CREATE VIEW mine_too AS SELECT id FROM NAME",
            "ALTER TABLE NAME ADD COLUMN n BIGINT",
            "ALTER TABLE NAME RENAME TO other",
            "DROP TABLE NAME",
            "DROP TABLE IF EXISTS NAME",
            "DROP VIEW NAME",
            "TRUNCATE NAME",
            "UNDROP TABLE NAME",
            "CALL seal('NAME')",
            "CALL give_up('NAME')",
            "CALL purge_dropped('NAME')",
        ] {
            for (hidden, absent) in
                [("secret_1", "secret_2"), ("vault.secret_1", "attic.secret_2"), ("shelf.secret_1", "attic.secret_2")]
            {
                let say = async |name: &str| {
                    let came = fixture.run(&anna, &template.replace("NAME", name)).await;
                    let said = came.map_err(|error| format!("{:?} {error}", error.code()));
                    let (Ok(said) | Err(said)) = said.map(|rows| format!("{rows:?}"));
                    said.replace("vault", "attic").replace("shelf", "attic").replace("secret_1", "secret_2")
                };
                assert_eq!(say(hidden).await, say(absent).await, "{template} of {hidden}");
            }
        }
    });
}

/// A statement that runs ends, and a change that is to be committed is not, once its caller may not do it any more.
#[test]
fn what_runs_ends_with_the_rights_that_it_began_with() {
    const ENDLESS: &str = "SELECT a.value FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";
    let fixture = Fixture::new();
    fixture.block_on(async {
        filled(&fixture).await;
        let rights = [(Role::Writer, "public.a"), (Role::Reader, "public.b")];
        let caller = session(&fixture, "anna", &rights).principal;
        let now: Arc<Mutex<Result<Principal, Code>>> = Arc::new(Mutex::new(Ok(caller)));
        let seen = Arc::clone(&now);
        let anna = session(&fixture, "anna", &rights).with_caller_now(move || {
            let seen = seen.lock().expect("not poisoned").clone();
            seen.map_err(|code| Error::new(code, "barred"))
        });
        let insert = "INSERT INTO public.a VALUES (1)";
        fixture.run(&anna, insert).await.expect("may");
        let mut rows = fixture.start(&anna, ENDLESS).await.expect("started");
        rows.next().await.expect("rows").expect("rows");
        *now.lock().expect("not poisoned") = Err(Code::Unauthenticated);
        let ended = async {
            loop {
                if let Err(error) = rows.next().await.expect("no end without an error") {
                    return error;
                }
            }
        };
        let error = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
        assert_eq!(error.code(), Code::Unauthenticated);
        assert!(rows.next().await.is_none());
        assert_eq!(fixture.run(&anna, insert).await.expect_err("barred").code(), Code::Unauthenticated);
        *now.lock().expect("not poisoned") = Ok(session(&fixture, "anna", &rights[1..]).principal);
        assert_eq!(fixture.run(&anna, insert).await.expect_err("barred").code(), Code::PermissionDenied);
        let all = session(&fixture, "anna", &[(Role::Admin, "public.*")]).principal;
        *now.lock().expect("not poisoned") = Ok(all);
        fixture.run(&anna, insert).await.expect("may, and more");
        assert_eq!(fixture.run(&fixture.admin(), "SELECT count(*) FROM public.a").await.expect("counted"), ["2"]);
    });
}

/// What was planned is not handed out to somebody who has lost the right to it, and what was prepared is planned anew.
#[test]
fn grants_that_are_taken_back_hold_at_once() {
    let fixture = Fixture::new();
    fixture.block_on(async {
        filled(&fixture).await;
        let before = session(&fixture, "anna", &[(Role::Reader, "public.a"), (Role::Writer, "public.b")]);
        let after = session(&fixture, "anna", &[(Role::Reader, "public.b")]);
        let sql = "SELECT id FROM public.a";
        fixture.engine.prepare(&before, sql).await.expect("prepared");
        fixture.engine.prepare(&before, "INSERT INTO public.b VALUES ($1)").await.expect("prepared");
        let planned = fixture.engine.plan(&before, sql, None, RunOptions::default()).await.expect("planned");
        let PlannedKind::Rows { pending, .. } = planned.kind else { panic!("no rows") };
        pending.check_caller(&before.principal).expect("nothing has changed");
        pending.check_caller(&fixture.admin().principal).expect("an admin may");
        let error = pending.check_caller(&after.principal).expect_err("a grant is gone");
        assert_eq!(error.code(), Code::PermissionDenied);
        let rows = collect(pending.start().await.expect("started")).await.expect("read");
        assert_eq!(render(&rows), Vec::<String>::new());
        assert_eq!(fixture.run(&after, sql).await.expect_err("gone").code(), Code::TableNotFound);
        let error = fixture.engine.prepare(&after, "INSERT INTO public.b VALUES ($1)").await.expect_err("gone");
        assert_eq!(error.code(), Code::PermissionDenied);
    });
}
