//! Model files: whatever their first bytes are, they are told apart and described without a panic,
//! in memory in proportion to what is there, and what is said about them is harmless text.
//!
//! The first byte chooses the format, the rest is the file.

#![no_main]

use slmguard_core::detect::model::{Format, SNIFFED, describe, sniff};
use slmguard_fuzz::is_harmless;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((choice, file)) = data.split_first() else {
        return;
    };
    let head = &file[..file.len().min(SNIFFED)];
    let found = sniff(head, file.len() as u64, "a.bin");
    let chosen = [Format::Gguf, Format::Safetensors, Format::Onnx][usize::from(choice % 3)];
    for format in [Some(chosen), found].into_iter().flatten() {
        let told = describe(format, file);
        let texts = [
            &told.name,
            &told.architecture,
            &told.quantisation,
            &told.template,
        ];
        texts
            .into_iter()
            .flatten()
            .for_each(|text| is_harmless(text));
        for (key, value) in &told.metadata {
            is_harmless(key);
            is_harmless(value);
            assert!(key.len() + value.len() < 64 << 10);
        }
        assert!(told.metadata.len() <= 64);
        assert_eq!(describe(format, file), told);
    }
});
