//! The self-check: a decoder with a planted mistake behind a magic number that chance does not
//! find. That it is found within a minute shows that coverage guides the search.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // One comparison after the other, as a parser makes them.
    let magic = b"PLANTED!";
    if data.len() < magic.len() + 2 {
        return;
    }
    for (have, want) in data.iter().zip(magic) {
        if have != want {
            return;
        }
    }
    let rest = &data[magic.len()..];
    let length = usize::from(rest[0]);
    // The mistake: the length is believed.
    assert_ne!(rest[1..length].len(), usize::MAX);
});
