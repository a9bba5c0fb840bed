//! What changed from one value to the next, as bytes: what did not is not there.
//!
//! Numbers are told by what they grew by, and seconds in nanoseconds, as the kernel counts them. The elements of a list
//! are found again by what they begin with: a pid, a name, a bound. What says where something changed, the numbers, and
//! the texts are kept apart, as each compresses best beside its like.

use integer_encoding::{VarInt, VarIntWriter as _};
use rustc_hash::FxHashMap;

use super::{
    fold::nanoseconds,
    value::{Name, Names, Value},
};

/// More levels than any recorded value has.
const MAX_DEPTH: usize = 32;
/// More parts than a sample of 50,000 processes has; each takes 32 bytes.
const MAX_PARTS: usize = 8 << 20;

/// What a value is, or how it changed: a byte each.
mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    /// How much more than before.
    pub(super) const UNSIGNED: u8 = 3;
    pub(super) const SIGNED: u8 = 4;
    /// How many nanoseconds more than before.
    pub(super) const NANOSECONDS: u8 = 5;
    /// To the bit.
    pub(super) const FLOAT: u8 = 6;
    pub(super) const TEXT: u8 = 7;
    pub(super) const LIST: u8 = 8;
    pub(super) const MAP: u8 = 9;
    /// A map with the same names: a bit for each, and those that changed.
    pub(super) const ENTRIES: u8 = 10;
    /// A list: its steps.
    pub(super) const STEPS: u8 = 11;
    /// So many intervals more than before, and how many nanoseconds beside.
    pub(super) const INTERVALS: u8 = 12;
}

/// The steps of a list.
mod step {
    /// So many elements that follow are as they were.
    pub(super) const SAME: u64 = 0;
    /// So many have changed.
    pub(super) const CHANGED: u64 = 1;
    /// So many are new.
    pub(super) const NEW: u64 = 2;
    /// What follows comes so much later in the list before, or earlier.
    pub(super) const JUMP: u64 = 3;
}

/// The interval that time has grown by: for each thread it grows by the same, about. What was seen last is the best guess
/// at what comes next.
#[derive(Clone, Copy, Debug, Default)]
struct Interval(i64);

impl Interval {
    /// How many of it are in what was grown by, and what is left; `None` if that is not about it.
    fn of(self, grown_ns: i64) -> Option<(i64, i64)> {
        const SHORTEST_NS: i64 = 1_000_000;
        let Self(interval_ns) = self;
        let times = grown_ns.checked_add(interval_ns / 2)?.checked_div(interval_ns)?;
        let left_ns = grown_ns.wrapping_sub(times.wrapping_mul(interval_ns));
        (interval_ns >= SHORTEST_NS && times >= 1 && left_ns.abs() <= grown_ns / 256).then_some((times, left_ns))
    }

    /// What was grown by. The next time the interval is that.
    fn grown_ns(&mut self, times: i64, left_ns: i64) -> i64 {
        let grown_ns = times.wrapping_mul(self.0).wrapping_add(left_ns);
        self.0 = grown_ns.checked_div(times).unwrap_or(self.0);
        grown_ns
    }
}

/// Bytes that are no change of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is recorded makes no sense")]
pub(crate) struct Malformed;

/// What an element of a list is found again by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key<'a> {
    None,
    Number(u64),
    Texts(Vec<&'a str>),
}

fn key(value: &Value) -> Key<'_> {
    match value {
        Value::Unsigned(number) => Key::Number(*number),
        Value::Signed(number) => Key::Number(*number as u64),
        Value::Float(number) => Key::Number(number.to_bits()),
        Value::Text(text) => Key::Texts(vec![text]),
        Value::List(list) => list.first().map_or(Key::None, key),
        Value::Map(map) => {
            let texts =
                map.iter().map_while(|(_, value)| if let Value::Text(text) = value { Some(&**text) } else { None });
            match map.first() {
                Some((_, Value::Text(_))) => Key::Texts(texts.collect()),
                Some((_, first)) => key(first),
                None => Key::None,
            }
        }
        Value::Null | Value::Bool(_) => Key::None,
    }
}

/// Whether its elements are found by a key, not by where they stand.
fn is_keyed(list: &[Value]) -> bool {
    matches!(list.first(), Some(Value::Map(_) | Value::List(_)))
}

/// Writes changes.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    shape: Vec<u8>,
    numbers: Vec<u8>,
    texts: Vec<u8>,
    /// The names that were written with their text.
    told: Vec<bool>,
    interval: Interval,
}

