//! Benches: memory in which one packet is read. Packets go out in process context, where a program
//! can be preempted, and in softirq context, which interrupts processes: so a bench belongs to one
//! run of a program only. It is taken from a map under a number that nobody else has, and given
//! back.
//!
//! Every loop variable lives in the bench, which is map memory: the verifier then takes it for any
//! number at once, instead of following each one through every round of a loop. And a loop changes
//! the bench behind the compiler's back: functions that run one take the context, and borrow the
//! bench anew behind it; a `&mut Bench` that is passed in would be taken to stay as it was.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_get_prandom_u32, bpf_get_smp_processor_id, bpf_loop, bpf_skb_load_bytes},
    },
};
use monitor_common::{
    event::name::AnswerEvent,
    hash::Sip,
    limits::{EVENT_NAME, MESSAGE},
    name::{Admitted, AdmittedKey},
};

use crate::{
    bounds::{below_256, below_4096},
    maps::{BENCHES_IN_USE, EMPTY_BENCH},
    offsets::HASH_KEY,
    packet::Packet,
};

/// [`Bench::state`] of a name that was read to its end.
const DONE: u32 = 1;
/// [`Bench::state`] of one that could not be read.
const BAD: u32 = 2;
/// Longest name in text.
const LONGEST: u32 = 253;
/// Bytes, label lengths and pointers that a name may take.
const STEPS: u32 = 300;

/// One packet at work.
#[repr(C)]
pub struct Bench {
    /// The event that it becomes; a question is its beginning, and a hello has the name at the same
    /// place.
    pub event: AnswerEvent,
    /// Hash of the name that was read last.
    pub hash: u64,
    /// Hash of the name that records have to belong to; 0 while it is not known.
    pub owner: u64,
    /// What the addresses add up to, in whatever order they come.
    pub sum: u64,
    /// Rules that the name that was asked for comes under, in the order of [`crate::admit`]; 0
    /// where there is none.
    pub rules: [u64; 4],
    /// The workload, and the address at hand: on the stack there is no room on Linux 6.1.
    pub key: AdmittedKey,
    /// No rule at all; never written.
    pub unbound: Admitted,
    /// Where that name stands.
    pub owner_at: u32,
    /// Where the next record or extension begins.
    pub next: u32,
    /// Type that was asked for.
    pub wanted: u32,
    /// Bytes of [`Self::message`] that count.
    pub length: u32,
    /// Where reading goes on behind the name that was read last.
    pub behind: u32,
    /// Set once something did not fit together.
    pub broken: u32,
    sip: MaybeUninit<Sip>,
    word: u64,
    at: u32,
    left: u32,
    count: u32,
    state: u32,
    pointers: u32,
    write: u32,
    /// The message.
    pub message: [u8; MESSAGE],
}

/// What loops are given: pointers only, which stay the same from round to round.
#[repr(C)]
pub struct Context {
    /// The bench.
    pub bench: *mut Bench,
    /// The packet.
    pub skb: *mut __sk_buff,
    /// Where its message begins.
    pub base: u64,
}

