//! What goes wrong and when, and its text form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An operation of an object store, as the layer counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A whole object is written.
    Put,
    /// A multipart upload begins.
    Multipart,
    /// One part of it.
    Part,
    /// Its completion, which makes the object visible.
    Complete,
    /// It is given up.
    Abort,
    /// An object, a range or some ranges are read.
    Get,
    /// Metadata only.
    Head,
    /// One object is removed.
    Delete,
    /// Any kind of listing.
    List,
    /// A copy.
    Copy,
    /// A rename.
    Rename,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Put,
        Self::Multipart,
        Self::Part,
        Self::Complete,
        Self::Abort,
        Self::Get,
        Self::Head,
        Self::Delete,
        Self::List,
        Self::Copy,
        Self::Rename,
    ];

    /// Its word in plans.
    pub fn word(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Multipart => "multipart",
            Self::Part => "part",
            Self::Complete => "complete",
            Self::Abort => "abort",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Copy => "copy",
            Self::Rename => "rename",
        }
    }

    /// Whether it leaves the store as it is.
    pub fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::List)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The part of an operation after which a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the operation was done.
    Before,
    /// Half of it: half a part, half of the bytes that are read. What a store does at once is not done.
    Middle,
    /// It was done; nobody learns of it.
    After,
}

/// How a store lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A write or removal is not done. A read gives a flipped bit, a head another size, a listing nothing.
    Plain,
    /// A write leaves half of its bytes, visibly. A read or listing ends after half, as if that were all.
    Half,
    /// A write stores a flipped bit; a read gives one.
    Corrupt,
    /// A create replaces what is there: the store ignores the precondition.
    Overwrite,
    /// A create where something is says that it was done, and leaves what is there.
    Keep,
    /// A create where nothing is says that something is there.
    Exists,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error that no retry mends. Nothing is done.
    Fail,
    /// An answer with this HTTP status after all retries. Nothing is done.
    Transient(u16),
    /// The object is said not to be there.
    NotFound,
    /// The permission is said to be missing.
    Denied,
    /// The store is full.
    NoSpace,
    /// The operation is done later.
    Delay(Duration),
    /// There is never an answer, and nothing is done.
    Hang,
    /// The connection breaks half-way. Nothing becomes visible.
    Tear,
    /// Success is reported, and is not true.
    Lie(Lie),
    /// The operation is done, and its reply is lost.
    DropReply,
    /// The process dies: this and every later operation fails.
    Crash(Moment),
}

/// Which of the operations that a rule concerns are hit, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Between(u64, u64),
    /// With this probability in a million.
    PerMillion(u64),
}

/// Faults for operations of some kinds on some paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) kinds: Vec<Kind>,
    /// Pieces of the path that follow each other with anything between.
    pub(super) pattern: Vec<String>,
    pub(super) when: When,
    pub(super) fault: Fault,
}

/// A fault plan. The default is no fault at all.
///
/// As text: rules with commas between them, each `KIND[@PATH]:WHEN=FAULT`; or `none`.
///
/// - KIND: `put`, `multipart`, `part`, `complete`, `abort`, `get`, `head`, `delete`, `list`, `copy`, `rename`;
///   `write` and
///   `read` for all that do and do not change the store; `*` for all.
/// - PATH: a piece of the path, `*` in it for anything: `put@snapshots/*/manifest.json:1=drop-reply`.
/// - WHEN: counted over the operations that this rule concerns: `7` the seventh, `7+` from there on, `2-4`, `*` each,
///   `5%` at random.
/// - FAULT: `fail`, `transient` or `transient(STATUS)`, `not-found`, `denied`, `no-space`, `delay(50ms)`, `hang`,
///   `tear`, `lie`
///   or `lie(half|corrupt|overwrite|keep|exists)`, `drop-reply`, `crash` or `crash(before|middle|after)`.
/// - `seed=N` fixes what is random.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub(super) rules: Vec<Rule>,
    pub(super) seed: u64,
}

/// Why a text is no fault plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{item:?} in the fault plan is not usable: {problem}")]
pub struct PlanError {
    /// The rule.
    pub item: String,
    /// What is wrong and what to write.
    pub problem: String,
}

impl Plan {
    /// No fault at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The process dies at operation `n` of all, counted from 1.
    pub fn crash(n: u64, moment: Moment) -> Self {
        Self::at(n, Fault::Crash(moment))
    }

    /// A fault at operation `n` of all, counted from 1.
    pub fn at(n: u64, fault: Fault) -> Self {
        let rule = Rule { kinds: Kind::ALL.to_vec(), pattern: Vec::new(), when: When::Between(n, n), fault };
        Self { rules: vec![rule], seed: 0 }
    }

