//! Traffic: sums that the kernel keeps over flows, told as events every few seconds, and over
//! classes, as metrics.

use std::{collections::HashMap, time::Instant};

use monitor_common::{
    class::{ClassId, Mode},
    event::{Verdict, flow::direction},
    socket::{FlowKey, FlowSum, Traffic},
};
use slmguard_core::{
    decode::ClassNames,
    observation::{Endpoint, Fact, Flow, Observation, ProcessKey, Scope},
};

use super::{clock, engine::Engine};

/// Flows, bytes sent, bytes received.
type Sums = [u64; 3];

/// What of the sums was told already, by the kernel or from here.
#[derive(Debug, Default)]
pub struct Told(HashMap<FlowKey, Sums>);

impl Told {
    /// What is to be told of a sum now; `None` where nothing has moved, or the kernel tells it.
    fn news(&mut self, key: FlowKey, sum: &FlowSum) -> Option<Sums> {
        if sum.told == 0 {
            return None;
        }
        let now = [sum.flows, sum.sent, sum.received];
        let by_kernel = [sum.told_flows, sum.told_sent, sum.told_received];
        let told = self.0.entry(key).or_insert(by_kernel);
        // Less than before: the entry went and came again.
        if now.iter().zip(&*told).any(|(now, told)| now < told) {
            *told = by_kernel;
        }
        let news = [0, 1, 2].map(|i| now[i].saturating_sub(told[i]));
        *told = now;
        (news != [0; 3]).then_some(news)
    }
}

impl Engine {
    /// Tells what flows have carried since the last time.
    pub fn tell_flows(&self, told: &mut Told) {
        let all = self.guard().flows();
        let living: HashMap<FlowKey, ()> = all.iter().map(|(key, _)| (*key, ())).collect();
        told.0.retain(|key, _| living.contains_key(key));
        let now = self.clock_offset();
        for (key, sum) in &all {
            let Some(news) = told.news(*key, sum) else {
                continue;
            };
            let Some(scope) = self.classes.scope(key.class) else {
                continue;
            };
            let time = clock::now();
            let began = sum.start.saturating_add_signed(now.monotonic_to_wall_ns);
            let duration = time.saturating_sub(began);
            let observation = summary(&scope, (key, sum), news, (time, duration));
            self.ingest(observation, None, Instant::now());
        }
    }

    /// Brings the sums of the classes into metrics.
    pub fn measure_traffic(&self) {
        for workload in &self.config.workloads {
            let classes: Vec<ClassId> = self
                .classes
                .configured()
                .iter()
                .filter(|(_, scope)| scope.workload == workload.name)
                .map(|(id, _)| *id)
                .collect();
            let mut sum = Traffic::default();
            let guard = self.guard();
            for class in classes {
                let one = guard.traffic(class);
                sum.sent += one.sent;
                sum.received += one.received;
                sum.opened += one.opened;
                sum.closed += one.closed;
                sum.disbelieved += one.disbelieved;
            }
            drop(guard);
            self.metrics.set_traffic(&workload.name, &sum);
        }
    }
}

/// Some flows with one peer; what is not a sum is that of the last one.
fn summary(
    scope: &Scope,
    (key, sum): (&FlowKey, &FlowSum),
    [flows, sent, received]: Sums,
    (time, duration): (u64, u64),
) -> Observation {
    let process = ProcessKey {
        pid: sum.tgid,
        start_time: sum.start_time,
    };
    let flow = Flow {
        peer: Endpoint {
            address: std::net::Ipv6Addr::from(key.address).to_canonical(),
            port: sum.port,
            protocol: key.protocol,
        },
        local_port: sum.local_port,
        inbound: key.direction == direction::IN,
        sent,
        received,
        duration,
        cookie: 0,
    };
    told(scope, process, flow, flows.max(1), time)
}

/// The observation of a sum.
pub(super) fn told(
    scope: &Scope,
    process: ProcessKey,
    flow: Flow,
    count: u64,
    time: u64,
) -> Observation {
    let fact = Fact::Flow(flow);
    Observation {
        verdict: Verdict::Known,
        count,
        ..Observation::derived(time, process, scope, Mode::Learn, fact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(flows: u64, sent: u64, told_flows: u64, told_sent: u64) -> FlowSum {
        FlowSum {
            flows,
            sent,
            told_flows,
            told_sent,
            told: 1,
            ..FlowSum::default()
        }
    }

    #[test]
    fn what_the_kernel_told_is_not_told_again_and_the_rest_once() {
        let mut told = Told::default();
        let key = FlowKey::default();
        let first = FlowSum {
            told: 0,
            ..sum(1, 10, 0, 0)
        };
        assert_eq!(told.news(key, &first), None, "the kernel is about to");
        assert_eq!(told.news(key, &sum(1, 10, 1, 10)), None);
        assert_eq!(told.news(key, &sum(4, 25, 1, 10)), Some([3, 15, 0]));
        assert_eq!(told.news(key, &sum(4, 25, 1, 10)), None);
        assert_eq!(
            told.news(key, &sum(2, 7, 1, 5)),
            Some([1, 2, 0]),
            "evicted and come again"
        );
    }

    #[test]
    fn a_sum_that_the_kernel_never_told_is_told_whole() {
        let mut told = Told::default();
        let key = FlowKey::default();
        assert_eq!(told.news(key, &sum(2, 9, 0, 0)), Some([2, 9, 0]));
    }
}
