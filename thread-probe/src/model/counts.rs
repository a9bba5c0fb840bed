//! Counts and times by the values of an enum, in JSON by their names.

use std::{fmt, iter::Sum, marker::PhantomData, ops::AddAssign};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap as _,
};
use thread_probe_ebpf::abi::{names::CloneErrno, time::TimeState};

use crate::{limits::Limit, text::named::Named};

/// What is counted by.
pub trait Counted: Named {
    /// Whether it can be counted at all; what can't be is not in the JSON.
    fn is_counted(self) -> bool {
        true
    }

    /// Whether the JSON has only what is not 0.
    const IS_SPARSE: bool = false;
}

/// What each of the values may have: a count, or a time.
pub trait Amount: Copy + Default + PartialEq + AddAssign + Sum + Serialize + for<'de> Deserialize<'de> {}
impl Amount for u64 {}
impl Amount for f64 {}

/// A count, or an amount, for each of `N` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<K, const N: usize, V = u64> {
    counts: [V; N],
    by: PhantomData<K>,
}

/// Clones that failed, by errno.
pub type CloneFailures = Counts<CloneErrno, { CloneErrno::ALL.len() }>;
/// Clones that failed with EAGAIN or ENOMEM, by the limit that was exhausted at that moment.
pub type CloneFailuresByLimit = Counts<Limit, { Limit::ALL.len() }>;

/// Seconds by state, or a share or rate of them.
pub type Times = Counts<TimeState, { TimeState::ALL.len() }, f64>;

impl<K, const N: usize, V: Amount> Default for Counts<K, N, V> {
    fn default() -> Self {
        Self { counts: [V::default(); N], by: PhantomData }
    }
}

impl<K: Counted, const N: usize, V: Amount> Counts<K, N, V> {
    /// These counts, and 0 of all else.
    pub fn of(counts: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut made = Self::default();
        for (key, count) in counts {
            made.counts[key.index()] += count;
        }
        made
    }

    /// That of one value.
    pub fn get(&self, key: K) -> V {
        self.counts[key.index()]
    }

    /// Each value with its count, in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> {
        K::ALL.iter().zip(self.counts).filter(|(key, _)| key.is_counted()).map(|(key, count)| (*key, count))
    }

    /// Takes in those of another.
    pub fn include(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
    }

    /// All of them.
    pub fn total(&self) -> V {
        self.counts.iter().copied().sum()
    }
}

impl<K: Counted, const N: usize, V: Amount> Serialize for Counts<K, N, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, count) in self.iter().filter(|(_, count)| !K::IS_SPARSE || *count != V::default()) {
            map.serialize_entry(key.label(), &count)?;
        }
        map.end()
    }
}

impl<'de, K: Counted, const N: usize, V: Amount> Deserialize<'de> for Counts<K, N, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName<K, const N: usize, V>(PhantomData<(K, V)>);

        impl<'de, K: Counted, const N: usize, V: Amount> Visitor<'de> for ByName<K, N, V> {
            type Value = Counts<K, N, V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("counts by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut counts = Counts::default();
                // A newer daemon may count by more.
                while let Some((Key(key), count)) = map.next_entry::<Key<K>, V>()? {
                    if let Some(key) = key {
                        counts.counts[key.index()] = count;
                    }
                }
                Ok(counts)
            }
        }

        deserializer.deserialize_map(ByName::<K, N, V>(PhantomData))
    }
}

/// A name, read without a copy; `None` for one that is not known.
struct Key<K>(Option<K>);

impl<'de, K: Counted> Deserialize<'de> for Key<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyName<K>(PhantomData<K>);

        impl<K: Counted> Visitor<'_> for AnyName<K> {
            type Value = Key<K>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<K>, E> {
                Ok(Key(K::ALL.iter().copied().find(|key| key.label() == name)))
            }
        }

        deserializer.deserialize_identifier(AnyName(PhantomData))
    }
}

impl Named for CloneErrno {
    const ALL: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.label()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Counted for CloneErrno {}

impl Named for TimeState {
    const ALL: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.label()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Counted for TimeState {
    const IS_SPARSE: bool = true;
}

impl Counted for Limit {
    fn is_counted(self) -> bool {
        self.refuses_clones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_they_are_written_and_what_a_newer_daemon_counts_is_left_out() -> serde_json::Result<()> {
        let counts = CloneFailuresByLimit::of([(Limit::Nproc, 3), (Limit::Unknown, 1)]);
        let json = serde_json::to_string(&counts)?;
        assert!(json.contains("\"nproc\":3") && !json.contains("max_map_count"), "{json}");
        assert_eq!(serde_json::from_str::<CloneFailuresByLimit>(&json)?, counts);
        let newer = json.replace("\"nproc\"", "\"moon_phase\":7,\"nproc\"");
        assert_eq!(serde_json::from_str::<CloneFailuresByLimit>(&newer)?, counts);
        assert_eq!(counts.total(), 4);
        Ok(())
    }

    #[test]
    fn of_times_only_those_are_written_that_are_not_0() -> serde_json::Result<()> {
        let times = Times::of([(TimeState::Poll, 1.5), (TimeState::Running, 0.25)]);
        let json = serde_json::to_string(&times)?;
        assert_eq!(json, r#"{"running":0.25,"poll":1.5}"#);
        assert_eq!(serde_json::from_str::<Times>(&json)?, times);
        Ok(())
    }
}
