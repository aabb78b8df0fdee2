use super::*;
use serde_json::json;

fn spot(document: &Document, place: Place) -> (u32, u32, &str) {
    let (line, column) = document.line_column(place.start);
    (line, column, document.text().get(place).unwrap_or("?"))
}

fn messages(text: &str) -> Vec<String> {
    let parsed = parse("p.yaml", text, 1);
    crate::finding::diagnostics(&parsed.document, parsed.findings).iter().map(ToString::to_string).collect()
}

#[test]
fn every_key_and_value_knows_its_place() {
    let text = "# é comment\na: 1\nb:\n  - x: 'q''s'\n    ü: \"t\\u00e9\"\n  - [one, {k: v}]\nc: &x {d: 2}\ne: *x\n";
    let parsed = parse("p.yaml", text, 1);
    assert!(parsed.usable && parsed.findings.is_empty());
    let document = parsed.document;
    assert_eq!(
        document.value(),
        json!({ "a": 1, "b": [{ "x": "q's", "ü": "té" }, ["one", { "k": "v" }]], "c": { "d": 2 }, "e": { "d": 2 } })
    );
    assert_eq!(spot(&document, document.value_place("/a")), (2, 4, "1"));
    assert_eq!(spot(&document, document.key_place("/b/0/ü")), (5, 5, "ü"));
    assert_eq!(spot(&document, document.value_place("/b/0/ü")), (5, 8, "\"t\\u00e9\""));
    assert_eq!(spot(&document, document.value_place("/b/1/1/k")), (6, 15, "v"));
    assert_eq!(spot(&document, document.value_place("/b")), (3, 1, "b"));
    // Inside of an alias the place is where the value is written.
    assert_eq!(spot(&document, document.value_place("/e/d")), (7, 11, "2"));
    assert_eq!(spot(&document, document.value_place("/b/0/nope")), (4, 5, ""));
    assert_eq!(document.locate("/b/1/0"), (6, 6));
}

#[test]
fn a_place_inside_of_a_text_is_exact_for_every_style() {
    for text in [
        "plain: a > zz AND b\n",
        "single: 'a > ''q'' AND zz'\n",
        "double: \"a > \\\"q\\\" AND\\tzz\"\n",
        "literal: |\n  a >\n  zz AND b\n",
        "literal: |2- # comment\n    a >\n    zz AND b\n",
        "folded: >-\n  a >\n  é AND\n\n  zz AND b\n",
        "plain: a >\n  b AND\n  zz\n",
        "double: \"a > \\\n   b AND\n   zz\"\n",
        "nested:\n  key:\n    - |\n      a >\n      zz\n",
    ] {
        let document = parse("p.yaml", text, 1).document;
        let mut pointer = String::new();
        let mut value = &document.value();
        while !value.is_string() {
            let (step, inner) = match value {
                Value::Object(map) => map.iter().next().map(|(key, inner)| (key.clone(), inner)).unwrap(),
                Value::Array(items) => ("0".to_owned(), &items[0]),
                _ => unreachable!(),
            };
            pointer.push_str(&format!("/{step}"));
            value = inner;
        }
        let decoded = value.as_str().unwrap();
        let before = decoded.split("zz").next().unwrap();
        let line = before.matches('\n').count() as u64 + 1;
        let column = before.rsplit('\n').next().unwrap().chars().count() as u64 + 1;
        let place = document.text_place(&pointer, line, column, 2);
        assert_eq!(document.text().get(place.clone()), Some("zz"), "{text:?} {place:?}");
    }
}

