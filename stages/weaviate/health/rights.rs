//! What the user of a key may do. A server answers many a forbidden question with 200 and less: what a key may not see is not
//! there. So its roles are asked for, and a part is never taken for the whole.

use serde::Deserialize;
use serde_json::Value;

use super::super::client::{Client, Fault};

/// Who a key belongs to, on a server with roles.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Principal {
    /// Its name.
    #[serde(rename = "username")]
    pub name: String,
    #[serde(default)]
    roles: Option<Vec<Role>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Role {
    #[serde(default)]
    permissions: Option<Vec<Value>>,
}

/// How far a right goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum May {
    /// For everything of the collection.
    Whole,
    /// For these tenants or objects of it alone.
    Part(Vec<String>),
    /// Not at all.
    Not,
}

/// A right that a run needs, for one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// As the server calls it: `create_data`.
    pub action: &'static str,
    /// The collection.
    pub class: String,
}

impl Principal {
    /// How far somebody may do this with a collection.
    pub fn may(&self, action: &str, class: &str) -> May {
        let mut parts = Vec::new();
        for permission in self.granted(action) {
            let scope = scope_of(permission, action);
            let text = |key: &str| scope.and_then(|scope| scope.get(key)).and_then(Value::as_str).unwrap_or("*");
            if !matches(text("collection"), class) {
                continue;
            }
            match ["tenant", "object"].into_iter().map(text).find(|text| *text != "*" && !text.is_empty()) {
                None => return May::Whole,
                Some(narrow) => parts.push(narrow.to_owned()),
            }
        }
        if parts.is_empty() { May::Not } else { May::Part(parts) }
    }

    /// Whether somebody may do this at all, with whatever it is.
    pub fn may_somewhere(&self, action: &str) -> bool {
        self.granted(action).next().is_some()
    }

    /// The collections for which somebody may do this, as the roles name them.
    pub fn where_may(&self, action: &str) -> Vec<String> {
        let mut found: Vec<String> = self
            .granted(action)
            .map(|permission| {
                let scope = scope_of(permission, action);
                scope.and_then(|scope| scope.get("collection")).and_then(Value::as_str).unwrap_or("*").to_owned()
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What is missing of these rights, by action: `create_data on Doc, Person`.
    pub fn lacks(&self, needs: &[Need]) -> Vec<String> {
        let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
        for need in needs.iter().filter(|need| self.may(need.action, &need.class) == May::Not) {
            match lines.iter_mut().find(|(action, _)| *action == need.action) {
                Some((_, classes)) => classes.push(&need.class),
                None => lines.push((need.action, vec![&need.class])),
            }
        }
        lines.into_iter().map(|(action, classes)| format!("{action} on {}", classes.join(", "))).collect()
    }

    fn granted<'a>(&'a self, action: &'a str) -> impl Iterator<Item = &'a Value> {
        let permissions = self.roles.iter().flatten().flat_map(|role| role.permissions.iter().flatten());
        permissions.filter(move |permission| permission.get("action").and_then(Value::as_str) == Some(action))
    }
}

/// `{ "action": "read_data", "data": { .. } }`: what the right is for.
fn scope_of<'a>(permission: &'a Value, action: &str) -> Option<&'a Value> {
    action.split_once('_').and_then(|(_, domain)| permission.get(domain))
}

/// Whether a pattern of a role means this name. Patterns of other forms than text with `*` are taken to mean it: they are the
/// server's to judge.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.contains(['|', '^', '$', '(', ')', '[', ']', '.', '+', '?', '{', '}', '\\', ':']) {
        return true;
    }
    let mut letters = pattern.chars();
    let pattern: String = letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    let mut pieces = pattern.split('*');
    let Some(rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for piece in middle {
        let Some(place) = rest.find(piece) else { return false };
        rest = rest.get(place + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// Whether what was asked for, with `*` and `?`, lies within the pattern of a role.
pub fn covers(pattern: &str, asked: &str) -> bool {
    pattern == "*"
        || pattern == asked
        || pattern.strip_suffix('*').is_some_and(|prefix| !prefix.contains('*') && asked.starts_with(prefix))
        || !asked.contains(['*', '?', '[', '{']) && matches(pattern, asked)
}

/// Who the key of this connection belongs to; `None` where the server has no roles, or nobody is asked who he is. `class` is one
/// that is about to be used anyway.
///
/// # Errors
/// See [`Fault`].
pub async fn principal(client: &Client, class: &str) -> Result<Option<Principal>, Fault> {
    let found: Principal = match client.get("/users/own-info").await {
        Ok(found) => found,
        // Older than 1.28, or anonymous.
        Err(Fault::Missing(_) | Fault::Denied(_) | Fault::Refused(_)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    if found.roles.as_ref().is_some_and(|roles| !roles.is_empty()) {
        return Ok(Some(found));
    }
    // No roles: either the server has none to give, or this user has none of them, and then it may do nothing.
    match client.raw(reqwest::Method::GET, &format!("/schema/{class}"), None).await {
        Err(Fault::Denied(_)) => Ok(Some(found)),
        Ok(_) | Err(Fault::Missing(_) | Fault::Refused(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn principal(permissions: &Value) -> Principal {
        let text = json!({ "username": "guest", "roles": [{ "name": "one", "permissions": permissions }, { "name": "none" }] });
        serde_json::from_value(text).expect("a principal")
    }

    #[test]
    fn rights_go_as_far_as_their_patterns() {
        let guest = principal(&json!([
            { "action": "read_collections", "collections": { "collection": "Limit*" } },
            { "action": "read_data", "data": { "collection": "LimitNamed", "tenant": "*", "object": "*" } },
            { "action": "read_tenants", "tenants": { "collection": "*", "tenant": "t01" } },
            { "action": "read_nodes", "nodes": { "verbosity": "minimal" } },
        ]));
        assert_eq!(guest.may("read_collections", "LimitNamed"), May::Whole);
        assert_eq!(guest.may("read_collections", "Other"), May::Not);
        assert_eq!(guest.may("read_data", "LimitOrg"), May::Not);
        assert_eq!(guest.may("read_tenants", "Any"), May::Part(vec!["t01".to_owned()]));
        assert_eq!(guest.may("create_data", "LimitNamed"), May::Not);
        assert_eq!(guest.where_may("read_collections"), ["Limit*"]);
        assert!(guest.may_somewhere("read_nodes") && !guest.may_somewhere("read_aliases"));
        let need = |action, class: &str| Need { action, class: class.to_owned() };
        let needs = [need("create_data", "LimitA"), need("create_data", "LimitB"), need("read_collections", "LimitA")];
        assert_eq!(guest.lacks(&needs), ["create_data on LimitA, LimitB"]);
        assert!(principal(&Value::Null).lacks(&needs).len() == 2);
    }

    #[test]
    fn patterns() {
        for (pattern, name) in
            [("*", "A"), ("Doc", "Doc"), ("doc*", "Docs"), ("A*Z", "AbcZ"), ("*b*", "abc"), ("A.*|B", "C")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("Doc", "Docs"), ("A*Z", "AbcY"), ("*b*", "acd"), ("", "A"), ("A*A", "A")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(
            covers("*", "B*") && covers("Lim*", "Limit*") && covers("Limit*", "LimitA") && covers("Limit*", "Limit*")
        );
        assert!(!covers("Limit*", "Lim*") && !covers("LimitA", "Limit?") && !covers("Limit*", "*"));
    }
}
