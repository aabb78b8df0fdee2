//! Changes of the keyring beyond adding and removing, and that secrets are zeroed.

use bytes::Bytes;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::change::create_with;
use super::tests::{CHEAP, id, open, passphrase, random_key};
use super::*;

#[test]
fn a_rewrapped_slot_keeps_its_number_and_changes_its_secret() {
    let (a, b, c) = (random_key(), passphrase("old"), passphrase("new"));
    let (first, keys, _) = create_first(id(), &a, true).unwrap();
    let (second, keys, added) = add_slot(&keys, &b).unwrap();
    let name = keys.name_hmac("Article");
    let (third, keys, info) = rewrap_slot(&keys, added.id, &c).unwrap();
    assert_eq!((info.id, info.kind, keys.generation(), keys.epoch()), (added.id, SlotKind::Passphrase, 3, 1));
    let all = [first.as_slice(), &second, &third];
    for unlocker in [&a, &c] {
        let (opened, warnings) = open(&all, unlocker).unwrap();
        assert_eq!((warnings.len(), opened.name_hmac("Article")), (0, name.clone()));
    }
    let removed = open(&all, &b).unwrap_err();
    assert!(matches!(removed, KeyError::Removed { generation: 2, .. }), "{removed}");

    // A passphrase may become a key, and the slot that opened may be the one.
    let d = random_key();
    let (opened, _) = open(&all, &c).unwrap();
    let (fourth, keys, info) = rewrap_slot(&opened, added.id, &d).unwrap();
    assert_eq!((info.kind, keys.opened_by()), (SlotKind::Key, info));
    assert_eq!(open(&[&all[..], &[&fourth[..]]].concat(), &d).unwrap().0.opened_by(), info);
}

#[test]
fn rewrapping_renews_the_cost_and_never_lowers_it() {
    let p = passphrase("p");
    let (_, keys, _) = create_with(id(), &p, false, CHEAP).unwrap();
    let cost = |keys: &Keys| keys.keyring().body().slots[0].argon2id.unwrap();
    assert_eq!(cost(&keys), CHEAP);
    let (_, keys, _) = rewrap_slot(&keys, 1, &p).unwrap();
    assert_eq!(cost(&keys), Argon2Parameters::default());
    let costly = Argon2Parameters { memory_kib: 8, passes: 5, lanes: 1 };
    let (_, keys, _) = create_with(id(), &p, false, costly).unwrap();
    let (_, keys, _) = rewrap_slot(&keys, 1, &p).unwrap();
    assert_eq!(cost(&keys), Argon2Parameters { passes: 5, ..Argon2Parameters::default() });
}

