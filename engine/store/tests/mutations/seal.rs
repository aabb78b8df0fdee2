//! Takes the checks off an object and puts them on again, so that a mutation reaches the parser behind them.

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use restow_store::keys::Keys;
use restow_store::repository::{Inventory, InventoryRef, Manifest, clear};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// `,"sha256":"`, 64 digits, `"}` and a line feed.
const CLEAR_TAIL: usize = 78;
/// The same behind the HMAC of a keyring, with the quote that ends it.
const RING_TAIL: usize = 79;
/// The SHA-256 that ends block digests.
const DIGEST: usize = 32;

/// How far the mutation gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seal {
    /// Stored bytes change. Nobody but the store takes part.
    Stored,
    /// The object's own digest fits again: what anybody can do who may write.
    Digest,
    /// Its container, and the digest in it, fit again: a writer with the key that is wrong or wicked.
    Key,
    /// The manifest's inventory says the same as the manifest, too.
    Inventory,
}

pub const SEALS: [Seal; 4] = [Seal::Stored, Seal::Digest, Seal::Key, Seal::Inventory];

/// What is mutated, without its checks; none where the object has none of that kind.
pub fn open(seal: Seal, keys: Option<&Keys>, path: &str, stored: &Bytes) -> Option<Vec<u8>> {
    match seal {
        Seal::Stored => Some(stored.to_vec()),
        Seal::Digest if is_digests(path) => Some(stored.get(..stored.len().checked_sub(DIGEST)?)?.to_vec()),
        Seal::Digest if is_json(path, keys.is_some()) => without_tail(path, stored),
        Seal::Digest => None,
        Seal::Key if is_manifest(path) => keys.and_then(|keys| body(Some(keys), path, stored)),
        Seal::Key if restow_store::repository::is_clear(path) => None,
        Seal::Key => {
            let plain = keys?.open_bytes(path, stored).ok()?;
            if is_json(path, false) { without_tail(path, &plain) } else { Some(plain) }
        }
        Seal::Inventory if is_manifest(path) => body(keys, path, stored),
        Seal::Inventory => None,
    }
}

/// Puts the checks around mutated bytes: what is stored then.
pub fn close(seal: Seal, keys: Option<&Keys>, path: &str, stored: &Bytes, inner: &[u8]) -> Vec<(String, Bytes)> {
    let one = |bytes: Vec<u8>| vec![(path.to_owned(), Bytes::from(bytes))];
    match seal {
        Seal::Stored => one(inner.to_vec()),
        Seal::Digest if is_digests(path) => one([inner, Sha256::digest(inner).as_slice()].concat()),
        Seal::Digest => one(with_tail(path, inner)),
        Seal::Key | Seal::Inventory if is_manifest(path) => {
            let agreed = if seal == Seal::Inventory { agree(path, inner) } else { None };
            let (inner, inventory) = agreed.unwrap_or_else(|| (inner.to_vec(), None));
            let mut all = one(around(keys, path, stored, &inner));
            all.extend(inventory);
            all
        }
        Seal::Key | Seal::Inventory => {
            let plain = if is_json(path, false) { with_tail(path, inner) } else { inner.to_vec() };
            one(keys.and_then(|keys| keys.seal_bytes(path, &plain).ok()).unwrap_or(plain))
        }
    }
}

fn is_manifest(path: &str) -> bool {
    path.ends_with("/manifest.json")
}

fn is_digests(path: &str) -> bool {
    path.starts_with("data/") && path.ends_with(".sha256")
}

/// Whether the stored bytes are JSON that ends with its own digest.
fn is_json(path: &str, encrypted: bool) -> bool {
    let json = path.ends_with(".json") && !path.contains("/artifacts/");
    json && (!encrypted || restow_store::repository::is_clear(path))
}

/// The object without its last member: JSON again.
fn without_tail(path: &str, stored: &[u8]) -> Option<Vec<u8>> {
    let (tail, end): (usize, &[u8]) = if path.starts_with("keys/") { (RING_TAIL, b"\"}") } else { (CLEAR_TAIL, b"}") };
    Some([stored.get(..stored.len().checked_sub(tail)?)?, end].concat())
}

fn with_tail(path: &str, inner: &[u8]) -> Vec<u8> {
    let ring = path.starts_with("keys/");
    let end: &[u8] = if ring { b"\"}" } else { b"}" };
    let rest = inner.strip_suffix(end).unwrap_or(inner);
    // The digest of a keyring covers the quote behind its HMAC.
    let hashed = if ring { [rest, b"\""].concat() } else { rest.to_vec() };
    let digest = HEXLOWER.encode(&Sha256::digest(&hashed));
    [&hashed, format!(",\"sha256\":\"{digest}\"}}\n").as_bytes()].concat()
}

/// The body of a manifest's envelope as JSON.
fn body(keys: Option<&Keys>, path: &str, stored: &[u8]) -> Option<Vec<u8>> {
    let envelope: Value = clear::decode(stored).ok()?;
    match (keys, envelope.get("body")?) {
        (Some(keys), Value::String(text)) => keys.open_bytes(path, &BASE64.decode(text.as_bytes()).ok()?).ok(),
        (None, body @ Value::Object(_)) => serde_json::to_vec(body).ok(),
        _ => None,
    }
}

/// The envelope around another body, whose members it repeats where the body can be read. The body itself stays as it
/// is, byte by byte.
fn around(keys: Option<&Keys>, path: &str, stored: &[u8], body: &[u8]) -> Vec<u8> {
    let mut envelope: Value = clear::decode(stored).unwrap();
    let members = envelope.as_object_mut().unwrap();
    if let Ok(Value::Object(found)) = serde_json::from_slice::<Value>(body) {
        for name in ["format", "features", "snapshot", "nonce", "inventory", "keyring"] {
            members.insert(name.to_owned(), found.get(name).cloned().unwrap_or(Value::Null));
        }
    }
    members.shift_remove("sha256");
    members.shift_remove("body");
    let body = match keys {
        Some(keys) => format!("\"{}\"", BASE64.encode(&keys.seal_bytes(path, body).unwrap())).into_bytes(),
        None => body.to_vec(),
    };
    let mut text = serde_json::to_vec(&envelope).unwrap();
    text.pop();
    with_tail(path, &[&text, b",\"body\":".as_slice(), &body, b"}"].concat())
}

/// The inventory to be stored, with its path.
type Inventoried = Option<(String, Bytes)>;

/// The body and an inventory that lists what it names, where it can be read as a manifest.
fn agree(path: &str, body: &[u8]) -> Option<(Vec<u8>, Inventoried)> {
    let mut manifest: Manifest = serde_json::from_slice(body).ok()?;
    let inventory = clear::encode(&Inventory::of(&manifest)).ok()?;
    let name = manifest.inventory.as_ref()?.name.clone();
    let (folder, _) = path.rsplit_once('/')?;
    manifest.inventory = Some(InventoryRef {
        name: name.clone(),
        stored_bytes: inventory.len() as u64,
        sha256: HEXLOWER.encode(&Sha256::digest(&inventory)),
    });
    // A path that no store takes is left to the manifest alone.
    let object = format!("{folder}/{name}");
    let kept = object_store::path::Path::parse(&object).is_ok().then_some((object, inventory));
    Some((serde_json::to_vec(&manifest).ok()?, kept))
}
