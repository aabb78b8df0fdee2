//! The declarative verbs.

use restow_core::record::Role;
use serde_json::json;

use super::*;

#[tokio::test]
async fn rename_keeps_role_lineage_metadata_and_text() {
    let renamed = on_cities(&transform(
        json!({ "rename": { "id": "key", "createdDate": "born", "a.b": "größe 2", "meta": "a.b" } }),
    ))
    .unwrap();
    assert_eq!(
        names(&renamed),
        [
            "key",
            "name",
            "population",
            "born",
            "a.b",
            "embedding",
            "größe 2",
            "größe 😀",
            "_restow_text_born",
            "_restow_null"
        ]
    );
    assert_eq!(renamed.roles.get("key"), Role::Id);
    assert_eq!(renamed.roles.column(Role::Id), Some("key"));
    assert_eq!(renamed.lineage["key"], "id");
    assert_eq!(renamed.lineage["born"], "createdDate");
    assert_eq!(renamed.lineage["_restow_text_born"], "_restow_text_createdDate");
    assert_eq!(metadata(&renamed, "born"), ["restow.null=3"]);
    assert_eq!(metadata(&renamed, "a.b"), ["restow.json=true"]);
    let batch = collect(&renamed).await;
    assert_eq!(values(&batch, "größe 2"), ["1", "2", "3"]);
    assert_eq!(batch.schema().field_with_name("born").unwrap().metadata()["restow.null"], "3");
}

#[tokio::test]
async fn two_columns_swap_their_names() {
    let swapped = on_cities(&transform(json!({ "rename": { "name": "population", "population": "name" } }))).unwrap();
    let batch = collect(&swapped).await;
    assert_eq!(values(&batch, "population"), ["Paris", "Rome", "Bern"]);
    assert_eq!(swapped.lineage["name"], "population");
}

#[test]
fn rename_refuses_what_it_cannot_do() {
    assert_eq!(
        error(&transform(json!({ "rename": { "name": "population" } }))),
        "rename gives two columns the name \"population\" | rename the other column too, or choose another name | \
         /stages/2/transform/rename/name"
    );
    assert_eq!(
        error(&transform(json!({ "rename": { "Name": "title" } }))),
        "dataset \"cities\" has no column \"Name\" | did you mean \"name\"? | /stages/2/transform/rename/Name"
    );
    assert_eq!(
        error(&transform(json!({ "rename": { "x/y~z": "title" } }))),
        "dataset \"cities\" has no column \"x/y~z\" | known columns: id, name, population, createdDate, meta, embedding, a.b, \
         größe 😀 | /stages/2/transform/rename/x~1y~0z"
    );
    assert_eq!(
        error(&transform(json!({ "rename": { "name": "_restow_x" } }))),
        "column \"_restow_x\": names that begin with \"_restow_\" are restow's own | choose another name | \
         /stages/2/transform/rename/name"
    );
    assert_eq!(
        error(&transform(json!({ "rename": { "name": "" } }))),
        "column \"name\" cannot be renamed to an empty name | /stages/2/transform/rename/name"
    );
}

#[test]
fn drop_takes_a_column_and_its_text() {
    let dropped = on_cities(&transform(json!({ "drop": ["createdDate", "a.b", "größe 😀"] }))).unwrap();
    assert_eq!(names(&dropped), ["id", "name", "population", "meta", "embedding", "_restow_null"]);
    assert!(!dropped.lineage.contains_key("createdDate"));
    assert_eq!(
        error(&transform(json!({ "drop": ["id"] }))),
        "column \"id\" is the id of the rows and cannot be dropped | it is needed as their identity; `rename` can give it another \
         name | /stages/2/transform/drop/0"
    );
    assert_eq!(
        error(&transform(json!({ "drop": ["meta", "nmae"] }))),
        "dataset \"cities\" has no column \"nmae\" | did you mean \"name\"? | /stages/2/transform/drop/1"
    );
    assert_eq!(
        error(&transform(json!({ "drop": ["_restow_null"] }))),
        "column \"_restow_null\": names that begin with \"_restow_\" are restow's own | it follows its column by itself | \
         /stages/2/transform/drop/0"
    );
    assert_eq!(
        error(&transform(json!({ "rename": { "name": "title" }, "drop": ["name"] }))),
        "column \"name\" was renamed to \"title\" earlier in this transform | the verbs work in the order rename, drop, keep, cast, \
         set, sql | /stages/2/transform/drop/0"
    );
}

