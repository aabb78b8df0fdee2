//! A repository behind a plain web server: read-only, and without lists.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use crate::support::{KEY, Place, backup, pipeline, rows};

/// Serves a folder on loopback, as long as the test runs: GET and HEAD, with ranges, no lists.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || while answer(&stream, &folder).unwrap_or(false) {});
        }
    });
    format!("http://{address}")
}

/// Answers one request; whether there may be another.
fn answer(stream: &TcpStream, folder: &Path) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    if reader.read_line(&mut request)? == 0 {
        return Ok(false);
    }
    let mut range = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            range = Some(bytes.to_owned());
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = folder.join(path.trim_start_matches('/').replace("%21", "!"));
    let mut out = stream.try_clone()?;
    if !matches!(method, "GET" | "HEAD") || !path.is_file() {
        let status = if matches!(method, "GET" | "HEAD") { "404 Not Found" } else { "405 Method Not Allowed" };
        write!(out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    }
    let mut file = std::fs::File::open(&path)?;
    let size = file.metadata()?.len();
    let (status, from, until) = match range.as_deref().and_then(|range| range.split_once('-')) {
        None => ("200 OK".to_owned(), 0, size),
        Some(("", last)) => ("206 Partial Content".to_owned(), size - last.parse::<u64>().unwrap().min(size), size),
        Some((from, "")) => ("206 Partial Content".to_owned(), from.parse().unwrap(), size),
        Some((from, last)) => {
            ("206 Partial Content".to_owned(), from.parse().unwrap(), (last.parse::<u64>().unwrap() + 1).min(size))
        }
    };
    let extra = if status.starts_with("206") {
        format!("Content-Range: bytes {from}-{}/{size}\r\n", until - 1)
    } else {
        String::new()
    };
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Sat, 31 Jan 2026 02:30:00 GMT\r\n{extra}\r\n",
        until - from
    )?;
    if method == "GET" {
        file.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut file.take(until - from), &mut out)?;
    }
    Ok(true)
}

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
    let url = format!("{}/repo", serve(place.path("")));

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
    let url = serve(place.path(""));
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
