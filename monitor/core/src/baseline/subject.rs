//! Subjects: under which text something is known, and under which it is learned.
//!
//! Files that are read or written are learned by form ([`super::paths`]): `/tmp/req-{uuid}.json`, names
//! that are looked up too ([`super::destinations::suffix`]): `cdn-{n}.example.com`. Everything else, programs and sockets too, and all of `/proc`, is learned as it is. What is known
//! exactly stays so: a list that a person wrote holds for the names that are in it.

use monitor_common::class::Family;

use super::{
    Baseline,
    destinations::suffix,
    paths::{self, Access, Forms, path_of},
};
use crate::{
    decide::pattern::PathPattern,
    observation::{Fact, FileAccess, Scope},
    text,
};

/// The access and the forms of a file that is read or written; `None` for everything else.
pub fn file_forms(family: Family, fact: &Fact) -> Option<(Access, Forms)> {
    if !matches!(family, Family::Read | Family::Write) {
        return None;
    }
    let file = fact.file().filter(|file| general(file))?;
    let access = Access::of(fact)
        .into_iter()
        .find(|access| (*access == Access::Read) == (family == Family::Read))?;
    Some((access, paths::forms(access, &path_of(file))?))
}

fn general(file: &FileAccess) -> bool {
    let single = !file.path.windows(2).any(|pair| pair == b"//") && file.path.last() != Some(&b'/');
    file.is_whole() && single && text::components(&file.path).next() != Some(b"proc")
}

/// The subject under which something is learned in a family.
pub fn learned_as(family: Family, fact: &Fact) -> String {
    if let Some(name) = looked_up(family, fact) {
        return suffix::form(name).0;
    }
    match file_forms(family, fact) {
        Some((_, forms)) => forms.form,
        None => fact.subject(),
    }
}

fn looked_up(family: Family, fact: &Fact) -> Option<&[u8]> {
    match fact {
        Fact::Query(lookup) if family == Family::Name => Some(&lookup.name),
        _ => None,
    }
}

/// Whether a subject of a file family stands for a class of names.
pub fn is_class(subject: &str) -> bool {
    subject.contains('{') && PathPattern::parse(subject, 0).is_ok_and(|p| p.widened().is_some())
}

impl Baseline {
    /// The subject under which something is known in a family: itself, its form, or a set that it
    /// belongs to.
    pub fn known_as(&self, scope: &Scope, family: Family, fact: &Fact) -> Option<String> {
        let known = |subject: &String| self.get(scope, family, subject).is_some();
        let subject = fact.subject();
        if known(&subject) {
            return Some(subject);
        }
        if let Some(name) = looked_up(family, fact) {
            let forms = std::iter::once(suffix::form(name).0).chain(suffix::open(name));
            return forms.into_iter().find(known);
        }
        let (_, forms) = file_forms(family, fact)?;
        std::iter::once(forms.form).chain(forms.sets).find(known)
    }

