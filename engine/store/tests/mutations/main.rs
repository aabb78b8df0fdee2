//! Random mutations of repositories, given to everything that reads: no panic, no read without end, memory below 512 MiB,
//! and never other data without an error.
//!
//! `RESTOW_FAULTS_FULL=1` makes 100,000 mutations instead of a sample; `--nocapture` prints what came of which kind.
//! Mutation n of seed s is always the same: `RESTOW_MUTATIONS=s:n` makes only that one, and tells what it is.
//!
//! This is a test binary of its own, since the memory of the whole process is what is measured.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "tests may panic and print"
)]

mod claims;
mod input;
mod json;
mod mutate;
mod random;
mod read;
mod seal;
mod store;
mod subject;
#[path = "../../src/vectors.rs"]
#[allow(dead_code, reason = "the crate's own tests use the rest")]
mod vectors;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use mutate::Mutation;
use random::Random;
use seal::Seal;
use subject::Subject;
use watch::{Watch, peak_memory};

/// Mutations of the quick tier: less than a minute on one core.
const QUICK: u64 = 10_000;
const FULL: u64 = 100_000;
const SEED: u64 = 1;

fn here() -> PathBuf {
    FsPath::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn subjects(runtime: &Runtime) -> Vec<Subject> {
    let subjects = runtime.block_on(Subject::all(&here().join("../../tests/fixtures")));
    for subject in &subjects {
        assert!(subject.good.findings.is_empty(), "{}: {:?}", subject.name, subject.good.findings);
        assert!(subject.good.content.len() > 5, "{}: {:?}", subject.name, subject.good.content.keys());
    }
    subjects
}

/// Seed and numbers of the mutations to make.
fn wanted() -> (u64, std::ops::Range<u64>) {
    if let Ok(one) = std::env::var("RESTOW_MUTATIONS") {
        let (seed, n) = one.split_once(':').expect("RESTOW_MUTATIONS is seed:number");
        let n: u64 = n.parse().expect("a number");
        return (seed.parse().expect("a seed"), n..n + 1);
    }
    let full = std::env::var("RESTOW_FAULTS_FULL").is_ok_and(|value| value == "1");
    (SEED, 0..if full { FULL } else { QUICK })
}

fn made(subjects: &[Subject], seed: u64, n: u64) -> (&Subject, Mutation) {
    let mut random = Random::new(seed.wrapping_mul(1 << 32).wrapping_add(n));
    let subject = random.of(subjects).unwrap();
    (subject, Mutation::random(subject, &mut random))
}

/// What was done, how often, and what came of it.
#[derive(Default)]
struct Counts {
    kinds: BTreeMap<&'static str, BTreeMap<String, usize>>,
    outcomes: BTreeMap<(Seal, String), usize>,
    slowest: Vec<(Duration, String)>,
}

impl Counts {
    fn add(&mut self, mutation: &Mutation, name: String, outcome: String, time: Duration) {
        *self.kinds.entry(mutation.kind).or_default().entry(outcome.clone()).or_default() += 1;
        *self.outcomes.entry((mutation.seal, outcome)).or_default() += 1;
        self.slowest.push((time, name));
        self.slowest.sort_by(|one, two| two.cmp(one));
        self.slowest.truncate(3);
    }

    fn print(&self) {
        for (kind, outcomes) in &self.kinds {
            println!("{kind:>24} {:>6}  {outcomes:?}", outcomes.values().sum::<usize>());
        }
        println!("by what was sealed again: {:?}", self.outcomes);
        println!("slowest: {:?}", self.slowest);
    }
}

#[test]
fn mutated_repositories_are_refused_or_read_as_they_were() {
    let (seed, numbers) = wanted();
    let runtime = runtime();
    let subjects = subjects(&runtime);
    let (watch, begin) = (Watch::new(), Instant::now());
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    for n in numbers.clone() {
        let (subject, mutation) = made(&subjects, seed, n);
        let (kind, path) = (mutation.kind, &mutation.path);
        let name = format!("{seed}:{n}, {kind}, {:?}, {path} of {}", mutation.seal, subject.name);
        let read = watch.over(&name, || runtime.block_on(subject.read(&mutation.change)));
        if numbers.end - numbers.start == 1 {
            println!("{mutation:?}\n{:?}", read.as_ref().map(|(found, _)| &found.findings));
        }
        match read {
            Err(panic) => {
                runtime.block_on(subject.undo(&mutation.change));
                wrong.push(format!("{name}: panics: {panic}"));
            }
            Ok((found, time)) => match input::verdict(subject, &mutation, &found) {
                Ok(outcome) => counts.add(&mutation, name, outcome, time),
                Err(problem) => wrong.push(format!("{name}: {problem}")),
            },
        }
    }
    counts.print();
    let (count, peak) = (numbers.end - numbers.start, peak_memory());
    println!("{count} mutations of seed {seed} in {:?}, {} wrong, {peak} KiB at most", begin.elapsed(), wrong.len());
    wrong.truncate(40);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn corpus() -> PathBuf {
    here().join("fuzz/corpus/read")
}

/// What the fuzz target is given first, and what it found before.
#[test]
fn every_input_of_the_corpus_is_read() {
    let runtime = runtime();
    let (subjects, watch) = (subjects(&runtime), Watch::new());
    let (mut inputs, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let path = entry.unwrap().path();
        let (name, input) = (path.display().to_string(), std::fs::read(&path).unwrap());
        let (subject, mutation) = input::mutation(&subjects, &input).unwrap();
        let read = watch.over(&name, || runtime.block_on(subject.read(&mutation.change)));
        let (found, _) = read.unwrap_or_else(|panic| panic!("{name}: {panic}"));
        input::verdict(subject, &mutation, &found).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        (inputs, bytes) = (inputs + 1, bytes + input.len());
    }
    assert!(bytes < 300_000, "the corpus is to stay small: {bytes} bytes");
    println!("{inputs} inputs, {bytes} bytes, {} KiB of memory at most", peak_memory());
}

/// Seeds must be read as the repositories are: then a fuzzer that changes one byte changes only that.
#[test]
fn seeds_stand_for_the_good_repositories() {
    let runtime = runtime();
    let subjects = subjects(&runtime);
    for (name, input) in input::seeds(&subjects) {
        let (subject, mutation) = input::mutation(&subjects, &input).unwrap();
        let found = runtime.block_on(subject.read(&mutation.change));
        // A container sealed again is another one, which the manifest does not name.
        let other = mutation.seal == Seal::Key && !found.findings.is_empty();
        assert!(other || found.content == subject.good.content, "{name}: {:?}", found.findings);
    }
}

#[test]
#[ignore = "writes the corpus: run it by name after the fixtures or the form of inputs have changed"]
fn write_the_seeds_of_the_corpus() {
    let runtime = runtime();
    std::fs::create_dir_all(corpus()).unwrap();
    for (name, input) in input::seeds(&subjects(&runtime)) {
        std::fs::write(corpus().join(name), input).unwrap();
    }
}
