//! Sets of ids, as ranges of numbers.

/// Ids: ranges, both ends with them, in order, with a gap between any two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(Vec<(u128, u128)>);

impl Ids {
    /// Every id.
    pub fn all() -> Self {
        Self(vec![(0, u128::MAX)])
    }

    /// No id.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// `from` to `to`, both with them; none where `from` is above `to`.
    pub fn range(from: u128, to: u128) -> Self {
        if from > to { Self::none() } else { Self(vec![(from, to)]) }
    }

    /// These ids, in any order.
    pub fn of(ids: impl IntoIterator<Item = u128>) -> Self {
        Self::joined(ids.into_iter().map(|id| (id, id)).collect())
    }

    fn joined(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match joined.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        Self(joined)
    }

    /// In any of both.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        Self::joined(self.0)
    }

    /// In both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (mut one, mut two) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some((from, to)), Some((other_from, other_to))) = (one.peek(), two.peek()) {
            let (start, end) = (*from.max(other_from), *to.min(other_to));
            if start <= end {
                both.push((start, end));
            }
            if to < other_to {
                one.next()
            } else {
                two.next()
            };
        }
        Self(both)
    }

    /// All others.
    #[must_use]
    pub fn but(&self) -> Self {
        let (mut others, mut next) = (Vec::new(), Some(0));
        for (from, to) in &self.0 {
            if let Some(start) = next
                && start < *from
            {
                others.push((start, from - 1));
            }
            next = to.checked_add(1);
        }
        if let Some(start) = next {
            others.push((start, u128::MAX));
        }
        Self(others)
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[(u128, u128)] {
        &self.0
    }

    /// Whether it is every id.
    pub fn is_all(&self) -> bool {
        self.0 == [(0, u128::MAX)]
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this id is in it.
    pub fn has(&self, id: u128) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= id);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, to)| id <= *to)
    }

    /// From the first to the last, with everything between them.
    #[must_use]
    pub fn span(&self) -> Self {
        match (self.0.first(), self.0.last()) {
            (Some((from, _)), Some((_, to))) => Self(vec![(*from, *to)]),
            _ => Self::none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u128 = u128::MAX;

    #[test]
    fn ranges_are_joined_where_they_touch() {
        assert_eq!(Ids::of([3, 1, 2, 7, 7, 9]).ranges(), [(1, 3), (7, 7), (9, 9)]);
        assert_eq!(Ids::range(0, 4).or(&Ids::range(5, MAX)), Ids::all());
        assert_eq!(Ids::of([MAX]).or(&Ids::range(MAX, MAX)).ranges(), [(MAX, MAX)]);
        assert!(Ids::range(2, 1).is_empty());
        assert_eq!(Ids::of([5, 9, 70]).span(), Ids::range(5, 70));
        assert_eq!(Ids::none().span(), Ids::none());
    }

    #[test]
    fn ends_of_all_ids() {
        assert_eq!(Ids::all().but(), Ids::none());
        assert_eq!(Ids::none().but(), Ids::all());
        assert_eq!(Ids::of([0, MAX]).but(), Ids::range(1, MAX - 1));
        assert!(Ids::all().has(0) && Ids::all().has(MAX) && Ids::all().is_all());
    }

    /// Every set over five ids, against sets of bools.
    #[test]
    fn they_are_sets() {
        let set = |bits: u32| Ids::of((0..5).filter(|id| bits >> id & 1 == 1));
        let bits = |ids: &Ids| (0..5).filter(|id| ids.has(*id)).fold(0_u32, |bits, id| bits | 1 << id);
        for one in 0..32 {
            assert_eq!(bits(&set(one)), one);
            assert_eq!(bits(&set(one).but()), !one & 31);
            assert!(set(one).but().has(5) && set(one).but().has(MAX));
            assert_eq!(set(one).but().but(), set(one));
            for two in 0..32 {
                assert_eq!(bits(&set(one).and(&set(two))), one & two);
                assert_eq!(bits(&set(one).or(&set(two))), one | two);
                assert_eq!(set(one).and(&set(two)), set(one & two));
            }
        }
    }
}
