//! Archives, and how files are put together from them.

use std::io::Read;

use crate::weaviate::native::tar::{Entry, Tar};

/// A header of 512 bytes with a checksum.
pub(super) fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = kind;
    block[257..263].copy_from_slice(b"ustar\0");
    seal(&mut block);
    block
}

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(512), 0);
    bytes
}

/// A file, with PAX records in front.
pub(super) fn file(name: &str, records: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !records.is_empty() {
        let records: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        bytes.extend(header("PaxHeaders.0/x", b'x', records.len() as u64));
        bytes.extend(padded(records.as_bytes()));
    }
    bytes.extend(header(name, b'0', content.len() as u64));
    bytes.extend(padded(content));
    bytes
}

fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (rest.len()..rest.len() + 9).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}")
}

/// An archive with its end mark.
pub(super) fn archive(files: &[Vec<u8>]) -> Vec<u8> {
    [files.concat(), vec![0; 1024]].concat()
}

fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, String> {
    let mut tar = Tar::new(archive, "archive".to_owned());
    let mut found = Vec::new();
    while let Some(entry) = tar.next().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        tar.read_to_end(&mut content).map_err(|error| error.to_string())?;
        found.push((entry, content));
    }
    Ok(found)
}

#[test]
fn names_and_sizes_of_every_form_are_read() {
    let long = format!("{}/file", "folder/".repeat(30));
    let gnu = [header("././@LongLink", b'L', 5), padded(b"abcd\0"), file("short", &[], b"1")].concat();
    let mut binary = header("binary", b'0', 0);
    binary[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    seal(&mut binary);
    let mut ustar = header("name", b'0', 0);
    ustar[345..351].copy_from_slice(b"folder");
    seal(&mut ustar);
    let global = [header("g", b'g', 4), padded(b"7 a=")].concat();
    let found = read(&archive(&[
        file("short", &[("path", &long), ("mtime", "1.5")], b"pax"),
        gnu,
        [binary, padded(b"xyz")].concat(),
        global,
        ustar,
        file("part", &[("WEAVIATE.fileOffset", "600")], &[7; 513]),
        header("folder/", b'5', 0),
    ]));
    let found: Vec<_> = found.unwrap().into_iter().map(|(e, content)| (e.name, e.part, e.regular, content)).collect();
    let expected = [
        (long, None, true, b"pax".to_vec()),
        ("abcd".to_owned(), None, true, b"1".to_vec()),
        ("binary".to_owned(), None, true, b"xyz".to_vec()),
        ("folder/name".to_owned(), None, true, Vec::new()),
        ("part".to_owned(), Some(600), true, vec![7; 513]),
        ("folder/".to_owned(), None, false, Vec::new()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_entry_need_not_be_read() {
    let bytes = archive(&[file("a", &[], &[1; 700]), file("b", &[], b"2")]);
    let mut tar = Tar::new(bytes.as_slice(), String::new());
    let names: Vec<_> = std::iter::from_fn(|| tar.next().unwrap()).map(|entry| (entry.name, entry.at)).collect();
    assert_eq!(names, [("a".to_owned(), 0), ("b".to_owned(), 1536)]);
}

#[test]
fn a_cut_archive_is_refused() {
    let bytes = archive(&[file("a", &[("k", "v")], b"content")]);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length}");
    }
    assert!(read(&bytes).is_ok());
}

#[test]
fn damage_is_placed() {
    let message = |bytes: &[u8]| read(bytes).unwrap_err();
    let mut changed = archive(&[file("a", &[], b"1"), file("b", &[], b"2")]);
    changed[1024 + 3] = b'x';
    assert_eq!(message(&changed), r#""archive" is damaged at byte 1024: the checksum of an entry's header is wrong"#);
    let number = archive(&[file("a", &[("WEAVIATE.fileOffset", "-1")], b"1")]);
    assert!(message(&number).ends_with("the PAX record WEAVIATE.fileOffset is no number: \"-1\""));
    let huge = archive(&[header("x", b'x', 1 << 21)]);
    assert!(message(&huge).ends_with("the description of an entry has 2097152 bytes"));
    let sparse = archive(&[file("a", &[("GNU.sparse.major", "1")], b"1")]);
    assert!(message(&sparse).ends_with("sparse files are not supported"));
    let endless = archive(&[file("a", &[("size", "18446744073709551615")], b"1")]);
    assert!(message(&endless).ends_with("an entry is said to have 18446744073709551615 bytes"));
    for records in [&b"5 a=b"[..], b"x a=b\n", b"99 a=b\n", b"1 a=b\n", b"6 ab\xff\n", b"0 a=b\n"] {
        let bytes = archive(&[header("x", b'x', records.len() as u64), padded(records)]);
        assert!(message(&bytes).ends_with("a PAX record cannot be understood"));
    }
}