/// Does `work` on a bench that holds the packet's message from `skip` bytes into the payload on;
/// false if there is no bench, or nothing to read.
#[inline(always)]
pub fn with(skb: *mut __sk_buff, p: &Packet, skip: u32, work: impl FnOnce(*mut Context)) -> bool {
    const _: () = assert!(MESSAGE == 4096);
    if p.length <= skip {
        return false;
    }
    // SAFETY: helpers without arguments.
    let number = unsafe {
        [
            bpf_ktime_get_ns(),
            (bpf_get_prandom_u32() as u64) << 32 | bpf_get_smp_processor_id() as u64,
        ]
    };
    let Some(empty) = EMPTY_BENCH.get(0) else {
        return false;
    };
    const ONLY_NEW: u64 = 1;
    if BENCHES_IN_USE.insert(&number, empty, ONLY_NEW).is_err() {
        return false;
    }
    let mut read = false;
    if let Some(bench) = BENCHES_IN_USE.get_ptr_mut(&number) {
        let base = p.payload + skip;
        let mut length = (p.length - skip) as u64;
        // SAFETY: touches one register: between 1 and 4096, as the verifier can see.
        unsafe {
            core::arch::asm!(
                "if {0} < 4096 goto +1", "{0} = 4096",
                "if {0} > 0 goto +1", "{0} = 1",
                inout(reg) length, options(nomem, nostack));
        }
        // SAFETY: the message has room for that many bytes.
        let r = unsafe {
            bpf_skb_load_bytes(
                skb.cast(),
                base,
                (&raw mut (*bench).message).cast(),
                length as u32,
            )
        };
        if r == 0 {
            // SAFETY: a value of the map, under a number of our own.
            unsafe { (*bench).length = length as u32 };
            let mut context = Context {
                bench,
                skb,
                base: base as u64,
            };
            work(&raw mut context);
            read = true;
        }
    }
    let _ = BENCHES_IN_USE.remove(&number);
    read
}

/// The bench of a run.
#[inline(always)]
pub fn of<'a>(context: *mut Context) -> &'a mut Bench {
    // SAFETY: the context that `with` made, and a value of the map under a number of our own.
    unsafe { &mut *(*context).bench }
}

impl Bench {
    /// A byte of the message; the caller has compared `at` with the length.
    #[inline(always)]
    pub fn byte(&self, at: u32) -> u32 {
        // SAFETY: inside the array.
        (unsafe { *self.message.as_ptr().add(below_4096(at as u64) as usize) }) as u32
    }

    /// Two bytes of the message, in network byte order.
    #[inline(always)]
    pub fn word16(&self, at: u32) -> u32 {
        self.byte(at) << 8 | self.byte(at + 1)
    }

    /// Begins a name.
    #[inline(always)]
    fn begin(&mut self, at: u32, write: bool, pointers: bool) {
        self.sip.write(Sip::new(HASH_KEY.load()));
        self.word = 0;
        self.at = at;
        self.left = 0;
        self.count = 0;
        self.state = 0;
        self.behind = 0;
        self.write = write as u32;
        self.pointers = pointers as u32;
    }

    /// Adds a byte to the name, in lower case.
    #[inline(always)]
    fn put(&mut self, byte: u32) {
        let n = self.count;
        if n >= LONGEST {
            self.state = BAD;
            return;
        }
        let upper = byte.wrapping_sub(b'A' as u32) < 26;
        let byte = if upper { byte | 0x20 } else { byte };
        if self.write != 0 {
            let name = self.event.query.name.as_mut_ptr();
            // SAFETY: inside the array.
            unsafe { *name.add(below_256(n as u64) as usize) = byte as u8 };
        }
        self.word |= (byte as u64) << ((n & 7) * 8);
        if n & 7 == 7 {
            let word = self.word;
            // SAFETY: written when the name was begun.
            unsafe { self.sip.assume_init_mut() }.word(word);
            self.word = 0;
        }
        self.count = n + 1;
    }

    /// Ends a name: its hash is that of [`monitor_common::hash::component`].
    #[inline(always)]
    fn end(&mut self) {
        let word = self.word | (self.count as u64) << 56;
        // SAFETY: written when the name was begun.
        let sip = unsafe { self.sip.assume_init_mut() };
        sip.word(word);
        self.hash = sip.finish();
        if self.write != 0 {
            self.event.query.name_length = self.count as u16;
        }
    }
}

