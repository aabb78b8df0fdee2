//! Vectors (made by an independent implementation, `schemas/repository-format.md`), the chain, and key sources.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::change::create_with;
use super::derive::{Kind, NO_SALT, derive, sha256};
use super::keyring::Body;
use super::slot::Argon2Parameters;
use super::*;
use crate::vectors::{block, derived as printed};

pub(crate) const VECTOR_1: &[u8] = include_bytes!("vectors/1.json");
pub(crate) const VECTOR_2: &[u8] = include_bytes!("vectors/2.json");
const KEY: &str = "rsk1_wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t8";
const RECOVERY: &str = "rsk1_4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8";
pub(super) const CHEAP: Argon2Parameters = Argon2Parameters { memory_kib: 64, passes: 1, lanes: 1 };

fn key(text: &str) -> Unlocker {
    Unlocker::Key(parse_key(text, "the key").unwrap())
}

pub(super) fn passphrase(text: &str) -> Unlocker {
    Unlocker::Passphrase(Passphrase::new(Zeroizing::new(text.to_owned())).unwrap())
}

pub(super) fn random_key() -> Unlocker {
    Unlocker::Key(RepositoryKey::random().unwrap())
}

fn chain(generations: &[&[u8]]) -> Vec<(u64, Bytes)> {
    (1..).zip(generations.iter().map(|g| Bytes::copy_from_slice(g))).collect()
}

pub(super) fn open(generations: &[&[u8]], unlocker: &Unlocker) -> Result<(Keys, Vec<Warning>), KeyError> {
    open_chain(&chain(generations), unlocker)
}

/// The keys of the test vectors: masters 00..1f (epoch 1) and 80..9f (epoch 2), repository a0..af.
pub(crate) fn vector_keys() -> Keys {
    open(&[VECTOR_1, VECTOR_2], &key(KEY)).unwrap().0
}

/// Other masters under the same repository id.
pub(crate) fn foreign_keys() -> Keys {
    create_first(vector_keys().repository_id(), &random_key(), false).unwrap().1
}

pub(super) fn id() -> RepositoryId {
    RepositoryId::random().unwrap()
}

/// Recomputes the sha256 member, as an attacker would who can write but has no key.
fn resign(bytes: &mut [u8]) {
    let split = bytes.len() - 64 - 3;
    let sha = HEXLOWER.encode(&sha256(&bytes[..split - 11]));
    bytes[split..split + 64].copy_from_slice(sha.as_bytes());
}

#[test]
fn vectors_of_derivation() {
    let keys = vector_keys();
    let salt: [u8; 32] = std::array::from_fn(|i| 0x40 + i as u8);
    let derived = keys.derive(1, &salt, Kind::Object, "data/ds/part-0.parquet").unwrap();
    assert_eq!(HEXLOWER.encode(&*derived.key), printed("key"));
    assert_eq!(HEXLOWER.encode(&derived.prefix), printed("prefix"));
    let commitment = keys.commitment(1, &salt, Kind::Commit, "data/ds/part-0.parquet").unwrap();
    assert_eq!(HEXLOWER.encode(&commitment), printed("commitment"));
    assert_eq!(keys.name_hmac("Städte"), printed("part for Städte"));
    let none = |secret, salt, kind| derive::<32>(secret, salt, kind, &keys.repository_id(), "").unwrap();
    let master = &keys.masters()[&1].0;
    assert_eq!(HEXLOWER.encode(&*none(master, &NO_SALT, Kind::Name)), printed("name key"));
    assert_eq!(HEXLOWER.encode(&*none(master, &NO_SALT, Kind::Keyring)), printed("mac key"));
    let secret = parse_key(KEY, "the key").unwrap();
    assert_eq!(HEXLOWER.encode(&*none(&secret.0, &[0x11; 32], Kind::Wrap)), printed("kek of slot 1"));
    let missing = keys.commitment(3, &salt, Kind::Commit, "x").unwrap_err();
    assert_eq!(missing.to_string(), "no master key of epoch 3; the keyring has epochs 1 to 2");
}

