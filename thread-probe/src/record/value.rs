//! A value as serde sees it: what is recorded is compared part by part, whatever its type.

use std::fmt;

use rustc_hash::FxHashMap;
use serde::{
    Serialize, Serializer,
    ser::{self, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleStruct},
};

/// A value.
#[derive(Clone, Debug, Default)]
pub(super) enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number from 0 on.
    Unsigned(u64),
    /// A whole number below 0.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Box<str>),
    /// Values one after the other.
    List(Vec<Value>),
    /// Values by name, in the order in which they were written.
    Map(Vec<(Name, Value)>),
}

/// The number of a name in [`Names`].
pub(super) type Name = u16;

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Unsigned(one), Self::Unsigned(other)) => one == other,
            (Self::Signed(one), Self::Signed(other)) => one == other,
            // To the bit: no number is the same as none.
            (Self::Float(one), Self::Float(other)) => one.to_bits() == other.to_bits(),
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::List(one), Self::List(other)) => one == other,
            (Self::Map(one), Self::Map(other)) => one == other,
            _ => false,
        }
    }
}

/// The names of fields, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<Box<str>>,
    numbers: FxHashMap<Box<str>, Name>,
}

impl Names {
    /// More than all fields have: what a damaged file may claim is bounded.
    pub(super) const MAX: usize = 8192;

    pub(super) fn get(&self, name: Name) -> Option<&str> {
        self.names.get(usize::from(name)).map(|name| &**name)
    }

    /// Takes in a name under the number that a recording gave it. `None` if there are too many.
    pub(super) fn learn(&mut self, number: Name, name: &str) -> Option<()> {
        let index = Some(usize::from(number)).filter(|index| *index < Self::MAX)?;
        if index >= self.names.len() {
            self.names.resize(index + 1, Box::default());
        }
        self.names[index] = name.into();
        self.numbers.insert(name.into(), number);
        Some(())
    }

    /// The number of a name; a new one if it has none. `None` if there are too many.
    pub(super) fn number(&mut self, name: &str) -> Option<Name> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = Name::try_from(self.names.len()).ok().filter(|_| self.names.len() < Self::MAX)?;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        Some(number)
    }
}

/// What a value can't be made of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoValue(pub(super) String);

impl ser::Error for NoValue {
    fn custom<T: fmt::Display>(said: T) -> Self {
        Self(said.to_string())
    }
}

/// What is serialized, as a value.
///
/// # Errors
/// It has a part that no JSON has either, or too many names.
pub(super) fn value_of(names: &mut Names, of: &(impl Serialize + ?Sized)) -> Result<Value, NoValue> {
    of.serialize(Writer(names))
}

struct Writer<'a>(&'a mut Names);

impl<'a> Writer<'a> {
    fn parts(self, len: usize) -> Parts<'a> {
        Parts { names: self.0, list: Vec::with_capacity(len) }
    }

    fn entries(self, len: usize) -> Entries<'a> {
        Entries { names: self.0, map: Vec::with_capacity(len), key: None }
    }
}

fn number(names: &mut Names, name: &str) -> Result<Name, NoValue> {
    names.number(name).ok_or_else(|| NoValue("more names than can be recorded".to_owned()))
}

impl<'a> Serializer for Writer<'a> {
    type Ok = Value;
    type Error = NoValue;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = ser::Impossible<Value, NoValue>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeStructVariant = ser::Impossible<Value, NoValue>;

    fn serialize_bool(self, v: bool) -> Result<Value, NoValue> {
        Ok(Value::Bool(v))
    }

    fn serialize_i8(self, v: i8) -> Result<Value, NoValue> {
        self.serialize_i64(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<Value, NoValue> {
        self.serialize_i64(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<Value, NoValue> {
        self.serialize_i64(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<Value, NoValue> {
        Ok(u64::try_from(v).map_or(Value::Signed(v), Value::Unsigned))
    }

    fn serialize_u8(self, v: u8) -> Result<Value, NoValue> {
        Ok(Value::Unsigned(v.into()))
    }

    fn serialize_u16(self, v: u16) -> Result<Value, NoValue> {
        Ok(Value::Unsigned(v.into()))
    }

    fn serialize_u32(self, v: u32) -> Result<Value, NoValue> {
        Ok(Value::Unsigned(v.into()))
    }

    fn serialize_u64(self, v: u64) -> Result<Value, NoValue> {
        Ok(Value::Unsigned(v))
    }

    fn serialize_f32(self, v: f32) -> Result<Value, NoValue> {
        Ok(Value::Float(v.into()))
    }

    fn serialize_f64(self, v: f64) -> Result<Value, NoValue> {
        Ok(Value::Float(v))
    }

    fn serialize_char(self, v: char) -> Result<Value, NoValue> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<Value, NoValue> {
        Ok(Value::Text(v.into()))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Value, NoValue> {
        v.serialize(self)
    }

    fn serialize_none(self) -> Result<Value, NoValue> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, NoValue> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, NoValue> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, NoValue> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, NoValue> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, NoValue> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, NoValue> {
        Err(no_variant(name))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'a>, NoValue> {
        Ok(self.parts(len.unwrap_or(0)))
    }

    fn serialize_tuple(self, len: usize) -> Result<Parts<'a>, NoValue> {
        Ok(self.parts(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Parts<'a>, NoValue> {
        Ok(self.parts(len))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NoValue> {
        Err(no_variant(name))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Entries<'a>, NoValue> {
        Ok(self.entries(len.unwrap_or(0)))
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Entries<'a>, NoValue> {
        Ok(self.entries(len))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NoValue> {
        Err(no_variant(name))
    }
}

fn no_variant(name: &str) -> NoValue {
    NoValue(format!("{name}: values that differ in kind can't be recorded"))
}

struct Parts<'a> {
    names: &'a mut Names,
    list: Vec<Value>,
}

impl Parts<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoValue> {
        self.list.push(value.serialize(Writer(self.names))?);
        Ok(())
    }
}

/// Sequences and tuples: serde tells them apart, a recording does not.
macro_rules! lists {
    ($($which:ident $add:ident),+) => {$(
        impl $which for Parts<'_> {
            type Ok = Value;
            type Error = NoValue;

            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoValue> {
                self.push(value)
            }

            fn end(self) -> Result<Value, NoValue> {
                Ok(Value::List(self.list))
            }
        }
    )+};
}
lists!(SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field);

struct Entries<'a> {
    names: &'a mut Names,
    map: Vec<(Name, Value)>,
    key: Option<Name>,
}

impl SerializeStruct for Entries<'_> {
    type Ok = Value;
    type Error = NoValue;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), NoValue> {
        let name = number(self.names, key)?;
        self.map.push((name, value.serialize(Writer(self.names))?));
        Ok(())
    }

    fn end(self) -> Result<Value, NoValue> {
        Ok(Value::Map(self.map))
    }
}

impl SerializeMap for Entries<'_> {
    type Ok = Value;
    type Error = NoValue;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoValue> {
        let Value::Text(key) = key.serialize(Writer(self.names))? else {
            return Err(NoValue("a name that is no text can't be recorded".to_owned()));
        };
        self.key = Some(number(self.names, &key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoValue> {
        let name = self.key.take().ok_or_else(|| NoValue("a value without a name".to_owned()))?;
        self.map.push((name, value.serialize(Writer(self.names))?));
        Ok(())
    }

    fn end(self) -> Result<Value, NoValue> {
        Ok(Value::Map(self.map))
    }
}
