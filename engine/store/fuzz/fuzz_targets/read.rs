//! No bytes of any object make reading a repository panic, hang, or show what was not written.
//!
//! `cargo +nightly fuzz run read` in `engine/store`; the corpus begins with each kind of object of the golden repositories,
//! and of those of the format's document, with and without the checks around it. `tests/mutations` reads the corpus, too.

#![no_main]
#![allow(dead_code)]

#[path = "../../tests/mutations/input.rs"]
mod input;
#[path = "../../tests/mutations/json.rs"]
mod json;
#[path = "../../tests/mutations/mutate.rs"]
mod mutate;
#[path = "../../tests/mutations/random.rs"]
mod random;
#[path = "../../tests/mutations/read.rs"]
mod read;
#[path = "../../tests/mutations/seal.rs"]
mod seal;
#[path = "../../tests/mutations/store.rs"]
mod store;
#[path = "../../tests/mutations/subject.rs"]
mod subject;
#[path = "../../src/vectors.rs"]
mod vectors;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static GOOD: (Runtime, Vec<subject::Subject>) = {
        let runtime = Builder::new_current_thread().build().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures");
        let subjects = runtime.block_on(subject::Subject::all(&fixtures));
        (runtime, subjects)
    };
}

fuzz_target!(|bytes: &[u8]| {
    GOOD.with(|(runtime, subjects)| {
        let Some((subject, mutation)) = input::mutation(subjects, bytes) else { return };
        let found = runtime.block_on(subject.read(&mutation.change));
        if let Err(problem) = input::verdict(subject, &mutation, &found) {
            panic!("{} of {}: {problem}", mutation.path, subject.name);
        }
    });
});
