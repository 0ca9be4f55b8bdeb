//! TCP as the protocol sees it: one program for what begins to listen and for what connects,
//! because the kernel calls each program here at every step of every connection.

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_current_task,
        generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    },
    macros::sock_ops,
    programs::SockOpsContext,
};
use monitor_common::{hook::Hook, listener::ListenerKey};

use super::{accept, listen};
use crate::{endpoint::Endpoint, offsets::on};

/// `IPPROTO_TCP`
pub const TCP: u8 = 6;
const AF_INET: u32 = 2;

/// `BPF_SOCK_OPS_TCP_CONNECT_CB`: about to send the first packet; in the context of the caller.
const CONNECT: u32 = 3;
/// `BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`: a connection has come in; in nobody's context.
const PASSIVE: u32 = 5;
/// `BPF_SOCK_OPS_TCP_LISTEN_CB`: in the context of who listens.
const LISTEN: u32 = 11;

/// Sees: every TCP socket (MPTCP's as well) that begins to listen, connects, or has been
/// called.
/// Why here: both tiers have it, io_uring comes through it, addresses and ports are chosen, and it
/// runs in the context of the process, at the end of listen and in the middle of connect.
/// Misses: other protocols; see each part.
/// Prototype: `sock_ops(struct bpf_sock_ops *)`; 1, without a reply, changes nothing.
/// On error: see each part.
/// Cost: about 50 ns at each of the seven steps of a TCP connection of every process; one look-up
/// more at its beginning.
#[sock_ops]
pub fn tcp(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        LISTEN if on(Hook::TcpListen) => listen::began(&Steps::of(&ctx)),
        CONNECT if on(Hook::TcpCaller) => accept::called(&Steps::of(&ctx)),
        PASSIVE if on(Hook::TcpAccept) => accept::accepted(&Steps::of(&ctx)),
        _ => {}
    }
    1
}

/// What the context says, and whose doing it is.
pub struct Steps {
    /// The current task.
    pub task: u64,
    /// Cookie of the socket.
    pub cookie: u64,
    /// Cookie of its network namespace.
    pub netns: u64,
    /// This end; `unspecified` where it is every address.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
}

impl Steps {
    #[inline(always)]
    fn of(ctx: &SockOpsContext) -> Self {
        let o = ctx.ops;
        // SAFETY: fields of the context, each read in its own width, all of them always: a choice
        // between two would become an access at a computed offset, which the verifier refuses. The
        // helpers take the program's own context.
        unsafe {
            macro_rules! field {
                ($($f:tt)+) => { (&raw const (*o).$($f)+).read_volatile() };
            }
            macro_rules! six {
                ($f:ident) => {
                    [field!($f[0]), field!($f[1]), field!($f[2]), field!($f[3])]
                };
            }
            let family = field!(family);
            let (local4, remote4) = (field!(local_ip4), field!(remote_ip4));
            let (local6, remote6) = (six!(local_ip6), six!(remote_ip6));
            let local_port = field!(local_port) as u16;
            let remote_port = u32::from_be(field!(remote_port)) as u16;
            let (local, remote) = if family == AF_INET {
                (
                    Endpoint::local_v4(local4, local_port, TCP as u32),
                    Endpoint::v4(remote4, remote_port, TCP as u32),
                )
            } else {
                (
                    Endpoint::local(local6, local_port, TCP as u32, 6),
                    Endpoint::new(remote6, remote_port, TCP as u32, 6),
                )
            };
            Self {
                task: bpf_get_current_task(),
                cookie: bpf_get_socket_cookie(ctx.as_ptr()),
                netns: bpf_get_netns_cookie(ctx.as_ptr()),
                local,
                remote,
            }
        }
    }
}

/// Key of a TCP port.
#[inline(always)]
pub fn key(netns: u64, port: u16) -> ListenerKey {
    ListenerKey {
        netns,
        port,
        protocol: TCP,
        zero: [0; 5],
    }
}
