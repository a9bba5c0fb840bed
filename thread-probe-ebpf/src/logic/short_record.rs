//! How the histogram of a thread that waited in few ways is packed into a [`ShortRecord`].

use core::ptr;

use crate::abi::{
    record::{SHORT_WORDS, ShortRecord, Waits},
    storage::TaskStorage,
};

/// Words of a histogram, of two buckets each.
const WORDS_OF_WAITS: usize = size_of::<Waits>() / 8;

/// Two buckets of a task's histogram.
#[inline(always)]
fn word_of_waits(storage: *const TaskStorage, word: usize) -> u64 {
    // SAFETY: callers pass a whole storage, and less than the histogram has.
    unsafe { (&raw const (*storage).waits).cast::<u64>().add(word).read_volatile() }
}

/// Whether the histogram fits a short record. Leaves in the storage how many words of it are not 0: in memory, as the
/// verifier would follow every value that a register could have.
#[inline(always)]
pub fn fits(storage: &mut TaskStorage) -> bool {
    let storage = ptr::from_mut(storage);
    // SAFETY: one storage, through one pointer.
    unsafe {
        let occupied = &raw mut (*storage).occupied_words;
        occupied.write_volatile(0);
        for word in 0..WORDS_OF_WAITS {
            if word_of_waits(storage, word) != 0 {
                occupied.write_volatile(occupied.read_volatile() + 1);
            }
        }
        occupied.read_volatile() <= SHORT_WORDS as u64
    }
}

/// Writes the words that are not 0, and where they stand, into a record whose indices and words are 0. The histogram
/// [`fits`], and was not touched since.
///
/// # Safety
/// `record` points to a whole one.
#[inline(always)]
pub unsafe fn pack(storage: &mut TaskStorage, record: *mut ShortRecord) {
    let storage = ptr::from_mut(storage);
    // SAFETY: the caller's; the slot is kept within the record.
    unsafe {
        let (indices, words) = ((&raw mut (*record).indices).cast::<u8>(), (&raw mut (*record).words).cast::<u64>());
        let left = &raw mut (*storage).occupied_words;
        for word in 0..WORDS_OF_WAITS {
            let value = word_of_waits(storage, word);
            if value != 0 {
                let slot = left.read_volatile().wrapping_sub(1);
                left.write_volatile(slot);
                indices.add(slot as usize % SHORT_WORDS).write_volatile(word as u8);
                words.add(slot as usize % SHORT_WORDS).write_volatile(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::histogram::BUCKETS;

    fn storage_with(counts: &[(usize, u32)]) -> TaskStorage {
        let mut storage = TaskStorage::default();
        counts.iter().for_each(|(bucket, count)| storage.waits.buckets[*bucket] = *count);
        storage
    }

    proptest! {
        #[test]
        fn what_fits_is_unpacked_as_it_was(counts in prop::collection::vec((0..BUCKETS, any::<u32>()), 0..12)) {
            let mut storage = storage_with(&counts);
            let pairs = storage.waits.buckets.chunks(2).filter(|pair| *pair != [0, 0]).count();
            prop_assert_eq!(fits(&mut storage), pairs <= SHORT_WORDS);
            if pairs <= SHORT_WORDS {
                let mut record = ShortRecord::default();
                // SAFETY: a whole record.
                unsafe { pack(&mut storage, &raw mut record) };
                prop_assert_eq!(record.waits(), storage.waits);
            }
        }
    }

    #[test]
    fn both_buckets_of_a_word_take_one_place() {
        let counts: [(usize, u32); 16] = core::array::from_fn(|bucket| (bucket, 1));
        assert!(fits(&mut storage_with(&counts)));
        assert!(!fits(&mut storage_with(&[&counts[..], &[(20, 1)]].concat())));
    }
}
