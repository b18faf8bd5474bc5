//! How compiled values are written down for a gateway that is another process: what is shared by its content, maps
//! whose keys are no text as pairs, keys and zones by their names.

/// Something shared, by its content.
pub(crate) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T, S>(value: &Arc<T>, out: S) -> Result<S::Ok, S::Error>
    where
        T: Serialize + ?Sized,
        S: Serializer,
    {
        (**value).serialize(out)
    }

    pub(crate) fn deserialize<'de, T, D>(input: D) -> Result<Arc<T>, D::Error>
    where
        T: ?Sized,
        Box<T>: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Arc::from(Box::<T>::deserialize(input)?))
    }
}

/// A list of shared things, by their content.
pub(crate) mod shared_list {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(list: &[Arc<T>], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(list.iter().map(|own| &**own))
    }

    pub(crate) fn deserialize<'de, T, D>(input: D) -> Result<Vec<Arc<T>>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<T>::deserialize(input)?.into_iter().map(Arc::new).collect())
    }
}

/// The keys, each with what it is looked up by.
pub(crate) mod keys {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::directory::Key;
    use crate::keys::PublicId;

    pub(crate) fn serialize<S: Serializer>(list: &[(PublicId, Arc<Key>)], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(list.iter().map(|(id, key)| (id.as_str(), &**key)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Vec<(PublicId, Arc<Key>)>, D::Error> {
        let list = Vec::<(String, Key)>::deserialize(input)?;
        let read = |(id, key): (String, Key)| Some((PublicId::parse(&id)?, Arc::new(key)));
        let all: Option<Vec<_>> = list.into_iter().map(read).collect();
        all.ok_or_else(|| de::Error::custom("the public id of a key has ten letters and digits"))
    }
}

/// Public ids of keys.
pub(crate) mod public_ids {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::keys::PublicId;

    pub(crate) fn serialize<S: Serializer>(list: &[PublicId], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(list.iter().map(PublicId::as_str))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<PublicId>, D::Error> {
        let list = Vec::<String>::deserialize(input)?;
        let all: Option<Vec<_>> = list.iter().map(|id| PublicId::parse(id)).collect();
        all.ok_or_else(|| de::Error::custom("the public id of a key has ten letters and digits"))
    }
}

/// A map whose keys are no text.
pub(crate) mod pairs {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, Hash};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K, V, H, S>(map: &HashMap<K, V, H>, out: S) -> Result<S::Ok, S::Error>
    where
        K: Serialize,
        V: Serialize,
        S: Serializer,
    {
        out.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, H, D>(input: D) -> Result<HashMap<K, V, H>, D::Error>
    where
        K: Deserialize<'de> + Eq + Hash,
        V: Deserialize<'de>,
        H: BuildHasher + Default,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(input)?.into_iter().collect())
    }
}

/// A tenant's own upstreams.
pub(crate) mod upstreams {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Addresses of each service by its place.
    type Addresses = Vec<(usize, Vec<Arc<str>>)>;

    pub(crate) fn serialize<S: Serializer>(
        list: &[(usize, Vec<Arc<str>>)],
        out: S,
    ) -> Result<S::Ok, S::Error> {
        let words = |own: &[Arc<str>]| own.iter().map(|at| at.to_string()).collect::<Vec<_>>();
        out.collect_seq(list.iter().map(|(service, own)| (service, words(own))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Addresses, D::Error> {
        let list = Vec::<(usize, Vec<String>)>::deserialize(input)?;
        let shared = |own: Vec<String>| own.into_iter().map(Arc::from).collect();
        Ok(list.into_iter().map(|(service, own)| (service, shared(own))).collect())
    }
}

/// 32 bytes in hexadecimal.
pub(crate) mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], out: S) -> Result<S::Ok, S::Error> {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        out.serialize_str(&hex)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(input)?;
        read(&text).ok_or_else(|| de::Error::custom("32 bytes are 64 hexadecimal digits"))
    }

    fn read(text: &str) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        let digits = (text.len() == 64).then_some(text)?;
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(bytes)
    }
}

/// A public key of Ed25519.
pub(crate) mod public_key {
    use ed25519_dalek::VerifyingKey;
    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(key: &VerifyingKey, out: S) -> Result<S::Ok, S::Error> {
        super::hexadecimal::serialize(key.as_bytes(), out)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<VerifyingKey, D::Error> {
        let bytes = super::hexadecimal::deserialize(input)?;
        VerifyingKey::from_bytes(&bytes).map_err(|_| de::Error::custom("no public key of Ed25519"))
    }
}

/// A zone, by its name. All that are set are; another one is UTC.
pub(crate) mod zone {
    use jiff::tz::TimeZone;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(zone: &TimeZone, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(zone.iana_name().unwrap_or("UTC"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<TimeZone, D::Error> {
        let name = String::deserialize(input)?;
        if name == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(&name).map_err(de::Error::custom) }
    }
}

/// Networks, as they are written.
pub(crate) mod networks {
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(list: &[IpNet], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(list.iter().map(IpNet::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Box<[IpNet]>, D::Error> {
        let list = Vec::<String>::deserialize(input)?;
        list.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}
