//! The arguments of `restow key` and `restow doctor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::RepositoryArgs;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List what opens a repository: keys, passphrases, the recovery key
    List(KeyListArgs),
    /// Add another key or passphrase
    #[command(after_help = "\
Examples:
  restow key add -r s3://vector-backups/prod --key-file prod.key --new-key-file laptop.key --create
  restow key add -r backups --new-passphrase
  restow key add -r backups --new-command 'pass show restow/backups'

Several processes may add keys at the same time; none is lost.")]
    Add(KeyAddArgs),
    /// Remove a key or passphrase: it opens the repository no more
    #[command(after_help = "\
Example:
  restow key remove 3 -r backups --key-file prod.key --yes

Whoever kept an old keyring file (keys/*.json, also in copies of the repository) and the removed secret still opens what
exists. `restow key rotate` encrypts what is written from then on under a key that the removed secret never gave.")]
    Remove(KeyRemoveArgs),
    /// Encrypt new data under a new master key; older snapshots stay readable
    #[command(after_help = "\
Examples:
  restow key rotate -r backups --key-file prod.key --recovery-key-file recovery.key
  restow key rotate -r backups --key-file prod.key --other-passphrase-file team.txt

The secret of every slot is needed, so that no removed one gives the new master key; remove slots whose secret is lost
first. The recovery key is replaced, unless it is given too. Runs that have begun go on under the old master key.")]
    Rotate(KeyRotateArgs),
    /// Give a slot another key or passphrase, or renew the cost of its passphrase
    #[command(after_help = "\
Examples:
  restow key rewrap -r backups --passphrase-file old.txt --new-passphrase-file new.txt
  restow key rewrap 3 -r backups --key-file prod.key --new-key-file laptop.key
  restow key rewrap -r backups --passphrase-file team.txt

Whoever kept an old keyring file and the old secret still opens what exists: `restow key rotate` afterwards.")]
    Rewrap(KeyRewrapArgs),
    /// Make a new recovery key; the one before opens the repository no more
    #[command(
        after_help = "Example:\n  restow key recovery -r backups --key-file prod.key --recovery-key-file recovery.key"
    )]
    Recovery(KeyRecoveryArgs),
}

#[derive(Debug, Args)]
pub struct KeyListArgs {
    #[command(flatten)]
    pub repository: RepositoryArgs,
}

#[derive(Debug, Args)]
pub struct KeyAddArgs {
    #[command(flatten)]
    pub repository: RepositoryArgs,
    #[command(flatten)]
    pub new: NewSecretArgs,
}

#[derive(Debug, Args)]
pub struct KeyRemoveArgs {
    /// Number of the slot, as `restow key list` shows it
    #[arg(value_name = "SLOT")]
    pub slot: u32,
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct KeyRotateArgs {
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Write the new recovery key to this new file (mode 0600) instead of showing it once
    #[arg(long, value_name = "FILE")]
    pub recovery_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub others: OtherSecretsArgs,
}

#[derive(Debug, Args)]
pub struct KeyRewrapArgs {
    /// Number of the slot [default: the one that the given key opens]
    #[arg(value_name = "SLOT")]
    pub slot: Option<u32>,
    #[command(flatten)]
    pub repository: RepositoryArgs,
    #[command(flatten)]
    pub new: NewSecretArgs,
}

#[derive(Debug, Args)]
pub struct KeyRecoveryArgs {
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Write the recovery key to this new file (mode 0600) instead of showing it once
    #[arg(long, value_name = "FILE")]
    pub recovery_key_file: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; needed where there is no terminal and a recovery key would be replaced
    #[arg(short, long)]
    pub yes: bool,
}

/// A new secret: at most one of these.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "New secret")]
pub struct NewSecretArgs {
    /// The file with the new key
    #[arg(long, value_name = "FILE", group = "new_secret")]
    pub new_key_file: Option<PathBuf>,
    /// Make the new key file (mode 0600) where it does not exist
    #[arg(long, requires = "new_key_file")]
    // A conflict of another new secret with --new-key-file would otherwise silence `requires`.
    #[arg(conflicts_with_all = ["new_key_env", "new_passphrase", "new_passphrase_file", "new_command"])]
    pub create: bool,
    /// The environment variable with the new key
    #[arg(long, value_name = "NAME", group = "new_secret")]
    pub new_key_env: Option<String>,
    /// Ask for a new passphrase, twice
    #[arg(long, group = "new_secret")]
    pub new_passphrase: bool,
    /// The file with the new passphrase; one line end at its end is not a part of it
    #[arg(long, value_name = "FILE", group = "new_secret")]
    pub new_passphrase_file: Option<PathBuf>,
    /// The shell command that prints the new key
    #[arg(long, value_name = "COMMAND", group = "new_secret")]
    pub new_command: Option<String>,
}

/// The secrets of the slots that the given key does not open; each may be given several times.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Secrets of the other slots")]
pub struct OtherSecretsArgs {
    /// A file with the key of another slot, or with the recovery key to keep it
    #[arg(long, value_name = "FILE")]
    pub other_key_file: Vec<PathBuf>,
    /// An environment variable with the key of another slot
    #[arg(long, value_name = "NAME")]
    pub other_key_env: Vec<String>,
    /// A file with the passphrase of another slot
    #[arg(long, value_name = "FILE")]
    pub other_passphrase_file: Vec<PathBuf>,
    /// A shell command that prints the key of another slot
    #[arg(long, value_name = "COMMAND")]
    pub other_command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow doctor
  restow doctor -r s3://vector-backups/prod --key-file recovery.key
  restow doctor --write

Without -r, all repositories of the settings are checked. Nothing is written, but the note that the recovery key works where it
is the one given. Exit code 0 with warnings, 1 with errors.")]
pub struct DoctorArgs {
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Try whether stores create objects only where none exists, with a small object that is removed again
    #[arg(long)]
    pub write: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(arguments: &[&str]) -> Result<KeyCommand, String> {
        let cli = Cli::try_parse_from([&["restow", "key"], arguments].concat()).map_err(|e| e.to_string())?;
        let Command::Key(command) = cli.command else { panic!("another command") };
        Ok(command)
    }

    #[test]
    fn a_new_secret_comes_from_one_place() {
        let KeyCommand::Add(add) = parse(&["add", "-r", "x", "--new-key-file", "f", "--create"]).unwrap() else {
            panic!("another command")
        };
        assert!(add.new.create && add.new.new_key_file.is_some());
        let KeyCommand::Rewrap(rewrap) = parse(&["rewrap", "3", "--new-passphrase"]).unwrap() else {
            panic!("another command")
        };
        assert!(rewrap.slot == Some(3) && rewrap.new.new_passphrase);
        assert!(parse(&["add", "--new-key-file", "f", "--new-passphrase"]).is_err());
        assert!(parse(&["add", "--create", "--new-passphrase"]).is_err());
        assert!(parse(&["list", "--key-file", "a", "--passphrase-file", "b"]).is_err());
        assert!(parse(&["remove"]).is_err());
    }

    #[test]
    fn others_are_given_several_times() {
        let arguments = ["rotate", "--other-key-file", "a", "--other-key-file", "b", "--other-command", "c"];
        let KeyCommand::Rotate(rotate) = parse(&arguments).unwrap() else { panic!("another command") };
        assert_eq!((rotate.others.other_key_file.len(), rotate.others.other_command.len()), (2, 1));
    }
}
