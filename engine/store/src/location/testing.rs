//! A plain web server, for tests.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;

/// Answers GET and HEAD for the files by their paths, with range requests or without. Gives its address.
pub(crate) fn serve(files: BTreeMap<String, Vec<u8>>, ranges: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&buffer[..n]),
                }
            }
            let _ = stream.write_all(&answer(&files, &String::from_utf8_lossy(&request), ranges));
        }
    });
    format!("http://{address}")
}

fn answer(files: &BTreeMap<String, Vec<u8>>, request: &str, ranges: bool) -> Vec<u8> {
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let name = object_store::path::Path::from_url_path(path).unwrap();
    let Some(body) = files.get(name.as_ref()) else {
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    };
    let range = request.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let (status, extra, body) = match range.filter(|_| ranges) {
        Some(range) => {
            let (from, to) = range.split_once('-').unwrap();
            let from: usize = from.parse().unwrap();
            let to = to.parse().unwrap_or(usize::MAX).min(body.len() - 1);
            ("206 Partial Content", format!("Content-Range: bytes {from}-{to}/{}\r\n", body.len()), &body[from..=to])
        }
        None => ("200 OK", String::new(), body.as_slice()),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{extra}Connection: close\r\n\r\n");
    let body = if method == "HEAD" { &[] } else { body };
    [head.as_bytes(), body].concat()
}
