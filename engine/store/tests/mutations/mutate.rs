//! One random mutation of a repository.

use bytes::Bytes;

use crate::json;
use crate::random::Random;
use crate::seal::{self, SEALS, Seal};
use crate::store::Lie;
use crate::subject::{Change, Subject};

/// What is done to a repository.
#[derive(Debug)]
pub struct Mutation {
    pub kind: &'static str,
    pub seal: Seal,
    pub path: String,
    pub change: Change,
}

/// The kind of an object.
pub fn kind(path: &str) -> &'static str {
    match path {
        "repository.json" => "repository.json",
        _ if path.starts_with("keys/") => "keyring",
        _ if path.ends_with("/manifest.json") => "manifest",
        _ if path.contains("/inventory-") => "inventory",
        _ if path.contains("/artifacts/") => "artifact",
        _ if path.ends_with("/intent.json") => "intent",
        _ if path.contains("/receipts/") => "receipt",
        _ if path.ends_with(".sha256") => "digests",
        _ => "data",
    }
}

impl Mutation {
    /// Whether what is read must be what was written, or refused. It need not be where the mutation is one that only who
    /// may write without being doubted can make: with the key, or where there is none.
    pub fn is_strict(&self, subject: &Subject) -> bool {
        let named_by_digest = matches!(kind(&self.path), "digests" | "inventory");
        match self.seal {
            Seal::Stored => !self.path.starts_with("control/deleted/"),
            Seal::Digest => subject.keys.is_some() || named_by_digest,
            Seal::Key | Seal::Inventory => false,
        }
    }

    /// A mutation that changes something.
    pub fn random(subject: &Subject, random: &mut Random) -> Self {
        loop {
            let made = match random.below(16) {
                0 => lie(subject, random),
                1 => stray(subject, random),
                _ => changed(subject, random),
            };
            if let Some(made) = made {
                return made;
            }
        }
    }
}

/// An object: first a kind, so that the many receipts and files do not push out the one keyring.
fn object<'a>(subject: &'a Subject, random: &mut Random) -> Option<(&'a String, &'a Bytes)> {
    let mut kinds: Vec<_> = subject.objects.keys().map(|path| kind(path)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let wanted = *random.of(&kinds)?;
    let all: Vec<_> = subject.objects.iter().filter(|(path, _)| kind(path) == wanted).collect();
    random.of(&all).copied()
}

fn changed(subject: &Subject, random: &mut Random) -> Option<Mutation> {
    let (path, stored) = object(subject, random)?;
    let seal = *random.of(&SEALS)?;
    let keys = subject.keys.as_ref();
    let before = seal::open(seal, keys, path, stored)?;
    let (mut inner, mut name) = (before.clone(), "");
    for _ in 0..if random.one_in(4) { 2 } else { 1 } {
        (name, inner) = mutated(subject, path, seal, &inner, random)?;
    }
    if inner == before {
        return None;
    }
    let set = seal::close(seal, keys, path, stored, &inner);
    Some(Mutation { kind: name, seal, path: path.clone(), change: Change { set, lie: None } })
}

fn mutated(
    subject: &Subject,
    path: &str,
    seal: Seal,
    inner: &[u8],
    random: &mut Random,
) -> Option<(&'static str, Vec<u8>)> {
    // Behind the checks there is JSON, which bytes would break at once: mostly it is mutated as such.
    let json = inner.starts_with(b"{") && !random.one_in(if seal == Seal::Stored { 2 } else { 5 });
    if json {
        let (name, mutation) = random.of(&json::MUTATIONS)?;
        return Some((name, mutation(inner, &json::parts(inner), random)?));
    }
    let (name, mutation) = random.of(&MUTATIONS)?;
    let others = Others { subject, path, seal };
    Some((name, mutation(inner.to_vec(), &others, random)?))
}

/// The other objects, opened as far as the one that is mutated.
struct Others<'a> {
    subject: &'a Subject,
    path: &'a str,
    seal: Seal,
}

impl Others<'_> {
    fn one(&self, same_kind: bool, random: &mut Random) -> Option<Vec<u8>> {
        let fits = |path: &str| path != self.path && (kind(path) == kind(self.path)) == same_kind;
        let all: Vec<_> = self.subject.objects.iter().filter(|(path, _)| fits(path)).collect();
        let (path, stored) = random.of(&all)?;
        seal::open(self.seal, self.subject.keys.as_ref(), path, stored)
    }
}

