//! Who else lives in the scene: services, an attacker, a cloud's metadata.
//!
//! Every address here exists only inside the scene's namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use crate::dns::{self, Zone};
use crate::http::Response;
use crate::namespace::Namespace;
use crate::victim::Victim;

/// The weather service.
pub const WEATHER: IpAddr = v4(10);
/// The receiver of reports.
pub const METRICS: IpAddr = v4(20);
/// The scene's name server.
pub const RESOLVER: IpAddr = v4(53);
/// The attacker's machine.
pub const ATTACKER: IpAddr = v4(66);
/// Another of the attacker's machines.
pub const MIRROR: IpAddr = v4(67);
/// The attacker's machine by IPv6.
pub const ATTACKER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x66));
/// Where clouds keep the credentials of a machine.
pub const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Where the attacker waits for datagrams.
pub const ATTACKER_UDP_PORT: u16 = 9999;
/// Where reports go.
pub const METRICS_PORT: u16 = 8125;

const fn v4(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, host))
}

/// All addresses of the scene.
pub const ADDRESSES: [IpAddr; 7] = [
    WEATHER, METRICS, RESOLVER, ATTACKER, MIRROR, ATTACKER6, METADATA,
];

/// The victims of a scene.
pub struct World {
    /// `http://weather.demo/`
    pub weather: Victim,
    /// `metrics.demo:8125/udp`
    pub metrics: Victim,
    /// The attacker's web servers, by IPv4 and IPv6.
    pub attacker: Victim,
    /// The attacker's receiver of datagrams, by IPv4 and IPv6.
    pub attacker_udp: Victim,
    /// `http://169.254.169.254/`
    pub metadata: Victim,
    /// The name server.
    pub resolver: Victim,
    poison: Arc<Mutex<Option<String>>>,
}

impl World {
    /// Opens all services. `secret` is what the metadata service gives away.
    pub fn open(namespace: &Arc<Namespace>, secret: &str) -> Result<Self> {
        let poison = Arc::new(Mutex::new(None::<String>));
        let forecast = poison.clone();
        let secret = format!("{{\"AccessKeyId\":\"ASIASCENE\",\"SecretAccessKey\":\"{secret}\"}}");
        let zone = Zone::from([
            ("weather.demo", vec![WEATHER]),
            ("metrics.demo", vec![METRICS]),
            ("attacker.demo", vec![ATTACKER]),
            ("mirror.demo", vec![MIRROR]),
        ]);
        let web = |addresses: &[IpAddr]| -> Vec<SocketAddr> { at(addresses, 80) };
        Ok(Self {
            weather: Victim::web(namespace, &web(&[WEATHER]), move |_| {
                let poison = forecast.lock().unwrap_or_else(PoisonError::into_inner);
                let extra = poison.as_deref().unwrap_or_default();
                Response::ok(format!(
                    "Sunny, 21 degrees, light wind from the west.{extra}"
                ))
            })?,
            metrics: Victim::datagrams(namespace, &at(&[METRICS], METRICS_PORT), |_| None)?,
            attacker: Victim::web(namespace, &web(&[ATTACKER, MIRROR, ATTACKER6]), |_| {
                Response::ok("thank you")
            })?,
            attacker_udp: Victim::datagrams(
                namespace,
                &at(&[ATTACKER, ATTACKER6], ATTACKER_UDP_PORT),
                |_| None,
            )?,
            metadata: Victim::web(namespace, &web(&[METADATA]), move |_| {
                Response::ok(secret.as_str())
            })?,
            // 127.0.0.1 is where programs ask when there is no resolv.conf.
            resolver: Victim::datagrams(
                namespace,
                &at(&[RESOLVER, IpAddr::V4(Ipv4Addr::LOCALHOST)], 53),
                move |query| dns::answer(query, &zone),
            )?,
            poison,
        })
    }

    /// Adds `text` to every weather report from now on, or none.
    pub fn poison_weather(&self, text: Option<&str>) {
        let text = text.map(|text| format!("\n{text}"));
        *self.poison.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

fn at(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    addresses
        .iter()
        .map(|&address| SocketAddr::new(address, port))
        .collect()
}
