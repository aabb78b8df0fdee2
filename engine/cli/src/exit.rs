//! Every exit code, in one place.

use restow_core::ExitClass;
use restow_core::run::RunStatus;

/// Done.
pub const DONE: u8 = 0;
/// Anything without a code of its own; failed tests.
pub const FAILED: u8 = 1;
/// The pipeline, a setting or an argument is wrong.
pub const USAGE: u8 = 2;
/// Finished with rejects, partial datasets, or ids that were not found.
pub const INCOMPLETE: u8 = 3;
/// Refused for safety: nothing was changed.
pub const REFUSED: u8 = 7;
/// A file, dataset, snapshot or repository does not exist.
pub const NOT_FOUND: u8 = 10;
/// The key is wrong or missing.
pub const WRONG_KEY: u8 = 12;
/// A server or store is unreachable.
pub const UNREACHABLE: u8 = 75;
/// Interrupted by a signal.
pub const INTERRUPTED: u8 = 130;

/// What the help shows.
pub const HELP: &str = "\
Exit codes:
    0  done
    1  failed
    2  wrong arguments, pipeline or settings
    3  finished with rejects, failed datasets, or ids that were not found
    4  verification found damage
    5  recovery point unreachable, or a gap in the changes
    6  no space left
    7  refused for safety
   10  not found
   11  locked, or another process was faster
   12  wrong or missing key
   13  tampered with, or rolled back
   14  written by a newer restow
   75  server or store unreachable after retries
  130  interrupted";

/// The code of an error of the engine.
pub fn of_class(class: ExitClass) -> u8 {
    match class {
        ExitClass::Failed | ExitClass::Denied => FAILED,
        ExitClass::Usage => USAGE,
        ExitClass::Damaged => 4,
        ExitClass::NoSpace => 6,
        ExitClass::Refused => REFUSED,
        ExitClass::NotFound => NOT_FOUND,
        ExitClass::LostRace => 11,
        ExitClass::WrongKey => WRONG_KEY,
        ExitClass::Tampered => 13,
        ExitClass::TooNew => 14,
        ExitClass::Unreachable => UNREACHABLE,
        ExitClass::Interrupted => INTERRUPTED,
    }
}

/// The code of a run that came to its commit.
pub fn of_status(status: RunStatus) -> u8 {
    match status {
        RunStatus::Done => DONE,
        RunStatus::Incomplete => INCOMPLETE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_codes() {
        let classes = [
            (ExitClass::Failed, 1),
            (ExitClass::Usage, 2),
            (ExitClass::Damaged, 4),
            (ExitClass::NoSpace, 6),
            (ExitClass::Refused, 7),
            (ExitClass::NotFound, 10),
            (ExitClass::LostRace, 11),
            (ExitClass::WrongKey, 12),
            (ExitClass::Tampered, 13),
            (ExitClass::TooNew, 14),
            (ExitClass::Unreachable, 75),
            (ExitClass::Interrupted, 130),
        ];
        for (class, code) in classes {
            assert_eq!(of_class(class), code, "{class:?}");
            assert!(HELP.contains(&format!("{code:>5}  ")), "{code} is not in the help");
        }
        assert_eq!((of_status(RunStatus::Done), of_status(RunStatus::Incomplete)), (0, 3));
    }
}
