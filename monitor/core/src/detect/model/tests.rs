//! Model files made by hand, and files that nobody should have made.

use proptest::prelude::*;

use super::*;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn pair(out: &mut Vec<u8>, key: &str, kind: u32, value: &[u8]) {
    text(out, key);
    out.extend(kind.to_le_bytes());
    out.extend(value);
}

fn string(value: &str) -> Vec<u8> {
    let mut out = vec![];
    text(&mut out, value);
    out
}

fn gguf(pairs: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(7_u64.to_le_bytes());
    out.extend((pairs.len() as u64).to_le_bytes());
    for (key, kind, value) in pairs {
        pair(&mut out, key, *kind, value);
    }
    out
}

fn strings(items: &[&str]) -> Vec<u8> {
    let mut out = 8_u32.to_le_bytes().to_vec();
    out.extend((items.len() as u64).to_le_bytes());
    items.iter().for_each(|i| text(&mut out, i));
    out
}

#[test]
fn gguf_tells_what_it_is() {
    let bytes = gguf(&[
        ("general.architecture", 8, string("llama")),
        ("general.name", 8, string("A \u{1b}[31m name")),
        ("general.file_type", 4, 15_u32.to_le_bytes().to_vec()),
        ("llama.context_length", 4, 4096_u32.to_le_bytes().to_vec()),
        ("tokenizer.ggml.tokens", 9, strings(&["a", "b"])),
        ("general.licence", 8, string(&"x".repeat(5000))),
        ("tokenizer.chat_template", 8, string("{{ x }}")),
    ]);
    assert_eq!(sniff(&bytes, 1 << 30, "blob"), Some(Format::Gguf));
    let found = describe(Format::Gguf, &bytes);
    assert_eq!(found.architecture.as_deref(), Some("llama"));
    assert_eq!(found.name.as_deref(), Some("A \\u{1b}[31m name"));
    assert_eq!(found.quantisation.as_deref(), Some("Q4_K_M"));
    assert_eq!(
        (found.context, found.tensors, found.version),
        (Some(4096), Some(7), Some(3))
    );
    assert!(found.template.is_some() && !found.adapter && !found.partial);
    assert!(
        found.metadata[0].1.len() < 300,
        "{}",
        found.metadata[0].1.len()
    );
    let other = describe(
        Format::Gguf,
        &gguf(&[("tokenizer.chat_template", 8, string("{{ y }}"))]),
    );
    assert_ne!(other.template, found.template);
}

#[test]
fn gguf_adapters_are_told_from_models() {
    let bytes = gguf(&[
        ("general.type", 8, string("adapter")),
        ("adapter.type", 8, string("lora")),
    ]);
    let found = describe(Format::Gguf, &bytes);
    assert!(found.adapter);
    assert!(
        found
            .metadata
            .contains(&("adapter.type".into(), "lora".into())),
        "{found:?}"
    );
}

#[test]
fn gguf_that_is_cut_off_gives_what_it_has() {
    let bytes = gguf(&[
        ("general.architecture", 8, string("llama")),
        ("general.name", 8, string("late")),
    ]);
    let found = describe(Format::Gguf, &bytes[..bytes.len() - 2]);
    assert_eq!(
        (found.architecture.as_deref(), found.name, found.partial),
        (Some("llama"), None, true)
    );
}

#[test]
fn gguf_that_lies_about_sizes_takes_no_memory_and_no_time() {
    let mut endless = 8_u32.to_le_bytes().to_vec();
    endless.extend(u64::MAX.to_le_bytes());
    let mut nested = vec![];
    for _ in 0..64 {
        nested.extend(9_u32.to_le_bytes());
        nested.extend(1_u64.to_le_bytes());
    }
    let mut wide = 10_u32.to_le_bytes().to_vec();
    wide.extend((u64::MAX / 4).to_le_bytes());
    for value in [endless, nested, wide] {
        let found = describe(Format::Gguf, &gguf(&[("general.x", 9, value)]));
        assert!(found.partial);
    }
    let mut many = gguf(&[]);
    many[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(describe(Format::Gguf, &many).partial);
}

fn safetensors(json: &str) -> Vec<u8> {
    let mut out = (json.len() as u64).to_le_bytes().to_vec();
    out.extend(json.as_bytes());
    out
}

#[test]
fn safetensors_tell_types_and_metadata() {
    let bytes = safetensors(
        r#"{"__metadata__":{"format":"pt","modelspec.title":"T"},
            "a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},
            "b":{"dtype":"F16","shape":[],"data_offsets":[8,8]},
            "c":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
    );
    assert_eq!(
        sniff(&bytes, bytes.len() as u64 + 12, "x"),
        Some(Format::Safetensors)
    );
    assert_eq!(
        sniff(&bytes, 100, "x"),
        None,
        "the header would not fit into the file"
    );
    let found = describe(Format::Safetensors, &bytes);
    assert_eq!(
        (found.tensors, found.quantisation.as_deref()),
        (Some(3), Some("F16, F32"))
    );
    assert_eq!(found.name.as_deref(), Some("T"));
    assert_eq!(found.metadata, [("format".to_owned(), "pt".to_owned())]);
    assert!(!found.partial && !found.adapter);
    let lora = r#"{"x.lora_A.weight":{"dtype":"F32","shape":[],"data_offsets":[0,0]}}"#;
    assert!(describe(Format::Safetensors, &safetensors(lora)).adapter);
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2, value.len() as u8];
    out.extend(value);
    out
}

