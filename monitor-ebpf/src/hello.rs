//! What a member's connection begins with: the server name in a TLS ClientHello (RFC 8446, RFC 6066),
//! or the host that a proxy is asked for ([`crate::request`]).

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
    limits::{MESSAGE, REQUEST_QUIET_NS},
    socket::{Owner, state},
};

use crate::{
    bench::{self, Bench, Context},
    dns, emit,
    offsets::HASH_KEY,
    packet::{self, Packet},
    request, socket,
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

/// Looks at the `first` segment of a connection, or at another one to a declared proxy. Tells the
/// hello or the request if there is one, and it is news; and that of a proxy nothing could be seen.
#[inline(always)]
pub fn read(
    skb: *mut __sk_buff,
    owner: &Owner,
    class: ClassId,
    p: &Packet,
    (cookie, first): (u64, bool),
) {
    // Less than that begins neither.
    let start = packet::load::<u64>(skb, p.payload).unwrap_or(0);
    let is_hello = first && u16::from_be(start as u16) == HANDSHAKE;
    let target = request::target(skb, p, start);
    let declared = owner.flags & state::PROXY != 0;
    if !is_hello && target == 0 && !(first && declared) {
        return;
    }
    let read = bench::with(skb, p, 0, |context| {
        if is_hello && let Some(seen) = server_name(context) {
            tell(context, owner, class, p, (Kind::Hello, seen), cookie);
        }
        let mut seen = (0, 0);
        if target != 0 {
            seen = request::read(context, target, start);
        }
        if seen.0 != 0 || declared {
            tell(context, owner, class, p, (Kind::Request, seen), cookie);
        }
    });
    if !read {
        emit::count_error(Hook::PacketEgress, line!());
    }
}

/// Reads the server name of a hello into the bench's event: its hash, 0 without one, and bits of
/// [`hello`]. `None` where it is no hello.
#[inline(always)]
fn server_name(context: *mut Context) -> Option<(u64, u8)> {
    let b = bench::of(context);
    if b.length < SESSION + 1 || b.byte(5) != CLIENT_HELLO {
        return None;
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
    if b.owner_at != 0 && bench::read_text(context, b.owner_at, b.wanted) {
        Some((bench::of(context).hash, flags))
    } else {
        Some((0, flags))
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

/// Tells a hello or a request if it is news: `name` is the hash of what the bench's event has, or 0
/// where it has nothing that counts.
#[inline(always)]
fn tell(
    context: *mut Context,
    owner: &Owner,
    class: ClassId,
    p: &Packet,
    (kind, (name, flags)): (Kind, (u64, u8)),
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
        kind,
        Verdict::Known,
        hash::chain(hash::chain(endpoint, name), flags as u64),
    );
    // What goes through a proxy is told again and again: that is where it all goes.
    let again = matches!(kind, Kind::Request) && owner.flags & state::PROXY != 0;
    let Some(count) = emit::note_when(&key, |since| again && since >= REQUEST_QUIET_NS) else {
        return;
    };
    let b = bench::of(context);
    if name == 0 {
        b.event.query.name_length = 0;
    }
    let length = size_of::<HelloEvent>() as u32;
    // SAFETY: the two events have the same size, and the name at the same place (above).
    let event = unsafe { &mut *(&raw mut b.event).cast::<HelloEvent>() };
    let about = (hook, kind, Family::Name);
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