#[test]
fn keep_orders_and_takes_restows_own_columns_along() {
    let kept = on_cities(&transform(json!({ "keep": ["createdDate", "id"] }))).unwrap();
    assert_eq!(names(&kept), ["createdDate", "id", "_restow_text_createdDate", "_restow_null"]);
    let kept = on_cities(&transform(json!({ "keep": ["id", "name"] }))).unwrap();
    assert_eq!(names(&kept), ["id", "name", "_restow_null"]);
    assert_eq!(
        error(&transform(json!({ "keep": ["name"] }))),
        "`keep` leaves out column \"id\", the id of the rows | it is needed as their identity: add \"id\" to `keep` | \
         /stages/2/transform/keep"
    );
    assert_eq!(
        error(&transform(json!({ "keep": ["id", "id"] }))),
        "column \"id\" is listed twice | /stages/2/transform/keep/1"
    );
    assert_eq!(
        error(&transform(json!({ "keep": ["id", "populaton"] }))),
        "dataset \"cities\" has no column \"populaton\" | did you mean \"population\"? | /stages/2/transform/keep/1"
    );
    assert_eq!(
        error(&transform(json!({ "drop": ["name"], "keep": ["id", "name"] }))),
        "column \"name\" was dropped earlier in this transform | the verbs work in the order rename, drop, keep, cast, set, sql | \
         /stages/2/transform/keep/1"
    );
}

#[tokio::test]
async fn cast_changes_type_keeps_the_role_and_loses_lineage() {
    let cast = on_cities(&transform(
        json!({ "cast": { "id": "binary", "population": "text", "a.b": "float", "name": "uuid" } }),
    ))
    .unwrap();
    assert_eq!(cast.roles.column(Role::Id), Some("id"));
    for column in ["id", "population", "a.b", "name"] {
        assert!(!cast.lineage.contains_key(column), "{column}");
    }
    assert_eq!(metadata(&cast, "population"), Vec::<String>::new(), "a cast column has no explicit nulls");
    assert_eq!(metadata(&cast, "name"), ["restow.form=uuid"]);
    let batch = collect(&cast).await;
    assert_eq!(values(&batch, "population"), ["2100000", "-", "134000"]);
    assert_eq!(values(&batch, "a.b"), ["1.0", "2.0", "3.0"]);
    assert_eq!(*batch.schema().field_with_name("id").unwrap().data_type(), DataType::Binary);
    assert!(batch.schema().field_with_name("population").unwrap().metadata().is_empty());
}

#[tokio::test]
async fn a_date_cast_to_text_takes_its_own_text() {
    let cast = on_cities(&transform(json!({ "cast": { "createdDate": "text" } }))).unwrap();
    assert!(!names(&cast).contains(&"_restow_text_createdDate".to_owned()));
    let values = values(&collect(&cast).await, "createdDate");
    assert_eq!(
        values,
        ["1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.000002Z"]
    );
}

#[tokio::test]
async fn a_cast_keeps_vectors_exact_and_takes_arrows_type_names() {
    let cast =
        on_cities(&transform(json!({ "cast": { "embedding": "vector(3,float16)", "a.b": "Decimal128(10, 2)" } })))
            .unwrap();
    let batch = collect(&cast).await;
    assert_eq!(
        *batch.schema().field_with_name("embedding").unwrap().data_type(),
        crate::codec::types::vector_of(DataType::Float16, 3)
    );
    assert_eq!(cast.roles.get("embedding"), Role::Vector);
    assert_eq!(values(&batch, "a.b"), ["1.00", "2.00", "3.00"]);
    assert_eq!(
        error(&transform(json!({ "cast": { "embedding": "vector(4)" } }))),
        "column \"embedding\" is FixedSizeList(3 x Float32) and cannot be cast to vector(4) | /stages/2/transform/cast/embedding"
    );
}

#[tokio::test]
async fn a_bad_value_fails_the_run_and_names_the_column() {
    let cast = on_cities(&transform(json!({ "cast": { "name": "int" } }))).unwrap();
    let error = EngineError::from(cast.frame.collect().await.unwrap_err());
    assert_eq!(
        text(&error),
        "column \"name\" cannot be cast to int: Cannot cast string 'Paris' to value of Int64 type | correct the value at its source, \
         leave such rows out with a filter, or write try_cast in `set` to make them null"
    );
    let cast = on_cities(&transform(json!({ "cast": { "name": "json" } }))).unwrap();
    let error = EngineError::from(cast.frame.collect().await.unwrap_err());
    assert_eq!(error.message(), "column \"name\" cannot be cast to json: \"Paris\" is not JSON");
}

