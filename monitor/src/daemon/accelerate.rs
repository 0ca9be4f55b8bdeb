//! What was learned in a recording, lived through again and again: shows when evidence would promote
//! which family, without waiting for it.
//!
//! Only what happened while the workload learned is repeated, each time as much later as the operator
//! says, by processes of its own that stop in good order at the end. Nothing new happens in a repetition, so the answer is an optimistic one: how long it takes at
//! least, and what is missing even then.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use monitor_common::{
    class::{Family, Mode},
    event::Verdict,
};
use slmguard_core::{
    baseline::evidence::{
        lifecycle::Step,
        promotion::{Standing, Tier},
    },
    decode::{ClockOffset, decode},
    observation::{Fact, Observation, ProcessKey, Scope},
};

use super::replay::Replay;

/// Nanoseconds of a day.
const DAY: f64 = 86_400e9;
/// Days of would-be denials in a forecast.
const DAYS: u64 = 7;

/// How to repeat.
#[derive(Clone, Debug)]
pub struct Pace {
    /// For so long.
    pub total: Duration,
    /// Once in that time.
    pub every: Duration,
    /// Steps of the life cycle that do not apply.
    pub without: Vec<Step>,
}

/// What happened on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// Days since the beginning.
    pub day: f64,
    /// Of which scope.
    pub scope: Scope,
    /// Of which family.
    pub family: Family,
    /// The tier that it had.
    pub before: Tier,
    /// Where it stands now, and why.
    pub standing: Standing,
}

/// Where a family stands at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Of which scope.
    pub scope: Scope,
    /// Of which family.
    pub family: Family,
    /// Where it stands.
    pub standing: Standing,
    /// What a person is told about it.
    pub lines: Vec<String>,
}

/// What an acceleration needs of a recording.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Events of workloads that learned when they happened: time, the clock by which they are
    /// decoded, and their bytes.
    pub(super) learned: Vec<(u64, ClockOffset, Vec<u8>)>,
    pub(super) living: Living,
}

/// Processes that have not ended, with the last that was seen of each.
#[derive(Debug, Default)]
pub(super) struct Living(BTreeMap<ProcessKey, Observation>);

impl Living {
    /// Takes an observation in.
    pub(super) fn note(&mut self, seen: &Observation) {
        match seen.fact {
            Fact::Exit { .. } => self.0.remove(&seen.process),
            _ => self.0.insert(seen.process, seen.clone()),
        };
    }
}

