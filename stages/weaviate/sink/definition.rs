//! A class as it was asked for, against the class as it is. A server leaves out in silence what its version does not know, and sets
//! what it likes better: whatever differs is named by its path.

use serde_json::{Map, Value};

use super::super::client::Meta;

/// What differs at one place of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// For example `properties.title.tokenization`.
    pub path: String,
    /// What was asked for.
    pub wanted: Value,
    /// What is there; null where nothing is.
    pub made: Value,
}

impl Change {
    /// For people: path and both sides.
    pub fn shown(&self) -> String {
        let text = |value: &Value| {
            let mut text = value.to_string();
            if let Some((cut, _)) = text.char_indices().nth(120) {
                text.truncate(cut);
                text.push_str("..");
            }
            text
        };
        if self.made.is_null() {
            format!("{} {}", self.path, text(&self.wanted))
        } else {
            format!("{} {}, it is {}", self.path, text(&self.wanted), text(&self.made))
        }
    }

    /// Why it matters to nobody who keeps or finds objects; `None` where it does.
    pub fn harmless(&self) -> Option<&'static str> {
        let last = self.path.rsplit('.').next().unwrap_or_default();
        let starts = |path: &str| self.path.starts_with(path);
        Some(match last {
            "usingBlockMaxWAND" => "the keyword index has the older layout: the same objects are found, more slowly",
            "trackDefaultQuantization" => "only how the server came to the options of the index",
            "skipDefaultQuantization" if self.made.is_null() => "this version compresses no index by default",
            "vectorCacheMaxObjects" | "cleanupIntervalSeconds" => "only upkeep: what is kept and found is the same",
            "asyncEnabled" if starts("replicationConfig.") => "the cluster itself says how copies are kept alike",
            "asyncConfig" if starts("replicationConfig.") => "only how fast copies are made alike",
            _ if starts("replicationConfig.asyncConfig.") => "only how fast copies are made alike",
            "desiredCount" | "virtualPerPhysical" | "desiredVirtualCount" if starts("shardingConfig.") => {
                "only over how many shards the objects are spread"
            }
            _ => return None,
        })
    }

    /// Whether the user takes it, by an option with paths.
    pub fn is_accepted(&self, accept: &[String]) -> bool {
        accept.iter().any(|pattern| {
            self.path == *pattern
                || self.path.strip_prefix(pattern.as_str()).is_some_and(|rest| rest.starts_with('.'))
                || by_parts(pattern, &self.path)
        })
    }
}

/// `*` stands for one part of the path: `properties.*.textAnalyzer`.
fn by_parts(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('.');
    pattern.split('.').all(|piece| parts.next().is_some_and(|part| piece == "*" || piece == part))
}

/// What of `wanted` is not so in `made`. What `made` has beside it are defaults of the server, except for a compression of vectors
/// that nobody asked for.
pub fn changes(wanted: &Value, made: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", wanted, made, &mut found);
    found
}

fn compare(path: &str, wanted: &Value, made: &Value, found: &mut Vec<Change>) {
    if path.ends_with(".vectorizer") && is_another_module(wanted, made) {
        found.push(Change { path: path.to_owned(), wanted: wanted.clone(), made: made.clone() });
        return;
    }
    match (wanted, made) {
        _ if same(wanted, made) => {}
        // What is switched off has options that mean nothing.
        (Value::Object(_), Value::Object(made))
            if is_off(wanted) && made.get("enabled") != Some(&Value::Bool(true)) => {}
        (Value::Object(wanted), Value::Object(made)) if wanted.get("enabled") != Some(&Value::Bool(false)) => {
            for (key, value) in wanted {
                compare(&join(path, key), value, made.get(key).unwrap_or(&Value::Null), found);
            }
            if path.ends_with("vectorIndexConfig") && !wanted.is_empty() {
                found.extend(compressed(path, wanted, made));
            }
        }
        (Value::Array(list), Value::Array(others)) if list.iter().all(|one| name_of(one).is_some()) => {
            for one in list {
                let name = name_of(one).unwrap_or_default();
                let other = others.iter().find(|other| name_of(other).is_some_and(|other| is_named(&name, &other)));
                let path = join(path, &name);
                match (one.as_object(), other.and_then(Value::as_object)) {
                    (Some(one), Some(other)) => {
                        for (key, value) in one.iter().filter(|(key, _)| *key != "name") {
                            compare(&join(&path, key), value, other.get(key).unwrap_or(&Value::Null), found);
                        }
                    }
                    _ => found.push(Change { path, wanted: one.clone(), made: Value::Null }),
                }
            }
        }
        // Not set: whatever the server puts there is its default.
        _ if is_nothing(wanted) && (is_nothing(made) || !is_off(wanted)) => {}
        _ => found.push(Change { path: path.to_owned(), wanted: wanted.clone(), made: made.clone() }),
    }
}

