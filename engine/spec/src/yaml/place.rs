//! From a character of a decoded text to the characters of the file that stand for it.

use std::ops::Range;

use super::Style;

/// A run of interpolated text: `output` characters of the new text stand for `input` characters of the text before
/// interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub output: usize,
    pub input: usize,
    /// The run is the text of the file itself, character for character.
    pub literal: bool,
}

/// A scalar as it stands in the file, and what it means.
pub(super) struct Scalar<'a> {
    pub raw: &'a str,
    pub decoded: &'a str,
    pub style: Style,
    pub pieces: &'a [Piece],
}

/// Bytes within `raw` of `length` characters from a line and column (both from 1) of the text after interpolation.
pub(super) fn locate(scalar: &Scalar<'_>, line: u64, column: u64, length: usize) -> Range<usize> {
    locate_index(scalar, index_of(&scalar.output_text(), line, column), length)
}

/// Bytes within `raw` of `length` characters from a character (from 0) of the text after interpolation.
pub(super) fn locate_index(scalar: &Scalar<'_>, from: usize, length: usize) -> Range<usize> {
    let map = align(scalar);
    let end = map.last().map_or(scalar.raw.len(), |(_, end)| *end);
    let at = |index: usize| map.get(index).cloned();
    let first = before_interpolation(scalar.pieces, from);
    let last = before_interpolation(scalar.pieces, from + length.max(1) - 1);
    match (at(first.start), at(last.end.saturating_sub(1).max(first.start))) {
        (Some((start, _)), Some((_, stop))) => start..stop.max(start),
        (Some((start, stop)), None) => start..stop,
        _ => end..end,
    }
}

impl Scalar<'_> {
    /// Enough of the text after interpolation to count lines and columns in: each inserted run as spaces, since only
    /// its length is known. A line end inside an inserted run is rare and moves the place to the run's own line.
    fn output_text(&self) -> Vec<char> {
        if self.pieces.is_empty() {
            return self.decoded.chars().collect();
        }
        let mut input = self.decoded.chars();
        let mut output = Vec::new();
        for piece in self.pieces {
            let run: Vec<char> = input.by_ref().take(piece.input).collect();
            if piece.literal { output.extend(run) } else { output.extend(std::iter::repeat_n(' ', piece.output)) }
        }
        output
    }
}

fn index_of(text: &[char], line: u64, column: u64) -> usize {
    let mut index = 0;
    for _ in 1..line {
        match text.iter().skip(index).position(|letter| *letter == '\n') {
            Some(offset) => index += offset + 1,
            None => return text.len(),
        }
    }
    (index + usize::try_from(column - 1).unwrap_or(usize::MAX - index)).min(text.len())
}

/// The characters before interpolation that a character after it stands for.
fn before_interpolation(pieces: &[Piece], index: usize) -> Range<usize> {
    let (mut output, mut input) = (0, 0);
    for piece in pieces {
        if index < output + piece.output {
            let inside = input + (index - output);
            return if piece.literal { inside..inside + 1 } else { input..input + piece.input.max(1) };
        }
        output += piece.output;
        input += piece.input;
    }
    let index = input + index.saturating_sub(output);
    index..index + 1
}

/// For each decoded character the bytes of `raw` that stand for it. Every character that is no white space stands in
/// the raw text in the same order, as itself or as an escape, so one walk over both finds it; folded white space maps
/// to the white space it came from.
fn align(scalar: &Scalar<'_>) -> Vec<(usize, usize)> {
    let raw: Vec<(usize, char)> = scalar.raw.char_indices().collect();
    let byte = |index: usize| raw.get(index).map_or(scalar.raw.len(), |(offset, _)| *offset);
    let mut at = first_character(&raw, scalar.style);
    let mut map = Vec::with_capacity(scalar.decoded.len());
    for wanted in scalar.decoded.chars() {
        let mut here = at;
        if !wanted.is_whitespace() {
            while raw.get(here).is_some_and(|(_, letter)| letter.is_whitespace()) || continues(&raw, here, scalar.style)
            {
                here += 1;
            }
        }
        let width = width(&raw, here, scalar.style);
        let exact = raw.get(here).is_some_and(|(_, letter)| *letter == wanted || width > 1);
        if exact {
            map.push((byte(here), byte(here + width)));
            at = here + width;
        } else {
            // White space that folding made or dropped: the next other character finds its place again.
            map.push((byte(here), byte(here + 1)));
        }
    }
    map
}

fn first_character(raw: &[(usize, char)], style: Style) -> usize {
    match style {
        Style::Plain => 0,
        Style::Single | Style::Double => usize::from(matches!(raw.first(), Some((_, '\'' | '"')))),
        Style::Literal | Style::Folded => match raw.first() {
            // The header line: indicator, indentation, chomping, a comment.
            Some((_, '|' | '>')) => {
                raw.iter().position(|(_, letter)| *letter == '\n').map_or(raw.len(), |line| line + 1)
            }
            _ => 0,
        },
    }
}

/// A backslash at the end of a line in a double-quoted text stands for nothing.
fn continues(raw: &[(usize, char)], at: usize, style: Style) -> bool {
    style == Style::Double
        && matches!(raw.get(at), Some((_, '\\')))
        && matches!(raw.get(at + 1), Some((_, '\n' | '\r')))
}

/// How many raw characters stand for one decoded character here.
fn width(raw: &[(usize, char)], at: usize, style: Style) -> usize {
    match (style, raw.get(at).map(|(_, letter)| *letter), raw.get(at + 1).map(|(_, letter)| *letter)) {
        (Style::Single, Some('\''), Some('\'')) => 2,
        (Style::Double, Some('\\'), Some('x')) => 4,
        (Style::Double, Some('\\'), Some('u')) => 6,
        (Style::Double, Some('\\'), Some('U')) => 10,
        (Style::Double, Some('\\'), Some(_)) => 2,
        _ => 1,
    }
}
