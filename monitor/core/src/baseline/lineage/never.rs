//! What no adaptation may ever learn: whatever an invariant guards, and facilities that are never
//! part of a baseline. Knows subjects as text; what is guarded, [`crate::decide::invariants`] says.

use monitor_common::{
    class::Family,
    facility::{Facility, UNLEARNABLE_FACILITIES},
    path::permission::{CONNECT, EXEC, READ, WRITE},
};

use crate::{
    decide::{
        endpoint_rule::EndpointRule,
        invariants::{guarded_endpoint, guarded_file},
    },
    observation::{Endpoint, FileAccess},
    text,
};

/// What is at a subject, if it can never be learned.
pub fn never(family: Family, subject: &str) -> Option<&'static str> {
    let file = |access| {
        let path = text::unescape(subject);
        let file = FileAccess {
            name: path.clone(),
            path,
            inode: (0, 0),
            access,
            cut: false,
            incomplete: false,
        };
        guarded_file(&file).map(|(_, what)| what)
    };
    match family {
        Family::Destination => {
            let rule = EndpointRule::parse(subject).ok()?;
            let (port, protocol) = rule.service();
            let endpoint = Endpoint {
                address: rule.address(),
                port: port.unwrap_or(80),
                protocol: protocol.unwrap_or(6),
            };
            guarded_endpoint(&endpoint).map(|(_, what)| what)
        }
        Family::Read => file(READ),
        Family::Write => file(WRITE),
        Family::Exec => file(EXEC),
        Family::Unix => file(CONNECT),
        Family::Facility => {
            let facility = Facility::from_name(subject)?;
            let guarded = UNLEARNABLE_FACILITIES & facility.bit() != 0;
            guarded.then_some("a part of the kernel that no baseline may hold")
        }
        Family::Listen | Family::Name => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_invariant_guards_is_never_learned() {
        for (family, subject) in [
            (Family::Destination, "169.254.169.254:80/tcp"),
            (Family::Read, "/home/a/.aws/credentials"),
            (Family::Read, "/proc/*/environ"),
            (Family::Write, "/root/.ssh/authorized_keys"),
            (Family::Unix, "/run/docker.sock"),
        ] {
            assert!(never(family, subject).is_some(), "{subject}");
        }
        for (family, subject) in [
            (Family::Destination, "10.0.0.1:443/tcp"),
            (Family::Read, "/srv/model.gguf"),
            (Family::Name, "api.example.org"),
            (Family::Facility, "nonsense"),
        ] {
            assert_eq!(never(family, subject), None, "{subject}");
        }
        let unlearnable = Facility::ALL
            .iter()
            .filter(|f| UNLEARNABLE_FACILITIES & f.bit() != 0);
        for facility in unlearnable {
            assert!(never(Family::Facility, facility.name()).is_some());
        }
    }
}
