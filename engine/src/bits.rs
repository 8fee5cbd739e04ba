//! PURE. A set of machines as one bit each: what a rule leaves is found by a few hundred machine
//! words, not by asking each of 10,000 machines.

/// A set of small numbers below a length fixed at its making.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

const WORD: usize = u64::BITS as usize;

impl Bits {
    /// The empty set, with room for `0..length`.
    pub(crate) fn empty(length: usize) -> Bits {
        Bits {
            words: vec![0; length.div_ceil(WORD)],
        }
    }

    /// All of `0..length`.
    pub(crate) fn full(length: usize) -> Bits {
        let mut words = vec![u64::MAX; length.div_ceil(WORD)];
        if let Some(last) = words.last_mut()
            && !length.is_multiple_of(WORD)
        {
            *last = (1 << (length % WORD)) - 1;
        }
        Bits { words }
    }

    pub(crate) fn insert(&mut self, index: usize) {
        if let Some(word) = self.words.get_mut(index / WORD) {
            *word |= 1 << (index % WORD);
        }
    }

    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(word) = self.words.get_mut(index / WORD) {
            *word &= !(1 << (index % WORD));
        }
    }

    /// Becomes as the other, without a new allocation.
    pub(crate) fn copy_from(&mut self, other: &Bits) {
        self.words.clone_from(&other.words);
    }

    /// True if the other has all that this has.
    pub(crate) fn is_within(&self, other: &Bits) -> bool {
        self.words
            .iter()
            .zip(&other.words)
            .all(|(word, other)| word & !other == 0)
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.words
            .get(index / WORD)
            .is_some_and(|word| word & (1 << (index % WORD)) != 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Keeps only what `other` has too.
    pub(crate) fn intersect(&mut self, other: &Bits) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// Drops what `other` has.
    pub(crate) fn subtract(&mut self, other: &Bits) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    /// Adds what `other` has.
    pub(crate) fn unite(&mut self, other: &Bits) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// True if there is a number that both have.
    pub(crate) fn meets(&self, other: &Bits) -> bool {
        self.words
            .iter()
            .zip(&other.words)
            .any(|(word, other)| word & other != 0)
    }

    /// The smallest number that both have.
    pub(crate) fn first_common(&self, other: &Bits) -> Option<usize> {
        self.words
            .iter()
            .zip(&other.words)
            .enumerate()
            .map(|(at, (word, other))| (at, word & other))
            .find(|(_, both)| *both != 0)
            .map(|(at, both)| at * WORD + both.trailing_zeros() as usize)
    }

    /// The members, smallest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * WORD + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_across_words() {
        let mut set = Bits::empty(130);
        for index in [0, 63, 64, 129] {
            set.insert(index);
        }
        set.remove(63);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 129]);
        assert_eq!(set.count(), 3);
        assert!(set.contains(129) && !set.contains(63) && !set.contains(5000));
    }

    #[test]
    fn a_full_set_ends_at_its_length() {
        for length in [0, 1, 63, 64, 65, 128] {
            assert_eq!(
                Bits::full(length).iter().collect::<Vec<_>>(),
                (0..length).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn the_first_common_member_is_the_smallest() {
        let (mut left, mut right) = (Bits::empty(200), Bits::empty(200));
        [3, 70, 150]
            .into_iter()
            .for_each(|index| left.insert(index));
        [4, 70, 150]
            .into_iter()
            .for_each(|index| right.insert(index));
        assert_eq!(left.first_common(&right), Some(70));
        assert_eq!(left.first_common(&Bits::empty(200)), None);
        left.intersect(&right);
        assert_eq!(left.iter().collect::<Vec<_>>(), [70, 150]);
        left.unite(&right);
        assert_eq!(left, right);
        let mut seventy = Bits::empty(200);
        seventy.insert(70);
        assert!(seventy.is_within(&left) && !left.is_within(&seventy));
        left.subtract(&seventy);
        assert_eq!(left.iter().collect::<Vec<_>>(), [4, 150]);
    }
}