/// Whether a vector is made by another module, or by one instead of by nobody: `{ "none": {} }` is a name and not nothing.
fn is_another_module(wanted: &Value, made: &Value) -> bool {
    let names = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    matches!((names(wanted), names(made)), (Some(wanted), Some(made)) if !wanted.is_empty() && wanted != made)
}

/// The quantizers that are on, and that `wanted` does not even know.
fn compressed(path: &str, wanted: &Map<String, Value>, made: &Map<String, Value>) -> Vec<Change> {
    let new = ["pq", "bq", "sq", "rq"].into_iter().filter(|key| !wanted.contains_key(*key));
    new.filter_map(|key| {
        let there = made.get(key).filter(|value| !is_nothing(value))?;
        Some(Change { path: join(path, key), wanted: Value::Null, made: there.clone() })
    })
    .collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn name_of(value: &Value) -> Option<String> {
    value.get("name").and_then(Value::as_str).map(str::to_owned)
}

/// Servers write the first letter of a property small.
fn is_named(name: &str, other: &str) -> bool {
    let (mut a, mut b) = (name.chars(), other.chars());
    match (a.next(), b.next()) {
        (Some(first), Some(second)) => first.eq_ignore_ascii_case(&second) && a.as_str() == b.as_str(),
        (first, second) => first == second,
    }
}

/// Not set, or switched off: what nobody misses.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.get("enabled") == Some(&Value::Bool(false)) || map.values().all(is_nothing),
    }
}

/// Switched off by name: then it is another thing where it is on. What is only not set gets a default.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Bool(on) => !on,
        Value::Object(map) => map.get("enabled") == Some(&Value::Bool(false)),
        _ => false,
    }
}

