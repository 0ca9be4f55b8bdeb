//! TLS: the server name in a ClientHello (RFC 8446, RFC 6066), read from the first segment that a
//! member's connection sends.

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_loop};
use monitor_common::{
    class::{ClassId, Family},
    event::{
        Kind, Verdict,
        name::{HelloEvent, QueryEvent, hello},
    },
    hash,
    hook::Hook,
    limits::MESSAGE,
    socket::Owner,
};

use crate::{
    bench::{self, Bench},
    dns, emit,
    offsets::HASH_KEY,
    packet::{self, Packet},
    socket,
};

/// A record of type handshake, of any version of TLS.
const HANDSHAKE: u16 = 0x1603;
const CLIENT_HELLO: u32 = 1;
/// Record header, handshake header, version, random.
const SESSION: u32 = 5 + 4 + 2 + 32;
const SERVER_NAME: u32 = 0;
const ENCRYPTED_HELLO: u32 = 0xfe0d;
/// Extensions that are looked through.
const EXTENSIONS: u32 = 64;

/// Looks at the first segment of a connection; tells the hello if there is one, and it is news.
#[inline(always)]
pub fn read(skb: *mut __sk_buff, owner: &Owner, class: ClassId, p: &Packet, cookie: u64) {
    if packet::load::<u16>(skb, p.payload).map(u16::from_be) != Some(HANDSHAKE) {
        return;
    }
    let hook = Hook::PacketEgress;
    let read = bench::with(skb, p, 0, |context| {
        let b = bench::of(context);
        if b.length < SESSION + 1 || b.byte(5) != CLIENT_HELLO {
            return;
        }
        // Where the hello says that it ends; what was not loaded is cut off.
        let end = 9 + (b.byte(6) << 16 | b.word16(7));
        let mut flags = 0;
        if end > b.length {
            flags |= hello::CUT;
        }
        b.owner_at = 0;
        b.wanted = 0;
        if extensions(b) {
            // SAFETY: callback and context outlive the call.
            unsafe {
                bpf_loop(
                    EXTENSIONS,
                    extension_callback as *mut c_void,
                    context.cast(),
                    0,
                )
            };
        }
        let b = bench::of(context);
        if b.sum != 0 {
            flags |= hello::ENCRYPTED;
        }
        let mut name = 0;
        if b.owner_at != 0 && bench::read_text(context, b.owner_at, b.wanted) {
            name = bench::of(context).hash;
        } else {
            b.event.query.name_length = 0;
        }
        tell(bench::of(context), owner, class, p, (name, flags), cookie);
    });
    if !read {
        emit::count_error(hook, line!());
    }
}

/// Finds the extensions: behind session id, cipher suites and compression methods.
#[inline(always)]
fn extensions(b: &mut Bench) -> bool {
    let mut at = SESSION;
    at += 1 + b.byte(at);
    if at + 2 > b.length {
        return false;
    }
    at += 2 + b.word16(at);
    if at + 1 > b.length {
        return false;
    }
    at += 1 + b.byte(at);
    if at + 2 > b.length {
        return false;
    }
    b.next = at + 2;
    true
}

/// One extension: remembers where the server name stands, and that a hidden one does.
unsafe extern "C" fn extension_callback(_: u32, context: *mut c_void) -> i64 {
    let b = bench::of(context.cast());
    let at = b.next;
    if at + 4 > b.length {
        return 1;
    }
    let (kind, length) = (b.word16(at), b.word16(at + 2));
    b.next = at + 4 + length;
    if kind == ENCRYPTED_HELLO {
        b.sum = 1;
    }
    // A list of one: its length, the type of name (0, host), and the name with its length.
    if kind == SERVER_NAME && length >= 5 && at + 9 <= b.length && b.byte(at + 6) == 0 {
        let name = b.word16(at + 7);
        if name + 5 <= length && at + 9 + name <= b.length {
            b.owner_at = at + 9;
            b.wanted = name;
        }
    }
    0
}

#[inline(always)]
fn tell(
    b: &mut Bench,
    owner: &Owner,
    class: ClassId,
    p: &Packet,
    (name, flags): (u64, u8),
    cookie: u64,
) {
    const _: () = assert!(size_of::<HelloEvent>() == size_of::<QueryEvent>());
    const _: () = assert!(
        core::mem::offset_of!(HelloEvent, name) == core::mem::offset_of!(QueryEvent, name)
            && core::mem::offset_of!(HelloEvent, name_length)
                == core::mem::offset_of!(QueryEvent, name_length)
            && MESSAGE >= 512
    );
    let hook = Hook::PacketEgress;
    let w = p.peer;
    let endpoint = hash::endpoint(
        HASH_KEY.load(),
        (w[0] as u64) << 32 | w[1] as u64,
        (w[2] as u64) << 32 | w[3] as u64,
        p.protocol as u8,
        p.port,
    );
    let key = dns::seen(
        class,
        Kind::Hello,
        Verdict::Known,
        hash::chain(hash::chain(endpoint, name), flags as u64),
    );
    let Some(count) = emit::note(&key, false) else {
        return;
    };
    let length = size_of::<HelloEvent>() as u32;
    // SAFETY: the two events have the same size, and the name at the same place (above).
    let event = unsafe { &mut *(&raw mut b.event).cast::<HelloEvent>() };
    let about = (hook, Kind::Hello, Family::Name);
    socket::fill(
        &mut event.header,
        owner,
        class,
        about,
        Verdict::Known,
        (count, length),
    );
    // SAFETY: same size, plain bytes.
    event.address = unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(p.peer) };
    event.cookie = cookie;
    event.hash = name;
    event.port = p.port;
    event.flags = flags;
    event.protocol = p.protocol as u8;
    event.ip = dns::ip_version(p);
    event.zero = 0;
    if !emit::output(
        hook,
        Verdict::Known,
        (event as *const HelloEvent).cast(),
        length as u64,
    ) {
        emit::forget(&key);
    }
}