/// One byte of a name as DNS writes it.
unsafe extern "C" fn label_callback(_: u32, context: *mut c_void) -> i64 {
    let b = of(context.cast());
    let at = b.at;
    if at >= b.length {
        b.state = BAD;
        return 1;
    }
    let byte = b.byte(at);
    if b.left != 0 {
        b.left -= 1;
        b.at = at + 1;
        if byte == b'.' as u32 {
            b.state = BAD;
            return 1;
        }
        b.put(byte);
        return (b.state != 0) as i64;
    }
    if byte == 0 {
        if b.behind == 0 {
            b.behind = at + 1;
        }
        b.state = DONE;
        return 1;
    }
    if byte >= 0xc0 {
        let to = (byte & 0x3f) << 8 | b.byte(at + 1);
        // Only backwards: no name goes round in circles.
        if b.pointers == 0 || at + 1 >= b.length || to >= at {
            b.state = BAD;
            return 1;
        }
        if b.behind == 0 {
            b.behind = at + 2;
        }
        b.at = to;
        return 0;
    }
    if byte > 63 {
        b.state = BAD;
        return 1;
    }
    b.left = byte;
    b.at = at + 1;
    if b.count != 0 {
        b.put(b'.' as u32);
    }
    (b.state != 0) as i64
}

/// One byte of a name that stands as text.
unsafe extern "C" fn text_callback(_: u32, context: *mut c_void) -> i64 {
    let b = of(context.cast());
    if b.left == 0 {
        b.state = DONE;
        return 1;
    }
    let at = b.at;
    if at >= b.length {
        b.state = BAD;
        return 1;
    }
    let byte = b.byte(at);
    b.left -= 1;
    b.at = at + 1;
    b.put(byte);
    (b.state != 0) as i64
}

/// One byte of host and port in a request to a proxy. Where [`Bench::left`] is not zero only a space
/// ends them, otherwise the path does too. Bytes that are in no host end the reading: among them are
/// those around a user's password.
unsafe extern "C" fn authority_callback(_: u32, context: *mut c_void) -> i64 {
    let b = of(context.cast());
    let at = b.at;
    if at >= b.length {
        b.state = BAD;
        return 1;
    }
    let byte = b.byte(at);
    let is = |what: u8| byte == what as u32;
    if is(b' ') || b.left == 0 && (is(b'/') || is(b'?') || is(b'#')) {
        b.state = if b.count == 0 { BAD } else { DONE };
        return 1;
    }
    let letter = (byte | 0x20).wrapping_sub(b'a' as u32) < 26;
    let digit_or_colon = byte.wrapping_sub(b'0' as u32) < 11;
    let other = is(b'.') || is(b'-') || is(b'_') || is(b'[') || is(b']') || is(b'%') || is(b'~');
    if !letter && !digit_or_colon && !other {
        b.state = BAD;
        return 1;
    }
    b.at = at + 1;
    b.put(byte);
    (b.state != 0) as i64
}

#[inline(always)]
fn read(context: *mut Context, step: unsafe extern "C" fn(u32, *mut c_void) -> i64) -> bool {
    // SAFETY: callback and context outlive the call.
    unsafe { bpf_loop(STEPS, step as *mut c_void, context.cast(), 0) };
    let b = of(context);
    if b.state != DONE {
        return false;
    }
    b.end();
    true
}

/// Reads the name of a DNS message at `at`; false if it is none. With `write` it goes into the
/// event.
#[inline(always)]
pub fn read_name(context: *mut Context, at: u32, write: bool, pointers: bool) -> bool {
    of(context).begin(at, write, pointers);
    read(context, label_callback)
}

/// Reads `length` bytes at `at` as a name into the event.
#[inline(always)]
pub fn read_text(context: *mut Context, at: u32, length: u32) -> bool {
    const _: () = assert!(LONGEST < EVENT_NAME as u32);
    let b = of(context);
    b.begin(at, true, false);
    b.left = length;
    read(context, text_callback)
}

/// Reads host and port of a request to a proxy at `at` into the event, up to a space or, unless it is
/// for a `tunnel`, the path; false if what stands there is none, or does not end in this segment.
#[inline(always)]
pub fn read_authority(context: *mut Context, at: u32, tunnel: bool) -> bool {
    let b = of(context);
    b.begin(at, true, false);
    b.left = tunnel as u32;
    read(context, authority_callback)
}
