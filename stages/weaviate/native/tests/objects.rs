//! The stored form of an object.

use super::support::stored;
use crate::weaviate::native::Object;

const ID: [u8; 16] = *b"an id of sixteen";

/// A section of vectors: where each begins, and their bytes.
fn section(map: &[u8], content: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&length(map), map, &length(content), content].concat()
}

fn vector(floats: &[f32]) -> Vec<u8> {
    let mut bytes = u16::try_from(floats.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
    bytes
}

/// An object with these sections behind its properties.
fn with(sections: &[Vec<u8>]) -> Vec<u8> {
    [stored(ID, -7, "{\"a\":1.0}"), sections.concat()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
}

#[test]
fn objects_may_end_behind_any_section() {
    let named = section(b"\x81\xa1a\x00", &vector(&[1.5]));
    let multi =
        section(b"\x81\xa1m\xce\x00\x00\x00\x00", &[&2_u32.to_le_bytes(), &vector(&[1.0])[..], &vector(&[])].concat());
    let sections = [text("{\"k\":1}"), text("[1]"), named, multi];
    for count in 0..=4 {
        let object = Object::decode(&with(&sections[..count])).unwrap();
        assert_eq!((object.id, object.created_ms, object.updated_ms), (ID, 1, -7));
        assert_eq!((object.class.as_str(), object.vector.as_ref()), ("", None));
        assert_eq!(object.properties, "{\"a\":1.0}");
        assert_eq!(object.additional.is_some(), count > 0);
        assert_eq!(object.vector_weights.is_some(), count > 1);
        assert_eq!(object.vectors.get("a"), Some(&vec![1.5]).filter(|_| count > 2));
        assert_eq!(object.multi_vectors.get("m"), Some(&vec![vec![1.0], vec![]]).filter(|_| count > 3));
    }
}

#[test]
fn a_cut_object_is_refused() {
    let sections = [text("null"), text(""), section(b"\x80", b""), section(b"", b"")];
    let whole = with(&sections);
    let ends: Vec<_> = (0..=4).map(|count| with(&sections[..count]).len()).collect();
    for length in 0..whole.len() {
        assert_eq!(Object::decode(&whole[..length]).is_ok(), ends.contains(&length), "{length}");
    }
    assert_eq!(Object::decode(&whole).unwrap().additional, None);
}

#[test]
fn maps_of_any_width_are_read() {
    let content = [vector(&[0.0; 40]), vector(&[2.0])].concat();
    let long = "n".repeat(40);
    for key in [&b"\xd9\x28"[..], b"\xda\x00\x28", b"\xdb\x00\x00\x00\x28"] {
        for place in
            [&b"\xcc\xa2"[..], b"\xcd\x00\xa2", b"\xce\x00\x00\x00\xa2", b"\xcf\x00\x00\x00\x00\x00\x00\x00\xa2"]
        {
            for map in [&b"\x81"[..], b"\xde\x00\x01", b"\xdf\x00\x00\x00\x01"] {
                let map = [map, key, long.as_bytes(), place].concat();
                let object = Object::decode(&with(&[text(""), text(""), section(&map, &content)])).unwrap();
                assert_eq!(object.vectors[&long], [2.0]);
            }
        }
    }
    let none = Object::decode(&with(&[text(""), text(""), section(b"\xc0", b"")])).unwrap();
    assert!(none.vectors.is_empty());
}

#[test]
fn what_cannot_be_understood_is_refused() {
    let refused = |sections: &[Vec<u8>]| Object::decode(&with(sections)).unwrap_err().reason;
    let empty = || text("");
    let named = |map: &[u8], content: &[u8]| refused(&[empty(), empty(), section(map, content)]);
    let one = vector(&[1.0]);
    assert_eq!(named(b"\x81\xa1a\x07", &one), "a vector is said to begin behind the others");
    assert_eq!(named(b"\x81\xa1a\x06", &one), "the object ends too early");
    assert_eq!(named(b"\x82\xa1a\x00\xa1b\x00", &one), "vectors overlap");
    assert_eq!(named(b"\x82\xa1a\x00\xa1a\x06", &[&one[..], &one].concat()), "a vector is there twice");
    assert_eq!(named(b"\x81\xa1a\x00\x00", &one), "the map of vectors is followed by bytes");
    assert_eq!(named(b"\x90", &one), "the places of the vectors are no map");
    assert_eq!(named(b"\x81\x01\x00", &one), "the name of a vector is no text");
    assert_eq!(named(b"\x81\xa1a\xa0", &one), "the place of a vector is no number");
    assert_eq!(named(b"\x81\xa1\xff\x00", &one), "a text is not UTF-8");
    assert_eq!(named(b"\xdf\xff\xff\xff\xff", &one), "the object ends too early");
    let sections = [empty(), empty(), section(b"", b""), section(b"", b""), vec![0]];
    assert_eq!(refused(&sections), "the object is followed by unknown bytes");
    let mut version = with(&[]);
    version[0] = 2;
    assert_eq!(Object::decode(&version).unwrap_err().at, 0);
}
