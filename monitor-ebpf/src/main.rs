//! slmguard's kernel programs. One object for every kernel; each program is attached where it can
//! be (see the daemon's hook table).
//!
//! **Invariants of this crate.** Every hook asks first whether the task is ours. Decisions read
//! kernel memory only. Nothing here keeps scratch per CPU in a hook that can be preempted: LSM and
//! cgroup hooks use the stack or task storage. What cannot be decided is treated as not allowed.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key that is handed over by value is copied on a stack of 512 bytes"
)]
#![allow(
    clippy::implicit_saturating_sub,
    reason = "the verifier follows the comparison as it is written"
)]
#![allow(
    clippy::pointers_in_nomem_asm_block,
    reason = "the block only hides a pointer's origin; nothing is read or written in it"
)]

mod admit;
mod arch;
mod bench;
mod bounds;
mod dns;
mod emit;
mod endpoint;
mod enrol;
mod facility;
mod flow;
mod hello;
mod hooks;
mod maps;
mod offsets;
mod packet;
mod path;
mod request;
mod socket;
mod verdict;
mod watch;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
