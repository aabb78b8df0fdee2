//! Repetition and definition levels of a page, as Parquet's data pages of version 1 store them: the hybrid of run lengths and packed bits
//! (<https://parquet.apache.org/docs/file-format/data-pages/encodings/>, RLE), after its length as a little-endian u32.

/// Levels that are packed together.
const GROUP: usize = 8;
/// Levels there can be: those of 2 bits.
const LEVELS: usize = 4;

/// How often each level occurs.
pub(super) type Histogram = [usize; LEVELS];

/// Levels that are written, run by run.
pub(super) struct Levels {
    bits: u32,
    /// The run that still grows.
    run: (u8, usize),
    /// A group that is not full yet.
    group: Vec<u8>,
    /// Groups that are packed, without their header.
    packed: Vec<u8>,
    encoded: Vec<u8>,
}

impl Levels {
    /// For levels up to `max`, which is 3 at most.
    pub(super) fn up_to(max: u8) -> Self {
        let (group, packed) = (Vec::with_capacity(GROUP), Vec::new());
        Self { bits: bits_of(max), run: (0, 0), group, packed, encoded: Vec::new() }
    }

    /// The same level so many times.
    pub(super) fn push(&mut self, level: u8, times: usize) {
        if self.run.0 == level {
            self.run.1 += times;
            return;
        }
        let (before, times_before) = std::mem::replace(&mut self.run, (level, times));
        self.encode(before, times_before);
    }

    /// Appends them to a page.
    pub(super) fn finish(mut self, page: &mut Vec<u8>) {
        let (level, times) = self.run;
        self.encode(level, times);
        // What follows the last level in its group is read by nobody.
        self.group.resize(if self.group.is_empty() { 0 } else { GROUP }, 0);
        self.pack();
        self.end_packed();
        page.extend_from_slice(&u32::try_from(self.encoded.len()).unwrap_or(u32::MAX).to_le_bytes());
        page.extend_from_slice(&self.encoded);
    }

    fn encode(&mut self, level: u8, mut times: usize) {
        // A run begins where a group ends.
        let fill = if self.group.is_empty() { 0 } else { times.min(GROUP - self.group.len()) };
        let alone = times - fill;
        self.group.extend(std::iter::repeat_n(level, fill));
        times = alone;
        self.pack();
        if times >= GROUP {
            self.end_packed();
            varint(times << 1, &mut self.encoded);
            self.encoded.push(level);
        } else {
            self.group.extend(std::iter::repeat_n(level, times));
        }
    }

    /// Packs the group if it is full.
    fn pack(&mut self) {
        if self.group.len() == GROUP {
            let shifted = self.group.iter().rev().fold(0_u32, |bits, level| (bits << self.bits) | u32::from(*level));
            self.packed.extend(shifted.to_le_bytes().iter().take(self.bits as usize));
            self.group.clear();
        }
    }

    fn end_packed(&mut self) {
        let groups = self.packed.len() / self.bits as usize;
        if groups > 0 {
            varint((groups << 1) | 1, &mut self.encoded);
            self.encoded.append(&mut self.packed);
        }
    }
}

/// Takes levels up to `max` from the front of a page, `total` of them, and says how often each occurs; `None` where they are not that.
pub(super) fn take_levels(page: &mut &[u8], max: u8, total: usize) -> Option<Histogram> {
    let mut found = Histogram::default();
    take_runs(page, max, total, |level, times| {
        *found.get_mut(usize::from(level))? += times;
        Some(())
    })?;
    Some(found)
}

/// Takes the repetition levels of vectors from the front of a page: how many rows there are, and how many of them are one level alone. `None`
/// where a row is neither that nor a vector of `length`, or where the page begins within a row.
pub(super) fn take_vectors(page: &mut &[u8], length: usize, total: usize) -> Option<(usize, usize)> {
    let (mut rows, mut alone, mut open) = (0, 0, 0);
    let mut close = |levels: usize| {
        alone += usize::from(levels == 1);
        (levels == 1 || levels == length).then_some(())
    };
    take_runs(page, 1, total, |level, times| {
        if level > 0 {
            open = if open > 0 { open + times } else { return None };
            return Some(());
        }
        if open > 0 {
            close(open)?;
        }
        (1..times).try_for_each(|_| close(1))?;
        (rows, open) = (rows + times, 1);
        Some(())
    })?;
    if open > 0 {
        close(open)?;
    }
    Some((rows, alone))
}

/// Takes levels from the front of a page, run by run.
fn take_runs(page: &mut &[u8], max: u8, total: usize, mut each: impl FnMut(u8, usize) -> Option<()>) -> Option<()> {
    let (length, rest) = page.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let mut encoded = rest.get(..length)?;
    *page = rest.get(length..)?;
    let (bits, mut left) = (bits_of(max), total);
    if usize::from(max) >= LEVELS {
        return None;
    }
    while left > 0 {
        let header = take_varint(&mut encoded)?;
        let count = header >> 1;
        if header & 1 == 0 {
            let (level, rest) = encoded.split_first()?;
            encoded = rest;
            left = left.checked_sub(count).filter(|_| count > 0 && *level <= max)?;
            each(*level, count)?;
            continue;
        }
        let packed = encoded.get(..count.checked_mul(bits as usize)?).filter(|packed| !packed.is_empty())?;
        encoded = encoded.get(packed.len()..)?;
        for group in packed.chunks_exact(bits as usize) {
            let shifted = group.iter().rev().fold(0_u32, |shifted, byte| (shifted << 8) | u32::from(*byte));
            for index in 0..left.min(GROUP) as u32 {
                let level = ((shifted >> (index * bits)) & ((1 << bits) - 1)) as u8;
                each(level, 1).filter(|()| level <= max)?;
            }
            left = left.saturating_sub(GROUP);
        }
    }
    encoded.is_empty().then_some(())
}

