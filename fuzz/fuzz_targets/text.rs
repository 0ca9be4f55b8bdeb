//! Escaping: what comes out is harmless and one line, and the bytes come back.

#![no_main]

use slmguard_core::text::{components, escape, escape_component, unescape};
use slmguard_fuzz::is_harmless;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = escape(data);
    is_harmless(&text);
    assert_eq!(unescape(&text), data);
    assert_eq!(escape(&unescape(&text)), text);
    let component = escape_component(data);
    is_harmless(&component);
    assert!(!component.contains('*'));
    assert_eq!(unescape(&component), data);
    // Two names never look the same.
    if let Some((a, b)) = data.split_at_checked(data.len() / 2) {
        assert_eq!(a == b, escape(a) == escape(b));
    }
    for component in components(data) {
        assert!(!component.is_empty() && !component.contains(&b'/'));
    }
    // Text that somebody else wrote.
    if let Ok(text) = std::str::from_utf8(data) {
        is_harmless(&escape(&unescape(text)));
    }
});
