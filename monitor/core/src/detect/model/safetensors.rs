//! safetensors: a length, then a JSON object of tensors and metadata. Read as a stream: nothing of
//! it is kept but counts and a few short texts.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

use super::{Description, Limits, shown};

/// Types of tensors that are told apart.
const TYPES: usize = 16;

/// Reads the header.
pub(super) fn describe(bytes: &[u8], limits: Limits) -> Description {
    let mut header = Header {
        limits,
        found: Description {
            tensors: Some(0),
            partial: true,
            ..Description::default()
        },
        types: BTreeMap::new(),
    };
    let size = bytes.get(..8).and_then(|b| b.try_into().ok());
    let size = size.map_or(0, u64::from_le_bytes);
    let body = bytes.get(8..).unwrap_or_default();
    let whole = usize::try_from(size).is_ok_and(|size| size <= body.len());
    let body = &body[..usize::try_from(size).unwrap_or(usize::MAX).min(body.len())];
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Object(&mut header).deserialize(&mut reader).is_ok();
    let Header {
        mut found, types, ..
    } = header;
    let mut types: Vec<_> = types.into_iter().collect();
    types.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
    let names: Vec<_> = types.into_iter().map(|(name, _)| name).collect();
    found.quantisation = (!names.is_empty()).then(|| names.join(", "));
    found.partial = !(read && whole);
    found.adapter = found
        .metadata
        .iter()
        .any(|(key, value)| key.contains("lora") || value.contains("lora"));
    found
}

struct Header {
    limits: Limits,
    found: Description,
    types: BTreeMap<String, u64>,
}

struct Object<'a>(&'a mut Header);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a header of tensors")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let header = self.0;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value_seed(Metadata(header))?;
                continue;
            }
            let tensor: Tensor = map.next_value()?;
            *header.found.tensors.get_or_insert(0) += 1;
            if name.contains("lora_A") {
                let limits = header.limits;
                if !header.found.metadata.iter().any(|(k, _)| k == "lora") {
                    header
                        .found
                        .keep("lora", "has lora_A tensors".into(), limits);
                }
            }
            let kind = shown(tensor.dtype.as_bytes(), header.limits);
            if header.types.len() < TYPES || header.types.contains_key(&kind) {
                *header.types.entry(kind).or_default() += 1;
            }
        }
        Ok(())
    }
}

struct Metadata<'a>(&'a mut Header);

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("texts by name")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let limits = self.0.limits;
            if self.0.found.metadata.len() >= limits.pairs {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: String = map.next_value()?;
            let key = shown(key.as_bytes(), limits);
            let value = shown(value.as_bytes(), limits);
            match key.as_str() {
                "modelspec.title" => self.0.found.name = Some(value),
                "modelspec.architecture" => self.0.found.architecture = Some(value),
                _ => self.0.found.keep(&key, value, limits),
            }
        }
        Ok(())
    }
}
