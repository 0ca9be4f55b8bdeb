//! GGUF: pairs of key and value, then tensors. Only the pairs are read.

use sha2::{Digest, Sha256};

use super::{Description, Limits, hex, reader::Reader, shown};

/// Arrays in arrays.
const DEPTH: u32 = 4;
/// Pairs that are read, whatever the header says.
const MOST_PAIRS: u64 = 4096;

/// Names of `general.file_type`, by number.
const FILE_TYPES: &[(u64, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
];

/// A value, as far as it is of interest.
enum Value<'a> {
    Number(u64),
    Text(&'a [u8]),
    Other,
}

/// Reads the header and as many pairs as there are.
pub(super) fn describe(bytes: &[u8], limits: Limits) -> Description {
    let mut found = Description {
        partial: true,
        ..Description::default()
    };
    if read(bytes, limits, &mut found).is_some() {
        found.partial = false;
    }
    found
}

fn read(bytes: &[u8], limits: Limits, found: &mut Description) -> Option<()> {
    let mut reader = Reader::new(bytes);
    reader.take(4)?;
    // A version in the other byte order says which order the file has.
    let mut version = reader.u32()?;
    if version & 0xffff == 0 && version != 0 {
        version = version.swap_bytes();
        reader.big_endian();
    }
    found.version = Some(u64::from(version));
    let old = version == 1;
    let count = |reader: &mut Reader<'_>| {
        if old {
            reader.u32().map(u64::from)
        } else {
            reader.u64()
        }
    };
    found.tensors = Some(count(&mut reader)?);
    let pairs = count(&mut reader)?;
    for _ in 0..pairs.min(MOST_PAIRS) {
        let length = count(&mut reader)?;
        let key = reader.take(length)?;
        let kind = reader.u32()?;
        let value = value(&mut reader, kind, old, 0)?;
        let key = std::str::from_utf8(key).unwrap_or_default();
        note(found, key, &value, limits);
    }
    (pairs <= MOST_PAIRS).then_some(())
}

fn value<'a>(reader: &mut Reader<'a>, kind: u32, old: bool, depth: u32) -> Option<Value<'a>> {
    let length = |reader: &mut Reader<'a>| {
        if old {
            reader.u32().map(u64::from)
        } else {
            reader.u64()
        }
    };
    match kind {
        8 => {
            let bytes = length(reader)?;
            Some(Value::Text(reader.take(bytes)?))
        }
        9 => {
            let inner = reader.u32()?;
            let items = length(reader)?;
            array(reader, inner, items, old, depth)?;
            Some(Value::Other)
        }
        4 => Some(Value::Number(u64::from(reader.u32()?))),
        10 => Some(Value::Number(reader.u64()?)),
        0 | 7 => Some(Value::Number(u64::from(reader.u8()?))),
        other => {
            reader.take(width(other)?)?;
            Some(Value::Other)
        }
    }
}

/// Skips an array. Each item takes at least a byte, so that the slice bounds the loop.
fn array(reader: &mut Reader<'_>, inner: u32, items: u64, old: bool, depth: u32) -> Option<()> {
    if let Some(width) = width(inner) {
        reader.take(items.checked_mul(width)?)?;
        return Some(());
    }
    if depth >= DEPTH || items > reader.left() as u64 {
        return None;
    }
    for _ in 0..items {
        value(reader, inner, old, depth + 1)?;
    }
    Some(())
}

/// Bytes of a scalar.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn note(found: &mut Description, key: &str, value: &Value<'_>, limits: Limits) {
    let text = |value: &Value<'_>| match value {
        Value::Text(bytes) => Some(shown(bytes, limits)),
        Value::Number(number) => Some(number.to_string()),
        Value::Other => None,
    };
    match (key, value) {
        ("general.name", _) => found.name = text(value),
        ("general.architecture", _) => found.architecture = text(value),
        ("general.type", Value::Text(kind)) => {
            found.adapter = *kind == b"adapter";
            found.keep(key, shown(kind, limits), limits);
        }
        ("general.file_type", Value::Number(number)) => {
            let known = FILE_TYPES.iter().find(|(n, _)| n == number);
            found.quantisation = Some(match known {
                Some((_, name)) => (*name).to_owned(),
                None => format!("type {number}"),
            });
        }
        ("tokenizer.chat_template", Value::Text(template)) => {
            found.template = Some(hex(&Sha256::digest(template)));
        }
        (key, Value::Number(number)) if key.ends_with(".context_length") => {
            found.context = Some(*number);
        }
        (key, value) if key.starts_with("general.") || key.starts_with("adapter.") => {
            if let Some(text) = text(value) {
                found.keep(&shown(key.as_bytes(), limits), text, limits);
            }
        }
        _ => {}
    }
}