#[test]
fn an_unknown_type_names_the_known_ones() {
    let text = error(&transform(json!({ "cast": { "name": "strng" } })));
    assert!(text.contains("strng") && text.ends_with("/stages/2/transform/cast/name"), "{text}");
}

#[tokio::test]
async fn set_sees_the_columns_before_it_all_at_once() {
    let set = on_cities(&transform(json!({ "rename": { "name": "title" }, "set": {
        "title": "upper(title)", "before": "title", "größe 😀": "\"größe 😀\" * 2", "when": "\"createdDate\"", "a.b": "-\"a.b\"" } })))
    .unwrap();
    let batch = collect(&set).await;
    assert_eq!(values(&batch, "title"), ["PARIS", "ROME", "BERN"]);
    assert_eq!(values(&batch, "before"), ["Paris", "Rome", "Bern"]);
    assert_eq!(values(&batch, "größe 😀"), ["3.0", "5.0", "7.0"]);
    assert_eq!(values(&batch, "a.b"), ["-1", "-2", "-3"]);
    assert_eq!(values(&batch, "_restow_text_when"), ["1970-01-01T00:00:00.000000001Z", "-", "-"]);
    assert_eq!((set.lineage["before"].as_str(), set.lineage["when"].as_str()), ("name", "createdDate"));
    assert!(!set.lineage.contains_key("title"));
    assert_eq!(metadata(&set, "before"), ["restow.null=1"]);
    assert_eq!(metadata(&set, "title"), Vec::<String>::new());
}

#[test]
fn a_computed_column_loses_text_and_number_but_not_its_role() {
    let set = on_cities(&transform(json!({ "set": {
        "createdDate": "date_trunc('day', \"createdDate\")", "population": "-population", "id": "concat('x-', id)",
        "embedding": "normalize(embedding)", "copy": "id" } })))
    .unwrap();
    assert!(!names(&set).contains(&"_restow_text_createdDate".to_owned()));
    assert_eq!(metadata(&set, "population"), Vec::<String>::new());
    assert_eq!(set.roles.column(Role::Id), Some("id"), "a copy of the id is no second id");
    assert_eq!(set.roles.get("embedding"), Role::Vector);
    assert_eq!(set.lineage.get("id"), None);
    assert_eq!(set.lineage["copy"], "id");
}

#[test]
fn set_refuses_what_is_not_a_row_expression() {
    let set = |sql: &str| error(&transform(json!({ "set": { "x": sql } })));
    let at = "/stages/2/transform/set/x";
    let hint = "a transform's `sql: SELECT ... FROM input` can";
    assert_eq!(
        set("count(*)"),
        format!(
            "a `set` expression sees one row at a time and cannot use the aggregate function count | {hint} | {at}"
        )
    );
    assert_eq!(
        set("row_number() over ()"),
        format!(
            "a `set` expression sees one row at a time and cannot use the window function row_number | {hint} | {at}"
        )
    );
    assert_eq!(
        set("unnest(embedding)"),
        format!("a `set` expression sees one row at a time and cannot use unnest | {hint} | {at}")
    );
    assert_eq!(set("(SELECT 1)"), format!("a `set` expression cannot contain a subquery | {at}"));
    assert_eq!(set("name AS y"), format!("a `set` expression gives no name: leave out `AS y` | {at}"));
    assert_eq!(set("uper(name)"), format!("Invalid function 'uper' | did you mean \"upper\"? | {at}:1:1"));
    assert_eq!(
        set("nam || 'x'"),
        format!("dataset \"cities\" has no column \"nam\" | did you mean \"name\"? | {at}:1:1")
    );
    assert_eq!(
        set("1 +\n  \"Lyon\""),
        format!("dataset \"cities\" has no column \"Lyon\" | text is written in single quotes: 'Lyon' | {at}:2:3")
    );
    assert_eq!(
        set("a.b"),
        format!(
            "there is no column \"b\" in \"a\" | a name with a dot is written in double quotes: \"a.b\" | {at}:1:1"
        )
    );
    assert_eq!(
        set("meta.area"),
        format!(
            "a column of this type has no parts to name with a dot | a column of JSON text is read with `column->>'key'`, or with json_get_int and its like | {at}"
        )
    );
    assert_eq!(set("$1"), format!("SQL in a pipeline has no placeholders | write ${{var:name}} for a variable | {at}"));
    assert_eq!(
        error(&transform(json!({ "rename": { "name": "title" }, "set": { "x": "upper(name)" }, "missing": "null" }))),
        format!(
            "column \"name\" was renamed to \"title\" earlier in this transform | the verbs work in the order rename, drop, keep, \
                 cast, set, sql | {at}:1:7"
        )
    );
}