impl Replay {
    /// Repeats what was learned, after everything was taken by one that is [`Self::keeping`].
    /// Promotions are told as they come.
    pub fn accelerate(
        &mut self,
        pace: &Pace,
        mut tell: impl FnMut(Promotion) -> Result<()>,
    ) -> Result<Vec<Outcome>> {
        let Kept { learned, living } = self.kept.take().unwrap_or_default();
        let times = || learned.iter().map(|(time, ..)| *time);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            bail!("nothing was learned in this recording: there is nothing to repeat");
        };
        let every = u64::try_from(pace.every.as_nanos()).unwrap_or(u64::MAX);
        let took = last - first;
        if every <= took {
            bail!(
                "what was learned took {:.1} s: it cannot be repeated every {:.1} s",
                took as f64 / 1e9,
                every as f64 / 1e9
            );
        }
        self.learn_again();
        self.end(living);
        for workload in self.state.workloads.keys() {
            if let Some(lifecycle) = self.state.evidence.lifecycle_mut(workload) {
                for step in &pace.without {
                    lifecycle
                        .declare(*step, "replay", last)
                        .map_err(anyhow::Error::msg)?;
                }
            }
        }
        let rounds = u64::try_from(pace.total.as_nanos()).unwrap_or(u64::MAX) / every;
        for round in 1..=rounds {
            let later = round.saturating_mul(every);
            self.live_again(&learned, later);
            let now = last.saturating_add(later);
            self.state.evidence.advance(now);
            for (scope, family, before, standing) in self.state.evidence.promote() {
                tell(Promotion {
                    day: (now - first) as f64 / DAY,
                    scope,
                    family,
                    before,
                    standing,
                })?;
            }
        }
        Ok(self.outcomes(last.saturating_add(rounds.saturating_mul(every))))
    }

    /// One more life, that much later.
    fn live_again(&mut self, learned: &[(u64, ClockOffset, Vec<u8>)], later: u64) {
        let mut living = Living::default();
        for (_, clock, bytes) in learned {
            let clock = ClockOffset {
                monotonic_to_wall_ns: clock.monotonic_to_wall_ns.saturating_add_unsigned(later),
            };
            let Ok(mut observation) = decode(bytes, &self.names, clock) else {
                continue;
            };
            // Another process each time, as after a restart.
            let again = |process: &mut ProcessKey| {
                process.start_time = process.start_time.saturating_add(later);
            };
            again(&mut observation.process);
            if let Fact::Fork { child } = &mut observation.fact {
                again(child);
            }
            living.note(&observation);
            self.state.observe(observation);
        }
        self.end(living);
    }

    /// Everybody stops in good order.
    fn end(&mut self, living: Living) {
        for mut last in living.0.into_values() {
            last.fact = Fact::Exit { status: 0 };
            (last.verdict, last.count) = (Verdict::Known, 1);
            self.state.observe(last);
        }
    }

    /// What is missing in the life of each workload, a sentence per step.
    pub fn lifecycles(&self) -> Vec<(String, Vec<String>)> {
        let lines = |workload: &String| {
            let lifecycle = self.state.evidence.lifecycle(workload)?;
            Some((workload.clone(), lifecycle.lines()))
        };
        self.state.workloads.keys().filter_map(lines).collect()
    }

    fn learn_again(&mut self) {
        let names: Vec<String> = self.state.workloads.keys().cloned().collect();
        for name in names {
            if let Some(standing) = self.state.workloads.get_mut(&name) {
                standing.state.mode = Mode::Learn;
            }
        }
    }

    fn outcomes(&self, now: u64) -> Vec<Outcome> {
        let evidence = &self.state.evidence;
        let mut all = vec![];
        for scope in evidence.scopes() {
            for family in Family::ALL {
                let known = evidence.incidence(&scope, family);
                if known.is_none_or(|incidence| incidence.subjects().next().is_none()) {
                    continue;
                }
                all.push(Outcome {
                    standing: evidence.standing(&scope, family),
                    lines: evidence.forecast(&scope, family, DAYS, now).lines,
                    scope: scope.clone(),
                    family,
                });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmguard_core::recording::Reader;

    const HOUR: u64 = 3_600;
    const RECORDING: &str = include_str!("../../../tests/recordings/native.recording");

    fn taken() -> Replay {
        let (mut reader, mut replay) = (Reader::default(), Replay::keeping());
        for line in RECORDING.split_inclusive('\n') {
            if let Some(record) = reader.line(line.as_bytes()).unwrap() {
                replay.take(record).unwrap();
            }
        }
        replay
    }

    /// Everything that an operator may say.
    fn without() -> Vec<Step> {
        let all = Step::ALL.into_iter();
        all.filter(|step| step.may_not_apply()).collect()
    }

    fn after(days: u64, every: u64, without: Vec<Step>) -> (Vec<Promotion>, Vec<Outcome>) {
        let pace = Pace {
            total: Duration::from_secs(days * 24 * HOUR),
            every: Duration::from_secs(every),
            without,
        };
        let mut told = vec![];
        let outcomes = taken().accelerate(&pace, |promotion| {
            told.push(promotion);
            Ok(())
        });
        (told, outcomes.unwrap())
    }

    fn tier(outcomes: &[Outcome], family: Family) -> Tier {
        use monitor_common::class::{Phase, Role};
        let of = |o: &&Outcome| {
            (o.scope.role, o.scope.phase) == (Role::Agent, Phase::Serve) && o.family == family
        };
        outcomes.iter().find(of).unwrap().standing.tier
    }

    #[test]
    fn enough_lives_without_news_promote_a_family_to_blocking_and_say_why() {
        let (told, outcomes) = after(35, HOUR / 2, without());
        assert_eq!(tier(&outcomes, Family::Destination), Tier::Block);
        let mut path: Vec<_> = told
            .iter()
            .filter(|p| p.family == Family::Destination && p.scope == outcomes[4].scope)
            .collect();
        path.sort_by(|a, b| a.day.total_cmp(&b.day));
        assert!(
            path.windows(2)
                .all(|two| two[0].standing.tier == two[1].before)
        );
        // No unknown one in T episodes bounds news at 3/T per episode: 0.1 a day takes 30 days.
        let blocking = told
            .iter()
            .find(|p| p.standing.tier == Tier::Block)
            .unwrap();
        assert!((29.0..32.0).contains(&blocking.day), "{blocking:?}");
        assert!(
            blocking.standing.why[0].contains("per day (95 %)"),
            "{blocking:?}"
        );
    }

    #[test]
    fn time_alone_promotes_nothing() {
        let (_, outcomes) = after(35, 24 * HOUR, without());
        assert_eq!(
            tier(&outcomes, Family::Destination),
            Tier::Learn,
            "35 lives"
        );
        let (told, outcomes) = after(35, HOUR / 2, vec![]);
        assert_eq!(
            tier(&outcomes, Family::Destination),
            Tier::Alert,
            "steps are missing"
        );
        assert!(
            told.iter().all(|p| p.standing.tier <= Tier::Alert),
            "{told:?}"
        );
        let line = outcomes[0].lines.join("\n");
        assert!(line.contains("log rotation"), "{line}");
    }

    #[test]
    fn what_cannot_be_repeated_is_said() {
        let pace = Pace {
            total: Duration::from_secs(HOUR),
            every: Duration::from_millis(1),
            without: vec![],
        };
        let tell = |_| Ok(());
        let error = taken().accelerate(&pace, tell).unwrap_err().to_string();
        assert!(error.contains("cannot be repeated every 0.0 s"), "{error}");
        let error = Replay::default().accelerate(&pace, tell).unwrap_err();
        assert!(error.to_string().contains("nothing was learned"), "{error}");
    }
}
