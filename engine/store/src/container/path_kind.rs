//! Clear or sealed follows from the path alone.

/// Whether the object at this path, relative to the repository's root, is stored in clear: `repository.json`, the
/// keyring, inventories and the envelopes of manifests. Everything else of an encrypted repository is a container.
pub fn is_clear(relative: &str) -> bool {
    let mut parts = relative.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("repository.json"), None, None, None) => true,
        (Some("keys"), Some(name), None, None) => name.ends_with(".json"),
        (Some("snapshots"), Some(_), Some(name), None) => {
            name == "manifest.json" || (name.starts_with("inventory-") && name.ends_with(".json"))
        }
        _ => false,
    }
}
