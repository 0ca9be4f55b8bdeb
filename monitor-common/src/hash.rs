//! Hashes that both sides compute: keyed SipHash-1-3 for path components and endpoints, FNV-1a for
//! enrolment arguments.
//!
//! SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; one compression and
//! three finalisation rounds. Its key is drawn at each start of the daemon, so that nobody outside
//! can construct a path that collides with an allowed one.

/// Key of the component hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HashKey {
    /// First half.
    pub k0: u64,
    /// Second half.
    pub k1: u64,
}

/// SipHash-1-3 fed with 64-bit words.
#[derive(Clone, Copy)]
pub struct Sip {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Sip {
    /// Fresh state.
    #[inline(always)]
    pub const fn new(key: HashKey) -> Self {
        Self {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
        }
    }
    #[inline(always)]
    const fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
    /// Feeds one word.
    #[inline(always)]
    pub const fn word(&mut self, m: u64) {
        self.v3 ^= m;
        self.round();
        self.v0 ^= m;
    }
    /// The hash.
    #[inline(always)]
    pub const fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

/// Hash of one path component of at most 255 bytes; longer ones do not exist on Linux and are cut.
/// The last word carries the length in its top byte, as in SipHash itself.
pub fn component(key: HashKey, name: &[u8]) -> u64 {
    let name = &name[..if name.len() > 255 { 255 } else { name.len() }];
    let mut sip = Sip::new(key);
    let mut rest = name;
    while rest.len() >= 8 {
        let (word, tail) = rest.split_at(8);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        sip.word(u64::from_le_bytes(bytes));
        rest = tail;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = name.len() as u8;
    sip.word(u64::from_le_bytes(last));
    sip.finish()
}

/// Folds a component into the hash of the path before it: bijective in both, not commutative.
#[inline(always)]
pub const fn chain(path: u64, component: u64) -> u64 {
    let x = path
        .rotate_left(23)
        .wrapping_add(component)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

/// Hash of a whole path given as components from the root, as the kernel counts it.
pub fn path<'a>(key: HashKey, components: impl Iterator<Item = &'a [u8]>) -> u64 {
    components.fold(0, |h, c| chain(h, component(key, c)))
}

/// Hash of an endpoint.
#[inline(always)]
pub const fn endpoint(key: HashKey, high: u64, low: u64, protocol: u8, port: u16) -> u64 {
    let mut sip = Sip::new(key);
    sip.word(high);
    sip.word(low);
    sip.word((protocol as u64) << 16 | port as u64);
    sip.finish()
}

/// FNV-1a offset basis (64 bit).
pub const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// One step of FNV-1a (64 bit; Fowler, Noll, Vo).
#[inline(always)]
pub const fn fnv_step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}
/// Hash of an enrolment argument. Unkeyed on purpose: a collision only ever enrols a program that
/// did not need it.
pub fn argument(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_BASIS, |h, b| fnv_step(h, *b))
}

#[cfg(test)]
mod tests {
    use super::*;
    const KEY: HashKey = HashKey {
        k0: 0x0706_0504_0302_0100,
        k1: 0x0f0e_0d0c_0b0a_0908,
    };

    #[test]
    fn components_differ_by_length_order_and_key() {
        let other = HashKey { k0: 1, k1: 2 };
        assert_ne!(component(KEY, b"a"), component(KEY, b"a\0"));
        assert_ne!(component(KEY, b"abcdefgh"), component(KEY, b"abcdefg"));
        assert_ne!(component(KEY, b"a"), component(other, b"a"));
        assert_ne!(
            path(KEY, [&b"a"[..], b"b"].into_iter()),
            path(KEY, [&b"b"[..], b"a"].into_iter())
        );
    }

    #[test]
    fn fnv_matches_its_published_vectors() {
        assert_eq!(argument(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(argument(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(argument(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn an_over_long_component_is_cut_not_refused() {
        assert_eq!(component(KEY, &[b'x'; 300]), component(KEY, &[b'x'; 255]));
    }
}
