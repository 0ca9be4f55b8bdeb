//! DNS: the questions of members, and the answers that fit them. An answer counts only if its
//! question was seen to go out from the same socket to the same resolver, once.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_loop, bpf_skb_load_bytes},
    },
};
use monitor_common::{
    class::{ClassId, Control, Family, Mode},
    event::{
        Kind, Verdict,
        name::{AnswerEvent, QueryEvent},
    },
    hash,
    hook::Hook,
    limits::{ANSWER_NS, EVENT_ADDRESSES, MAX_RECORDS},
    seen::SeenKey,
    socket::Owner,
};

use crate::{
    admit,
    bench::{self, Bench, Context},
    bounds::below_16,
    emit, flow,
    maps::QUESTIONS,
    offsets::HASH_KEY,
    packet::{self, Packet, TCP},
    socket, watch,
};

/// Bytes of a DNS header; the question follows.
const HEADER: u32 = 12;
const INTERNET: u32 = 1;
const A: u32 = 1;
const CNAME: u32 = 5;
const AAAA: u32 = 28;
/// Response, and operation code, of the flags.
const RESPONSE: u32 = 0x8000;
const OPCODE: u32 = 0x7800;

/// A question that was asked. What differs in any of this is another question.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Question {
    cookie: u64,
    name: u64,
    resolver: [u32; 4],
    port: u16,
    id: u16,
    kind: u16,
    protocol: u16,
}

/// When it was asked, nanoseconds since boot, CLOCK_MONOTONIC.
pub type Asked = u64;

/// Bytes before the message: TCP puts its length there. `None` where the segment is not one whole
/// message.
#[inline(always)]
fn before(skb: *mut __sk_buff, p: &Packet) -> Option<u32> {
    if p.protocol != TCP {
        return Some(0);
    }
    let length = u16::from_be(packet::load::<u16>(skb, p.payload)?) as u32;
    (length + 2 == p.length).then_some(2)
}

/// Reads header and question into the bench's event; what then identifies it.
#[inline(always)]
fn read_question(
    context: *mut Context,
    p: &Packet,
    cookie: u64,
    response: bool,
) -> Option<Question> {
    let b = bench::of(context);
    if b.length < HEADER + 5 {
        return None;
    }
    let flags = b.word16(2);
    let is_response = flags & RESPONSE != 0;
    if is_response != response || flags & OPCODE != 0 || b.word16(4) != 1 {
        return None;
    }
    if !bench::read_name(context, HEADER, true, false) {
        return None;
    }
    let b = bench::of(context);
    if b.behind + 4 > b.length {
        return None;
    }
    let kind = b.word16(b.behind);
    if b.word16(b.behind + 2) != INTERNET {
        return None;
    }
    b.wanted = kind;
    let q = &mut b.event.query;
    // SAFETY: same size, plain bytes.
    q.resolver = unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(p.peer) };
    q.cookie = cookie;
    q.hash = b.hash;
    q.port = p.port;
    q.qtype = kind as u16;
    q.protocol = p.protocol as u8;
    q.ip = ip_version(p);
    Some(Question {
        cookie,
        name: b.hash,
        resolver: p.peer,
        port: p.port,
        id: b.word16(0) as u16,
        kind: kind as u16,
        protocol: p.protocol as u16,
    })
}

/// 4 or 6.
#[inline(always)]
pub fn ip_version(p: &Packet) -> u8 {
    let mapped = p.peer[0] == 0 && p.peer[1] == 0 && p.peer[2] == 0xffff_u32.to_be();
    if mapped { 4 } else { 6 }
}

/// A member's packet to a name server: remembers the question, and tells it if it is news.
#[inline(always)]
pub fn question(skb: *mut __sk_buff, owner: &Owner, class: ClassId, p: &Packet, cookie: u64) {
    let Some(skip) = before(skb, p) else {
        return;
    };
    let hook = Hook::PacketEgress;
    let read = bench::with(skb, p, skip, |context| {
        let Some(question) = read_question(context, p, cookie, false) else {
            return;
        };
        let b = bench::of(context);
        // SAFETY: a helper without arguments.
        let now: Asked = unsafe { bpf_ktime_get_ns() };
        if QUESTIONS.insert(&question, now, 0).is_err() {
            emit::count_error(hook, line!());
        }
        let control = watch::control(class);
        let verdict = verdict(control);
        let key = seen(
            class,
            Kind::Query,
            verdict,
            hash::chain(b.hash, b.wanted as u64),
        );
        let Some(count) = emit::note(&key, false) else {
            return;
        };
        let length = size_of::<QueryEvent>() as u32;
        let about = (hook, Kind::Query, Family::Name);
        socket::fill(
            &mut b.event.query.header,
            owner,
            class,
            about,
            verdict,
            (count, length),
        );
        if !emit::output(hook, verdict, (&raw const b.event).cast(), length as u64) {
            emit::forget(&key);
        }
    });
    if !read {
        emit::count_error(hook, line!());
    }
}

/// Names are learned and told, not judged: no policy speaks of them yet.
#[inline(always)]
fn verdict(control: Control) -> Verdict {
    if control.mode_bits(Family::Name) == Mode::Learn as u8 {
        Verdict::New
    } else {
        Verdict::Known
    }
}

#[inline(always)]
pub fn seen(class: ClassId, kind: Kind, verdict: Verdict, hash: u64) -> SeenKey {
    SeenKey {
        hash,
        tgid: 0,
        class,
        kind: kind as u8,
        verdict: verdict as u8,
    }
}

