//! Those who are attacked, or made accomplices, and what reached them.
//!
//! A victim counts connections and bytes and keeps what it got: proof that
//! does not come from the guard. Victims live on threads of the scene's
//! namespace and handle one peer after the other, so that [`Victim::evidence`]
//! can make sure that everything sent before has been counted.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::http::{self, Request, Response};
use crate::namespace::Namespace;

/// A message to the victim itself: "count everything before this".
const BARRIER: &[u8] = b"scene-barrier\n";
/// The same, and stop.
const END: &[u8] = b"scene-end\n";
/// How long a victim may take to get through what was sent before.
const SETTLE: Duration = Duration::from_secs(10);

/// What reached a victim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Accepted connections, or datagrams.
    pub connections: u64,
    /// Bytes received.
    pub bytes: u64,
    /// What was received, one entry per connection or datagram.
    #[serde(skip)]
    pub payloads: Vec<String>,
}

impl Evidence {
    /// Whether `text` was among what was received.
    pub fn contains(&self, text: &str) -> bool {
        self.payloads.iter().any(|payload| payload.contains(text))
    }

    /// What came after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            bytes: self.bytes - earlier.bytes,
            payloads: self.payloads[earlier.payloads.len()..].to_vec(),
        }
    }

    fn add(&mut self, payload: &[u8]) {
        self.connections += 1;
        self.bytes += payload.len() as u64;
        self.payloads
            .push(String::from_utf8_lossy(payload).into_owned());
    }
}

#[derive(Default)]
struct Ledger {
    counted: Mutex<(Evidence, BTreeMap<SocketAddr, u64>)>,
    barrier: Condvar,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, (Evidence, BTreeMap<SocketAddr, u64>)> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn barrier_passed(&self, by: SocketAddr) {
        *self.lock().1.entry(by).or_default() += 1;
        self.barrier.notify_all();
    }
}

/// The protocol on which a victim waits.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wire {
    Tcp,
    Udp,
}

/// One victim.
pub struct Victim {
    namespace: Arc<Namespace>,
    ledger: Arc<Ledger>,
    wire: Wire,
    addresses: Vec<SocketAddr>,
}

impl Victim {
    /// A web server on all of `addresses`, answering with `reply`.
    pub fn web(
        namespace: &Arc<Namespace>,
        addresses: &[SocketAddr],
        reply: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Result<Self> {
        let ledger = Arc::new(Ledger::default());
        let reply = Arc::new(reply);
        for &address in addresses {
            let (ledger, reply) = (ledger.clone(), reply.clone());
            namespace
                .run(move || -> Result<()> {
                    let listener = TcpListener::bind(address)
                        .with_context(|| format!("listen on {address}/tcp"))?;
                    thread::Builder::new()
                        .spawn(move || serve_web(&listener, address, &ledger, &*reply))?;
                    Ok(())
                })?
                .context("start a web server of the scene")?;
        }
        Ok(Self {
            namespace: namespace.clone(),
            ledger,
            wire: Wire::Tcp,
            addresses: addresses.to_vec(),
        })
    }

    /// A receiver of datagrams on all of `addresses`. What `reply` returns
    /// goes back to the sender.
    pub fn datagrams(
        namespace: &Arc<Namespace>,
        addresses: &[SocketAddr],
        reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let ledger = Arc::new(Ledger::default());
        let reply = Arc::new(reply);
        for &address in addresses {
            let (ledger, reply) = (ledger.clone(), reply.clone());
            namespace
                .run(move || -> Result<()> {
                    let socket = UdpSocket::bind(address)
                        .with_context(|| format!("receive on {address}/udp"))?;
                    thread::Builder::new()
                        .spawn(move || serve_datagrams(&socket, address, &ledger, &*reply))?;
                    Ok(())
                })?
                .context("start a receiver of the scene")?;
        }
        Ok(Self {
            namespace: namespace.clone(),
            ledger,
            wire: Wire::Udp,
            addresses: addresses.to_vec(),
        })
    }

    /// Everything that has reached this victim by now.
    pub fn evidence(&self) -> Result<Evidence> {
        for &address in &self.addresses {
            let before = self.ledger.lock().1.get(&address).copied().unwrap_or(0);
            self.knock(address, BARRIER)?;
            let (state, timeout) = self
                .ledger
                .barrier
                .wait_timeout_while(self.ledger.lock(), SETTLE, |(_, passed)| {
                    passed.get(&address).copied().unwrap_or(0) <= before
                })
                .unwrap_or_else(PoisonError::into_inner);
            drop(state);
            if timeout.timed_out() {
                bail!(
                    "the victim at {address} did not answer for its evidence within {} s",
                    SETTLE.as_secs()
                );
            }
        }
        Ok(self.ledger.lock().0.clone())
    }

    fn knock(&self, address: SocketAddr, message: &'static [u8]) -> Result<()> {
        let wire = self.wire;
        self.namespace
            .run(move || -> Result<()> {
                match wire {
                    Wire::Tcp => TcpStream::connect(address)?.write_all(message)?,
                    Wire::Udp => {
                        let any = if address.is_ipv4() {
                            "0.0.0.0:0"
                        } else {
                            "[::]:0"
                        };
                        UdpSocket::bind(any)?.send_to(message, address)?;
                    }
                }
                Ok(())
            })?
            .with_context(|| format!("reach the victim at {address}"))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        for &address in &self.addresses {
            // If it is gone already, that is what was wanted.
            let _ = self.knock(address, END);
        }
    }
}

fn serve_web(
    listener: &TcpListener,
    address: SocketAddr,
    ledger: &Ledger,
    reply: &dyn Fn(&Request) -> Response,
) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        // Without the bound a peer that says nothing would stop the scene.
        if http::bound(&stream).is_err() {
            continue;
        }
        let bytes = http::read_message(&mut stream);
        match bytes.as_slice() {
            BARRIER => ledger.barrier_passed(address),
            END => return,
            bytes => {
                ledger.lock().0.add(bytes);
                if let Some(request) = http::parse_request(bytes) {
                    // A peer that hangs up before the answer is its own problem.
                    let _ = http::respond(&mut stream, &reply(&request));
                }
            }
        }
    }
}

fn serve_datagrams(
    socket: &UdpSocket,
    address: SocketAddr,
    ledger: &Ledger,
    reply: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let mut buffer = [0; 2048];
    while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
        match &buffer[..length] {
            BARRIER => ledger.barrier_passed(address),
            END => return,
            bytes => {
                ledger.lock().0.add(bytes);
                if let Some(answer) = reply(bytes) {
                    // As with every resolver: the client asks again.
                    let _ = socket.send_to(&answer, sender);
                }
            }
        }
    }
}