#[test]
fn vectors_of_the_keyring_open_with_every_secret() {
    for (unlocker, kind, slot) in [
        (key(KEY), SlotKind::Key, 1),
        (key(RECOVERY), SlotKind::Recovery, 2),
        (passphrase("correct horse"), SlotKind::Passphrase, 3),
    ] {
        let (keys, warnings) = open(&[VECTOR_1, VECTOR_2], &unlocker).unwrap();
        assert_eq!(warnings, []);
        keys.require_intact_chain().unwrap();
        assert_eq!(keys.opened_by(), SlotInfo { id: slot, kind });
        assert_eq!((keys.generation(), keys.epoch()), (2, 2));
        assert_eq!(keys.repository_id().to_string(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
        assert_eq!(keys.digest(), HEXLOWER.encode(&sha256(VECTOR_2)));
        assert_eq!(keys.masters()[&1].0, std::array::from_fn(|i| i as u8));
        assert_eq!(keys.masters()[&2].0, std::array::from_fn(|i| 0x80 + i as u8));
    }
    assert_eq!(VECTOR_1, block("encrypted:keys/1.json"));
    assert_eq!(VECTOR_2, block("encrypted:keys/2.json"));
    // Written again they are the same bytes, but for the random salts and nonces, which are taken over here.
    let ring = Keyring::parse(1, VECTOR_1).unwrap();
    assert_eq!(ring.body().encode(vector_keys().masters()).unwrap(), VECTOR_1);
}

#[test]
fn what_is_created_opens_with_key_and_recovery_key_and_nothing_else() {
    let mine = random_key();
    let (bytes, keys, recovery) = create_first(id(), &mine, true).unwrap();
    let recovery = recovery.unwrap();
    assert!(recovery.text().starts_with("rsk1_"));
    for unlocker in [&mine, &recovery.unlocker(), &key(&recovery.text())] {
        let (opened, warnings) = open(&[&bytes], unlocker).unwrap();
        assert!(warnings.is_empty());
        assert_eq!(opened.name_hmac("x"), keys.name_hmac("x"));
    }
    for wrong in [random_key(), passphrase("x")] {
        let error = open(&[&bytes], &wrong).unwrap_err();
        assert!(matches!(error, KeyError::Wrong { slots: 2, .. }), "{error}");
        assert_eq!(error.exit_code(), 12);
    }
    assert_eq!(KeyError::Missing.exit_code(), 12);
    let none = open(&[], &mine).unwrap_err();
    assert!(matches!(none, KeyError::NoKeyring), "{none}");
    assert_eq!(none.exit_code(), 13);
}

#[test]
fn a_passphrase_opens_at_the_default_cost_and_no_other_does() {
    let (bytes, _, _) = create_first(id(), &passphrase("früh auf"), false).unwrap();
    open(&[&bytes], &passphrase("früh auf")).unwrap();
    assert_eq!(open(&[&bytes], &passphrase("früh Auf")).unwrap_err().exit_code(), 12);
    assert_eq!(open(&[&bytes], &random_key()).unwrap_err().exit_code(), 12);
}

#[test]
fn argon2id_above_256_mib_is_refused_before_it_is_computed() {
    let unlocker = passphrase("x");
    let (_, keys, _) = create_with(id(), &unlocker, false, CHEAP).unwrap();
    for (memory_kib, passes, lanes) in [(256 * 1024 + 1, 1, 1), (u32::MAX, 1, 1), (64, 17, 1), (64, 1, 17), (7, 1, 1)] {
        let mut slots = keys.keyring().body().slots.clone();
        slots[0].argon2id = Some(Argon2Parameters { memory_kib, passes, lanes });
        let bytes = Body::new(keys.repository_id(), 1, None, 1, slots).encode(keys.masters()).unwrap();
        let error = open(&[&bytes], &unlocker).unwrap_err();
        assert!(matches!(error, KeyError::Damaged { .. }) && error.to_string().contains("out of bounds"), "{error}");
        assert_eq!(error.exit_code(), 13);
    }
}

#[test]
fn every_flipped_byte_of_the_only_generation_is_detected() {
    for at in 0..VECTOR_1.len() {
        for bit in [1, 0x20, 0x80] {
            let mut bytes = VECTOR_1.to_vec();
            bytes[at] ^= bit;
            let error = open(&[&bytes], &key(KEY)).expect_err(&format!("byte {at}"));
            assert_eq!(error.exit_code(), 13, "byte {at}: {error}");
            // Also where the attacker recomputes the digest, which needs no key.
            resign(&mut bytes);
            if bytes != VECTOR_1 {
                let error = open(&[&bytes], &key(KEY)).expect_err(&format!("resigned, byte {at}"));
                assert!([12, 13, 14].contains(&error.exit_code()), "resigned, byte {at}: {error}");
            }
        }
    }
}

#[test]
fn a_damaged_second_generation_is_skipped_with_a_warning_and_stops_writers() {
    for at in (0..VECTOR_2.len()).step_by(7) {
        let mut bytes = VECTOR_2.to_vec();
        bytes[at] ^= 1;
        let (keys, warnings) = open(&[VECTOR_1, &bytes], &key(KEY)).unwrap();
        assert_eq!((keys.generation(), keys.epoch(), warnings.len()), (1, 1, 1), "byte {at}");
        let error = keys.require_intact_chain().unwrap_err();
        assert_eq!(error.exit_code(), 13);
        assert!(add_slot(&keys, &random_key()).is_err());
        assert_eq!(keys.check_named(2, "00", "manifest x").unwrap_err().exit_code(), 13);
    }
}

#[test]
fn a_damaged_or_missing_first_generation_does_not_take_the_second_with_it() {
    let (keys, warnings) = open_chain(&[(2, Bytes::from_static(VECTOR_2))], &key(RECOVERY)).unwrap();
    assert_eq!(warnings, [Warning::Missing { generation: 1 }]);
    assert_eq!(keys.epoch(), 2);
    assert_eq!(keys.require_intact_chain().unwrap_err().exit_code(), 13);
    let mut bytes = VECTOR_1.to_vec();
    bytes[40] ^= 1;
    let (keys, warnings) = open(&[&bytes, VECTOR_2], &key(RECOVERY)).unwrap();
    assert!(matches!(warnings[..], [Warning::Damaged { generation: 1, .. }]), "{warnings:?}");
    assert_eq!(keys.epoch(), 2);
}

#[test]
fn a_generation_forged_without_the_masters_is_skipped() {
    let mine = random_key();
    let (first, keys, _) = create_first(id(), &mine, false).unwrap();
    let thief = random_key();
    let (_, stolen, _) = create_first(keys.repository_id(), &thief, false).unwrap();
    let forge = |previous, slots| {
        Body::new(keys.repository_id(), 2, Some(previous), 1, slots).encode(stolen.masters()).unwrap()
    };
    let digest = sha256(&first);
    for (bytes, what) in [
        (forge(digest, keys.keyring().body().slots.clone()), "its hmac does not match"),
        (forge(digest, stolen.keyring().body().slots.clone()), "its hmac does not match"),
        (forge([0; 32], keys.keyring().body().slots.clone()), "it does not name the digest"),
    ] {
        let (opened, warnings) = open(&[&first, &bytes], &mine).unwrap();
        assert_eq!(opened.generation(), 1);
        assert!(warnings.len() == 1 && warnings[0].to_string().contains(what), "{warnings:?}");
        assert!(opened.require_intact_chain().unwrap_err().to_string().contains(what));
        // The forger's key opens only what the forger made: no keys come of it.
        assert!(open(&[&first, &bytes], &thief).is_err());
    }
}

#[test]
fn a_generation_that_drops_an_epoch_is_skipped_even_if_it_is_signed() {
    let mine = random_key();
    let (first, keys, _) = create_first(id(), &mine, false).unwrap();
    let (second, rotated, _) = rotate(&keys, std::slice::from_ref(&mine)).unwrap();
    let body = Body::new(keys.repository_id(), 3, Some(sha256(&second)), 1, keys.keyring().body().slots.clone());
    let third = body.encode(rotated.masters()).unwrap();
    let (opened, warnings) = open(&[&first, &second, &third], &mine).unwrap();
    assert_eq!((opened.generation(), opened.epoch()), (2, 2));
    assert!(warnings[0].to_string().contains("drops epoch 2"), "{warnings:?}");
}

#[test]
fn slots_are_added_removed_and_replaced() {
    let (a, b) = (random_key(), random_key());
    let (first, keys, recovery) = create_first(id(), &a, true).unwrap();
    let (second, keys, info) = add_slot(&keys, &b).unwrap();
    assert_eq!(info, SlotInfo { id: 3, kind: SlotKind::Key });
    assert!(add_slot(&keys, &b).unwrap_err().to_string().contains("already opens slot 3"));
    assert!(remove_slot(&keys, 1).unwrap_err().to_string().contains("slot 1 is the one that opened"));
    assert!(remove_slot(&keys, 9).unwrap_err().to_string().contains("no slot 9"));
    let (keys, _) = open(&[&first, &second], &b).unwrap();
    let (third, keys) = remove_slot(&keys, 1).unwrap();
    let (fourth, keys, new_recovery) = replace_recovery_slot(&keys).unwrap();
    assert_eq!(keys.generation(), 4);
    let all = [first.as_slice(), &second, &third, &fourth];
    let removed = open(&all, &a).unwrap_err();
    assert!(matches!(removed, KeyError::Removed { generation: 2, .. }), "{removed}");
    assert_eq!(removed.exit_code(), 12);
    assert_eq!(open(&all, &recovery.unwrap().unlocker()).unwrap_err().exit_code(), 12);
    for unlocker in [b, new_recovery.unlocker()] {
        let (opened, warnings) = open(&all, &unlocker).unwrap();
        assert_eq!((warnings.len(), opened.generation()), (0, 4));
        opened.check_named(2, &HEXLOWER.encode(&sha256(&second)), "manifest x").unwrap();
        let other = opened.check_named(2, &HEXLOWER.encode(&sha256(&third)), "manifest x").unwrap_err();
        assert_eq!(other.exit_code(), 13);
        let later = opened.check_named(5, &opened.digest(), "manifest x").unwrap_err();
        assert!(later.to_string().contains("manifest x names generation 5 (the newest that holds is 4)"), "{later}");
    }
}

#[test]
fn rotation_needs_every_secret_and_keeps_names_and_old_epochs() {
    let (a, p) = (random_key(), passphrase("p"));
    let (first, keys, old) = create_with(id(), &p, true, CHEAP).unwrap();
    let (second, keys, _) = add_slot(&keys, &a).unwrap();
    let error = rotate(&keys, std::slice::from_ref(&a)).unwrap_err();
    assert!(error.to_string().contains("the secret of slot 1 (passphrase) was not given"), "{error}");
    assert_eq!(error.exit_code(), 2);
    let (third, rotated, new) = rotate(&keys, &[a.clone(), p.clone()]).unwrap();
    assert_eq!((rotated.epoch(), keys.epoch()), (2, 1));
    assert_eq!(rotated.name_hmac("Article"), keys.name_hmac("Article"));
    let all = [first.as_slice(), &second, &third];
    for unlocker in [a, p, new.unwrap().unlocker()] {
        let (opened, warnings) = open(&all, &unlocker).unwrap();
        assert_eq!((warnings.len(), opened.epoch()), (0, 2));
        let salt = [7; 32];
        let commitment = |k: &Keys, e| k.commitment(e, &salt, Kind::Commit, "p").unwrap();
        assert_eq!(commitment(&opened, 1), commitment(&keys, 1));
        assert_ne!(commitment(&opened, 2), commitment(&opened, 1));
    }
    assert_eq!(open(&all, &old.unwrap().unlocker()).unwrap_err().exit_code(), 12);
}

#[test]
fn newer_versions_and_unknown_flags_are_14() {
    for (from, to) in [(r#""version":"1""#, r#""version":"2""#), (r#""flags":[]"#, r#""flags":["pq"]"#)] {
        let text = std::str::from_utf8(VECTOR_1).unwrap().replace(from, to);
        let mut bytes = text.into_bytes();
        resign(&mut bytes);
        let error = open(&[&bytes], &key(KEY)).unwrap_err();
        assert_eq!(error.exit_code(), 14, "{error}");
    }
}

#[test]
fn random_bytes_are_never_a_keyring_and_never_a_panic() {
    let mut state = 7_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for _ in 0..3000 {
        let mut bytes = VECTOR_1.to_vec();
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] = random() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random() as u8),
            }
        }
        if bytes.len() > 200 {
            resign(&mut bytes);
        }
        if bytes != VECTOR_1 {
            assert!(open(&[&bytes], &key(KEY)).is_err());
        }
    }
    for bytes in [&b""[..], b"}", b"{}", &[0xff; 200]] {
        assert_eq!(open(&[bytes], &key(KEY)).unwrap_err().exit_code(), 13);
    }
}