#[test]
fn onnx_tells_its_producer() {
    let graph = [bytes(1, b"node"), bytes(2, b"main_graph")].concat();
    let opset = [bytes(1, b""), number(2, 17)].concat();
    let model = [
        number(1, 8),
        bytes(2, b"pytorch"),
        bytes(3, b"2.1"),
        bytes(7, &graph),
        bytes(8, &opset),
        bytes(14, &[bytes(1, b"k"), bytes(2, b"v")].concat()),
    ]
    .concat();
    assert_eq!(sniff(&model, 99, "m.onnx"), Some(Format::Onnx));
    assert_eq!(sniff(&model, 99, "other"), Some(Format::Onnx));
    let anonymous = [number(1, 8), bytes(7, &graph)].concat();
    assert_eq!(sniff(&anonymous, 99, "m.onnx"), Some(Format::Onnx));
    assert_eq!(sniff(&anonymous, 99, "other"), None, "too vague");
    let found = describe(Format::Onnx, &model);
    assert_eq!(
        (found.version, found.architecture.as_deref()),
        (Some(8), Some("pytorch"))
    );
    assert_eq!(found.name.as_deref(), Some("main_graph"));
    assert!(
        found.metadata.contains(&("opset".into(), "17".into())),
        "{found:?}"
    );
    assert!(found.metadata.contains(&("k".into(), "v".into())) && !found.partial);
}

#[test]
fn every_magic_is_known() {
    for (start, name, format) in [
        (&b"lmgg\x01\0\0\0"[..], "x", Some(Format::Ggml)),
        (b"fmgg", "x", Some(Format::Ggml)),
        (b"tjgg", "x", Some(Format::Ggml)),
        (b"qsgg", "x", Some(Format::LlamaState)),
        (b"nsgg", "x", Some(Format::LlamaState)),
        (
            b"PK\x03\x04......model/data.pkl",
            "x.pt",
            Some(Format::PytorchZip),
        ),
        (b"PK\x03\x04......word/document.xml", "x.docx", None),
        (b"PK\x03\x04", "x.llamafile", Some(Format::Llamafile)),
        (
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19..",
            "x",
            Some(Format::Pickle),
        ),
        (b"\x80\x04\x95abc", "m.pkl", Some(Format::Pickle)),
        (b"\x80\x04\x95abc", "m.jpg", None),
        (b"\x89HDF\r\n\x1a\n", "x", Some(Format::Hdf5)),
        (b"\0\0\0\0TFL3", "x", Some(Format::Tflite)),
        (b"\x93NUMPY\x01\0", "x", Some(Format::Numpy)),
        (b"MZqFpD='\n", "x", Some(Format::Llamafile)),
        (b"MZ\x90\0\x03", "x.exe", None),
        (b"\x7fELF", "x", None),
        (b"GGU", "x", None),
        (b"", "x", None),
    ] {
        assert_eq!(sniff(start, 1 << 30, name), format, "{start:?}");
    }
    assert!(!Format::LlamaState.is_model() && Format::Gguf.is_model());
    assert!(Format::Pickle.runs_code() && !Format::Safetensors.runs_code());
}

const FORMATS: [Format; 3] = [Format::Gguf, Format::Safetensors, Format::Onnx];

/// However hostile: short texts, few pairs.
fn is_small(found: &Description) -> bool {
    // An escaped byte takes up to ten characters.
    let short = |text: &str| text.len() <= 12 * TEXT;
    found.metadata.len() <= PAIRS
        && found.metadata.iter().all(|(k, v)| short(k) && short(v))
        && [&found.name, &found.architecture]
            .iter()
            .all(|t| t.as_deref().is_none_or(short))
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..512), name in ".{0,12}") {
        sniff(&bytes, bytes.len() as u64, &name);
        for format in FORMATS {
            prop_assert!(is_small(&describe(format, &bytes)));
        }
    }

    #[test]
    fn a_header_with_any_damage_is_read_without_harm(at in 0_usize..400, byte in any::<u8>(), end in 0_usize..400) {
        let whole = gguf(&[
            ("general.architecture", 8, string("llama")),
            ("tokenizer.ggml.tokens", 9, strings(&["a", "bc", "def"])),
            ("general.file_type", 4, 15_u32.to_le_bytes().to_vec()),
            ("tokenizer.chat_template", 8, string("{{ x }}")),
        ]);
        let tensors = safetensors(r#"{"__metadata__":{"a":"b"},"t":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#);
        for (format, mut bytes) in [(Format::Gguf, whole), (Format::Safetensors, tensors)] {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(end));
            prop_assert!(is_small(&describe(format, &bytes)));
        }
    }

    #[test]
    fn protobuf_of_any_fields_is_read_without_harm(fields in proptest::collection::vec((1_u8..31, 0_u8..8, proptest::collection::vec(any::<u8>(), 0..40)), 0..12)) {
        let mut message = vec![];
        for (number, kind, value) in fields {
            message.push(number << 3 | kind);
            if kind == 2 {
                message.push(value.len() as u8);
            }
            message.extend(value);
        }
        sniff(&message, message.len() as u64, "m.onnx");
        prop_assert!(is_small(&describe(Format::Onnx, &message)));
    }
}