type Bytewise = fn(Vec<u8>, &Others<'_>, &mut Random) -> Option<Vec<u8>>;

const MUTATIONS: [(&str, Bytewise); 13] = [
    ("a bit", bits),
    ("a byte", byte),
    ("a cut", cut),
    ("an addition", addition),
    ("a slice twice", slice_twice),
    ("a slice removed", slice_removed),
    ("slices exchanged", slices_exchanged),
    ("random bytes", noise),
    ("a length", length),
    ("a header field", header_field),
    ("a splice within a kind", splice_same),
    ("a splice of two kinds", splice_other),
    ("a text number", text_number),
];

/// A place, more often one where something begins or ends.
fn place(bytes: &[u8], random: &mut Random) -> usize {
    let end = bytes.len();
    match random.below(6) {
        0 => random.below(end.min(100)),
        1 => end - random.below(end.min(160)) - usize::from(end > 0),
        _ => random.below(end),
    }
}

fn slice(bytes: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let begin = place(bytes, random).min(bytes.len());
    let longest = (bytes.len() - begin).min([4, 16, 80, 10_000][random.below(4)]);
    begin..begin + random.below(longest + 1)
}

fn bits(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    for _ in 0..=random.below(3) {
        let at = place(&bytes, random);
        *bytes.get_mut(at)? ^= 1 << random.below(8);
    }
    Some(bytes)
}

fn byte(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let at = place(&bytes, random);
    *bytes.get_mut(at)? = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'}', b'0', random.next() as u8][random.below(10)];
    Some(bytes)
}

fn cut(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let by = [1, 16, 32, 78, random.below(bytes.len())][random.below(5)];
    bytes.truncate(bytes.len().saturating_sub(by));
    Some(bytes)
}

fn addition(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let by = [1, 16, 17, 80, 65_552, 1 << 20][random.below(6)];
    match random.below(3) {
        0 => bytes.resize(bytes.len() + by, 0),
        1 => bytes.extend_from_within(..),
        _ => bytes.extend((0..by).map(|_| b'\n')),
    }
    Some(bytes)
}

fn slice_twice(bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let slice = slice(&bytes, random);
    Some([&bytes[..slice.end], &bytes[slice.start..]].concat())
}

fn slice_removed(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let slice = slice(&bytes, random);
    bytes.drain(slice);
    Some(bytes)
}

fn slices_exchanged(bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let (one, two) = (slice(&bytes, random), slice(&bytes, random));
    let (one, two) = if one.start < two.start { (one, two) } else { (two, one) };
    if one.end > two.start {
        return None;
    }
    let pieces = [&bytes[..one.start], &bytes[two.clone()], &bytes[one.end..two.start], &bytes[one], &bytes[two.end..]];
    Some(pieces.concat())
}

fn noise(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let slice = slice(&bytes, random);
    bytes[slice].iter_mut().for_each(|byte| *byte = random.next() as u8);
    Some(bytes)
}

/// Numbers where a length overflows, or does not fit by one.
fn extreme(random: &mut Random) -> u64 {
    let base = [0, 1 << 16, 65_552, 1 << 20, 1 << 29, 1 << 31, 1 << 32, 1 << 48, 1 << 62, 1 << 63][random.below(10)];
    u64::wrapping_sub(base, 2).wrapping_add(random.below(5) as u64)
}

/// Four or eight bytes anywhere as a length that no object has.
fn length(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let number = extreme(random).to_be_bytes();
    let number = if random.one_in(2) { &number[..] } else { &number[4..] };
    let at = place(&bytes, random) / 4 * 4;
    bytes.get_mut(at..at + number.len())?.copy_from_slice(number);
    Some(bytes)
}

/// A field of a container's header or of block digests.
fn header_field(mut bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let (at, long) = [(4, 4), (7, 1), (8, 4), (12, 4), (16, 8), (16, 32), (48, 32)][random.below(7)];
    let number = extreme(random).to_be_bytes();
    bytes.get_mut(at..at + long)?.iter_mut().zip(number.iter().rev().cycle()).for_each(|(to, from)| *to = *from);
    Some(bytes)
}

