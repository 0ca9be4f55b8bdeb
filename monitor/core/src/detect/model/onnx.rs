//! ONNX: the outermost fields of its protobuf message. The graph is skipped, not read.

use super::{Description, Limits, reader::Reader, shown};

/// Fields that are read.
const FIELDS: usize = 1024;
/// Versions of the intermediate representation that exist, with room for some more.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=30;

/// A field.
enum Field<'a> {
    Number(u64),
    /// The bytes, and whether all of them are there.
    Bytes(&'a [u8], bool),
    Fixed,
}

/// One field: its number and value.
fn field<'a>(reader: &mut Reader<'a>) -> Option<(u64, Field<'a>)> {
    let key = reader.varint()?;
    let (number, kind) = (key >> 3, key & 7);
    if number == 0 {
        return None;
    }
    let field = match kind {
        0 => Field::Number(reader.varint()?),
        1 => {
            reader.take(8)?;
            Field::Fixed
        }
        2 => {
            let length = reader.varint()?;
            let left = reader.left() as u64;
            Field::Bytes(reader.take(length.min(left))?, length <= left)
        }
        5 => {
            reader.take(4)?;
            Field::Fixed
        }
        _ => return None,
    };
    Some((number, field))
}

/// Whether bytes are the start of a model: a version first, and then only fields that a model has,
/// of the types that they have. Few formats are that vague, so a file of another name has to show
/// its producer as well.
pub(super) fn is_plausible(bytes: &[u8], named: bool) -> bool {
    let mut reader = Reader::new(bytes);
    if !matches!(field(&mut reader), Some((1, Field::Number(v))) if VERSIONS.contains(&v)) {
        return false;
    }
    let (mut producer, mut graph) = (false, false);
    for _ in 0..FIELDS {
        if reader.is_empty() {
            break;
        }
        match field(&mut reader) {
            Some((2, Field::Bytes(text, true))) => {
                producer = !text.is_empty() && std::str::from_utf8(text).is_ok();
            }
            Some((7, Field::Bytes(_, whole))) => {
                graph = true;
                if !whole {
                    break;
                }
            }
            Some((3..=4 | 6, Field::Bytes(text, _))) if std::str::from_utf8(text).is_ok() => {}
            Some((5, Field::Number(_)) | (8 | 14 | 20 | 25 | 26, Field::Bytes(_, _))) => {}
            _ => return false,
        }
    }
    graph && (named || producer)
}

/// Reads versions, producer and operator sets.
pub(super) fn describe(bytes: &[u8], limits: Limits) -> Description {
    let mut found = Description {
        partial: true,
        ..Description::default()
    };
    let mut reader = Reader::new(bytes);
    for _ in 0..FIELDS {
        if reader.is_empty() {
            found.partial = false;
            break;
        }
        let Some((number, field)) = field(&mut reader) else {
            break;
        };
        match (number, field) {
            (1, Field::Number(version)) => found.version = Some(version),
            (2, Field::Bytes(text, _)) => found.architecture = Some(shown(text, limits)),
            (3, Field::Bytes(text, _)) => {
                found.keep("producer_version", shown(text, limits), limits);
            }
            (4, Field::Bytes(text, _)) => found.keep("domain", shown(text, limits), limits),
            (5, Field::Number(version)) => {
                found.keep("model_version", version.to_string(), limits);
            }
            (7, Field::Bytes(graph, whole)) => {
                found.name = found.name.take().or_else(|| graph_name(graph, limits));
                if !whole {
                    return found;
                }
            }
            (8, Field::Bytes(bytes, true)) => {
                if let Some(text) = operators(bytes, limits) {
                    found.keep("opset", text, limits);
                }
            }
            (14, Field::Bytes(bytes, true)) => {
                if let Some((key, value)) = property(bytes, limits) {
                    found.keep(&key, value, limits);
                }
            }
            _ => {}
        }
    }
    found
}

/// A graph's name stands behind its nodes; it is looked for as far as the bytes reach.
fn graph_name(graph: &[u8], limits: Limits) -> Option<String> {
    let mut reader = Reader::new(graph);
    loop {
        match field(&mut reader)? {
            (2, Field::Bytes(name, true)) => return Some(shown(name, limits)),
            (_, Field::Bytes(_, false)) => return None,
            _ => {}
        }
    }
}

fn operators(bytes: &[u8], limits: Limits) -> Option<String> {
    let mut reader = Reader::new(bytes);
    let (mut domain, mut version) = (String::new(), None);
    while !reader.is_empty() {
        match field(&mut reader)? {
            (1, Field::Bytes(text, true)) => domain = shown(text, limits),
            (2, Field::Number(number)) => version = Some(number),
            _ => {}
        }
    }
    let version = version?;
    Some(if domain.is_empty() {
        version.to_string()
    } else {
        format!("{domain} {version}")
    })
}

fn property(bytes: &[u8], limits: Limits) -> Option<(String, String)> {
    let mut reader = Reader::new(bytes);
    let (mut key, mut value) = (String::new(), String::new());
    while !reader.is_empty() {
        match field(&mut reader)? {
            (1, Field::Bytes(text, true)) => key = shown(text, limits),
            (2, Field::Bytes(text, true)) => value = shown(text, limits),
            _ => {}
        }
    }
    (!key.is_empty()).then_some((key, value))
}
