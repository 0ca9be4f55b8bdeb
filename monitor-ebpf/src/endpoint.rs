//! Destinations: what a policy says of an address, port and protocol. Shared by connect and send.

use aya_ebpf::{maps::lpm_trie::Key, programs::SockAddrContext};
use monitor_common::{
    class::{Control, Family},
    endpoint::{DENIED, DestinationKey, INVARIANT_POLICY, KEY_BITS, LISTEN, Scope, V4_PREFIX},
    event::{Kind, Verdict, connect::ConnectEvent, flag},
    hash,
    hook::Hook,
    path::POLICY_DENIES_DESTINATIONS,
};

use crate::{
    admit,
    emit::{self, Subject, Who},
    maps::{DESTINATIONS, POLICIES},
    offsets::HASH_KEY,
    verdict::{Means, judge},
    watch::{self, Member},
};

/// `IPPROTO_TCP`, and MPTCP, which is TCP for every policy.
const TCP: u8 = 6;
const MPTCP: u32 = 262;

/// A destination as the caller gave it.
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// Four words in network byte order.
    pub words: [u32; 4],
    /// Host byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip: u8,
    /// The caller named the unspecified address, which is loopback here.
    pub unspecified: bool,
}

impl Endpoint {
    /// Brings an address into the form that policies use: IPv4 mapped, unspecified is loopback.
    #[inline(always)]
    pub fn new(words: [u32; 4], port: u16, protocol: u32, ip: u8) -> Self {
        let mut unspecified = false;
        const MAPPED: u32 = 0xffff_u32.to_be();
        let mut words = words;
        if words[0] == 0 && words[1] == 0 {
            if words[2] == MAPPED && words[3] == 0 {
                words[3] = 0x7f00_0001_u32.to_be();
                unspecified = true;
            } else if words[2] == 0 && words[3] == 0 {
                words[3] = 1_u32.to_be();
                unspecified = true;
            }
        }
        let protocol = if protocol == MPTCP {
            TCP
        } else {
            protocol as u8
        };
        Self {
            words,
            port,
            protocol,
            ip,
            unspecified,
        }
    }

    /// The same for IPv4.
    #[inline(always)]
    pub fn v4(address: u32, port: u16, protocol: u32) -> Self {
        const _: () = assert!(V4_PREFIX[10] == 0xff && V4_PREFIX[11] == 0xff);
        Self::new([0, 0, 0xffff_u32.to_be(), address], port, protocol, 4)
    }

    /// A local end, where the unspecified address means every address.
    #[inline(always)]
    pub fn local(words: [u32; 4], port: u16, protocol: u32, ip: u8) -> Self {
        let mut e = Self::new(words, port, protocol, ip);
        e.words = words;
        e
    }

    /// The same for IPv4.
    #[inline(always)]
    pub fn local_v4(address: u32, port: u16, protocol: u32) -> Self {
        Self::local([0, 0, 0xffff_u32.to_be(), address], port, protocol, 4)
    }

    /// Whether the address is an IPv4 one, whatever the socket's family.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.words[0] == 0 && self.words[1] == 0 && self.words[2] == 0xffff_u32.to_be()
    }

    /// Whether the address leads to this host and nowhere else.
    #[inline(always)]
    pub fn is_loopback(&self) -> bool {
        let w = self.words;
        if self.is_v4() {
            w[3] & 0xff00_0000_u32.to_be() == 0x7f00_0000_u32.to_be()
        } else {
            w[0] == 0 && w[1] == 0 && w[2] == 0 && w[3] == 1_u32.to_be()
        }
    }

    /// The address in network byte order.
    #[inline(always)]
    pub fn address(&self) -> [u8; 16] {
        // SAFETY: same size, plain bytes.
        unsafe { core::mem::transmute(self.words) }
    }

    #[inline(always)]
    fn found(&self, policy: u32, scope: Scope) -> bool {
        let key = DestinationKey::new(policy, scope, self.protocol, self.port, self.address());
        DESTINATIONS.get(Key::new(KEY_BITS + 128, key)).is_some()
    }

    /// Whether some entry of the policy covers it.
    #[inline(always)]
    pub fn found_in_any_scope(&self, policy: u32) -> bool {
        self.found(policy, Scope::Port)
            || self.found(policy, Scope::Protocol)
            || self.found(policy, Scope::Any)
    }

    /// Whether an invariant or an operator's deny rule names it.
    #[inline(always)]
    fn forbidden(&self, policy: u32) -> bool {
        if self.found(INVARIANT_POLICY, Scope::Any) {
            return true;
        }
        match POLICIES.get(policy) {
            Some(p) if p.flags & POLICY_DENIES_DESTINATIONS != 0 => {
                self.found_in_any_scope(policy | DENIED)
            }
            _ => false,
        }
    }

    /// Hash of the endpoint, as user space counts it.
    #[inline(always)]
    pub fn hash(&self) -> u64 {
        let w = self.words;
        hash::endpoint(
            HASH_KEY.load(),
            (w[0] as u64) << 32 | w[1] as u64,
            (w[2] as u64) << 32 | w[3] as u64,
            self.protocol,
            self.port,
        )
    }
}