    /// Whether the kernel lets something through only because it knows no classes: a pattern of this
    /// baseline is about the same folder, and none is about the name.
    pub fn widens_to(&self, scope: &Scope, family: Family, fact: &Fact) -> bool {
        let (Family::Read | Family::Write, Some(file)) = (family, fact.file()) else {
            return false;
        };
        if !general(file) || self.known_as(scope, family, fact).is_some() {
            return false;
        }
        let path: Vec<&[u8]> = text::components(&file.path).collect();
        let mut of_family = self.entries(scope).filter(|(of, ..)| *of == family);
        of_family.any(|(_, subject, _)| {
            // The cheap question first.
            subject.contains('{')
                && PathPattern::parse(subject, 0)
                    .ok()
                    .and_then(|pattern| pattern.widened())
                    .is_some_and(|wider| wider.matches(&path, false))
        })
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::{
        event::Verdict,
        path::permission::{READ, WRITE},
    };

    use super::*;
    use crate::{
        baseline::Entry,
        observation::Lookup,
        testing::{connect, endpoint, exec, open, scope, seen},
    };

    const UUID: [&str; 2] = [
        "/srv/q/req-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0.json",
        "/srv/q/req-11111111-2222-3333-4444-555555555555.json",
    ];

    fn learned(facts: &[Fact]) -> Baseline {
        let mut baseline = Baseline::default();
        for fact in facts {
            baseline.absorb(&seen(fact.clone(), Verdict::New));
        }
        baseline
    }

    #[test]
    fn a_file_of_a_kind_is_known_by_its_form() {
        let baseline = learned(&[open(UUID[0], READ)]);
        let form = "/srv/q/req-{uuid}.json";
        assert!(baseline.get(&scope(), Family::Read, form).is_some());
        let known = |path, access, family| {
            let fact = open(path, access);
            (
                baseline.known_as(&scope(), family, &fact),
                baseline.widens_to(&scope(), family, &fact),
            )
        };
        assert_eq!(
            known(UUID[1], READ, Family::Read),
            (Some(form.into()), false)
        );
        assert_eq!(known("/srv/q/req-x.json", READ, Family::Read), (None, true));
        assert_eq!(known("/srv/q/.env", READ, Family::Read), (None, true));
        assert_eq!(known(UUID[1], WRITE, Family::Write), (None, false));
        assert_eq!(known("/srv/p/x.json", READ, Family::Read), (None, false));
    }

    #[test]
    fn programs_guarded_files_and_destinations_are_known_one_by_one() {
        for (family, fact) in [
            (Family::Exec, exec("/srv/q/tool-12345")),
            (Family::Read, open("/etc/app-12345.conf", READ)),
            (Family::Read, open("/proc/77/stat", READ)),
            (Family::Destination, connect("10.0.0.1:443/tcp")),
        ] {
            assert_eq!(learned_as(family, &fact), fact.subject());
        }
    }

    fn query(name: &str) -> Fact {
        Fact::Query(Lookup {
            name: name.into(),
            qtype: 1,
            resolver: endpoint("10.0.0.53:53/udp"),
            cookie: 1,
        })
    }

    #[test]
    fn a_name_is_known_by_its_form_where_its_owner_is() {
        let mut baseline = learned(&[query("cdn-17.example.com"), query("a.github.io")]);
        let known = |baseline: &Baseline, name: &str| {
            baseline.known_as(&scope(), Family::Name, &query(name))
        };
        let form = Some("cdn-{n}.example.com".to_owned());
        assert_eq!(known(&baseline, "cdn-18.example.com"), form);
        assert_eq!(known(&baseline, "api.example.com"), None);
        assert_eq!(
            known(&baseline, "a.github.io").as_deref(),
            Some("a.github.io")
        );
        assert_eq!(known(&baseline, "b.github.io"), None);
        let set = "{any}.example.com";
        baseline.insert(&scope(), Family::Name, set, Entry::default());
        assert_eq!(known(&baseline, "api.example.com").as_deref(), Some(set));
        assert_eq!(known(&baseline, "x.y.example.com"), None);
    }

    #[test]
    fn what_a_person_wrote_holds_exactly() {
        let mut baseline = Baseline::default();
        baseline.insert(&scope(), Family::Read, UUID[0], Entry::default());
        let known = |path| baseline.known_as(&scope(), Family::Read, &open(path, READ));
        assert_eq!(known(UUID[0]).as_deref(), Some(UUID[0]));
        assert_eq!(known(UUID[1]), None);
    }

    #[test]
    fn an_open_set_in_the_baseline_knows_its_members() {
        let mut baseline = Baseline::default();
        baseline.insert(&scope(), Family::Read, "/srv/in/{any}.md", Entry::default());
        let known = |path| baseline.known_as(&scope(), Family::Read, &open(path, READ));
        assert_eq!(known("/srv/in/new.md").as_deref(), Some("/srv/in/{any}.md"));
        assert_eq!(known("/srv/in/.new.md"), None);
        assert_eq!(known("/srv/in/id_rsa"), None);
    }
}
