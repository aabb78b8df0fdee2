//! No bytes make loading panic or hang. The same property is a fuzz target in `engine/spec/fuzz`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::fake::{catalogue, load_with};
use crate::{LoadOptions, load_markdown};

const SEEDS: &[&str] = &[
    include_str!("load/cases/good.yaml"),
    include_str!("load/cases/columns.yaml"),
    include_str!("load/cases/interpolation.yaml"),
    include_str!("load/cases/secrets.yaml"),
    include_str!("load/cases/sql_syntax.yaml"),
    include_str!("load/cases/wrong_types.yaml"),
    include_str!("load/cases/yaml_mistakes.yaml"),
];

/// Pieces that mean something to YAML, SQL or interpolation.
const PIECES: &[&str] = &[
    "\n",
    "  ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "'",
    "\"",
    "|",
    ">-",
    "|2+",
    "#",
    "!!str ",
    "<<: ",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "é",
    "🦀",
    "\\x41",
    "\\",
    "${env:HOST}",
    "${var:a}",
    "${secret:env:A}",
    "${",
    "$$",
    "stages:",
    "version: 1",
    "source",
    "filter",
    "transform",
    "reshape",
    "sink",
    "vars",
    "a",
    "1",
    "0x",
    "1e5",
    "(",
    ")",
    "SELECT",
    "FROM input",
    "AND",
    "CASE",
    "CAST(",
    "=",
    "''",
    "\u{0}",
    "~",
    "@",
    "`",
    "%",
    "\u{7f}",
];

fn survives(text: &str) {
    let catalogue = catalogue();
    let start = Instant::now();
    let (pipeline, diagnostics) = load_with(text, &catalogue);
    assert!(pipeline.is_some() || !diagnostics.is_empty());
    for diagnostic in &diagnostics {
        let _ = (diagnostic.to_string(), crate::diagnostic::json(diagnostic), crate::diagnostic::github(diagnostic));
    }
    let (env, vars) = (BTreeMap::new(), BTreeMap::new());
    let options = LoadOptions { catalogue: &catalogue, env: &env, vars: &vars, unset_is_error: true };
    load_markdown("m.md", text, &options);
    let head: String = text.chars().take(80).collect();
    assert!(start.elapsed() < Duration::from_secs(20), "{head:?} took {:?}", start.elapsed());
    if start.elapsed() > Duration::from_secs(1) {
        eprintln!("{head:?} took {:?}", start.elapsed());
    }
}

/// A seed with a few edits: pieces put in, ranges cut out or doubled.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..3_u8, any::<prop::sample::Index>(), 0..40_usize);
    (any::<prop::sample::Index>(), prop::collection::vec(edit, 1..12)).prop_map(|(seed, edits)| {
        let mut letters: Vec<char> = seed.get(SEEDS).chars().collect();
        for (place, what, piece, length) in edits {
            let at = place.index(letters.len() + 1);
            let end = (at + length).min(letters.len());
            match what {
                0 => drop(letters.splice(at..at, piece.get(PIECES).chars())),
                1 => drop(letters.drain(at..end)),
                _ => {
                    let copy = letters[at..end].to_vec();
                    letters.splice(at..at, copy);
                }
            }
        }
        letters.into_iter().collect()
    })
}

fn pieced() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

fn cases(usual: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_pieces(text in pieced()) {
        survives(&text);
    }

    #[test]
    fn mutated_pipelines(text in mutated()) {
        survives(&text);
    }

    #[test]
    fn random_sql(pieces in prop::collection::vec(prop::sample::select(&["(", ")", "a", "SELECT ", "FROM ", "input ", "CASE ", "WHEN ", "CAST(", " AS ", "int", "[", "]", ",", " AND ", " NOT ", "-", "'x'", "->", "::", ".", "*", " IN ", "INTERVAL ", "BETWEEN ", "WITH ", " JOIN ", "EXISTS", "\"", "{", "}", ";", "--", "/*"][..]), 0..80)) {
        let text = pieces.concat();
        let start = Instant::now();
        let _ = (crate::sql::expression(&text), crate::sql::query(&text), text.parse::<crate::TypeName>());
        prop_assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn random_schedules(text in "[0-9*/,a-z@ -]{0,30}") {
        let _ = crate::schedule::Cron::parse(&text);
    }
}

/// Whole files of one piece, or of two in turn, as large as a file may be: each must end soon, whatever its shape.
#[test]
fn large_files_of_one_shape_end_soon() {
    let shapes = [
        "a: ",
        "? ",
        "- ",
        "[",
        "{",
        "[]",
        "[],",
        "{},",
        "a\n",
        "a: b\n",
        "- a\n",
        "\n",
        " ",
        "\t",
        "\"",
        "\"a\n",
        "'",
        "'a\n",
        "|\n",
        ">\n a\n",
        "&a ",
        "*a ",
        "!a ",
        "!<a",
        "%",
        "#",
        "---\n",
        "...\n",
        "${",
        "${env:A}",
        "$$",
        "a,",
        "? a\n",
        ": ",
        "\u{85}",
        "é: ",
        "\\",
        "\r",
        "\r\n",
        "a: [\n",
        "a: |\n",
        "{a: b, ",
        "- - ",
        "!!str ",
        "a: &a b\n",
        "a: *a\n",
        ",",
        "]",
        "}",
        "@",
        "`",
        "<<: ",
        "key: \"${var:x}\"\n",
        "\u{feff}",
        "\u{0}",
    ];
    for shape in shapes {
        let text = shape.repeat(crate::yaml::MAX_BYTES / shape.len());
        survives(&text);
        survives(&format!("version: 1\nstages: {text}"));
        survives(&format!("version: 1\nstages:\n  - filter: \"{text}\"\n"));
    }
}

/// Many small things, each of which costs a search for a name or a place.
#[test]
fn large_files_of_many_mistakes_end_soon() {
    let repeat = |head: &str, line: &dyn Fn(usize) -> String| -> String {
        let mut text = head.to_owned();
        for n in 0.. {
            let next = line(n);
            if text.len() + next.len() >= crate::yaml::MAX_BYTES {
                break;
            }
            text.push_str(&next);
        }
        text
    };
    let head = "version: 1\nstages:\n";
    survives(&repeat("version: 1\n", &|n| format!("x{n}: 1\n")));
    survives(&repeat("version: 1\nvars:\n", &|n| format!("  x{n}: ${{var:y{n}}}\n")));
    survives(&repeat("version: 1\nconnections:\n", &|n| format!("  x{n}: {{ demo: {{ url: 1 }} }}\n")));
    survives(&repeat(head, &|n| format!("  - source: {{ demo: {{ connection: c{n} }} }}\n")));
    survives(&repeat(head, &|_| "  - filter: x = = 1\n".into()));
    survives(&repeat(head, &|_| "  - transform: { sql: SELECT * FROM input }\n".into()));
    survives(&repeat("version: 1\nstages:\n  - transform:\n      keep:\n", &|n| format!("        - c{n}\n")));
    survives(&repeat("version: 1\nstages:\n  - transform:\n      rename:\n", &|n| format!("        c{n}: d\n")));
    survives(&repeat("version: 1\nstages:\n  - transform:\n      set:\n", &|n| {
        format!("        c{n}: {}\n", "cast(".repeat(24))
    }));
    survives(&repeat("version: 1\nstages: []\ntests:\n", &|n| format!("  - {{ name: a, given: [{{ x: {n} }}] }}\n")));
    survives(&repeat("version: 1\nstages: []\ntests:\n", &|_| "  - \"${secret:env:A}\"\n".into()));
}
