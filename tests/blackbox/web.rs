//! A plain web server that counts what it sends.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A server, as long as the test runs.
pub struct Served {
    pub url: String,
    log: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Served {
    /// Bytes that were sent of objects whose path contains `part`, since this was last asked; and of how many requests.
    pub fn sent(&self, part: &str) -> (u64, usize) {
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        let found: Vec<u64> = log.into_iter().filter(|(path, _)| path.contains(part)).map(|(_, bytes)| bytes).collect();
        (found.iter().sum(), found.len())
    }
}

/// Serves a folder on loopback: GET and HEAD, with ranges, no lists. Counts what it sends.
pub fn serve(folder: PathBuf) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::clone(&log);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (folder, sent) = (folder.clone(), Arc::clone(&sent));
            std::thread::spawn(move || while answer(&stream, &folder, &sent).unwrap_or(false) {});
        }
    });
    Served { url, log }
}

/// Answers one request; whether there may be another.
fn answer(stream: &TcpStream, folder: &Path, sent: &Mutex<Vec<(String, u64)>>) -> std::io::Result<bool> {
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
        sent.lock().unwrap().push((path.display().to_string(), until - from));
        file.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut file.take(until - from), &mut out)?;
    }
    Ok(true)
}
