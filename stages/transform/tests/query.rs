//! `sql: SELECT ... FROM input`.

use restow_core::record::Role;
use serde_json::json;

use super::*;

fn select(sql: &str) -> Result<Rows> {
    on_cities(&transform(json!({ "sql": sql })))
}

fn refused(sql: &str) -> String {
    let text = error(&transform(json!({ "sql": sql })));
    text.replace("/stages/2/transform/sql", "@")
}

#[tokio::test]
async fn a_query_keeps_what_belongs_to_its_columns() {
    let rows =
        select("SELECT \"createdDate\" AS born, id, population FROM input WHERE name <> 'Bern' ORDER BY name").unwrap();
    assert_eq!(names(&rows), ["born", "id", "population", "_restow_text_born", "_restow_null"]);
    assert_eq!(
        (rows.lineage["born"].as_str(), rows.lineage["_restow_text_born"].as_str()),
        ("createdDate", "_restow_text_createdDate")
    );
    assert_eq!(rows.roles.column(Role::Id), Some("id"));
    assert_eq!(metadata(&rows, "born"), ["restow.null=3"]);
    let batch = collect(&rows).await;
    assert_eq!(values(&batch, "_restow_text_born"), ["1970-01-01T00:00:00.000000001Z", "-"]);
    assert_eq!(values(&batch, "_restow_null"), ["-", "[2]"]);
}

#[test]
fn a_star_gives_every_column_once() {
    let rows = select("SELECT * FROM input").unwrap();
    assert_eq!(names(&rows), names(&on_cities(&filter("true")).unwrap()));
    assert_eq!(rows.lineage.len(), 10);
    let rows = select("SELECT * EXCEPT (\"createdDate\"), upper(name) AS loud FROM input AS i LIMIT 2").unwrap();
    assert_eq!(
        names(&rows),
        ["id", "name", "population", "meta", "embedding", "a.b", "größe 😀", "loud", "_restow_null"]
    );
}

#[test]
fn roles_and_lineage_follow_the_expressions() {
    let rows = select(
        "WITH t AS (SELECT id AS k, embedding AS e, population AS p FROM input) \
         SELECT k AS key, cast(p AS text) AS p, e, k AS again FROM (SELECT * FROM t) AS s",
    )
    .unwrap();
    assert_eq!(rows.roles.iter().collect::<Vec<_>>(), [("e", Role::Vector), ("key", Role::Id)]);
    assert_eq!(rows.lineage["key"], "id");
    assert_eq!(rows.lineage["again"], "id");
    assert!(!rows.lineage.contains_key("p"));
    assert_eq!(metadata(&rows, "p"), Vec::<String>::new());
    let rows = select("SELECT arrow_cast(id, 'LargeUtf8') AS k, normalize(embedding) AS embedding FROM input").unwrap();
    assert_eq!(rows.roles.iter().collect::<Vec<_>>(), [("embedding", Role::Vector), ("k", Role::Id)]);
    assert!(!rows.lineage.contains_key("k") && !rows.lineage.contains_key("embedding"));
    let rows = select("SELECT concat('x', id) AS id FROM input").unwrap();
    assert_eq!(rows.roles.column(Role::Id), Some("id"), "a computed column of the id's name is the id");
}

#[tokio::test]
async fn aggregates_windows_joins_and_subqueries_plan() {
    let rows = select("SELECT name, count(*) AS n FROM input GROUP BY name ORDER BY name").unwrap();
    assert_eq!(values(&collect(&rows).await, "n"), ["1", "1", "1"]);
    assert_eq!(names(&rows), ["name", "n"]);
    let rows = select("SELECT id, row_number() OVER (ORDER BY name) AS n FROM input").unwrap();
    assert_eq!(names(&rows), ["id", "n", "_restow_null"]);
    assert_eq!(rows.roles.column(Role::Id), Some("id"));
    let rows = select("SELECT id FROM input WHERE population > (SELECT avg(population) FROM input)").unwrap();
    assert_eq!(values(&collect(&rows).await, "id"), ["a"]);
    let rows = select("SELECT a.id, b.name FROM input a JOIN input b ON a.id = b.id WHERE b.name = 'Rome'").unwrap();
    assert_eq!(values(&collect(&rows).await, "id"), ["b"]);
    assert_eq!(rows.lineage["name"], "name");
    let rows = select("SELECT DISTINCT id FROM input").unwrap();
    assert_eq!(rows.lineage["id"], "id");
    let rows = select("SELECT id, unnest(embedding) AS x FROM input").unwrap();
    assert_eq!(collect(&rows).await.num_rows(), 9);
    assert_eq!(rows.roles.column(Role::Id), Some("id"));
}

