//! A repository behind a plain web server: read-only, and without lists.

use crate::support::{KEY, Place, backup, pipeline, rows};
use crate::web::serve;

#[test]
fn a_snapshot_is_read_over_http() {
    let mut place = Place::new();
    place.set("RESTOW_KEY", KEY);
    place.write("rows.jsonl", rows(0, 500));
    place.write(
        "p.yaml",
        backup("rows.jsonl", "repo", "- encrypt: { aes-256-gcm: { key: \"${secret:env:RESTOW_KEY}\" } }"),
    );
    let ran = place.run(&["run", "p.yaml", "--json"]).ends_with(0);
    let id = ran.summary()["snapshot"].as_str().unwrap().to_owned();
    let url = format!("{}/repo", serve(place.path("")).url);

    let connection = format!(
        "connections: {{ far: {{ repository: {{ url: \"{url}\", allow_http: true, unlock: {{ key: \"${{secret:env:RESTOW_KEY}}\" }} }} }} }}\n"
    );
    let source = format!("repository: {{ connection: far, snapshot: {id} }}");
    place.write(
        "restore.yaml",
        pipeline(&source, "files: { path: out }", "- filter: \"n < 10\"\n- codec: { jsonl: {} }") + &connection,
    );
    place.run(&["run", "restore.yaml"]).ends_with(0);
    let (_, path) = place.files("out/rows").into_iter().next().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 10);

    // A server that does not list cannot say what is the latest.
    let latest = place.read("restore.yaml").replace(&id, "latest").replace("path: out", "path: other");
    place.write("latest.yaml", latest);
    place.run(&["run", "latest.yaml"]).ends_with(2).says("snapshot");
    // And nothing is written there.
    place.write(
        "write.yaml",
        pipeline("files: { path: rows.jsonl, id: id }", "repository: { connection: far }", "") + &connection,
    );
    place.run(&["run", "write.yaml"]).ends_with(2).says("read");
}

#[test]
fn files_are_read_over_http() {
    let place = Place::new();
    place.write("rows.jsonl", rows(0, 50));
    let url = serve(place.path("")).url;
    let connection = format!("connections: {{ web: {{ files: {{ url: \"{url}\", allow_http: true }} }} }}\n");
    let text = pipeline(
        "files: { connection: web, path: rows.jsonl, id: id }",
        "repository: { url: repo, create: if_missing }",
        "",
    ) + &connection;
    place.write("p.yaml", text);
    place.run(&["run", "p.yaml"]).ends_with(0);
    assert_eq!(place.query("repo", "SELECT count(*) AS n FROM rows"), ["50"]);
}
