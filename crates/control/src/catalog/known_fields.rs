//! The fields that a definition may have, asked from its own `Deserialize`: there is no second list to forget.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The names of `T`'s fields; empty if `T` is not a struct with named fields.
pub fn known_fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(Asker) {
        Err(Told(fields)) => fields,
        Ok(_) => &[],
    }
}

/// Gives no data: it only listens which fields are asked for.
struct Asker;

#[derive(Debug)]
struct Told(&'static [&'static str]);

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("only the fields were asked for")
    }
}

impl std::error::Error for Told {}

impl de::Error for Told {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Told(&[])
    }
}

impl<'de> Deserializer<'de> for Asker {
    type Error = Told;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Told> {
        Err(Told(fields))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Told> {
        Err(Told(&[]))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_type() {
        let fields = known_fields::<rowhouse_domain::access::RoleDefinition>();
        assert_eq!(fields, ["name", "title", "permissions", "inherits", "requires", "max_members"]);
        assert!(known_fields::<Vec<String>>().is_empty());
    }
}
