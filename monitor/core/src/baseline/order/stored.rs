//! Stored: what is kept of the order of connectors, for the store and for recordings.

use serde::{Deserialize, Serialize};

use super::{
    bigram::Bigrams,
    follow::Chains,
    followed::{MAX_CONNECTORS, OfWorkload},
    whole::Whole,
};
use crate::{
    baseline::evidence::episode::Kind,
    observation::Endpoint,
    workload::{role_from, role_name},
};

/// The pairs of one workload, for the store and for recordings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub workload: String,
    connectors: Vec<Endpoint>,
    roles: Vec<(String, Bigrams)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    wholes: Vec<(String, Kind, Whole)>,
}

impl Chains {
    /// What was learned, for the store, a row per workload.
    pub fn rows(&self) -> Vec<Row> {
        let learned = self.workloads.iter().filter(|(_, of)| of.learned());
        let row = |(workload, of): (&String, &OfWorkload)| Row {
            workload: workload.clone(),
            connectors: of.connectors.clone(),
            roles: of
                .pairs
                .iter()
                .map(|(role, pairs)| (role_name(*role).to_owned(), pairs.clone()))
                .collect(),
            wholes: of
                .wholes
                .iter()
                .map(|((role, kind), whole)| (role_name(*role).to_owned(), *kind, whole.clone()))
                .collect(),
        };
        learned.map(row).collect()
    }

    /// Takes back in what [`Self::rows`] gave. Returns workloads of whose rows a part is of no use.
    pub fn restore(&mut self, rows: Vec<Row>) -> Vec<String> {
        let mut useless = vec![];
        for row in rows {
            let of = self.workload(&row.workload);
            of.connectors = row.connectors;
            of.connectors.truncate(MAX_CONNECTORS);
            of.pairs.clear();
            for (word, pairs) in row.roles {
                match role_from(&word) {
                    Some(role) => {
                        of.pairs.insert(role, pairs);
                    }
                    None => useless.push(row.workload.clone()),
                }
            }
            of.wholes.clear();
            for (word, kind, whole) in row.wholes {
                match role_from(&word) {
                    Some(role) => {
                        of.wholes.insert((role, kind), whole);
                    }
                    None => useless.push(row.workload.clone()),
                }
            }
        }
        useless
    }
}
