//! The filter over small tables in memory.

use restow_spec::pipeline::{Filter, Missing, RowStage};

use crate::transform::tests::{collect, error, filter, filter_missing, names, on_cities, values};

async fn ids(sql: &str) -> Vec<String> {
    let rows = on_cities(&filter(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    values(&collect(&rows).await, "id")
}

#[tokio::test]
async fn any_predicate_over_any_column() {
    assert_eq!(ids("population > 1000000").await, ["a"]);
    assert_eq!(ids("population > 1000000 OR population IS NULL").await, ["a", "b"]);
    assert_eq!(ids("NOT population > 1000000").await, ["c"], "a null predicate leaves the row out");
    assert_eq!(ids("\"createdDate\" >= '1970-01-01T00:00:00.000001Z'").await, ["b", "c"]);
    assert_eq!(ids("createdDate = to_timestamp_micros(2)").await, ["c"]);
    assert_eq!(ids("\"a.b\" BETWEEN 2 AND 3 AND name LIKE '%e%'").await, ["b", "c"]);
    assert_eq!(ids("\"größe 😀\" < 3").await, ["a", "b"]);
    assert_eq!(ids("UPPER(name) IN ('ROME', 'BERN')").await, ["b", "c"]);
    assert_eq!(ids("meta->'mayor'->>'name' = 'A'").await, ["a"]);
    assert_eq!(
        ids("NOT meta->>'area' = '105' AND 'x' || meta->>'area' <> 'x' AND json_contains(meta, 'area')").await,
        ["b"]
    );
    assert_eq!(ids("(meta->'area')::bigint + 1 = 106 AND meta->>'area'::text = '105'").await, ["a"]);
    assert_eq!(ids("json_get_int(meta, 'area') > 1000").await, ["b"]);
    assert_eq!(ids("json_get_bool(meta, 'big')").await, ["a"]);
    assert_eq!(ids("cosine_distance(embedding, [3.0, 0.0, 4.0]) < 0.01").await, ["a"]);
    assert_eq!(ids("l2_norm(embedding) = 3").await, ["c"]);
    assert_eq!(ids("regexp_like(name, '^[PR]') -- a comment").await, ["a", "b"]);
    assert_eq!(ids("null").await, Vec::<String>::new());
}

#[test]
fn what_is_no_predicate_is_refused_with_its_place() {
    let at = "/stages/1/filter";
    assert_eq!(
        error(&filter("population")),
        format!(
            "a filter must be true or false, this one is Int64 | compare it with something, for example `population > 1000` | {at}"
        )
    );
    let text = error(&filter("meta->'big'"));
    assert!(text.ends_with(&format!("| for a truth value in JSON use json_get_bool(column, 'key') | {at}")), "{text}");
    assert_eq!(
        error(&filter("Population > 1")),
        format!("dataset \"cities\" has no column \"Population\" | did you mean \"population\"? | {at}:1:1")
    );
    assert_eq!(
        error(&filter("name = \"Rome\"")),
        format!(
            "dataset \"cities\" has no column \"Rome\" | text is written in single quotes: 'Rome'; or did you mean the column \"name\"? | {at}:1:8"
        )
    );
    assert_eq!(
        error(&filter("count(*) > 1")),
        format!(
            "a filter sees one row at a time and cannot use the aggregate function count | a transform's `sql: SELECT ... FROM input` can | {at}"
        )
    );
    assert_eq!(error(&filter("id IN (SELECT id FROM input)")), format!("a filter cannot contain a subquery | {at}"));
    assert_eq!(error(&filter("EXISTS (SELECT 1)")), format!("a filter cannot contain a subquery | {at}"));
    assert_eq!(error(&filter("name = 'x' AS y")), format!("a filter gives no name: leave out `AS y` | {at}"));
}

#[test]
fn bad_sql_names_its_place() {
    let text = error(&filter("population >"));
    assert!(text.starts_with("Expected: an expression, found: EOF"), "{text}");
    let text = error(&filter("population > 1\n  AND AND name = 'x'"));
    assert!(text.ends_with("/stages/1/filter:2:11"), "{text}");
    let text = error(&filter("population > 1; DROP TABLE x"));
    assert!(text.contains("end of expression"), "{text}");
    let text = error(&filter("createdDate * 2 > 1"));
    assert!(text.contains("Timestamp") && text.ends_with("/stages/1/filter"), "{text}");
    let text = error(&filter("cosine_distance(embedding, [1.0, 2.0]) < 1"));
    assert!(text.contains("cosine_distance needs two vectors of one dimension, not of 3 and 2"), "{text}");
    let deep = format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(error(&filter(&deep)).contains("recursion limit"));
}

#[tokio::test]
async fn a_missing_column_is_an_error_null_or_a_skip() {
    let text = error(&filter("rating > 3 AND stars > 1"));
    assert!(text.starts_with("dataset \"cities\" has no column \"rating\" | known columns: id, name"), "{text}");
    let null =
        on_cities(&filter_missing("coalesce(rating, 9) > 3 AND stars IS NULL AND name <> 'Rome'", Missing::Null))
            .unwrap();
    let batch = collect(&null).await;
    assert_eq!(values(&batch, "id"), ["a", "c"]);
    assert_eq!(names(&null).len(), 10, "the missing columns do not appear");
    let skipped = on_cities(&filter_missing("rating > 3", Missing::Skip)).unwrap();
    assert_eq!(collect(&skipped).await.num_rows(), 3);
}

#[tokio::test]
async fn globs_choose_the_datasets() {
    let stage = |glob: &str| {
        let pointer = String::new();
        RowStage::Filter(Filter {
            sql: "false".to_owned(),
            datasets: vec![glob.to_owned()],
            missing: Missing::Error,
            sql_pointer: pointer.clone(),
            pointer,
        })
    };
    assert_eq!(collect(&on_cities(&stage("town*")).unwrap()).await.num_rows(), 3);
    assert_eq!(collect(&on_cities(&stage("cit*")).unwrap()).await.num_rows(), 0);
}

#[test]
fn a_filter_changes_neither_columns_nor_roles() {
    let before = on_cities(&filter("true")).unwrap();
    let after = on_cities(&filter("population > 1")).unwrap();
    assert_eq!((names(&before), &before.roles, &before.lineage), (names(&after), &after.roles, &after.lineage));
}

#[tokio::test]
async fn a_number_in_quotes_compares_as_a_number() {
    assert_eq!(ids("population > '200000'").await, ["a"], "and not as text, where 134000 < 200000 < 2100000 too");
    assert_eq!(ids("population < '99'").await, Vec::<String>::new());
    let text = error(&filter("population > 'many'"));
    assert_eq!(text, "Cannot cast string 'many' to value of Int64 type | /stages/1/filter");
    let text = error(&filter("\"createdDate\" > '2024-13-01'"));
    assert!(text.contains("2024-13-01") && text.ends_with(" | /stages/1/filter"), "{text}");
}