#[test]
fn key_texts_are_checked_without_being_repeated() {
    assert_eq!(*format_key(&parse_key(KEY, "the key").unwrap().0), KEY);
    let short = &KEY[..KEY.len() - 1];
    let padded = format!("{KEY}=");
    let standard = KEY.replace("wMHCw8", "wM+Cw8");
    let stray = format!("{}9", &KEY[..KEY.len() - 1]);
    for (text, problem) in [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("hunter2-hunter2", "it does not begin with `rsk1_`"),
        ("rsk2_wMHCw8", "it does not begin with `rsk1_`"),
        (short, "it has 42 characters after `rsk1_`, not 43"),
        (padded.as_str(), "it has 44 characters after `rsk1_`, not 43"),
        (standard.as_str(), "characters that are not base64url"),
        (stray.as_str(), "stray bits"),
    ] {
        let error = parse_key(text, "the key").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("the key is not a restow key: ") && message.contains(problem), "{message}");
        assert!(!message.contains("hunter2") && !message.contains("wM"), "{message}");
        assert_eq!(error.exit_code(), 12);
    }
    parse_key(&format!("  {KEY}\r\n"), "the key").unwrap();
    assert!(Passphrase::new(Zeroizing::new(String::new())).is_err());
}

#[test]
fn debug_output_carries_no_secret() {
    let (_, keys, recovery) = create_first(id(), &key(KEY), true).unwrap();
    let masters = keys.masters().values().map(|m| HEXLOWER.encode(&m.0)).collect::<Vec<_>>();
    let secret = Zeroizing::new("swordfish".to_owned());
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        keys,
        keys.masters(),
        key(KEY),
        passphrase("swordfish"),
        recovery,
        KeySource::Key(Zeroizing::new(KEY.to_owned())),
        KeySource::Command("echo swordfish".to_owned()),
        KeySource::Passphrase(secret),
        keys.derive(1, &[0; 32], Kind::Object, "x").unwrap(),
        keys.keyring(),
    );
    assert!(shown.contains("redacted"));
    assert!(!shown.contains("swordfish") && !shown.contains("wMHC") && !shown.contains("192, 193, 194"), "{shown}");
    for master in masters {
        assert!(!shown.contains(&master));
    }
}

