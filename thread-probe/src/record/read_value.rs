//! From a [`Value`] back to what it was made of. Fields are found by name: one that is new since then has its default,
//! one that is gone is left out.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        self, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
        value::{BorrowedStrDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::value::{Name, Names, NoValue, Value};

impl de::Error for NoValue {
    fn custom<T: fmt::Display>(said: T) -> Self {
        Self(said.to_string())
    }
}

/// What a value was made of.
///
/// # Errors
/// It was made of something else.
pub(super) fn read_value<'de, T: Deserialize<'de>>(names: &'de Names, value: &'de Value) -> Result<T, NoValue> {
    T::deserialize(Reader { names, value })
}

#[derive(Clone, Copy)]
struct Reader<'de> {
    names: &'de Names,
    value: &'de Value,
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        let names = self.names;
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(list) => visitor.visit_seq(Parts { names, left: list.iter() }),
            Value::Map(map) => visitor.visit_map(Entries { names, left: map.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        match self.value {
            Value::Text(text) => {
                let variant: StrDeserializer<'_, NoValue> = (**text).into_deserializer();
                visitor.visit_enum(variant)
            }
            _ => Err(NoValue("one of several names was expected".to_owned())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Parts<'de> {
    names: &'de Names,
    left: std::slice::Iter<'de, Value>,
}

impl<'de> SeqAccess<'de> for Parts<'de> {
    type Error = NoValue;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NoValue> {
        let next = self.left.next();
        next.map(|value| seed.deserialize(Reader { names: self.names, value })).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

struct Entries<'de> {
    names: &'de Names,
    left: std::slice::Iter<'de, (Name, Value)>,
    value: Option<&'de Value>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = NoValue;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NoValue> {
        let Some((name, value)) = self.left.next() else { return Ok(None) };
        self.value = Some(value);
        let name = self.names.get(*name).ok_or_else(|| NoValue("a name that nobody gave".to_owned()))?;
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NoValue> {
        let value = self.value.take().ok_or_else(|| NoValue("a value without a name".to_owned()))?;
        seed.deserialize(Reader { names: self.names, value })
    }
}
