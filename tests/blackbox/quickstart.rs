//! The quickstart, as the README has it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Place, checkout};

const FRENCH: &str = "SELECT name, population FROM cities WHERE country = 'FR' ORDER BY population DESC LIMIT 5";
/// Cities of 200,000 inhabitants and more, of 4,000.
const SELECTED: u64 = 3043;

/// The example as it is in the checkout, by id.
fn cities() -> BTreeMap<String, Value> {
    let gzip = Command::new("gzip").arg("-dc").arg(checkout().join("examples/cities.jsonl.gz")).output().unwrap();
    let text = String::from_utf8(gzip.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
}

fn json_lines(place: &Place, folder: &str) -> Vec<Value> {
    let files = place.files(folder).into_iter().filter(|(name, _)| name.ends_with(".jsonl"));
    let texts = files.map(|(_, path)| std::fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

fn key_in(text: &str) -> String {
    let rest = &text[text.find("rsk1_").unwrap_or_else(|| panic!("no recovery key in {text}"))..];
    rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || "_-".contains(*letter)).collect()
}

#[test]
fn the_first_command_says_what_it_did_and_the_repository_answers() {
    let place = Place::with_example();
    let first = place.run(&["run", "pipelines/quickstart.yaml"]).ends_with(0);
    first.snapshot("quickstart_run");
    for said in ["4,000", "957", "3,043", "restow restore"] {
        first.clone().says(said);
    }
    assert_eq!(first.stderr.matches("rsk1_").count() + first.stdout.matches("rsk1_").count(), 1, "{}", first.text());
    let mode = place.path(".restow/quickstart.key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!first.text().contains(place.read(".restow/quickstart.key").trim()), "the key itself was printed");

    let list = place.run(&["catalog", "list"]).ends_with(0).says("3,043");
    list.snapshot("quickstart_catalog_list");
    let show = place.run(&["catalog", "show", "latest"]).ends_with(0).says("cities").says("embedding");
    show.snapshot("quickstart_catalog_show");
    let query = place.run(&["catalog", "query", "latest", FRENCH]).ends_with(0);
    query.snapshot("quickstart_catalog_query");
    let csv = place.run(&["catalog", "query", "latest", FRENCH, "--format", "csv"]).ends_with(0);
    assert_eq!(
        csv.stdout,
        "name,population\nParis,2138551\nMarseille,877215\nLyon,520774\nToulouse,511684\nNice,342669\n"
    );

    // A second run makes a second snapshot, and neither a key nor a recovery key.
    let second = place.run(&["run", "pipelines/quickstart.yaml"]).ends_with(0).says_not("rsk1_");
    second.says_not("recovery");
    let list = place.run(&["catalog", "list", "--json"]).ends_with(0);
    assert_eq!(list.lines().iter().filter(|line| line["type"] == "snapshot").count(), 2, "{}", list.text());
}

#[test]
fn the_counts_meet() {
    let place = Place::with_example();
    let ran = place.run(&["run", "pipelines/quickstart.yaml", "--json"]).ends_with(0);
    let counts = &ran.summary()["counts"];
    let figure = |name: &str| counts[name].as_u64().unwrap_or_else(|| panic!("{name} in {counts}"));
    assert_eq!(figure("scanned"), 4000);
    assert_eq!(figure("filtered"), 4000 - SELECTED);
    assert_eq!(figure("written"), SELECTED);
    assert_eq!((figure("rejected"), figure("skipped")), (0, 0));
    assert_eq!(figure("bytes_read"), checkout().join("examples/cities.jsonl.gz").metadata().unwrap().len());
}

/// restore(backup(x)) == x, through files that a person reads.
#[test]
fn what_is_restored_is_what_was_there() {
    let place = Place::with_example();
    place.run(&["run", "pipelines/quickstart.yaml"]).ends_with(0);
    place.run(&["run", "pipelines/quickstart-restore.yaml"]).ends_with(0).says("3,043");
    let cities = cities();
    let restored = json_lines(&place, "restored");
    assert_eq!(restored.len() as u64, SELECTED);
    for row in restored {
        let mut expected = cities[row["id"].as_str().unwrap()].clone();
        let object = expected.as_object_mut().unwrap();
        let country = object.remove("country").unwrap();
        object.insert("country_code".to_owned(), country);
        let population = object["population"].as_u64().unwrap();
        object.insert("population".to_owned(), json!(population as f64));
        let continent = object["admin"]["continent"].clone();
        object.insert("continent".to_owned(), continent);
        let label = object["name"].as_str().unwrap().to_uppercase();
        object.insert("label".to_owned(), json!(label));
        assert_eq!(row, expected, "absent, null and every number must be as they were");
    }
}

#[test]
fn the_export_is_plain_parquet_in_parts_or_in_one_file() {
    let place = Place::with_example();
    place.run(&["run", "pipelines/quickstart.yaml"]).ends_with(0);
    place.run(&["run", "pipelines/export-parquet.yaml"]).ends_with(0);
    let parts = place.files("exported/cities");
    assert!(
        !parts.is_empty() && parts.iter().all(|(name, _)| name.starts_with("part-") && name.ends_with(".parquet")),
        "{parts:?}"
    );
    let export: Value = serde_json::from_str(&place.read("exported/_restow_export.json")).unwrap();
    assert_eq!(export["rows"], SELECTED);
    let bytes = std::fs::read(&parts[0].1).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));

    let single = place.read("pipelines/export-parquet.yaml").replace("layout: parts }", "layout: single }");
    place.write("single.yaml", single);
    place.run(&["plan", "single.yaml", "--var", "to=single"]).ends_with(0).says("not resumable");
    place.run(&["run", "single.yaml", "--var", "to=single"]).ends_with(0);
    let names: Vec<String> = place.files("single").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["_restow_export.json", "cities.parquet"]);

    // What stands there is not overwritten.
    place.run(&["run", "pipelines/export-parquet.yaml"]).ends_with(7).says("exported").says("nothing was changed");
}