#[test]
fn the_same_secret_is_known_as_such() {
    assert!(key(KEY).same_as(&key(KEY)) && passphrase("a").same_as(&passphrase("a")));
    assert!(!key(KEY).same_as(&key(RECOVERY)) && !key(KEY).same_as(&passphrase("a")));
    assert!(!passphrase("a").same_as(&passphrase("ab")));
}

#[test]
fn a_key_file_is_made_once_and_only_for_a_new_repository() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/quickstart.key");
    let source = |create| KeySource::KeyFile { path: path.clone(), create };
    assert!(matches!(source(false).create_file_if_wanted(false), Err(KeyError::KeyFileAbsent { .. })));
    assert!(matches!(source(true).create_file_if_wanted(true), Err(KeyError::KeyFileMissing { .. })));
    assert!(matches!(source(true).load(), Err(KeyError::KeyFileMissing { .. })));
    assert!(!path.exists() && !path.parent().unwrap().exists());

    assert_eq!(source(true).create_file_if_wanted(false).unwrap(), KeyFileState::Created);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!((text.len(), text.lines().count()), (49, 1));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let first = source(true).load().unwrap();
    assert_eq!(source(true).create_file_if_wanted(false).unwrap(), KeyFileState::Existing);
    assert_eq!(source(true).create_file_if_wanted(true).unwrap(), KeyFileState::Existing);
    assert!(source(false).load().unwrap().same_as(&first));
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 1, "no temporary file stays");

    std::fs::write(&path, "not a key").unwrap();
    let error = source(true).load().unwrap_err();
    assert!(error.to_string().contains("quickstart.key is not a restow key"), "{error}");
    assert_eq!(KeySource::Command(String::new()).create_file_if_wanted(false).unwrap(), KeyFileState::NoFile);
}

#[test]
fn a_key_command_is_run_and_its_output_never_shown() {
    let run = |command: &str| KeySource::Command(command.to_owned()).load();
    assert!(run(&format!("echo {KEY}")).unwrap().same_as(&key(KEY)));
    for (command, problem) in [
        ("echo swordfish; exit 3", "the key command failed: exit status: 3"),
        ("echo swordfish", "the output of the key command is not a restow key"),
        ("true", "it is empty"),
        ("printf '\\377'", "not UTF-8"),
    ] {
        let error = run(command).unwrap_err();
        assert!(error.to_string().contains(problem) && !error.to_string().contains("swordfish"), "{error}");
        assert_eq!(error.exit_code(), 12);
    }
}
