//! Verdicts: the table of `verdicts.txt`, texts of any kind, and what a verdict costs.

use proptest::prelude::*;
use rowhouse_firewall::{Class, Firewall, Ground, Level, Rule, TEXT_MAX, judge};

const TABLE: &str = include_str!("verdicts.txt");

fn ground(level: Level) -> Ground {
    let mut ground = Ground::new("stamping", level);
    ground.functions.insert("price".to_owned());
    ground
}

fn grounds(word: &str) -> Vec<Ground> {
    use Level::{Own, Schema, Shared};
    let levels: &[Level] = match word {
        "all" => &[Shared, Schema, Own],
        "above" => &[Schema, Own],
        "shared" | "strict" => &[Shared],
        "schema" => &[Schema],
        "own" => &[Own],
        other => panic!("no level {other}"),
    };
    let strict = word == "strict";
    levels.iter().map(|level| Ground { strict, ..ground(*level) }).collect()
}

#[test]
fn the_table_of_verdicts_holds() {
    let mut wrong = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let [level, expected, text] = line.splitn(3, '|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        for ground in grounds(level.trim()) {
            let verdict = judge(&ground, text.trim());
            let found = match (&verdict.refusal, verdict.access) {
                (Some(refusal), None) => refusal.rule.as_str(),
                (None, Some(access)) => access.as_str(),
                other => panic!("{other:?}"),
            };
            if found != expected.trim() {
                wrong.push(format!("{:?}: {} is {found}: {:?}", ground.level, line, verdict.refusal));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refusal_names_what_and_never_the_text() {
    let refusal = |text: &str| judge(&ground(Level::Shared), text).refusal.expect("refused").to_string();
    assert_eq!(refusal("DROP OWNED BY CURRENT_USER"), "rowhouse: DROP OWNED is not allowed for tenants");
    assert_eq!(
        refusal("SELECT pg_sleep(60), 'secret'"),
        "rowhouse: the function pg_sleep is not allowed for tenants"
    );
    assert_eq!(refusal("ALTER TABLE t ADD a int"), "rowhouse: ALTER TABLE is not allowed for tenants");
    assert!(!refusal("LISTEN secret").contains("secret"));
}

#[test]
fn what_is_touched_is_told() {
    let text =
        "WITH w AS (SELECT lower(a) FROM stamps) SELECT w.*, count(*) FROM w, stamping.notes GROUP BY 1";
    let verdict = judge(&ground(Level::Shared), text);
    assert_eq!(verdict.relations.into_iter().collect::<Vec<_>>(), ["stamping.notes", "stamps"]);
    assert_eq!(verdict.functions.into_iter().collect::<Vec<_>>(), ["count", "lower"]);
    assert_eq!(verdict.statements, ["SELECT"]);
    assert!(judge(&ground(Level::Shared), "SELECT 1").is_rows());
    assert!(!judge(&ground(Level::Shared), "SELECT 1; SELECT 2").is_rows());
    let transaction = judge(&ground(Level::Shared), "COMMIT");
    assert!(!transaction.is_rows() && transaction.classes.contains(&Class::Transaction));
}

/// Each grows with its number until the stack of whoever follows it would end.
#[test]
fn bombs_of_depth_and_length_are_refused() {
    let bombs: [fn(usize) -> String; 12] = [
        |n| format!("SELECT 1{}", "+1".repeat(n)),
        |n| format!("SELECT {}1", "- ".repeat(n)),
        |n| format!("SELECT {}true", "NOT ".repeat(n)),
        |n| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
        |n| format!("{}1{}", "SELECT (".repeat(n), ")".repeat(n)),
        |n| format!("SELECT 1{}", " UNION SELECT 1".repeat(n)),
        |n| format!("SELECT 1 FROM a{}", " CROSS JOIN a".repeat(n)),
        |n| format!("SELECT {}1{}", "lower(".repeat(n), ")".repeat(n)),
        |n| format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(n), " END".repeat(n)),
        |n| format!("SELECT a{}", "::text".repeat(n)),
        |n| format!("SELECT {}1{}", "ARRAY[".repeat(n), "]".repeat(n)),
        |n| format!("{}SELECT 1{}", "WITH a AS (".repeat(n), ") SELECT 1".repeat(n)),
    ];
    for (number, bomb) in bombs.iter().enumerate() {
        for size in [100, 400, 1_000, 3_000, 10_000, 100_000] {
            let text = bomb(size);
            let verdict = judge(&ground(Level::Shared), &text);
            let rule = verdict.refusal.as_ref().map(|refusal| refusal.rule);
            if text.len() > TEXT_MAX {
                assert_eq!(rule, Some(Rule::Text), "{number} {size}");
            } else if size >= 1_000 && ![1, 3].contains(&number) {
                assert!(matches!(rule, Some(Rule::Depth | Rule::Syntax)), "{number} {size} {rule:?}");
            }
        }
    }
    // Long and flat is no bomb.
    let rows = format!("INSERT INTO t VALUES (1, 'a'){}", ", (1, 'a')".repeat(5_000));
    assert_eq!(judge(&ground(Level::Shared), &rows).refusal, None);
    let list = format!("SELECT * FROM t WHERE a = 1{}", " OR a = 2".repeat(5_000));
    assert_eq!(judge(&ground(Level::Shared), &list).refusal, None);
}

/// A verdict that is known costs a hash and a look-up: far below a millisecond even here, unoptimised.
#[test]
fn a_known_verdict_is_cheap() {
    let firewall = Firewall::default();
    let ground = ground(Level::Shared);
    let text = "SELECT id, hash, size FROM stamps WHERE id = $1 AND size > $2 ORDER BY id LIMIT 100";
    assert!(firewall.verdict(&ground, text).allowed().is_ok());
    let started = std::time::Instant::now();
    for _ in 0..1_000 {
        assert!(firewall.verdict(&ground, text).allowed().is_ok());
    }
    let known = started.elapsed();
    let started = std::time::Instant::now();
    for number in 0..1_000 {
        assert!(firewall.verdict(&ground, &format!("{text} OFFSET {number}")).allowed().is_ok());
    }
    let new = started.elapsed();
    println!("known {known:?}, new {new:?} for 1,000");
    assert!(known < new, "known {known:?}, new {new:?}");
}

/// Words that the grammar joins in unexpected ways.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "SELECT",
            "FROM",
            "WHERE",
            "(",
            ")",
            ",",
            ";",
            ".",
            "*",
            "::",
            "[",
            "]",
            "AS",
            "WITH",
            "INTO",
            "SET",
            "LOCAL",
            "$1",
            "'x'",
            "1",
            "a",
            "pg_sleep",
            "stamps",
            "INSERT",
            "VALUES",
            "UPDATE",
            "DELETE",
            "RETURNING",
            "ON",
            "CONFLICT",
            "DO",
            "NOTHING",
            "ARRAY",
            "CASE",
            "WHEN",
            "THEN",
            "END",
            "JOIN",
            "LATERAL",
            "UNION",
            "ORDER",
            "BY",
            "OVER",
            "FILTER",
            "COPY",
            "TO",
            "STDOUT",
            "DECLARE",
            "CURSOR",
            "FOR",
            "FETCH",
            "NOT",
            "AND",
            "=",
            "-",
            "json_object",
            "XMLELEMENT",
            "GROUPING",
            "SETS",
            "BEGIN",
            "COMMIT",
            "LOCK",
            "E'\\'",
            "--",
            "/*",
            "*/",
            "$$",
            "U&'",
            "\"",
            "MERGE",
            "USING",
            "MATCHED",
            "TABLESAMPLE",
            "JSON_TABLE",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_allowed_or_refused(text in prop_oneof![words(), "\\PC{0,200}", ".{0,200}"]) {
        for level in [Level::Shared, Level::Schema, Level::Own] {
            let verdict = judge(&ground(level), &text);
            prop_assert_ne!(verdict.refusal.is_some(), verdict.access.is_some());
        }
    }

    /// However it is wrapped, a call that is refused stays refused.
    #[test]
    fn nothing_around_a_refused_call_opens_it(wraps in prop::collection::vec(0usize..12, 0..8)) {
        let mut inner = "set_config('rh.ctx', 'x', true)".to_owned();
        for wrap in wraps {
            inner = match wrap {
                0 => format!("lower({inner})"),
                1 => format!("({inner} || 'x')"),
                2 => format!("(SELECT {inner})"),
                3 => format!("CASE WHEN true THEN {inner} END"),
                4 => format!("coalesce(NULL, {inner})"),
                5 => format!("(ARRAY[{inner}])[1]"),
                6 => format!("({inner})::text"),
                7 => format!("(SELECT max(v) FROM (VALUES ({inner})) t(v))"),
                8 => format!("(WITH w AS (SELECT {inner} AS v) SELECT v FROM w)"),
                9 => format!("(SELECT string_agg('x', ',' ORDER BY {inner}))"),
                10 => format!("({inner} COLLATE \"C\")"),
                _ => format!("(ROW({inner})).f1::text"),
            };
        }
        let verdict = judge(&ground(Level::Own), &format!("SELECT {inner}"));
        let rule = verdict.refusal.map(|refusal| refusal.rule);
        prop_assert!(matches!(rule, Some(Rule::Function | Rule::Depth)), "{:?} {}", rule, inner);
    }
}

#[test]
fn a_migration_is_read_before_a_server_sees_it() {
    use rowhouse_firewall::{Concern, lint, own_functions};
    let tables = ["stamps", "notes"].map(str::to_owned).into();
    let concerns = |sql: &str| lint(sql, &tables).iter().map(|lint| lint.concern).collect::<Vec<_>>();
    for (sql, expected) in [
        (
            "CREATE TABLE stamps (tenant_id uuid, id uuid, PRIMARY KEY (tenant_id, id)); CREATE INDEX ON stamps (tenant_id, id)",
            vec![],
        ),
        ("CREATE TABLE stamps (id uuid PRIMARY KEY)", vec![Concern::TenantId, Concern::Key]),
        ("CREATE TABLE stamps (tenant_id uuid, id uuid, UNIQUE (id))", vec![Concern::Key]),
        (
            "CREATE TABLE notes (tenant_id uuid, s uuid, FOREIGN KEY (s) REFERENCES stamps (id))",
            vec![Concern::Key],
        ),
        ("CREATE TABLE countries (code text PRIMARY KEY)", vec![]),
        ("CREATE UNIQUE INDEX ON stamps (hash)", vec![Concern::Key, Concern::IndexLock]),
        ("CREATE INDEX ON stamps (lower(hash))", vec![Concern::Leakproof, Concern::IndexLock]),
        ("CREATE INDEX ON stamps USING gin (body)", vec![Concern::Leakproof, Concern::IndexLock]),
        ("ALTER TABLE stamps ADD COLUMN a uuid DEFAULT gen_random_uuid()", vec![Concern::Rewrite]),
        ("ALTER TABLE stamps ADD COLUMN a int DEFAULT 1", vec![]),
        ("ALTER TABLE stamps ADD COLUMN a text UNIQUE", vec![Concern::Key]),
        ("ALTER TABLE stamps DROP COLUMN a", vec![Concern::Contract]),
        ("-- rowhouse: contract\nALTER TABLE stamps DROP COLUMN a", vec![]),
        ("ALTER TABLE stamps RENAME COLUMN a TO b", vec![Concern::Contract]),
        ("ALTER TABLE stamps ALTER a TYPE bigint", vec![Concern::Contract]),
        ("ALTER TABLE stamps ALTER a SET NOT NULL", vec![Concern::Contract]),
        ("DROP TABLE notes", vec![Concern::Contract]),
        ("COMMIT", vec![Concern::Transaction]),
        ("RESET ROLE", vec![Concern::Privilege]),
        ("SET ROLE postgres", vec![Concern::Privilege]),
        ("SET LOCAL search_path = public", vec![Concern::Privilege]),
        ("GRANT SELECT ON stamps TO PUBLIC", vec![Concern::Privilege]),
        ("CREATE POLICY p ON stamps USING (true)", vec![Concern::Privilege]),
        ("DROP POLICY rh_tenant ON stamps", vec![Concern::Privilege]),
        ("ALTER TABLE stamps DISABLE ROW LEVEL SECURITY", vec![Concern::Privilege]),
        (
            "CREATE FUNCTION f() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'",
            vec![Concern::Privilege],
        ),
        ("COPY stamps FROM PROGRAM 'cat'", vec![Concern::Privilege]),
        ("CREATE TABLE public.x ()", vec![Concern::Schema]),
        ("DO $$ BEGIN END $$", vec![Concern::Unread]),
        ("CREATE TABEL x", vec![Concern::Syntax]),
    ] {
        assert_eq!(concerns(sql), expected, "{sql}");
    }
    let own =
        own_functions(["CREATE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "SELECT 1"]);
    assert_eq!(own.into_iter().collect::<Vec<_>>(), ["price"]);
}
