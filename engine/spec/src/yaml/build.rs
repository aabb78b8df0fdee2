//! Parser events to tree. An explicit stack and counted budgets: no input makes it recurse, hang or grow.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Value;

use super::scalar::{self, Refused, Style};
use super::{Data, Document, Entry, MAX_ALIAS_BYTES, MAX_BYTES, MAX_DEPTH, MAX_KEY, MAX_NODES, MAX_POINTER, Node};
use crate::finding::Finding;

/// A file as far as it could be read.
pub struct Parsed {
    /// The text and its tree; the tree is empty where `usable` is false.
    pub document: Document,
    pub(crate) findings: Vec<Finding>,
    /// Whether the tree is whole enough to be checked further.
    pub usable: bool,
}

/// Parses a text whose first line is line `first_line` of the file.
pub fn parse(path: &str, text: &str, first_line: u32) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        let start = text.char_indices().map(|(index, _)| index).take_while(|index| *index <= 4096).last().unwrap_or(0);
        let document = Document::new(path, text.get(..start).unwrap_or("").to_owned(), first_line);
        let message = format!("the file has {} bytes: a pipeline file may have {MAX_BYTES}", text.len());
        return Parsed { document, findings: vec![Finding::new("E006", 0..0, message)], usable: false };
    }
    let mut document = Document::new(path, text.to_owned(), first_line);
    let mut builder = Builder::new(&document);
    let outcome = builder.run(text);
    let (mut findings, root) = (builder.findings, builder.root);
    let usable = match outcome {
        Ok(()) => true,
        Err(finding) => {
            findings.push(finding);
            false
        }
    };
    match root {
        Some(root) if usable && !is_null(&root) => document.root = root,
        Some(_) | None if usable => {
            let finding = Finding::new("E007", 0..0, "the file is empty")
                .help("write a starter with: restow create files/repository");
            findings.push(finding);
            return Parsed { document, findings, usable: false };
        }
        _ => {}
    }
    Parsed { document, findings, usable }
}

fn is_null(node: &Node) -> bool {
    matches!(&node.data, Data::Scalar { value: Value::Null, .. })
}

/// A collection that is still open.
struct Frame {
    start: usize,
    anchor: usize,
    data: Open,
    weight: Weight,
    pointer: usize,
    /// The collection stands where a key must stand.
    as_key: bool,
}

enum Open {
    List(Vec<Arc<Node>>),
    Map { entries: Vec<Entry>, seen: HashMap<String, usize>, key: Key },
}

enum Key {
    Next,
    Have(String, Range<usize>),
    /// The key was refused: its value is read and dropped.
    Drop,
}

/// What a value costs when an alias repeats it.
#[derive(Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Builder<'a> {
    document: &'a Document,
    offsets: Option<Vec<usize>>,
    length: usize,
    stack: Vec<Frame>,
    root: Option<Arc<Node>>,
    anchors: HashMap<usize, (Arc<Node>, Weight)>,
    open_anchors: HashSet<usize>,
    nodes: usize,
    alias_bytes: usize,
    documents: usize,
    findings: Vec<Finding>,
}

impl<'a> Builder<'a> {
    fn new(document: &'a Document) -> Self {
        let text = document.text();
        // The parser counts characters; the index counts bytes.
        let offsets = (!text.is_ascii()).then(|| text.char_indices().map(|(index, _)| index).collect());
        Self {
            document,
            offsets,
            length: text.len(),
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            open_anchors: HashSet::new(),
            nodes: 0,
            alias_bytes: 0,
            documents: 0,
            findings: Vec::new(),
        }
    }

