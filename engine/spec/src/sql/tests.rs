use std::time::{Duration, Instant};

use super::*;

fn refused(result: Result<impl std::fmt::Debug, SqlError>) -> (String, String, u64, u64, usize) {
    let error = result.unwrap_err();
    (error.code.into(), error.message, error.line, error.column, error.length)
}

#[test]
fn expressions() {
    for text in [
        "created_date > '2024-01-01'",
        "\"my column\" IS NOT NULL AND createdDate > now() - INTERVAL '7 days'",
        "l2_norm(embedding) > 0.5 AND tags @> ['a'] OR name LIKE 'a%'",
        "array_any_match(tags, x -> x = 'a')",
        "set = 1 AND update > 2",
        "id IN ('a', 'b')",
        "cast(a as double) + b::int > 1",
        "CASE WHEN a THEN 1 ELSE 2 END = 1",
    ] {
        assert!(expression(text).is_ok(), "{text}: {:?}", expression(text));
    }
    assert_eq!(
        refused(expression("year >")),
        ("E501".into(), "expected an expression, found the end of the SQL".into(), 1, 7, 1)
    );
    assert_eq!(
        refused(expression("a = 1\n  AND b == == 2")),
        ("E501".into(), "expected an expression, found ==".into(), 2, 12, 2)
    );
    assert_eq!(refused(expression("a b")), ("E501".into(), "expected the end of the SQL, found b".into(), 1, 3, 1));
    assert_eq!(refused(expression("a = 'x")).0, "E501");
    assert_eq!(refused(expression(" ")).1, "empty SQL");
    assert_eq!(
        refused(expression("SELECT a FROM input")),
        ("E503".into(), "SELECT is a statement, not an expression".into(), 1, 1, 6)
    );
    assert_eq!(refused(expression("DROP TABLE x")).0, "E503");
    assert_eq!(refused(expression("id IN (SELECT id FROM other)")).1, "unknown table other");
}

#[test]
fn queries() {
    for text in [
        "SELECT * FROM input",
        "SELECT a, upper(b) AS c FROM input WHERE a > 1 ORDER BY a LIMIT 5;",
        "WITH x AS (SELECT a FROM input) SELECT * FROM x",
        "SELECT id, t FROM input, unnest(tags) AS u(t)",
        "SELECT i.a FROM input i",
        "(SELECT a FROM input) UNION ALL (SELECT a FROM input)",
    ] {
        assert!(query(text).is_ok(), "{text}: {:?}", query(text));
    }
    for (text, message) in [
        ("DROP TABLE input", "only SELECT is allowed, found DROP"),
        ("INSERT INTO input VALUES (1)", "only SELECT is allowed, found INSERT"),
        ("SET x = 1", "only SELECT is allowed, found SET"),
        ("CREATE TABLE x AS SELECT * FROM input", "only SELECT is allowed, found CREATE"),
        ("COPY input TO 'x'", "only SELECT is allowed, found COPY"),
        ("WITH x AS (DELETE FROM input) SELECT * FROM x", "only SELECT is allowed, found DELETE"),
        ("SELECT * INTO other FROM input", "only SELECT is allowed, found SELECT INTO"),
        ("SELECT * FROM input FOR UPDATE", "only SELECT is allowed, found FOR UPDATE or FOR SHARE"),
        ("SELECT * FROM input; SELECT 1", "a second statement"),
        ("SELECT * FROM cities", "unknown table cities"),
        ("SELECT * FROM 'a.parquet'", "unknown table 'a.parquet'"),
        ("SELECT * FROM INPUT", "unknown table INPUT"),
        ("SELECT * FROM read_csv('x')", "unknown table read_csv"),
        ("SELECT 1", "the query does not read from input"),
        ("SELECT a FROM", "expected identifier, found the end of the SQL"),
    ] {
        assert_eq!(refused(query(text)).1, message, "{text}");
    }
}

/// Each shape nests as deeply or chains as long as the bounds let it; every one must end soon, on a small stack.
#[test]
fn hostile_sql_is_bounded() {
    let n = 20_000;
    let shapes: Vec<(String, String)> = [
        "(",
        "[",
        "{",
        "NOT ",
        "- ",
        "+",
        "CASE WHEN ",
        "f(",
        "cast(",
        "interval ",
        "EXISTS (",
        "a -> ",
        "(SELECT ",
        "a.",
        "a[",
        "1 + ",
        "a AND ",
        "a::",
        "@",
        "!",
        "~",
        "x IN (",
        "'a' ",
        "struct(",
        "array[",
        "map{",
        "case ",
        "a between ",
        "PRIOR ",
        "(a, ",
        "(a + ",
        "((a) + ",
        "((",
    ]
    .iter()
    .flat_map(|part| [24, 45, 200, n].map(|count| (format!("{part:?} x {count}"), part.repeat(count))))
    .chain(
        [
            "SELECT * FROM (",
            "SELECT * FROM ((a) JOIN ",
            "SELECT (",
            "(SELECT * FROM (",
            "WITH a AS (",
            "SELECT * FROM input UNION ",
        ]
        .iter()
        .flat_map(|part| [24, 45, 200].map(|count| (format!("{part:?} x {count}"), part.repeat(count)))),
    )
    .chain((1..50).map(|count| (format!("from {count}"), format!("SELECT * FROM {}", "(".repeat(count)))))
    .chain((1..50).map(|count| {
        (format!("from {count} closed"), format!("SELECT * FROM {}input{}", "(".repeat(count), ")".repeat(count)))
    }))
    .chain((1..50).map(|count| {
        (format!("expr {count} closed"), format!("SELECT {}a{} FROM input", "(".repeat(count), ")".repeat(count)))
    }))
    .collect();
    for (name, text) in shapes {
        let start = Instant::now();
        let _ = (expression(&text), query(&text));
        let closed = format!("{text}1{}", ")".repeat(text.matches('(').count()));
        if let Ok(found) = expression(&closed) {
            let _ = check_expression_columns(&found, &Columns::default());
        }
        let _ = query(&closed);
        // Without the bound some of these take minutes, or years.
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    }
    let error = expression(&"(".repeat(30)).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), ("E505", "SQL with brackets nested deeper than 24 levels"));
    let error = expression(&"cast(".repeat(24)).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), ("E505", "SQL too complex to parse: nested alternatives"));
    let chain = vec!["a"; 800].join(" AND ");
    assert_eq!(expression(&chain).unwrap_err().code, "E505");
    let list: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    assert!(expression(&format!("id IN ({})", list.join(", "))).is_ok());
}