#[test]
fn a_vector_is_not_widened_in_silence() {
    let text = error(&transform(json!({ "set": { "embedding": "array_normalize(embedding)" } })));
    assert!(text.starts_with("the expression for the vector \"embedding\" gives List(Float64) where the column is FixedSizeList(3 x Float32)"), "{text}");
    let text = error(&transform(json!({ "set": { "unit": "array_normalize(embedding)" } })));
    assert!(
        text.starts_with(
            "the expression for \"unit\" widens the vector \"embedding\" to 64-bit floats (List(Float64))"
        ),
        "{text}"
    );
    on_cities(&transform(json!({ "set": { "unit": "arrow_cast(embedding, 'FixedSizeList(3, Float64)')" } }))).unwrap();
    let text = error(&transform(json!({ "sql": "SELECT id, array_normalize(embedding) AS unit FROM input" })));
    assert!(text.starts_with("the expression for \"unit\" widens the vector \"embedding\""), "{text}");
}

#[tokio::test]
async fn json_values_need_a_type() {
    assert_eq!(
        error(&transform(json!({ "set": { "x": "meta->'area'" } }))),
        "column \"x\" has no one type: json_get and `->` give whatever the JSON holds | name the type: json_get_str, json_get_int, \
         json_get_float, json_get_bool, json_get_json, or `->>` for text | /stages/2/transform"
    );
    let set = on_cities(&transform(json!({ "set": {
        "area": "json_get_int(meta, 'area')", "mayor": "meta->'mayor'->>'name'", "cast": "(meta->'area')::bigint" } })))
    .unwrap();
    let batch = collect(&set).await;
    assert_eq!(values(&batch, "area"), ["105", "1285", "-"]);
    assert_eq!(values(&batch, "cast"), ["105", "1285", "-"]);
    assert_eq!(values(&batch, "mayor"), ["A", "-", "-"]);
}

#[tokio::test]
async fn missing_null_skip_and_datasets() {
    let null = on_cities(&transform(json!({ "missing": "null", "rename": { "gone": "came" }, "drop": ["nothing"],
        "cast": { "came": "int" }, "set": { "x": "coalesce(other, 7)" } })))
    .unwrap();
    let batch = collect(&null).await;
    assert_eq!((values(&batch, "came"), values(&batch, "x")), (vec!["-".to_owned(); 3], vec!["7".to_owned(); 3]));
    assert_eq!(*batch.schema().field_with_name("came").unwrap().data_type(), DataType::Int64);
    let skipped =
        on_cities(&transform(json!({ "missing": "skip", "drop": ["name"], "set": { "x": "other" } }))).unwrap();
    assert_eq!(names(&skipped).len(), 10);
    let others = on_cities(&transform(json!({ "datasets": ["town*"], "drop": ["name", "nothing"] }))).unwrap();
    assert_eq!(names(&others).len(), 10);
    let chosen = on_cities(&transform(json!({ "datasets": ["town*", "c*s"], "drop": ["name"] }))).unwrap();
    assert_eq!(names(&chosen).len(), 9);
}

#[tokio::test]
async fn all_verbs_in_order_are_one_plan() {
    let context = context();
    let start = rows(&context.session, cities());
    let one = apply(&filter("population > 1000"), start, &context).unwrap();
    let verbs = json!({ "rename": { "name": "title" }, "drop": ["a.b"], "keep": ["id", "title", "population"],
        "cast": { "population": "float" }, "set": { "millions": "population / 1e6" },
        "sql": "SELECT id, title, millions FROM input WHERE millions > 0.1" });
    let two = apply(&transform(verbs), one, &context).unwrap();
    let three = apply(&filter("title <> 'Rome'"), two, &context).unwrap();
    assert_eq!(values(&collect(&three).await, "millions"), ["2.1", "0.134"]);
    let plan = three.frame.into_optimized_plan().unwrap().display_indent().to_string();
    assert_eq!(plan.matches("TableScan").count(), 1, "{plan}");
    let kinds = ["Projection", "Filter", "SubqueryAlias", "TableScan"];
    assert!(plan.lines().all(|line| kinds.iter().any(|kind| line.trim_start().starts_with(kind))), "{plan}");
}
