//! The ABI between slmguard's kernel programs and its daemon: one definition of every key, value,
//! event and limit that crosses the boundary.
//!
//! This crate is `no_std`, has no dependencies and does no I/O. It must not know how either side
//! uses what it defines. Layout rules, asserted at compile time: `repr(C)`, no padding, sizes that
//! are multiples of eight, plain integers only (an enum with data never crosses the boundary).
//! Whatever changes a layout here must raise [`ABI`].
#![no_std]
#![forbid(unsafe_code)]

pub mod class;
pub mod endpoint;
pub mod enrol;
pub mod event;
pub mod facility;
pub mod hash;
pub mod hook;
pub mod limits;
pub mod listener;
pub mod name;
pub mod offsets;
pub mod path;
pub mod proxy;
pub mod seen;
pub mod socket;

/// Version of the layouts in this crate; part of the pin directory's name, so that a daemon never
/// reopens maps of another layout.
pub const ABI: u32 = 3;

/// Asserts at compile time that a type crosses the boundary without padding: its size is the sum
/// given and a multiple of eight.
macro_rules! assert_layout {
    ($t:ty, $size:expr) => {
        const _: () = assert!(core::mem::size_of::<$t>() == $size && $size % 8 == 0);
        const _: () = assert!(core::mem::align_of::<$t>() <= 8);
    };
}
pub(crate) use assert_layout;