    fn byte(&self, index: usize) -> usize {
        match &self.offsets {
            Some(offsets) => offsets.get(index).copied().unwrap_or(self.length),
            None => index.min(self.length),
        }
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    fn run(&mut self, text: &str) -> Result<(), Finding> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let range = self.range(span);
            match event {
                Event::DocumentStart(_) => {
                    self.documents += 1;
                    if self.documents > 1 {
                        return Err(Finding::new("E005", range, "a second YAML document")
                            .help("one file holds one pipeline: move what follows to a file of its own"));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag, range)?,
                Event::SequenceStart(anchor, tag) => self.open(range, anchor, tag, Open::List(Vec::new()))?,
                Event::MappingStart(anchor, tag) => {
                    let data = Open::Map { entries: Vec::new(), seen: HashMap::new(), key: Key::Next };
                    self.open(range, anchor, tag, data)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(range)?,
                Event::Alias(anchor) => self.alias(anchor, range)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
            if self.findings.len() > 2 * crate::finding::MOST {
                return Ok(());
            }
        }
        Ok(())
    }

    fn syntax(&self, error: &ScanError) -> Finding {
        let start = self.byte(error.marker().index());
        let info = error.info();
        let finding = Finding::new("E001", start..start, format!("not valid YAML: {info}"));
        if info.contains("recursion limit") {
            return Finding::new("E003", start..start, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let help = if info.contains("mapping values") {
            Some("a text that holds \": \" must be quoted")
        } else if info.contains("cannot start any token") || info.contains("unexpected character") {
            Some("a text that begins with a special character must be quoted; indent with spaces, not tabs")
        } else if info.contains("anchor") {
            Some("an alias *name needs an anchor &name before it; a text that begins with * must be quoted")
        } else {
            None
        };
        finding.maybe_help(help.map(str::to_owned))
    }

    fn at_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { data: Open::Map { key: Key::Next, .. }, .. }))
    }

    fn count(&mut self, nodes: usize, range: &Range<usize>) -> Result<(), Finding> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values after aliases are expanded");
            return Err(Finding::new("E004", range.clone(), message));
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        range: Range<usize>,
    ) -> Result<(), Finding> {
        if self.at_key() {
            return self.key(text, range);
        }
        self.count(1, &range)?;
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let range = self.trimmed(range, style);
        let value = self.resolve(text, style, tag.as_deref(), &range);
        let weight = Weight { nodes: 1, bytes: text.len(), depth: 0 };
        self.complete(Arc::new(Node { range, data: Data::Scalar { value, style } }), weight, anchor)
    }

    /// The parser's span of a quoted text runs on over the white space after it.
    fn trimmed(&self, range: Range<usize>, style: Style) -> Range<usize> {
        let quote = match style {
            Style::Single => '\'',
            Style::Double => '"',
            Style::Plain | Style::Literal | Style::Folded => return range,
        };
        let raw = self.document.text().get(range.clone()).unwrap_or("");
        range.start..raw.rfind(quote).map_or(range.end, |last| range.start + last + 1)
    }

    fn resolve(&mut self, text: &str, style: Style, tag: Option<&Tag>, range: &Range<usize>) -> Value {
        let plain = match tag {
            None => style == Style::Plain,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => false,
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => false,
            Some(tag) => {
                self.refuse_tag(tag, range);
                style == Style::Plain
            }
        };
        if !plain {
            return Value::String(text.into());
        }
        let (what, help) = match scalar::plain(text) {
            Ok(value) => return value,
            Err(Refused::NotFinite) => ("a number that is not finite", "write a finite number, or quote it as a text"),
            Err(Refused::TooLarge) => ("an integer that does not fit 64 bits", "quote it to keep every digit as text"),
        };
        self.findings.push(Finding::new("E005", range.clone(), what).help(help));
        Value::Null
    }

    fn refuse_tag(&mut self, tag: &Tag, range: &Range<usize>) {
        let finding = Finding::new("E005", range.clone(), format!("the tag {tag} is not used in pipeline files"));
        self.findings.push(finding.help("remove the tag: types follow from the field"));
    }

    fn key(&mut self, text: &str, range: Range<usize>) -> Result<(), Finding> {
        let problem = if text == "<<" {
            let finding = Finding::new("E005", range.clone(), "merge keys are not used in pipeline files");
            Some(finding.help("repeat the whole value by an alias, or write the fields out"))
        } else if text.is_empty() {
            Some(Finding::new("E005", range.clone(), "an empty key"))
        } else if text.len() > MAX_KEY {
            Some(Finding::new("E005", range.clone(), format!("a key of more than {MAX_KEY} bytes")))
        } else {
            None
        };
        let Some(Frame { data: Open::Map { key, seen, .. }, .. }) = self.stack.last_mut() else {
            return Ok(());
        };
        if let Some(problem) = problem {
            *key = Key::Drop;
            self.findings.push(problem);
        } else if let Some(first) = seen.get(text) {
            *key = Key::Drop;
            let finding = Finding::new("E002", range, format!("duplicate key {text:?}"));
            self.findings.push(
                finding
                    .help(format!("the first is at line {}: remove one of them", self.document.line_column(*first).0)),
            );
        } else {
            seen.insert(text.to_owned(), range.start);
            *key = Key::Have(text.to_owned(), range);
        }
        Ok(())
    }