/// A name server's packet to a member, before the member can read it: if it answers a question that
/// was asked, tells what the answer is.
#[inline(always)]
pub fn answer(skb: *mut __sk_buff, owner: &Owner, class: ClassId, p: &Packet, cookie: u64) {
    let hook = Hook::PacketIngress;
    let Some(skip) = before(skb, p) else {
        return;
    };
    let mut believed = false;
    let read = bench::with(skb, p, skip, |context| {
        let Some(question) = read_question(context, p, cookie, true) else {
            return;
        };
        let b = bench::of(context);
        let Some(asked) = QUESTIONS.get_ptr(&question) else {
            return;
        };
        // SAFETY: a value of the map; at worst the time of a question that came in its place.
        let asked = unsafe { *asked };
        // One answer per question, also where two arrive at once.
        if QUESTIONS.remove(&question).is_err() {
            return;
        }
        // SAFETY: a helper without arguments.
        if unsafe { bpf_ktime_get_ns() }.wrapping_sub(asked) > ANSWER_NS {
            return;
        }
        b.event.code = (b.word16(2) & 0xf) as u16;
        b.owner = b.hash;
        b.owner_at = HEADER;
        b.next = b.behind + 4;
        let records = b.word16(6);
        if records > MAX_RECORDS {
            return;
        }
        if records != 0 {
            // SAFETY: callback and context outlive the call.
            unsafe { bpf_loop(records, record_callback as *mut c_void, context.cast(), 0) };
        }
        let b = bench::of(context);
        if b.broken != 0 {
            return;
        }
        believed = true;
        admit::answered(context, class, p);
        tell(bench::of(context), owner, class);
    });
    if !read {
        emit::count_error(hook, line!());
    } else if !believed {
        flow::count_disbelieved(class);
    }
}

#[inline(always)]
fn tell(b: &mut Bench, owner: &Owner, class: ClassId) {
    let hook = Hook::PacketIngress;
    let about = hash::chain(b.event.query.hash, b.wanted as u64);
    let key = seen(
        class,
        Kind::Answer,
        Verdict::Known,
        hash::chain(about, b.sum ^ b.event.code as u64),
    );
    // Equal answers within a second are one.
    let Some(count) = emit::note(&key, true) else {
        return;
    };
    let length = size_of::<AnswerEvent>() as u32;
    let about = (hook, Kind::Answer, Family::Name);
    socket::fill(
        &mut b.event.query.header,
        owner,
        class,
        about,
        Verdict::Known,
        (count, length),
    );
    if !emit::output(
        hook,
        Verdict::Known,
        (&raw const b.event).cast(),
        length as u64,
    ) {
        emit::forget(&key);
    }
}

/// One record of an answer. Counts if it belongs to the name that was asked for, or to the one that
/// this is another name of.
unsafe extern "C" fn record_callback(_: u32, context: *mut c_void) -> i64 {
    let context = context as *mut Context;
    let mut b = bench::of(context);
    let at = b.next;
    if at + 2 > b.length {
        b.broken = 1;
        return 1;
    }
    let mut behind = at + 2;
    let pointer = b.word16(at);
    let mut ours = pointer >= 0xc000 && pointer & 0x3fff == b.owner_at;
    if !ours {
        if b.owner == 0 {
            if !bench::read_name(context, b.owner_at, false, true) {
                b.broken = 1;
                return 1;
            }
            b = bench::of(context);
            b.owner = b.hash;
        }
        if !bench::read_name(context, at, false, true) {
            b.broken = 1;
            return 1;
        }
        b = bench::of(context);
        ours = b.hash == b.owner;
        behind = b.behind;
    }
    let data = behind + 10;
    if data > b.length {
        b.broken = 1;
        return 1;
    }
    let (kind, class) = (b.word16(behind), b.word16(behind + 2));
    let ttl = b.word16(behind + 4) << 16 | b.word16(behind + 6);
    let length = b.word16(behind + 8);
    if data + length > b.length {
        b.broken = 1;
        return 1;
    }
    b.next = data + length;
    if class != INTERNET || !ours {
        return 0;
    }
    if kind == CNAME {
        b.owner_at = data;
        b.owner = 0;
        return 0;
    }
    if kind != b.wanted || !(kind == A && length == 4 || kind == AAAA && length == 16) {
        return 0;
    }
    b.event.total += 1;
    let n = b.event.count;
    if n as usize >= EVENT_ADDRESSES {
        return 0;
    }
    const _: () = assert!(EVENT_ADDRESSES == 16);
    let slot = unsafe {
        b.event
            .addresses
            .as_mut_ptr()
            .add(below_16(n as u64) as usize)
    };
    // SAFETY: a slot of the array; the helper checks the packet's range.
    let filled = unsafe {
        (*slot).ttl = ttl;
        let to: *mut u8 = (&raw mut (*slot).address).cast();
        let from = (*context).base as u32 + data;
        if kind == A {
            (&raw mut (*slot).address)
                .write([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
            bpf_skb_load_bytes((*context).skb.cast(), from, to.add(12).cast(), 4)
        } else {
            bpf_skb_load_bytes((*context).skb.cast(), from, to.cast(), 16)
        }
    };
    if filled != 0 {
        b.broken = 1;
        return 1;
    }
    // SAFETY: the address that was just written.
    let words = unsafe {
        (&raw const (*slot).address)
            .cast::<[u64; 2]>()
            .read_unaligned()
    };
    let hashed = hash::endpoint(HASH_KEY.load(), words[0], words[1], 0, 0);
    b.sum = b.sum.wrapping_add(hashed);
    b.event.count = n + 1;
    0
}