fn same(wanted: &Value, made: &Value) -> bool {
    match (wanted.as_f64(), made.as_f64()) {
        // Servers keep some numbers in 32 bits.
        (Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-6,
        _ => wanted == made,
    }
}

/// Keys, and the first version 1.x that is known to know them. Those that 1.27 lacks and for which no version is known stand at
/// 28: what is wrong about that is found when the class is made.
const NEW_KEYS: [(&str, u32); 13] = [
    ("usingBlockMaxWAND", 28),
    ("tokenizerUserDict", 28),
    ("disableDuplicatedReferences", 28),
    ("asyncConfig", 28),
    ("multivector", 29),
    ("muvera", 31),
    ("rq", 32),
    ("skipDefaultQuantization", 32),
    ("trackDefaultQuantization", 32),
    ("objectTtlConfig", 35),
    ("textAnalyzer", 37),
    ("stopwordPresets", 37),
    ("stopwordPreset", 37),
];

/// What a server of this version will leave out of a class, as far as that is known.
pub fn foretold(server: &Meta, wanted: &Value) -> Vec<Change> {
    let mut made = wanted.clone();
    forget(server, &mut made, true);
    changes(wanted, &made)
}

/// Removes the keys that the server does not know. Not below keys that users have chosen, and not of modules.
fn forget(server: &Meta, value: &mut Value, keys_are_ours: bool) {
    match value {
        Value::Object(map) => {
            if keys_are_ours {
                let unknown = NEW_KEYS.iter().filter(|(_, minor)| !server.is_at_least(1, *minor));
                unknown.for_each(|(key, _)| drop(map.shift_remove(*key)));
            }
            for (key, value) in map.iter_mut() {
                match key.as_str() {
                    "moduleConfig" | "vectorizer" => {}
                    "vectorConfig" => forget(server, value, false),
                    _ => forget(server, value, true),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| forget(server, value, true)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.path.as_str()).collect()
    }

    fn server(version: &str) -> Meta {
        Meta { version: version.to_owned(), ..Meta::default() }
    }

    #[test]
    fn every_key_that_was_dropped_or_changed_has_its_path() {
        let wanted = json!({
            "class": "Doc",
            "objectTtlConfig": { "enabled": true, "defaultTtl": 60 },
            "invertedIndexConfig": { "bm25": { "k1": 1.2, "b": 0.75 }, "stopwordPresets": { "mine": ["a"] }, "usingBlockMaxWAND": true },
            "properties": [
                { "name": "Title", "dataType": ["text"], "tokenization": "field", "textAnalyzer": { "asciiFold": true } },
                { "name": "meta", "dataType": ["object"], "nestedProperties": [{ "name": "k", "dataType": ["text"], "indexFilterable": true }] },
                { "name": "gone", "dataType": ["int"] },
            ],
        });
        let made = json!({
            "class": "Doc",
            "invertedIndexConfig": { "bm25": { "k1": 1.2000000476837158, "b": 0.75 }, "stopwords": { "preset": "en" } },
            "properties": [
                { "name": "title", "dataType": ["text"], "tokenization": "word" },
                { "name": "meta", "dataType": ["object"], "nestedProperties": [{ "name": "k", "dataType": ["text"], "indexFilterable": false }] },
            ],
        });
        let found = changes(&wanted, &made);
        assert_eq!(
            paths(&found),
            [
                "objectTtlConfig",
                "invertedIndexConfig.stopwordPresets",
                "invertedIndexConfig.usingBlockMaxWAND",
                "properties.Title.tokenization",
                "properties.Title.textAnalyzer",
                "properties.meta.nestedProperties.k.indexFilterable",
                "properties.gone",
            ]
        );
        let harmless: Vec<&str> = found.iter().filter(|one| one.harmless().is_some()).map(|one| &*one.path).collect();
        assert_eq!(harmless, ["invertedIndexConfig.usingBlockMaxWAND"]);
        assert_eq!(found.get(3).expect("a change").shown(), "properties.Title.tokenization \"field\", it is \"word\"");
    }

    #[test]
    fn what_is_off_or_not_set_is_missed_by_nobody() {
        let wanted =
            json!({ "a": false, "b": null, "c": { "enabled": false, "x": 5 }, "d": { "e": [], "f": "" }, "g": 0 });
        assert!(changes(&wanted, &json!({})).is_empty());
        // Not set: the server has a default. Switched off: another thing.
        let made = json!({ "a": true, "b": 1, "c": { "enabled": true }, "d": { "e": [1], "f": "x" }, "g": 3 });
        assert_eq!(paths(&changes(&wanted, &made)), ["a", "c"]);
    }

    #[test]
    fn a_compression_that_nobody_asked_for_is_a_change() {
        let wanted =
            json!({ "vectorConfig": { "v": { "vectorIndexConfig": { "distance": "dot" } } }, "vectorIndexConfig": {} });
        let index = json!({ "distance": "dot", "rq": { "enabled": true, "bits": 8 }, "pq": { "enabled": false, "segments": 2 } });
        let made = json!({ "vectorConfig": { "v": { "vectorIndexConfig": index } }, "vectorIndexConfig": index });
        assert_eq!(paths(&changes(&wanted, &made)), ["vectorConfig.v.vectorIndexConfig.rq"]);
    }

    #[test]
    fn another_vectorizer_is_a_change_also_where_none_was() {
        let class = |vectorizer: Value| json!({ "vectorConfig": { "v": { "vectorizer": vectorizer } } });
        let none = class(json!({ "none": {} }));
        assert!(changes(&none, &none).is_empty());
        let module = class(json!({ "text2vec-openai": { "model": "x" } }));
        assert_eq!(paths(&changes(&none, &module)), ["vectorConfig.v.vectorizer"]);
        assert_eq!(paths(&changes(&module, &none)), ["vectorConfig.v.vectorizer"]);
    }

    #[test]
    fn a_version_foretells_what_it_forgets() {
        let class = json!({
            "properties": [{ "name": "rq", "dataType": ["A"], "disableDuplicatedReferences": true }],
            "moduleConfig": { "m": { "rq": 1 } },
            "vectorConfig": { "rq": { "vectorizer": { "none": {} }, "vectorIndexConfig": { "rq": { "enabled": true }, "multivector": { "enabled": false } } } },
            "objectTtlConfig": { "enabled": true },
        });
        let of = |version: &str| foretold(&server(version), &class).into_iter().map(|one| one.path).collect::<Vec<_>>();
        assert_eq!(
            of("1.27.27"),
            ["properties.rq.disableDuplicatedReferences", "vectorConfig.rq.vectorIndexConfig.rq", "objectTtlConfig"]
        );
        assert_eq!(of("1.34.0"), ["objectTtlConfig"]);
        assert!(of("1.39.2").is_empty());
    }

    #[test]
    fn paths_are_accepted_whole_or_by_part() {
        let change = |path: &str| Change { path: path.to_owned(), wanted: json!(1), made: Value::Null };
        let takes = |pattern: &str, path: &str| change(path).is_accepted(&[pattern.to_owned()]);
        assert!(takes("objectTtlConfig", "objectTtlConfig"));
        assert!(takes("invertedIndexConfig", "invertedIndexConfig.stopwordPresets"));
        assert!(takes("properties.*.textAnalyzer", "properties.t.textAnalyzer"));
        assert!(!takes("invertedIndex", "invertedIndexConfig.stopwordPresets"));
        assert!(!takes("properties.*.tokenization", "properties.t.textAnalyzer"));
        assert!(!takes("properties.t.textAnalyzer", "properties.t"));
    }
}