#[test]
fn a_query_refuses_what_it_cannot_do() {
    assert_eq!(
        refused("SELECT name FROM input"),
        "the query leaves out column \"id\", the id of the rows | it is needed as their identity: add \"id\" to the SELECT | @"
    );
    assert_eq!(refused("SELECT * FROM cities"), "only the table `input` can be read here, not \"cities\" | @:1:15");
    assert_eq!(refused("SELECT * FROM a.input"), "only the table `input` can be read here, not \"a.input\" | @:1:15");
    assert_eq!(
        refused("SELECT value AS id FROM range(1, 3)"),
        "only the table `input` can be read here, not the function \"range\" | @"
    );
    assert_eq!(refused("SELECT 1 AS id"), "the query does not read the table `input` | @");
    assert_eq!(refused("CREATE TABLE t AS SELECT 1"), "`sql` is one SELECT from `input`, not CREATE TABLE | @");
    assert_eq!(refused("INSERT INTO input VALUES (1)"), "`sql` is one SELECT from `input`, not INSERT INTO | @");
    assert_eq!(refused("SET x = 1"), "`sql` is one SELECT from `input`, not SET x | @");
    assert_eq!(refused("DROP TABLE input"), "`sql` is one SELECT from `input`, not DROP TABLE | @");
    assert_eq!(refused("COPY input TO 'x.parquet'"), "`sql` is one SELECT from `input`, not COPY input | @");
    assert_eq!(refused("EXPLAIN SELECT 1"), "`sql` is one SELECT from `input`, not EXPLAIN SELECT | @");
    assert_eq!(
        refused("SELECT id, population + 1 FROM input"),
        "column 2 of the SELECT has no name | write `population + 1 AS name` | @:1:12"
    );
    assert_eq!(
        refused("SELECT id, name, population AS name FROM input"),
        "the query gives two columns the name \"name\" | give one of them another name with AS | @"
    );
    assert_eq!(
        refused("SELECT id, name AS _restow_null FROM input"),
        "column \"_restow_null\": names that begin with \"_restow_\" are restow's own | give it another name with AS | @"
    );
    assert_eq!(
        refused("SELECT id, nme FROM input"),
        "dataset \"cities\" has no column \"nme\" | did you mean \"name\"? | @:1:12"
    );
    assert_eq!(
        refused("SELECT id,\n  input.nme FROM input"),
        "dataset \"cities\" has no column \"nme\" | did you mean \"name\"? | @:2:3"
    );
    assert_eq!(
        refused("SELECT id, createddate FROM input"),
        "dataset \"cities\" has no column \"createddate\" | did you mean \"createdDate\"? | @:1:12"
    );
    let text = refused("SELECT id FORM input");
    assert!(text.ends_with("| @:1:16"), "{text}");
    let text = refused("SELECT id FROM input; SELECT 2");
    assert_eq!(text, "`sql` is one SELECT from `input`, not several statements | @");
    assert_eq!(
        refused("SELECT id FROM input a JOIN input b ON a.id = b.id"),
        "column \"id\" could be that of either table | write the table's name and a dot in front of it | @:1:8"
    );
    assert_eq!(refused("-- nothing"), "`sql` is one SELECT from `input`, and this is empty | @");
}

#[tokio::test]
async fn a_missing_column_is_null_under_its_name() {
    let rows = on_cities(&transform(
        json!({ "missing": "null", "sql": "SELECT *, gone, coalesce(input.other, 'x') AS o FROM input" }),
    ))
    .unwrap();
    let batch = collect(&rows).await;
    assert_eq!((values(&batch, "gone"), values(&batch, "o")), (vec!["-".to_owned(); 3], vec!["x".to_owned(); 3]));
    let rows = on_cities(&transform(json!({ "missing": "skip", "sql": "SELECT id, gone FROM input" }))).unwrap();
    assert_eq!(names(&rows).len(), 10);
}

#[tokio::test]
async fn queries_stack_and_datasets_do_not_meet() {
    let context = context();
    let mut frames = vec![];
    for dataset in ["a", "b"] {
        let context = RowContext { dataset: dataset.to_owned(), ..context.clone() };
        let sql = format!("SELECT id, name || '{dataset}' AS name FROM input");
        let one = apply(&transform(json!({ "sql": sql })), rows(&context.session, cities()), &context).unwrap();
        let two =
            apply(&transform(json!({ "sql": "SELECT id, upper(name) AS name FROM input" })), one, &context).unwrap();
        frames.push(apply(&filter("input IS NULL"), two.clone(), &context).err().map(|_| two).unwrap());
    }
    assert_eq!(values(&collect(&frames[0]).await, "name"), ["PARISA", "ROMEA", "BERNA"]);
    assert_eq!(values(&collect(&frames[1]).await, "name"), ["PARISB", "ROMEB", "BERNB"]);
    assert!(context.session.table_provider("input").await.is_err(), "nothing is left in the session");
}

#[test]
fn volatile_functions_are_named() {
    let rows = select("SELECT id, random() AS r, uuid() AS u, now() AS n FROM input").unwrap();
    assert_eq!(crate::transform::volatile_functions(rows.frame.logical_plan()), ["random", "uuid"]);
    let rows = select("SELECT id FROM input WHERE random() < 0.5").unwrap();
    assert_eq!(crate::transform::volatile_functions(rows.frame.logical_plan()), ["random"]);
    assert!(crate::transform::volatile_functions(on_cities(&filter("true")).unwrap().frame.logical_plan()).is_empty());
}