fn splice_same(bytes: Vec<u8>, others: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    spliced(bytes, others.one(true, random)?, random)
}

fn splice_other(bytes: Vec<u8>, others: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    spliced(bytes, others.one(false, random)?, random)
}

/// The beginning of one and the end of the other, cut at the same place or anywhere; or the other alone.
fn spliced(one: Vec<u8>, other: Vec<u8>, random: &mut Random) -> Option<Vec<u8>> {
    let at = place(&one, random).min(one.len());
    let from = if random.one_in(2) { at.min(other.len()) } else { random.below(other.len()) };
    Some(if random.one_in(4) { other } else { [&one[..at], &other[from..]].concat() })
}

/// Some digits of a text as another number.
fn text_number(bytes: Vec<u8>, _: &Others<'_>, random: &mut Random) -> Option<Vec<u8>> {
    let at = (0..30).map(|_| random.below(bytes.len())).find(|at| bytes.get(*at).is_some_and(u8::is_ascii_digit))?;
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some([&bytes[..at], extreme(random).to_string().as_bytes(), &bytes[at + digits..]].concat())
}

/// The store lies about an object.
fn lie(subject: &Subject, random: &mut Random) -> Option<Mutation> {
    let (path, stored) = object(subject, random)?;
    let long = stored.len() as u64;
    let (kind, lie) = match random.below(4) {
        0 => {
            let near = [0, 1, long - 1, long + 1, long + 16, long + 65_552, long * 2][random.below(7)];
            ("lie: a size", Lie::Size(if random.one_in(2) { near } else { extreme(random) }))
        }
        // One in some hundred: it takes a while.
        1 if random.one_in(8) => ("lie: no end", Lie::Endless),
        1 => return None,
        2 => ("lie: a short answer", Lie::Short(1 + random.below(stored.len()))),
        _ => ("lie: another range", Lie::Shifted(1 + random.below(stored.len()))),
    };
    Some(Mutation {
        kind,
        seal: Seal::Stored,
        path: path.clone(),
        change: Change { set: Vec::new(), lie: Some((path.clone(), lie)) },
    })
}

/// An object under a name that nobody gave it.
fn stray(subject: &Subject, random: &mut Random) -> Option<Mutation> {
    let (path, stored) = object(subject, random)?;
    let of = |prefix: &str| subject.objects.keys().find(|path| path.starts_with(prefix));
    let id = of("snapshots/")?.split('/').nth(1)?;
    let run = of("runs/").and_then(|path| path.split('/').nth(1)).unwrap_or("r");
    let names = [
        "keys/0.json".to_owned(),
        "keys/01.json".to_owned(),
        "keys/2.json".to_owned(),
        "keys/9.json".to_owned(),
        "keys/18446744073709551615.json".to_owned(),
        "keys/18446744073709551616.json".to_owned(),
        "keys/x".to_owned(),
        "keys/a/1.json".to_owned(),
        "snapshots/latest/manifest.json".to_owned(),
        "snapshots/20990101T000000Z-aaaaaaaaaa/manifest.json".to_owned(),
        "snapshots/20990101T000000Z-aaaaaaaaaa/x".to_owned(),
        "snapshots/20991301T000000Z-aaaaaaaaaa/manifest.json".to_owned(),
        format!("snapshots/{id}/inventory-x.json"),
        format!("control/deleted/{id}"),
        "control/deleted/x".to_owned(),
        "runs/x y/intent.json".to_owned(),
        "runs/.stray/x".to_owned(),
        "runs/other/intent.json".to_owned(),
        "runs/other/x".to_owned(),
        format!("runs/{run}/outcome.json"),
        format!("runs/{run}/claims/18446744073709551615"),
        format!("runs/{run}/receipts/rows/a/b/2.json"),
        format!("runs/{run}/receipts/x"),
        "data/x".to_owned(),
        format!("{path}.sha256"),
        format!("{path}/x"),
    ];
    let name = random.of(&names)?.clone();
    if subject.objects.contains_key(&name) {
        return None;
    }
    let set = vec![(name.clone(), stored.clone())];
    Some(Mutation { kind: "a stray object", seal: Seal::Stored, path: name, change: Change { set, lie: None } })
}