impl Encoder {
    /// The change from one value to the next; from nothing, the whole of it.
    pub(super) fn encode(&mut self, names: &Names, interval_ns: i64, before: Option<&Value>, now: &Value) -> Vec<u8> {
        self.interval = Interval(interval_ns);
        [&mut self.shape, &mut self.numbers, &mut self.texts].into_iter().for_each(Vec::clear);
        match before {
            Some(before) if before == now => {}
            _ => self.value(names, before, now),
        }
        let mut bytes = Vec::with_capacity(self.shape.len() + self.numbers.len() + self.texts.len() + 20);
        write(&mut bytes, interval_ns.cast_unsigned());
        for length in [self.shape.len(), self.numbers.len()] {
            write(&mut bytes, length as u64);
        }
        [&self.shape, &self.numbers, &self.texts].into_iter().for_each(|part| bytes.extend(part));
        bytes
    }

    /// Names are told anew: who reads begins here.
    pub(super) fn begin(&mut self) {
        self.told.clear();
    }

    fn value(&mut self, names: &Names, before: Option<&Value>, now: &Value) {
        match (before, now) {
            (_, Value::Null) => self.shape.push(tag::NULL),
            (_, Value::Bool(false)) => self.shape.push(tag::FALSE),
            (_, Value::Bool(true)) => self.shape.push(tag::TRUE),
            (before, Value::Unsigned(now)) => {
                let before = if let Some(Value::Unsigned(before)) = before { *before } else { 0 };
                self.number(tag::UNSIGNED, now.wrapping_sub(before).cast_signed());
            }
            (_, Value::Signed(now)) => self.number(tag::SIGNED, *now),
            (before, Value::Float(now)) => self.float(before, *now),
            (_, Value::Text(text)) => {
                self.shape.push(tag::TEXT);
                self.text(text);
            }
            (Some(Value::List(before)), Value::List(now)) => self.steps(names, before, now),
            (_, Value::List(now)) => {
                self.shape.push(tag::LIST);
                write(&mut self.shape, now.len() as u64);
                now.iter().for_each(|element| self.value(names, None, element));
            }
            (Some(Value::Map(before)), Value::Map(now)) if have_same_names(before, now) => {
                self.entries(names, before, now);
            }
            (_, Value::Map(now)) => {
                self.shape.push(tag::MAP);
                write(&mut self.shape, now.len() as u64);
                for (name, value) in now {
                    self.name(names, *name);
                    self.value(names, None, value);
                }
            }
        }
    }

    fn number(&mut self, tag: u8, number: i64) {
        self.shape.push(tag);
        // Writing to a Vec never fails.
        let _ = self.numbers.write_varint(number);
    }

    fn float(&mut self, before: Option<&Value>, now: f64) {
        if let Some(now) = nanoseconds(now) {
            let grown_ns = now.wrapping_sub(nanoseconds_before(before));
            let Some((times, left_ns)) = self.interval.of(grown_ns) else {
                return self.number(tag::NANOSECONDS, grown_ns);
            };
            self.number(tag::INTERVALS, times);
            let _ = self.numbers.write_varint(left_ns);
            self.interval.grown_ns(times, left_ns);
            return;
        }
        self.shape.push(tag::FLOAT);
        self.numbers.extend(now.to_bits().to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        write(&mut self.numbers, text.len() as u64);
        self.texts.extend(text.as_bytes());
    }

    fn name(&mut self, names: &Names, name: Name) {
        let index = usize::from(name);
        if self.told.len() <= index {
            self.told.resize(index + 1, false);
        }
        let is_told = std::mem::replace(&mut self.told[index], true);
        write(&mut self.shape, u64::from(name) << 1 | u64::from(!is_told));
        if !is_told {
            self.text(names.get(name).unwrap_or_default());
        }
    }

    fn entries(&mut self, names: &Names, before: &[(Name, Value)], now: &[(Name, Value)]) {
        self.shape.push(tag::ENTRIES);
        let changed = |index: usize| now[index].1 != before[index].1;
        let mask = self.shape.len();
        self.shape.resize(mask + now.len().div_ceil(8), 0);
        for index in (0..now.len()).filter(|index| changed(*index)) {
            self.shape[mask + index / 8] |= 1 << (index % 8);
            self.value(names, Some(&before[index].1), &now[index].1);
        }
    }

    fn steps(&mut self, names: &Names, before: &[Value], now: &[Value]) {
        self.shape.push(tag::STEPS);
        let matches = matches(before, now);
        let is_same: Vec<bool> =
            matches.iter().zip(now).map(|(found, now)| found.is_some_and(|found| before[found] == *now)).collect();
        write(&mut self.shape, now.len() as u64);
        let (mut index, mut expected) = (0, 0);
        while index < now.len() {
            let kind_of = |index: usize, expected: usize| match matches[index] {
                None => step::NEW,
                Some(found) if found != expected => step::JUMP,
                Some(_) if is_same[index] => step::SAME,
                Some(_) => step::CHANGED,
            };
            let kind = kind_of(index, expected);
            if kind == step::JUMP {
                let found = matches[index].unwrap_or(expected);
                let by = (found as i64) - (expected as i64);
                // As an unsigned number, near ones first.
                write(&mut self.shape, ((by << 1) ^ (by >> 63)).cast_unsigned() << 2 | kind);
                expected = found;
                continue;
            }
            let consumes = usize::from(kind != step::NEW);
            let run =
                (index..now.len()).take_while(|at| kind_of(*at, expected + (at - index) * consumes) == kind).count();
            write(&mut self.shape, (run as u64) << 2 | kind);
            for at in (index..index + run).filter(|_| kind != step::SAME) {
                self.value(names, matches[at].map(|found| &before[found]), &now[at]);
            }
            index += run;
            expected += run * consumes;
        }
    }
}

fn have_same_names(one: &[(Name, Value)], other: &[(Name, Value)]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|((one, _), (other, _))| one == other)
}

