//! A folder to run in, the binary, and what came out of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A key of nobody: 32 zero bytes.
pub const KEY: &str = "rsk1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Another one.
pub const OTHER_KEY: &str = "rsk1_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

/// The checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder that is removed after the test, with a working directory, a home and a place for temporary files in it.
pub struct Place {
    root: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Place {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["work", "home", "tmp"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        Self { root, variables: BTreeMap::new() }
    }

    /// With the pipelines, the settings and the example data of the checkout.
    pub fn with_example() -> Self {
        let place = Self::new();
        for folder in ["pipelines", "examples"] {
            std::fs::create_dir(place.path(folder)).unwrap();
            for entry in std::fs::read_dir(checkout().join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    std::fs::copy(entry.path(), place.path(folder).join(entry.file_name())).unwrap();
                }
            }
        }
        std::fs::copy(checkout().join("restow.yaml"), place.path("restow.yaml")).unwrap();
        place
    }

    /// Sets a variable for all commands that follow.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.variables.remove(name);
        self
    }

    /// Everything, the temporary files included.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path in the working directory.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join("work").join(relative)
    }

    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The binary with only what every program gets, so that no setting of the developer's own takes part.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restow"));
        command.args(arguments).current_dir(self.path("")).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.root.path().join("home")).env("TMPDIR", self.root.path().join("tmp"));
        command.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
        command.envs(&self.variables);
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(arguments, self.command(arguments).output().unwrap())
    }

    /// Starts the binary and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Started { child: Some(child), arguments }
    }

    /// Every file below a folder of the working directory, with its path relative to it.
    pub fn files(&self, folder: &str) -> Vec<(String, PathBuf)> {
        files_below(&self.path(folder))
    }

    /// Runs the command and returns the rows of its CSV output, without the header.
    pub fn query(&self, repository: &str, sql: &str) -> Vec<String> {
        let ran = self.run(&["catalog", "query", "latest", sql, "-r", repository, "--format", "csv"]).ends_with(0);
        ran.stdout.lines().skip(1).map(str::to_owned).collect()
    }
}

/// Every file below a folder, with its path relative to it, in order.
pub fn files_below(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => {
                    let relative = entry.path().strip_prefix(folder).unwrap().display().to_string();
                    found.push((relative, entry.path()));
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// A process that may be ended early. It never outlives the test.
pub struct Started {
    child: Option<Child>,
    arguments: Vec<String>,
}

impl Started {
    /// Sends a signal by its name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}");
    }

    /// Waits until something holds. The process must not end before.
    pub fn until(&mut self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                panic!("ended before {what}: {}", self.take().text());
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{what} did not come");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ran {
        self.take()
    }

    fn take(&mut self) -> Ran {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Ran::of(&arguments, output)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    pub arguments: String,
    /// -1 where a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(arguments: &[&str], output: Output) -> Self {
        Self {
            arguments: arguments.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Everything, for messages and snapshots.
    pub fn text(&self) -> String {
        let mut text = format!("$ restow {}\nexit code: {}\n", self.arguments, self.code);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                let _ = write!(text, "----- {name} -----\n{stream}");
            }
        }
        text
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.text());
        self
    }

    /// The output, both streams, holds a text.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stdout.contains(part) || self.stderr.contains(part), "{part:?} is not said\n{}", self.text());
        self
    }

    #[track_caller]
    pub fn says_not(self, part: &str) -> Self {
        assert!(!self.stdout.contains(part) && !self.stderr.contains(part), "{part:?} is said\n{}", self.text());
        self
    }

    /// Every line of standard output as JSON.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{}", self.text()));
        self.stdout.lines().map(parse).collect()
    }

    /// The last line of `--json`, which is always the summary.
    #[track_caller]
    pub fn summary(&self) -> Value {
        let last = self.lines().pop().unwrap_or_else(|| panic!("no line on stdout\n{}", self.text()));
        assert_eq!(last["type"], "summary", "{}", self.text());
        assert_eq!(last["exit_code"], self.code, "{}", self.text());
        last
    }

    /// Compares everything with a snapshot, to the letter.
    #[track_caller]
    pub fn snapshot_exact(&self, name: &str) {
        compare(name, &self.text(), &[]);
    }

    /// Compares everything with a snapshot; what differs from run to run is masked.
    #[track_caller]
    pub fn snapshot(&self, name: &str) {
        compare(name, &self.text(), MASKS);
    }
}

/// Compares a text with `snapshots/<name>.snap`.
#[track_caller]
pub fn compare(name: &str, text: &str, masks: &[(&str, &str)]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, mask) in masks {
        settings.add_filter(pattern, *mask);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// What differs from run to run, from the most to the least special.
const MASKS: &[(&str, &str)] = &[
    (r"\d{8}T\d{6}Z-[a-z2-7]{10}", "[SNAPSHOT]"),
    (r"rsk1_[A-Za-z0-9_-]{43}|rsr1_[A-Za-z0-9_-]+|[A-Z2-7]{4}(-[A-Z2-7]{4}){5,}", "[KEY]"),
    (r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00:00| UTC)?", "[TIME]"),
    (r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}( UTC)?", "[TIME]"),
    (r"\b[0-9a-f]{32,64}\b", "[HEX]"),
    (r"/[^\s:]*/\.tmp[A-Za-z0-9]{6}", "[ROOT]"),
    (r"[\d,.]+ rows/s", "[RATE]"),
    (r"[\d,.]+ [kMGT]?B/s", "[RATE]"),
    (r"\b\d+ min \d\d s\b|\b[\d.]+ s\b", "[SECONDS]"),
    (r"[\d,.]+ [kMGT]?B\b", "[BYTES]"),
    (r"[\d.]+ to the ", "[RATIO] to the "),
    (r"bottleneck: .*", "bottleneck: [STAGE]"),
    (r" {2,}", "  "),
];

/// A pipeline from files to a repository: the common case of these tests.
pub fn backup(path: &str, repository: &str, more: &str) -> String {
    pipeline(
        &format!("files: {{ path: {path:?}, id: id }}"),
        &format!("repository: {{ url: {repository:?}, create: if_missing }}"),
        more,
    )
}

/// A pipeline of a source and a sink; `more` are further stages.
pub fn pipeline(source: &str, sink: &str, more: &str) -> String {
    let stages: String = more.lines().map(|line| format!("  {line}\n")).collect();
    format!("version: 1\nstages:\n  - source: {{ {source} }}\n{stages}  - sink: {{ {sink} }}\n")
}

/// Rows of JSON lines with an id, a text, numbers and a vector of 16 values; each has about 400 bytes.
pub fn rows(from: u64, count: u64) -> String {
    let mut out = String::new();
    for n in from..from + count {
        let vector: Vec<String> =
            (0..16_u64).map(|k| format!("{}", f64::from(((n * 31 + k * 17) % 1009) as u32) / 1009.0)).collect();
        let _ = writeln!(
            out,
            r#"{{"id":"row-{n}","n":{n},"text":"text of row {n} {}","even":{},"vector":[{}]}}"#,
            "lorem ipsum ".repeat(8),
            n % 2 == 0,
            vector.join(",")
        );
    }
    out
}

/// Whether bytes hold other bytes.
pub fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