/// The binary, the address and the recovery key: no settings, no pipeline, no environment.
#[test]
fn the_worst_day() {
    let place = Place::with_example();
    let first = place.run(&["run", "pipelines/quickstart.yaml"]).ends_with(0);
    let elsewhere = Place::new();
    elsewhere.write("recovery.key", key_in(&format!("{}{}", first.stdout, first.stderr)));
    std::fs::rename(place.path(".restow/quickstart.key"), place.path("lost.key")).unwrap();
    let repository = place.path(".restow/quickstart").display().to_string();

    elsewhere.run(&["restore", &repository, "--to", "out/", "--yes"]).ends_with(12).says("key");
    assert!(!elsewhere.path("out").exists(), "the target was touched before the key was known");
    elsewhere.run(&["restore", &repository, "--to", "out/", "--key-file", "recovery.key"]).ends_with(7).says("--yes");
    assert!(!elsewhere.path("out").exists());
    elsewhere
        .run(&["restore", &repository, "--to", "out/", "--key-file", "recovery.key", "--yes"])
        .ends_with(0)
        .says("3,043");
    assert!(elsewhere.path("out/_restow_export.json").exists());

    // The files that were restored are backed up again, and the same rows are in them.
    elsewhere.write("again.yaml", crate::support::backup("out", "again", ""));
    elsewhere.run(&["run", "again.yaml"]).ends_with(0);
    let sql = "SELECT count(*) AS n, sum(population) AS p FROM cities";
    let again = elsewhere.query("again", sql);
    let before: Vec<String> = {
        std::fs::rename(place.path("lost.key"), place.path(".restow/quickstart.key")).unwrap();
        place.query("quickstart", sql)
    };
    assert_eq!(again, before);
}

#[test]
fn the_restore_command_finds_the_key_beside_the_repository() {
    let place = Place::with_example();
    place.run(&["run", "pipelines/quickstart.yaml"]).ends_with(0);
    std::fs::remove_file(place.path("restow.yaml")).unwrap();
    place.run(&["restore", ".restow/quickstart", "--to", "out/", "--yes"]).ends_with(0);
    let printed = place.run(&["restore", ".restow/quickstart", "--to", "other/", "--print"]).ends_with(0);
    assert!(!place.path("other").exists());
    place.write("printed.yaml", &printed.stdout);
    place.run(&["lint", "printed.yaml"]).ends_with(0);
    place.run(&["run", "printed.yaml"]).ends_with(0);
    assert!(place.path("other/_restow_export.json").exists());
}

/// Under 35 % of the JSON lines, and under 30 % for the columns without vectors; the ratios without a bound are printed.
#[test]
fn parquet_is_small() {
    let place = Place::with_example();
    let export = |to: &str, transform: &str| {
        let more = format!("{transform}- codec: {{ parquet: {{ compression: zstd }} }}");
        let text = crate::support::pipeline(
            "files: { path: examples/cities.jsonl.gz, id: id }",
            &format!("files: {{ path: {to} }}"),
            &more,
        );
        place.write(&format!("{to}.yaml"), text);
        place.run(&["run", &format!("{to}.yaml")]).ends_with(0);
        let parts = place.files(&format!("{to}/cities")).into_iter();
        parts.map(|(_, path)| path.metadata().unwrap().len()).sum::<u64>() as f64
    };
    let cities = cities();
    let (mut all, mut plain, mut floats) = (0.0, 0.0, 0.0);
    for row in cities.values() {
        let mut row = row.clone();
        all += row.to_string().len() as f64 + 1.0;
        floats += 4.0 * row["embedding"].as_array().unwrap().len() as f64;
        row.as_object_mut().unwrap().remove("embedding");
        plain += row.to_string().len() as f64 + 1.0;
    }
    let (whole, without) = (export("whole", ""), export("without", "- transform: { drop: [embedding] }\n"));
    let gzip = checkout().join("examples/cities.jsonl.gz").metadata().unwrap().len() as f64;
    println!("Parquet {whole} bytes: {:.1} % of JSON lines", 100.0 * whole / all);
    println!("  {:.1} % of gzip'd JSON lines", 100.0 * whole / gzip);
    println!("  the embedding alone: {:.1} % of its raw floats", 100.0 * (whole - without) / floats);
    println!("  without the embedding {without} bytes: {:.1} % of its JSON lines", 100.0 * without / plain);
    assert!(whole < 0.35 * all, "{whole} of {all}");
    assert!(without < 0.30 * plain, "{without} of {plain}");
}