fn nanoseconds_before(before: Option<&Value>) -> i64 {
    if let Some(Value::Float(before)) = before { nanoseconds(*before).unwrap_or(0) } else { 0 }
}

/// For each element of a list where it was before; none twice.
fn matches(before: &[Value], now: &[Value]) -> Vec<Option<usize>> {
    if !is_keyed(now) {
        return (0..now.len()).map(|index| Some(index).filter(|index| *index < before.len())).collect();
    }
    let mut places: Option<FxHashMap<Key<'_>, usize>> = None;
    let mut used = vec![false; before.len()];
    let mut expected = 0;
    let mut found = Vec::with_capacity(now.len());
    for element in now {
        let wanted = key(element);
        let is_next = before.get(expected).is_some_and(|next| !used[expected] && key(next) == wanted);
        let place = if is_next {
            Some(expected)
        } else {
            let places = places.get_or_insert_with(|| before.iter().map(key).zip(0..).collect());
            places.get(&wanted).copied().filter(|place| !used[*place])
        };
        if let Some(place) = place {
            used[place] = true;
            expected = place + 1;
        }
        found.push(place);
    }
    found
}

fn write(out: &mut Vec<u8>, number: u64) {
    // Writing to a Vec never fails.
    let _ = out.write_varint(number);
}

/// The value that a change makes of the one before.
///
/// # Errors
/// The bytes are no change of it.
pub(super) fn apply(names: &mut Names, before: Option<Value>, change: &[u8]) -> Result<Value, Malformed> {
    let mut bytes = Bytes(change);
    let interval = Interval(bytes.number::<u64>()?.cast_signed());
    let (shape, numbers) = (bytes.length()?, bytes.length()?);
    let (shape, numbers) = (bytes.take(shape)?, bytes.take(numbers)?);
    let mut decoder = Decoder { names, shape: Bytes(shape), numbers: Bytes(numbers), texts: bytes, interval, parts: 0 };
    let now = match before {
        Some(before) if shape.is_empty() => before,
        before => decoder.value(before, 0)?,
    };
    let is_all = [&decoder.shape, &decoder.numbers, &decoder.texts].iter().all(|left| left.0.is_empty());
    if is_all { Ok(now) } else { Err(Malformed) }
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = left;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn number<T: VarInt>(&mut self) -> Result<T, Malformed> {
        let (number, bytes) = T::decode_var(self.0).ok_or(Malformed)?;
        self.take(bytes)?;
        Ok(number)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number::<u64>()?).map_err(|_| Malformed)
    }
}

struct Decoder<'a> {
    names: &'a mut Names,
    shape: Bytes<'a>,
    numbers: Bytes<'a>,
    texts: Bytes<'a>,
    interval: Interval,
    /// That were made.
    parts: usize,
}

