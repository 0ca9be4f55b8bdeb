//! Requests to HTTP proxies: the host in a request for a tunnel (`CONNECT host:port`, RFC 9110) or in
//! one that names its target in full (`GET http://host/`, RFC 9112), where it stands at the beginning
//! of a segment.

use aya_ebpf::bindings::__sk_buff;
use monitor_common::{class::ClassId, event::name::request, proxy::ProxyKey};

use crate::{
    bench::{self, Context},
    maps::PROXIES,
    packet::{self, Packet},
    watch,
};

/// How a request for a tunnel begins. Methods are case-sensitive.
const TUNNEL: u64 = u64::from_ne_bytes(*b"CONNECT ");
/// Letters of the shortest method that is looked for.
const SHORTEST: u32 = 3;
/// Letters of the longest one.
const LONGEST: u32 = 7;

/// Whether a proxy was declared for the workload.
#[inline(always)]
pub fn is_declared(class: ClassId, p: &Packet) -> bool {
    let Some(class) = watch::describe(class) else {
        return false;
    };
    let key = ProxyKey {
        // SAFETY: same size, plain bytes.
        address: unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(p.peer) },
        workload: class.workload,
        port: p.port,
        zero: 0,
    };
    PROXIES.get_ptr(&key).is_some()
}

/// Where the target of a request stands that begins with these eight bytes; 0 where they begin none
/// that names a host. Requests to servers themselves have a path there.
#[inline(always)]
pub fn target(skb: *mut __sk_buff, p: &Packet, start: u64) -> u32 {
    if start == TUNNEL {
        return 8;
    }
    let mut at = SHORTEST;
    while at <= LONGEST {
        if (start >> (at * 8)) as u8 == b' ' {
            return match packet::load::<u8>(skb, p.payload + at + 1) {
                Some(b'h' | b'H') => at + 1,
                _ => 0,
            };
        }
        at += 1;
    }
    0
}

/// Reads host and port of the target into the bench's event: its hash, 0 where there is none, and
/// bits of [`request`].
#[inline(always)]
pub fn read(context: *mut Context, target: u32, start: u64) -> (u64, u8) {
    let tunnel = start == TUNNEL;
    let (at, flags) = if tunnel {
        (target, request::TUNNEL)
    } else {
        let b = bench::of(context);
        if target + 9 > b.length {
            return (0, 0);
        }
        let lower = |at: u32| (b.byte(at) | 0x20) as u8;
        let http = lower(target) == b'h'
            && lower(target + 1) == b't'
            && lower(target + 2) == b't'
            && lower(target + 3) == b'p';
        let secure = lower(target + 4) == b's';
        let colon = target + 4 + secure as u32;
        if !http || b.byte(colon) != b':' as u32 || b.word16(colon + 1) != 0x2f2f {
            return (0, 0);
        }
        (colon + 3, if secure { request::HTTPS } else { 0 })
    };
    if bench::read_authority(context, at, tunnel) {
        (bench::of(context).hash, flags)
    } else {
        (0, 0)
    }
}