/// Destination of a cgroup hook. Const generic, because LLVM would otherwise merge the two loads
/// from the context into one at a computed offset, which the verifier refuses.
#[inline(always)]
pub fn of_context<const V6: bool>(ctx: &SockAddrContext) -> Endpoint {
    let a = ctx.sock_addr;
    // SAFETY: fields of the context, each read in its own width.
    unsafe {
        let port = u16::from_be((&raw const (*a).user_port).read_volatile() as u16);
        let protocol = (&raw const (*a).protocol).read_volatile();
        if V6 {
            let w0 = (&raw const (*a).user_ip6[0]).read_volatile();
            let w1 = (&raw const (*a).user_ip6[1]).read_volatile();
            let w2 = (&raw const (*a).user_ip6[2]).read_volatile();
            let w3 = (&raw const (*a).user_ip6[3]).read_volatile();
            Endpoint::new([w0, w1, w2, w3], port, protocol, 6)
        } else {
            Endpoint::v4((&raw const (*a).user_ip4).read_volatile(), port, protocol)
        }
    }
}

/// Local end of a cgroup hook; const generic for the same reason.
#[inline(always)]
pub fn local_of_context<const V6: bool>(ctx: &SockAddrContext) -> Endpoint {
    let a = ctx.sock_addr;
    let mut e = of_context::<V6>(ctx);
    if e.unspecified {
        // SAFETY: fields of the context, each read in its own width.
        unsafe {
            e.words[3] = if V6 {
                (&raw const (*a).user_ip6[3]).read_volatile()
            } else {
                (&raw const (*a).user_ip4).read_volatile()
            };
        }
    }
    e
}

/// What the policy of a member says about listening there.
#[inline(always)]
pub fn listen_ruling(member: Member, e: &Endpoint, means: Means) -> (Verdict, Control, bool) {
    let control = watch::control(member.class);
    let policy = control.policy();
    let forbidden = match POLICIES.get(policy) {
        Some(p) if p.flags & POLICY_DENIES_DESTINATIONS != 0 => {
            e.found_in_any_scope(policy | DENIED | LISTEN)
        }
        _ => false,
    };
    let allowed = !forbidden && e.found_in_any_scope(policy | LISTEN);
    let verdict = judge(control, Family::Listen, allowed, forbidden, means);
    (verdict, control, forbidden)
}

/// Makes the kernel go where the verdict was made for: a connect to the unspecified address would
/// otherwise follow the socket's own address rather than loopback.
#[inline(always)]
pub fn pin_down<const V6: bool>(ctx: &SockAddrContext, e: &Endpoint) {
    if !e.unspecified {
        return;
    }
    let a = ctx.sock_addr;
    // SAFETY: fields of the context that these hooks may write.
    unsafe {
        if V6 {
            (&raw mut (*a).user_ip6[3]).write_volatile(e.words[3]);
        } else {
            (&raw mut (*a).user_ip4).write_volatile(e.words[3]);
        }
    }
}

/// What the policy of a member says.
#[inline(always)]
pub fn ruling(member: Member, e: &Endpoint) -> (Verdict, Control, bool) {
    let control = watch::control(member.class);
    let policy = control.policy();
    let forbidden = e.forbidden(policy);
    let allowed =
        !forbidden && (e.found_in_any_scope(policy) || admit::admits(member.class, policy, e));
    (
        judge(
            control,
            Family::Destination,
            allowed,
            forbidden,
            Means::Deny,
        ),
        control,
        forbidden,
    )
}

/// Counts it and reports what is news.
#[inline(always)]
pub fn report(
    hook: Hook,
    kind: Kind,
    member: Member,
    e: &Endpoint,
    ruling: (Verdict, Control, bool),
    cookie: u64,
) {
    report_by(hook, kind, member, e, ruling, cookie, None);
}

/// The same where no helper tells who runs.
#[inline(always)]
pub fn report_by(
    hook: Hook,
    kind: Kind,
    member: Member,
    e: &Endpoint,
    (verdict, control, forbidden): (Verdict, Control, bool),
    cookie: u64,
    who: Option<&Who>,
) {
    emit::count_verdict(hook, verdict);
    let flags = if forbidden { flag::INVARIANT } else { 0 };
    let s = Subject {
        hook,
        kind,
        family: if matches!(kind, Kind::Listen) {
            Family::Listen
        } else {
            Family::Destination
        },
        class: member.class,
        control,
        verdict,
        flags,
    };
    let key = emit::seen_key(&s, member.tgid, 0, e.hash());
    let Some(count) = emit::note(&key, verdict.is_adverse()) else {
        return;
    };
    let event = ConnectEvent {
        header: match who {
            Some(who) => emit::header_of(&s, count, size_of::<ConnectEvent>() as u32, who),
            None => emit::header(&s, count, size_of::<ConnectEvent>() as u32),
        },
        address: e.address(),
        cookie,
        port: e.port,
        protocol: e.protocol,
        ip: e.ip,
        zero: 0,
    };
    if !emit::output(
        hook,
        verdict,
        (&raw const event).cast(),
        size_of::<ConnectEvent>() as u64,
    ) {
        emit::forget(&key);
    }
}