impl Decoder<'_> {
    fn value(&mut self, before: Option<Value>, depth: usize) -> Result<Value, Malformed> {
        self.parts += 1;
        if depth > MAX_DEPTH || self.parts > MAX_PARTS {
            return Err(Malformed);
        }
        Ok(match self.shape.byte()? {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::UNSIGNED => {
                let before = if let Some(Value::Unsigned(before)) = before { before } else { 0 };
                Value::Unsigned(before.wrapping_add_signed(self.numbers.number()?))
            }
            tag::SIGNED => Value::Signed(self.numbers.number()?),
            tag::NANOSECONDS => {
                let now = nanoseconds_before(before.as_ref()).wrapping_add(self.numbers.number()?);
                Value::Float(now as f64 / 1e9)
            }
            tag::INTERVALS => {
                let (times, left_ns) = (self.numbers.number()?, self.numbers.number()?);
                let grown_ns = self.interval.grown_ns(times, left_ns);
                Value::Float(nanoseconds_before(before.as_ref()).wrapping_add(grown_ns) as f64 / 1e9)
            }
            tag::FLOAT => {
                let bits = self.numbers.take(8)?.try_into().map_err(|_| Malformed)?;
                Value::Float(f64::from_bits(u64::from_le_bytes(bits)))
            }
            tag::TEXT => Value::Text(self.text()?.into()),
            tag::LIST => {
                let count = self.count()?;
                Value::List((0..count).map(|_| self.value(None, depth + 1)).collect::<Result<_, _>>()?)
            }
            tag::MAP => {
                let count = self.count()?;
                let entry = |_| Ok((self.name()?, self.value(None, depth + 1)?));
                Value::Map((0..count).map(entry).collect::<Result<_, _>>()?)
            }
            tag::ENTRIES => match before {
                Some(Value::Map(before)) => self.entries(before, depth)?,
                _ => return Err(Malformed),
            },
            tag::STEPS => match before {
                Some(Value::List(before)) => self.steps(before, depth)?,
                _ => return Err(Malformed),
            },
            _ => return Err(Malformed),
        })
    }

    /// Of parts that take a byte each at the least.
    fn count(&mut self) -> Result<usize, Malformed> {
        self.shape.length().and_then(|count| if count <= self.shape.0.len() { Ok(count) } else { Err(Malformed) })
    }

    fn text(&mut self) -> Result<&str, Malformed> {
        let length = self.numbers.length()?;
        str::from_utf8(self.texts.take(length)?).map_err(|_| Malformed)
    }

    fn name(&mut self) -> Result<Name, Malformed> {
        let number: u64 = self.shape.number()?;
        let name = Name::try_from(number >> 1).map_err(|_| Malformed)?;
        if number & 1 == 1 {
            let length = self.numbers.length()?;
            let text = str::from_utf8(self.texts.take(length)?).map_err(|_| Malformed)?;
            self.names.learn(name, text).ok_or(Malformed)?;
        }
        Ok(name)
    }

    fn entries(&mut self, mut map: Vec<(Name, Value)>, depth: usize) -> Result<Value, Malformed> {
        let mask = self.shape.take(map.len().div_ceil(8))?;
        for (index, (_, value)) in map.iter_mut().enumerate() {
            if mask[index / 8] & 1 << (index % 8) != 0 {
                *value = self.value(Some(std::mem::take(value)), depth + 1)?;
            }
        }
        Ok(Value::Map(map))
    }

    fn steps(&mut self, before: Vec<Value>, depth: usize) -> Result<Value, Malformed> {
        let mut before: Vec<Option<Value>> = before.into_iter().map(Some).collect();
        // Each is taken once: a list can't be made to grow by itself.
        let mut take = |place: usize| before.get_mut(place).and_then(Option::take).ok_or(Malformed);
        let count = self.shape.length()?;
        let (mut now, mut expected) = (Vec::new(), 0_usize);
        while now.len() < count {
            let number: u64 = self.shape.number()?;
            let (kind, amount) = (number & 3, number >> 2);
            if kind == step::JUMP {
                let by = (amount >> 1).cast_signed() ^ -((amount & 1).cast_signed());
                let by = isize::try_from(by).map_err(|_| Malformed)?;
                expected = expected.checked_add_signed(by).ok_or(Malformed)?;
                continue;
            }
            let run = usize::try_from(amount).map_err(|_| Malformed)?;
            if run == 0 || run > count - now.len() {
                return Err(Malformed);
            }
            for _ in 0..run {
                now.push(match kind {
                    step::NEW => self.value(None, depth + 1)?,
                    step::SAME => take(expected)?,
                    _ => {
                        let before = take(expected)?;
                        self.value(Some(before), depth + 1)?
                    }
                });
                expected += usize::from(kind != step::NEW);
            }
        }
        Ok(Value::List(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Values of every kind, nested; with names from a few, as fields have.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (0..6u64).prop_map(Value::Unsigned),
            any::<u64>().prop_map(Value::Unsigned),
            (i64::MIN..0).prop_map(Value::Signed),
            any::<f64>().prop_map(Value::Float),
            (0..1u64 << 52).prop_map(|ns| Value::Float(ns as f64 / 1e9)),
            (0..4i64).prop_map(|times| Value::Float((times * 1_000_000_000 + times) as f64 / 1e9)),
            "[a-c]{0,2}".prop_map(|text| Value::Text(text.into())),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Value::List),
                vec((0..4_u16, inner), 0..6).prop_map(Value::Map),
            ]
        })
    }

    fn names() -> Names {
        let mut names = Names::default();
        for name in ["a", "b", "c", "d"] {
            names.number(name);
        }
        names
    }

    /// As they were written, in one stretch.
    fn changes(values: &[Value]) -> Vec<Vec<u8>> {
        let (mut encoder, names) = (Encoder::default(), names());
        let mut before = None;
        let mut changes = Vec::new();
        for now in values {
            changes.push(encoder.encode(&names, 1_000_000_000, before, now));
            before = Some(now);
        }
        changes
    }

    fn read(changes: &[Vec<u8>]) -> Result<Vec<Value>, Malformed> {
        let (mut names, mut before, mut values) = (Names::default(), None, Vec::new());
        for change in changes {
            let now = apply(&mut names, before, change)?;
            values.push(now.clone());
            before = Some(now);
        }
        Ok(values)
    }

    proptest! {
        #[test]
        fn what_changed_makes_the_next_of_the_one_before(values in vec(values(), 1..5)) {
            prop_assert_eq!(read(&changes(&values)), Ok(values));
        }

        #[test]
        fn damaged_bytes_are_refused_or_make_some_value(
            values in vec(values(), 1..4),
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            length in any::<prop::sample::Index>(),
        ) {
            let mut changes = changes(&values);
            let change = which.get_mut(&mut changes);
            let at = at.index(change.len());
            change[at] = byte;
            let _ = read(&changes);
            let change = which.get_mut(&mut changes);
            change.truncate(length.index(change.len()));
            let _ = read(&changes);
        }

        #[test]
        fn any_bytes_are_refused_or_make_some_value(bytes in vec(any::<u8>(), 0..200), before in values()) {
            let _ = apply(&mut names(), Some(before), &bytes);
        }
    }

    #[test]
    fn what_stays_costs_nothing_and_what_grew_by_the_interval_little() {
        let process = |pid: u64, seconds: f64| {
            Value::Map(vec![(0, Value::Unsigned(pid)), (1, Value::Float(seconds)), (2, Value::Text("java".into()))])
        };
        let sample = |seconds: f64| Value::List((0..1000).map(|pid| process(pid, pid as f64 * seconds)).collect());
        let changes = changes(&[sample(1.0), sample(1.0), sample(2.000_000_1)]);
        assert!(changes[1].len() < 8, "{}", changes[1].len());
        assert!(changes[2].len() < 9 * 1000, "{}", changes[2].len());
    }

    #[test]
    fn of_a_list_who_comes_and_goes_and_moves_is_found_again() {
        let list = |pids: &[u64]| {
            let element =
                |pid: &u64| Value::Map(vec![(0, Value::Unsigned(*pid)), (1, Value::Text("a long name".into()))]);
            Value::List(pids.iter().map(element).collect())
        };
        let values = [list(&[1, 2, 3, 4, 5]), list(&[5, 2, 3, 9, 1]), list(&[9, 9, 1])];
        let changes = changes(&values);
        assert_eq!(read(&changes), Ok(values.to_vec()));
        assert!(changes[1].len() < 40, "only one is new: {}", changes[1].len());
    }

    #[test]
    fn an_element_is_not_taken_twice() {
        let before = Value::List(vec![Value::List(vec![Value::Null; 100])]);
        // Two elements, the first of the list before each.
        let steps = [tag::STEPS, 2, 1 << 2, 1 << 2 | 3, 1 << 2];
        let bytes = [&[0, steps.len() as u8, 0][..], &steps].concat();
        assert_eq!(apply(&mut names(), Some(before), &bytes), Err(Malformed));
    }
}