/// Bits of a level of at most `max`.
fn bits_of(max: u8) -> u32 {
    (u8::BITS - max.leading_zeros()).max(1)
}

fn varint(mut value: usize, to: &mut Vec<u8>) {
    while value > 0x7f {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |=
            usize::from(byte & 0x7f).checked_shl(shift).filter(|bits| bits >> shift == usize::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(runs: &[(u8, usize)], max: u8) -> Vec<u8> {
        let mut levels = Levels::up_to(max);
        runs.iter().for_each(|(level, times)| levels.push(*level, *times));
        let mut page = Vec::new();
        levels.finish(&mut page);
        page
    }

    #[test]
    fn levels_come_back() {
        for max in 1..=3 {
            for lengths in
                [&[1][..], &[8], &[7, 1], &[1, 383, 1, 383], &[3, 4, 5, 100, 2, 9], &[16, 16, 1], &[300, 1_000_000]]
            {
                let runs: Vec<(u8, usize)> =
                    lengths.iter().enumerate().map(|(index, times)| (index as u8 % (max + 1), *times)).collect();
                let total = lengths.iter().sum();
                let mut expected = Histogram::default();
                runs.iter().for_each(|(level, times)| expected[usize::from(*level)] += times);
                let mut page = encoded(&runs, max);
                page.push(77);
                let mut rest = &page[..];
                assert_eq!(take_levels(&mut rest, max, total), Some(expected), "{max} {lengths:?}");
                assert_eq!(rest, [77]);
            }
        }
    }

    /// As the specification has it: 0 to 7 in 3 bits are 88 C6 FA. In 1 bit, the first level is the lowest bit.
    #[test]
    fn the_bytes_are_those_of_the_specification() {
        assert_eq!(encoded(&[(0, 1), (1, 7)], 1), [2, 0, 0, 0, 0b11, 0b1111_1110]);
        assert_eq!(encoded(&[(1, 200)], 1), [3, 0, 0, 0, 0x90, 0x03, 1]);
        assert_eq!(encoded(&[(3, 1), (0, 1), (1, 2), (2, 4)], 3), [3, 0, 0, 0, 0b11, 0b0101_0011, 0b1010_1010]);
    }

    #[test]
    fn rows_are_vectors_of_one_length_or_one_level() {
        let vectors = |runs: &[(u8, usize)], length| {
            let total = runs.iter().map(|(_, times)| times).sum();
            take_vectors(&mut &encoded(runs, 1)[..], length, total)
        };
        assert_eq!(vectors(&[(0, 1), (1, 383), (0, 1), (1, 383)], 384), Some((2, 0)));
        // Two that are absent before one that is there.
        assert_eq!(vectors(&[(0, 3), (1, 4)], 5), Some((3, 2)));
        assert_eq!(vectors(&[(0, 20)], 1), Some((20, 20)));
        assert_eq!(vectors(&[], 1), Some((0, 0)));
        // One more and one less are as many together.
        assert_eq!(vectors(&[(0, 1), (1, 384), (0, 1), (1, 382)], 384), None);
        assert_eq!(vectors(&[(1, 1), (0, 1), (1, 382)], 384), None);
        assert_eq!(vectors(&[(0, 1), (1, 382)], 384), None);
        assert_eq!(vectors(&[(0, 1), (1, 3), (0, 2), (1, 2)], 4), None);
    }

    #[test]
    fn levels_that_are_damaged_are_not_counted() {
        let page = encoded(&[(0, 1), (1, 383), (0, 1), (1, 20)], 1);
        let count = |page: &[u8], total| take_levels(&mut &page[..], 1, total);
        assert_eq!(count(&page, 405), Some([2, 403, 0, 0]));
        for total in [0, 404, 500] {
            assert_eq!(count(&page, total), None, "{total}");
        }
        for length in 0..page.len() {
            assert_eq!(count(&page[..length], 405), None, "{length}");
        }
        for at in 0..page.len() {
            for bit in 0..8 {
                let mut other = page.clone();
                other[at] ^= 1 << bit;
                // Never a panic; a level that is another one is seen by its histogram.
                let _ = count(&other, 405);
            }
        }
        assert_eq!(take_levels(&mut &encoded(&[(3, 9)], 3)[..], 2, 9), None);
        assert_eq!(take_levels(&mut &encoded(&[(3, 9)], 3)[..], 17, 9), None);
        assert_eq!(
            take_levels(&mut &[10, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], 1, 9),
            None
        );
    }
}