#[test]
fn what_cannot_be_rewrapped_is_said() {
    let (a, b) = (random_key(), random_key());
    let (_, keys, recovery) = create_first(id(), &a, true).unwrap();
    let (_, keys, _) = add_slot(&keys, &b).unwrap();
    for (slot, secret, problem) in [
        (9, &b, "there is no slot 9"),
        (2, &random_key(), "slot 2 is that of the recovery key"),
        (1, &b, "this secret already opens slot 3 (key)"),
        (1, &recovery.unwrap().unlocker(), "this secret already opens slot 2 (recovery)"),
    ] {
        let error = rewrap_slot(&keys, slot, secret).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        assert!(error.to_string().ends_with("nothing was changed"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn the_last_slot_besides_the_recovery_key_stays() {
    let (a, b) = (random_key(), random_key());
    let (first, keys, recovery) = create_first(id(), &a, true).unwrap();
    let recovery = recovery.unwrap().unlocker();
    let error = remove_slot(&keys, 1).unwrap_err();
    assert!(error.to_string().contains("slot 1 is the last one besides the recovery key"), "{error}");
    let (by_recovery, _) = open(&[&first], &recovery).unwrap();
    assert!(remove_slot(&by_recovery, 1).is_err(), "the key in the safe would be the only one");
    // After a loss: another key first, then the lost one goes.
    let (second, keys, _) = add_slot(&by_recovery, &b).unwrap();
    let (third, _) = remove_slot(&keys, 1).unwrap();
    let all = [first.as_slice(), &second, &third];
    assert_eq!(open(&all, &a).unwrap_err().exit_code(), 12);
    let (keys, _) = open(&all, &b).unwrap();
    // The recovery slot may go: a new one is made at any time.
    let (_, keys) = remove_slot(&keys, 2).unwrap();
    assert_eq!(keys.keyring().slots().len(), 1);
}

#[test]
fn numbers_of_slots_are_not_used_again() {
    let (a, b) = (random_key(), random_key());
    let (first, keys, _) = create_first(id(), &a, false).unwrap();
    let (second, keys, info) = add_slot(&keys, &b).unwrap();
    let (third, keys) = remove_slot(&keys, info.id).unwrap();
    assert_eq!(add_slot(&keys, &b).unwrap().2.id, info.id + 1);
    let (opened, _) = open(&[&first, &second, &third], &a).unwrap();
    assert_eq!(add_slot(&opened, &b).unwrap().2.id, info.id + 1);
}

#[test]
fn a_rotation_takes_a_given_recovery_key_over_and_refuses_a_strange_secret() {
    let a = random_key();
    let (first, keys, recovery) = create_first(id(), &a, true).unwrap();
    let recovery = recovery.unwrap();
    let error = rotate(&keys, &[a.clone(), random_key()]).unwrap_err();
    assert!(error.to_string().contains("opens no slot"), "{error}");
    assert!(rotation_replaces_recovery(&keys, std::slice::from_ref(&a)).unwrap());
    let both = [a.clone(), recovery.unlocker()];
    assert!(!rotation_replaces_recovery(&keys, &both).unwrap());
    let (second, keys, new) = rotate(&keys, &both).unwrap();
    assert!(new.is_none());
    assert_eq!(keys.epoch(), 2);
    for unlocker in both {
        assert_eq!(open(&[&first, &second], &unlocker).unwrap().0.epoch(), 2);
    }
}

#[test]
fn the_history_of_slots() {
    let (a, b) = (random_key(), random_key());
    let (first, keys, _) = create_first(id(), &a, true).unwrap();
    let (second, keys, _) = add_slot(&keys, &b).unwrap();
    let (third, keys, _) = rewrap_slot(&keys, 1, &random_key()).unwrap();
    let mut stored: Vec<(u64, Bytes)> = (1..).zip([first, second, third].map(Bytes::from)).collect();
    let seen = |stored: &[(u64, Bytes)]| {
        let slots = keys.slot_history(stored).into_iter();
        slots.map(|slot| (slot.info.id, slot.added, slot.wrapped)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&stored), [(1, 1, 3), (2, 1, 1), (3, 2, 2)]);
    let marks: Vec<String> = keys.slot_history(&stored).into_iter().map(|slot| slot.mark).collect();
    assert_eq!(keys.slot_mark(3), Some(marks[2].clone()));
    assert!(marks.iter().all(|mark| mark.len() == 64) && marks[0] != marks[1]);
    // What is not a part of the chain says nothing.
    stored[0].1 = Bytes::from_static(b"forged");
    stored.push((4, Bytes::from_static(super::tests::VECTOR_1)));
    assert_eq!(seen(&stored), [(1, 2, 3), (2, 2, 2), (3, 2, 2)]);
}

/// Each type that holds a secret zeroes it when it goes: the compiler checks it here, and the bytes are looked at once.
#[test]
fn secrets_are_zeroed() {
    fn zeroes<T: ZeroizeOnDrop>() {}
    zeroes::<MasterKey>();
    zeroes::<RepositoryKey>();
    zeroes::<Zeroizing<String>>();
    zeroes::<Zeroizing<[u8; 32]>>();
    zeroes::<aes_gcm::Aes256Gcm>();
    let (mut master, mut key) = (MasterKey::random().unwrap(), RepositoryKey::random().unwrap());
    assert!(master.0 != [0; 32] && key.0 != [0; 32]);
    master.zeroize();
    key.zeroize();
    assert_eq!((master.0, key.0), ([0; 32], [0; 32]));
    // No other secret is held outside of these: whoever adds a field meets this.
    let Unlocker::Passphrase(Passphrase(text)) = passphrase("x") else { panic!("no passphrase") };
    let _: Zeroizing<String> = text;
    let RecoveryKey(_key): RecoveryKey = RecoveryKey::random().unwrap();
}

#[test]
fn a_passphrase_stays_good_however_often_the_keyring_changes() {
    let (p, a) = (passphrase("p"), random_key());
    let (first, keys, _) = create_with(id(), &p, false, CHEAP).unwrap();
    let (second, mut keys, _) = add_slot(&keys, &a).unwrap();
    let mut all = vec![first, second];
    // Each rotation wraps the passphrase slot anew, under a new salt.
    let refused = loop {
        match rotate(&keys, &[p.clone(), a.clone()]) {
            Ok((bytes, next, _)) => {
                keys = next;
                all.push(bytes);
            }
            Err(error) => break error,
        }
    };
    assert!(refused.to_string().contains("32 times"), "{refused}");
    let stored: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    assert_eq!(open(&stored, &p).unwrap().0.epoch(), 32);
    // Without the passphrase it goes on.
    let (by_key, _) = open(&stored, &a).unwrap();
    let (_, keys) = remove_slot(&by_key, 1).unwrap();
    rotate(&keys, std::slice::from_ref(&a)).unwrap();
}