    /// The same plan with another seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Whether a process may die by it.
    pub(super) fn can_crash(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.fault, Fault::Crash(_)))
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        if text.trim() == "none" {
            return Ok(plan);
        }
        for item in text.split(',').map(str::trim) {
            let problem = |problem: String| PlanError { item: item.to_owned(), problem };
            match item.strip_prefix("seed=") {
                Some(seed) => plan.seed = seed.parse().map_err(|_| problem("a seed is a number".to_owned()))?,
                None => plan.rules.push(rule(item).map_err(problem)?),
            }
        }
        Ok(plan)
    }
}

fn rule(item: &str) -> Result<Rule, String> {
    let form = || "write KIND:WHEN=FAULT, such as put:7=drop-reply, or `none`".to_owned();
    let (target, fault) = item.rsplit_once('=').ok_or_else(form)?;
    let (target, when) = target.rsplit_once(':').ok_or_else(form)?;
    let (kind, pattern) = target.split_once('@').unwrap_or((target, ""));
    let pattern = pattern.split('*').filter(|piece| !piece.is_empty()).map(str::to_owned).collect();
    Ok(Rule { kinds: kinds(kind)?, pattern, when: moment_of(when)?, fault: parse_fault(fault)? })
}

fn kinds(word: &str) -> Result<Vec<Kind>, String> {
    let found: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| match word {
            "*" => true,
            "read" => kind.reads(),
            "write" => !kind.reads(),
            other => kind.word() == other,
        })
        .collect();
    if found.is_empty() {
        let words: Vec<_> = Kind::ALL.iter().map(|kind| kind.word()).collect();
        return Err(format!("there is no operation {word:?}; there are {}, read, write and *", words.join(", ")));
    }
    Ok(found)
}

fn moment_of(text: &str) -> Result<When, String> {
    let wrong = || format!("{text:?} is no WHEN; write 7, 7+, 2-4, 5% or *; the first operation is 1");
    let number = |text: &str| text.parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(wrong);
    if text == "*" {
        return Ok(When::Always);
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().map_err(|_| wrong())?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(wrong());
        }
        return Ok(When::PerMillion((percent * 10_000.0) as u64));
    }
    if let Some(first) = text.strip_suffix('+') {
        return Ok(When::Between(number(first)?, u64::MAX));
    }
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            if first <= last { Ok(When::Between(first, last)) } else { Err(wrong()) }
        }
        None => number(text).map(|n| When::Between(n, n)),
    }
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    let (word, argument) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((word, argument)) => (word, Some(argument)),
        None => (text, None),
    };
    let unknown = || {
        format!(
            "there is no fault {text:?}; there are fail, transient, transient(503), not-found, denied, no-space, \
             delay(50ms), hang, tear, lie, lie(half), lie(corrupt), lie(overwrite), lie(keep), lie(exists), drop-reply, \
             crash, crash(before), crash(middle) and crash(after)"
        )
    };
    Ok(match (word, argument) {
        ("fail", None) => Fault::Fail,
        ("transient", None) => Fault::Transient(500),
        ("transient", Some(status)) => {
            let status = status.parse().ok().filter(|s| (400..600).contains(s));
            Fault::Transient(status.ok_or("a status is a number from 400 to 599")?)
        }
        ("not-found", None) => Fault::NotFound,
        ("denied", None) => Fault::Denied,
        ("no-space", None) => Fault::NoSpace,
        ("delay", Some(time)) => Fault::Delay(duration(time)?),
        ("hang", None) => Fault::Hang,
        ("tear", None) => Fault::Tear,
        ("lie", None) => Fault::Lie(Lie::Plain),
        ("lie", Some("half")) => Fault::Lie(Lie::Half),
        ("lie", Some("corrupt")) => Fault::Lie(Lie::Corrupt),
        ("lie", Some("overwrite")) => Fault::Lie(Lie::Overwrite),
        ("lie", Some("keep")) => Fault::Lie(Lie::Keep),
        ("lie", Some("exists")) => Fault::Lie(Lie::Exists),
        ("drop-reply", None) => Fault::DropReply,
        ("crash", None | Some("before")) => Fault::Crash(Moment::Before),
        ("crash", Some("middle")) => Fault::Crash(Moment::Middle),
        ("crash", Some("after")) => Fault::Crash(Moment::After),
        _ => return Err(unknown()),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 50ms, 2s or 1m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match text.strip_prefix(digits) {
        Some("ms") => Ok(Duration::from_millis(number)),
        Some("s") => Ok(Duration::from_secs(number)),
        Some("m") => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

impl Rule {
    /// Whether it concerns operations of that kind on that path.
    pub(super) fn concerns(&self, kind: Kind, path: &str) -> bool {
        let mut rest = path;
        self.kinds.contains(&kind)
            && self.pattern.iter().all(|piece| match rest.split_once(piece.as_str()) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    }
}
