//! Masks that LLVM cannot fold away and the verifier can see: LLVM drops a Rust `&` that it can
//! prove redundant, and the verifier cannot follow the proof.

use core::arch::asm;

macro_rules! mask {
    ($name:ident, $limit:literal, $mask:literal) => {
        #[doc = concat!("`v` modulo ", $limit, ".")]
        #[inline(always)]
        pub fn $name(mut v: u64) -> u64 {
            // SAFETY: touches one register.
            unsafe { asm!(concat!("{0} &= ", $mask), inout(reg) v, options(nomem, nostack, pure)) };
            v
        }
    };
}
mask!(below_16, "16", "15");
mask!(below_128, "128", "127");
mask!(below_256, "256", "255");
mask!(below_512, "512", "511");
mask!(below_1024, "1024", "1023");
mask!(below_4096, "4096", "4095");
