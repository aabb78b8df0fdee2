//! Input of unusual shape: very wide, very long, empty, broken.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Place, Ran, backup, pipeline, rows};

fn restore(place: &Place) -> Vec<Value> {
    place
        .write("restore.yaml", pipeline("repository: { url: repo }", "files: { path: out }", "- codec: { jsonl: {} }"));
    place.run(&["run", "restore.yaml"]).ends_with(0);
    let files = place.files("out/rows");
    let texts = files.iter().map(|(_, path)| std::fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

fn back_up(input: &str, more: &str) -> (Place, Ran) {
    back_up_through("", input, more)
}

fn back_up_through(stages: &str, input: &str, more: &str) -> (Place, Ran) {
    let place = Place::new();
    place.write("rows.jsonl", input);
    place.write("backup.yaml", backup("rows.jsonl", "repo", stages) + more);
    let ran = place.run(&["run", "backup.yaml", "--json"]);
    (place, ran)
}

#[test]
fn three_thousand_columns() {
    let mut input = String::new();
    for row in 0..20_u32 {
        let _ = write!(input, "{{\"id\":\"{row}\"");
        for column in 0..3000_u32 {
            match column % 3 {
                0 => write!(input, ",\"column_{column}\":{}", row * column),
                1 => write!(input, ",\"column_{column}\":\"{row}-{column}\""),
                _ => write!(input, ",\"column_{column}\":{}.5", row + column),
            }
            .unwrap();
        }
        input.push_str("}\n");
    }
    let (place, ran) = back_up(&input, "");
    ran.ends_with(0);
    let before: Vec<Value> = input.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(restore(&place), before);
    assert_eq!(place.query("repo", "SELECT column_2999 FROM rows WHERE column_4 = '7-4'"), ["3006.5"]);
}

#[test]
fn rows_of_eight_megabytes() {
    let mut input = String::new();
    for row in 0..6_u8 {
        let text: String = (0..8 << 20)
            .map(|k: u32| char::from(b'a' + u8::try_from((k / 7 + u32::from(row)) % 26).unwrap()))
            .collect();
        let _ = writeln!(input, "{{\"id\":\"{row}\",\"text\":\"{text}\"}}");
    }
    let (place, ran) = back_up(&input, "memory: 256MiB\n");
    ran.ends_with(0);
    let mut after = restore(&place);
    after.sort_by_key(|row| row["id"].as_str().unwrap().to_owned());
    let before: Vec<Value> = input.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(after == before, "the long texts are not what they were");
}

/// Many writers share the memory of a run: one that gets no more of it writes smaller row groups, and loses nothing.
#[test]
fn memory_that_holds_no_row_group() {
    let (mut input, mut state) = (String::new(), 7_u64);
    for row in 0..2_000 {
        let _ = write!(input, "{{\"id\":\"{row}\",\"text\":\"");
        for _ in 0..256 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let _ = write!(input, "{state:016x}");
        }
        input.push_str("\"}\n");
    }
    let before: Vec<Value> = input.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (place, ran) = back_up(&input, "memory: 2MiB\n");
    ran.ends_with(0);
    assert!(restore(&place) == before, "the texts are not what they were");
    let export = pipeline("files: { path: rows.jsonl }", "files: { path: parquet }", "- codec: { parquet: {} }");
    place.write("export.yaml", export + "memory: 2MiB\n");
    place.run(&["run", "export.yaml"]).ends_with(0);
}

#[test]
fn empty_input_is_an_empty_dataset() {
    let (place, ran) = back_up("", "");
    ran.clone().ends_with(0);
    assert_eq!(ran.summary()["counts"]["scanned"], 0);
    place.run(&["catalog", "list", "-r", "repo"]).ends_with(0).says("rows");
    assert_eq!(place.query("repo", "SELECT count(*) AS n FROM rows"), ["0"]);
    assert_eq!(restore(&place).len(), 0);
}

#[test]
fn everything_filtered_is_an_empty_dataset() {
    let place = Place::new();
    place.write("rows.jsonl", rows(0, 100));
    place.write("backup.yaml", backup("rows.jsonl", "repo", "- filter: \"n < 0\""));
    let ran = place.run(&["run", "backup.yaml", "--json"]).ends_with(0);
    let counts = &ran.summary()["counts"];
    assert_eq!(
        (&counts["scanned"], &counts["filtered"], &counts["written"]),
        (&100.into(), &100.into(), &0.into()),
        "{counts}"
    );
    assert_eq!(place.query("repo", "SELECT count(*) AS n, max(n) AS m FROM rows"), ["0,"]);
    assert_eq!(restore(&place).len(), 0);
}

/// Filters that an optimiser could prove to be always or never true still leave every row counted.
#[test]
fn trivial_filters_keep_the_counts() {
    for (filter, written) in
        [("true", 100), ("1 = 1", 100), ("false", 0), ("n IS NOT NULL OR n IS NULL", 100), ("n > 10 AND n < 5", 0)]
    {
        let place = Place::new();
        place.write("rows.jsonl", rows(0, 100));
        place.write("backup.yaml", backup("rows.jsonl", "repo", &format!("- filter: \"{filter}\"")));
        let ran = place.run(&["run", "backup.yaml", "--json"]).ends_with(0);
        let counts = &ran.summary()["counts"];
        assert_eq!(
            (&counts["scanned"], &counts["filtered"], &counts["written"]),
            (&100.into(), &(100 - written).into(), &written.into()),
            "{filter}"
        );
    }
}

#[test]
fn a_bad_line_is_a_reject_with_its_file_and_line() {
    let broken = rows(0, 2) + "{\"id\": \"half\n" + &rows(2, 2) + "[1, 2]\n" + "\n" + &rows(4, 1);
    let (place, ran) = back_up(&broken, "on_error: { max_rejects: 2, rejects: rejects.jsonl }\n");
    ran.clone().ends_with(3);
    let counts = &ran.summary()["counts"];
    assert_eq!(
        (&counts["scanned"], &counts["written"], &counts["rejected"]),
        (&7.into(), &5.into(), &2.into()),
        "{counts}"
    );
    let rejects = place.read("rejects.jsonl");
    let rejects: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let places: Vec<&str> = rejects.iter().map(|reject| reject["place"].as_str().unwrap()).collect();
    assert_eq!(places, ["rows.jsonl:3", "rows.jsonl:6"]);
    assert!(
        rejects.iter().all(|reject| !reject["reason"].as_str().unwrap().is_empty() && reject["row"].is_string()),
        "{rejects:?}"
    );
    assert_eq!(restore(&place).len(), 5);
}

#[test]
fn one_reject_too_many_fails_the_run() {
    let broken = rows(0, 2) + "nonsense\n" + &rows(2, 2) + "more nonsense\n";
    let (place, ran) = back_up(&broken, "on_error: { max_rejects: 1 }\n");
    ran.ends_with(1).says("rows.jsonl:6");
    let list = place.run(&["catalog", "list", "-r", "repo", "--json"]).ends_with(0);
    assert!(list.lines().iter().all(|line| line["type"] != "snapshot"), "{}", list.text());
}

/// A file that ends in the middle, as after a full disk.
#[test]
fn a_truncated_compressed_file_is_an_error() {
    let place = Place::new();
    place.write("rows.jsonl", rows(0, 5000));
    let whole = std::process::Command::new("gzip").arg("-c").arg(place.path("rows.jsonl")).output().unwrap().stdout;
    place.write("cut.jsonl.gz", &whole[..whole.len() / 2]);
    place.write("p.yaml", backup("cut.jsonl.gz", "repo", ""));
    let ran = place.run(&["run", "p.yaml"]);
    assert_ne!(ran.code, 0, "half of the rows were taken for all of them\n{}", ran.text());
    assert!(ran.stderr.contains("cut.jsonl.gz"), "{}", ran.text());
}

#[test]
fn names_that_need_quotes() {
    let place = Place::new();
    place
        .write("My Rows.jsonl", "{\"id\":\"1\",\"createdDate\":5,\"created_date\":6,\"select\":7,\"a b\":8,\"ü\":9}\n");
    place.write(
        "p.yaml",
        backup("My Rows.jsonl", "repo", "- filter: 'createdDate = 5 AND \"select\" = 7 AND \"a b\" = 8 AND \"ü\" = 9'"),
    );
    place.run(&["run", "p.yaml"]).ends_with(0);
    assert_eq!(place.query("repo", "SELECT createdDate, created_date, \"a b\" FROM \"My Rows\""), ["5,6,8"]);
    place
        .run(&["catalog", "query", "latest", "SELECT createddate FROM \"My Rows\"", "-r", "repo"])
        .ends_with(2)
        .says("createddate");
}

/// A sort or a limit over several splits is done over all of them: a naive sink would write the first split only.
#[test]
fn what_needs_all_rows_gets_all_rows() {
    let place = Place::new();
    for file in 0..4 {
        place.write(&format!("in/{file}.jsonl"), rows(file * 100, 100));
    }
    for (sql, expected) in [
        ("SELECT id, n FROM input ORDER BY n DESC LIMIT 3", vec!["397", "398", "399"]),
        ("SELECT even AS id, count(*) AS n FROM input GROUP BY even", vec!["200", "200"]),
    ] {
        let place_repo = format!("repo{}", expected.len());
        place.write("p.yaml", backup("in", &place_repo, &format!("- transform: {{ sql: \"{sql}\" }}")));
        let ran = place.run(&["run", "p.yaml"]);
        // A repository may refuse what has lost its id: then clearly, and before anything is written.
        if ran.code == 0 {
            assert_eq!(place.query(&place_repo, "SELECT n FROM \"in\" ORDER BY n"), expected, "{sql}");
        } else {
            assert_eq!(ran.code, 2, "{}", ran.text());
            assert!(ran.stderr.contains("id"), "{}", ran.text());
        }
    }
}

/// A wrapped number would be a wrong number in a backup.
#[test]
fn integer_overflow_is_an_error() {
    let input = "{\"id\":\"a\",\"n\":2}\n";
    for sql in [
        "n * 9223372036854775807",
        "n + 9223372036854775807",
        "-9223372036854775807 - n",
        "cast(n as smallint) * cast(30000 as smallint)",
    ] {
        let (_, ran) = back_up_through(&format!("- transform: {{ set: {{ m: \"{sql}\" }} }}"), input, "");
        ran.ends_with(1).says("verflow");
        let (_, ran) = back_up_through(&format!("- filter: \"{sql} > 0\""), input, "");
        ran.ends_with(1).says("verflow");
    }
}

/// Nothing is left behind by a pipeline that does not fit its source.
#[test]
fn a_wrong_pipeline_creates_nothing() {
    for wrong in ["- filter: \"missing = 1\"", "- transform: { drop: [id] }"] {
        let more = format!("{wrong}\n- encrypt: {{ aes-256-gcm: {{ key_file: k, create: true }} }}");
        let (place, ran) = back_up_through(&more, "{\"id\":\"a\",\"n\":2}\n", "");
        ran.ends_with(2);
        assert!(!place.path("repo").exists() && !place.path("k").exists(), "{wrong}");
    }
}