#[test]
fn syntax_and_structure() {
    assert_eq!(
        messages("a: [1, 2\nb: 3\n"),
        ["p.yaml:2:2: error[E001]: not valid YAML: illegal placement of ':' indicator\n  b: 3\n   ^"]
    );
    assert_eq!(
        messages("a: 1\nb: 2\na: 3\n"),
        ["p.yaml:3:1: error[E002]: duplicate key \"a\"\n  a: 3\n  ^\nhelp: the first is at line 1: remove one of them"]
    );
    assert_eq!(
        messages(""),
        [
            "p.yaml:1:1: error[E007]: the file is empty\n  \n  ^\nhelp: write a starter with: restow create files/repository"
        ]
    );
    assert_eq!(
        messages("a: !secret x\n"),
        [
            "p.yaml:1:4: error[E005]: the tag !secret is not used in pipeline files\n  a: !secret x\n     ^^^^^^^^^\nhelp: remove the tag: types follow from the field"
        ]
    );
    assert_eq!(
        messages("a: &x {b: 1}\nc: { <<: *x }\n"),
        [
            "p.yaml:2:6: error[E005]: merge keys are not used in pipeline files\n  c: { <<: *x }\n       ^^\nhelp: repeat the whole value by an alias, or write the fields out"
        ]
    );
    assert_eq!(
        messages("a: 1\n---\nb: 2\n"),
        [
            "p.yaml:2:1: error[E005]: a second YAML document\n  ---\n  ^^^\nhelp: one file holds one pipeline: move what follows to a file of its own"
        ]
    );
    assert_eq!(
        messages("a: 99999999999999999999\nb: .nan\n"),
        [
            "p.yaml:1:4: error[E005]: an integer that does not fit 64 bits\n  a: 99999999999999999999\n     ^^^^^^^^^^^^^^^^^^^^\nhelp: quote it to keep every digit as text",
            "p.yaml:2:4: error[E005]: a number that is not finite\n  b: .nan\n     ^^^^\nhelp: write a finite number, or quote it as a text",
        ]
    );
}

#[test]
fn hostile_structure_is_bounded() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let previous = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", ")));
    }
    let found = messages(&bomb);
    assert!(found[0].contains("error[E004]: more than 100000 values after aliases are expanded"), "{found:?}");

    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(10_000), vec!["*a"; 200].join(", "));
    assert!(messages(&text)[0].contains("error[E004]: aliases repeat more than 1048576 bytes of text"));
    assert!(messages("a: &a [1, *a]\n")[0].contains("error[E004]: an alias inside of what it repeats"));
    assert!(messages(&"[".repeat(100_000))[0].contains("error[E003]: nested deeper than 64 levels"));
    assert!(messages(&"- ".repeat(100_000))[0].contains("error[E003]: nested deeper than 64 levels"));
    assert!(messages(&"{a: ".repeat(100_000))[0].contains("error[E003]: nested deeper than 64 levels"));
    let deep = format!("a: &a {}1{}\nb: {}*a{}\n", "[".repeat(40), "]".repeat(40), "[".repeat(40), "]".repeat(40));
    assert!(messages(&deep)[0].contains("error[E003]: nested deeper than 64 levels by aliases"));
    assert!(messages(&"x".repeat(MAX_BYTES + 1))[0].contains("error[E006]"));
    assert!(messages(&format!("{}: 1\n", "k".repeat(300)))[0].contains("error[E005]: a key of more than 256 bytes"));
}

#[test]
fn line_ends_and_byte_order_mark() {
    let document = parse("p.yaml", "\u{feff}a: 1\r\nb: 2\r\n", 1).document;
    assert_eq!(document.value(), json!({ "a": 1, "b": 2 }));
    assert_eq!(document.locate("/b"), (2, 4));
    let moved = parse("p.yaml", "a: 1\nb: 2\n", 10).document;
    assert_eq!(moved.locate("/b"), (11, 4));
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let text = format!("a: [{}zz]\n", "0, ".repeat(1_000));
    let document = parse("p.yaml", &text, 1).document;
    let found = document.diagnostic("E101", document.value_place("/a/1000"), "m".into(), None);
    assert_eq!(found.column, 3005);
    let line = found.source_line.unwrap();
    assert!(line.chars().count() < 200);
    assert_eq!(line.chars().skip(found.source_column as usize - 1).take(2).collect::<String>(), "zz");
}