    fn open(
        &mut self,
        range: Range<usize>,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        data: Open,
    ) -> Result<(), Finding> {
        self.count(1, &range)?;
        if let Some(tag) = tag.as_deref()
            && !(tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "map" | "seq"))
        {
            self.refuse_tag(tag, &range);
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(Finding::new("E003", range, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let as_key = self.at_key();
        if as_key {
            let finding = Finding::new("E005", range.clone(), "a key that is a mapping or a list");
            self.findings.push(finding.help("a key is a text; a text that begins with {, [ or ? must be quoted"));
        }
        let pointer = self.stack.last().map_or(0, |frame| match &frame.data {
            Open::List(items) => frame.pointer + 2 + items.len().checked_ilog10().unwrap_or(0) as usize,
            Open::Map { key: Key::Have(key, _), .. } => frame.pointer + 1 + super::escape(key).len(),
            Open::Map { .. } => frame.pointer,
        });
        if pointer > MAX_POINTER {
            return Err(Finding::new("E003", range, "nested under keys that are too long"));
        }
        if anchor > 0 {
            self.open_anchors.insert(anchor);
        }
        self.stack.push(Frame { start: range.start, anchor, data, weight: Weight::default(), pointer, as_key });
        Ok(())
    }

    fn close(&mut self, range: Range<usize>) -> Result<(), Finding> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        self.open_anchors.remove(&frame.anchor);
        let data = match frame.data {
            Open::List(items) => Data::List(items),
            Open::Map { entries, .. } => Data::Map(entries),
        };
        let node = Arc::new(Node { range: frame.start..range.end.max(frame.start), data });
        let weight = Weight { nodes: frame.weight.nodes + 1, bytes: frame.weight.bytes, depth: frame.weight.depth + 1 };
        if frame.as_key {
            if let Some(Frame { data: Open::Map { key, .. }, .. }) = self.stack.last_mut() {
                *key = Key::Drop;
            }
            return Ok(());
        }
        self.complete(node, weight, frame.anchor)
    }

    fn alias(&mut self, anchor: usize, range: Range<usize>) -> Result<(), Finding> {
        if self.open_anchors.contains(&anchor) {
            return Err(Finding::new("E004", range, "an alias inside of what it repeats"));
        }
        if self.at_key() {
            let finding = Finding::new("E005", range, "an alias as a key").help("write the key out");
            self.findings.push(finding);
            if let Some(Frame { data: Open::Map { key, .. }, .. }) = self.stack.last_mut() {
                *key = Key::Drop;
            }
            return Ok(());
        }
        let Some((node, weight)) = self.anchors.get(&anchor).map(|(node, weight)| (node.clone(), *weight)) else {
            return Err(Finding::new("E001", range, "not valid YAML: an alias without an anchor before it"));
        };
        self.count(weight.nodes, &range)?;
        self.alias_bytes = self.alias_bytes.saturating_add(weight.bytes);
        if self.alias_bytes > MAX_ALIAS_BYTES {
            let message = format!("aliases repeat more than {MAX_ALIAS_BYTES} bytes of text");
            return Err(Finding::new("E004", range, message));
        }
        if self.stack.len() + weight.depth > MAX_DEPTH {
            return Err(Finding::new("E003", range, format!("nested deeper than {MAX_DEPTH} levels by aliases")));
        }
        self.complete(node, weight, 0)
    }

    /// Puts a finished value into what is open around it.
    fn complete(&mut self, node: Arc<Node>, weight: Weight, anchor: usize) -> Result<(), Finding> {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.weight.nodes = frame.weight.nodes.saturating_add(weight.nodes);
        frame.weight.bytes = frame.weight.bytes.saturating_add(weight.bytes);
        frame.weight.depth = frame.weight.depth.max(weight.depth);
        match &mut frame.data {
            Open::List(items) => items.push(node),
            Open::Map { entries, key, .. } => {
                if let Key::Have(key, key_range) = std::mem::replace(key, Key::Next) {
                    entries.push(Entry { key, key_range, value: node });
                }
            }
        }
        Ok(())
    }
}
