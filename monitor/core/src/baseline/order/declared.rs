//! Declared: which files an operator calls private or untrusted, and of what class a file is.
//!
//! What is not declared and holds no secret is ordinary: models, programs, libraries, the system's own
//! files, and whatever nobody has said anything about.

use super::chain::Class;
use crate::{
    baseline::paths::guard::is_secret,
    decide::{
        invariants::guarded_file,
        pattern::{PathPattern, PatternError},
    },
    observation::FileAccess,
    text,
};

use monitor_common::path::permission::READ;

/// What an operator declares about the files of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    private: Vec<PathPattern>,
    untrusted: Vec<PathPattern>,
}

impl Declared {
    /// Path patterns as in a configuration.
    pub fn new(private: &[String], untrusted: &[String]) -> Result<Self, PatternError> {
        let parse = |list: &[String]| {
            let patterns = list.iter().map(|text| PathPattern::parse(text, READ));
            patterns.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            private: parse(private)?,
            untrusted: parse(untrusted)?,
        })
    }

    /// Of what class a file is; a secret that strangers can write is of two. Empty for what is
    /// ordinary.
    pub fn classes(&self, file: &FileAccess) -> Vec<Class> {
        let path: Vec<&[u8]> = text::components(&file.path).collect();
        let declared = |list: &[PathPattern]| {
            file.is_whole() && list.iter().any(|pattern| pattern.matches(&path, false))
        };
        let (private, untrusted) = (declared(&self.private), declared(&self.untrusted));
        let mut classes = vec![];
        if is_secret(&path) || guarded_file(file).is_some() {
            classes.push(Class::Secret);
        }
        match (private, untrusted) {
            (true, true) => classes.push(Class::UntrustedPrivate),
            (true, false) => classes.push(Class::Private),
            (false, true) => classes.push(Class::Untrusted),
            (false, false) => {}
        }
        classes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::open;

    fn file(path: &str) -> FileAccess {
        open(path, READ).file().cloned().unwrap()
    }

    #[test]
    fn files_are_of_the_classes_that_an_operator_and_the_guard_give_them() {
        let list = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let declared = Declared::new(
            &list(&["/srv/data/**", "/srv/mail/**"]),
            &list(&["/srv/inbox/**", "/srv/mail/**", "/srv/up/secrets/*"]),
        )
        .unwrap();
        for (path, classes) in [
            ("/srv/data/a.csv", vec![Class::Private]),
            ("/srv/inbox/1/x", vec![Class::Untrusted]),
            ("/srv/mail/1", vec![Class::UntrustedPrivate]),
            ("/srv/data", vec![]),
            ("/home/a/.aws/credentials", vec![Class::Secret]),
            ("/home/a/.ssh/id_ed25519", vec![Class::Secret]),
            ("/srv/app/.env", vec![Class::Secret]),
            ("/srv/tls/server.key", vec![Class::Secret]),
            ("/etc/shadow", vec![Class::Secret]),
            ("/srv/up/secrets/x", vec![Class::Secret, Class::Untrusted]),
            ("/etc/ssl/certs/ca.pem", vec![]),
            ("/opt/v/site-packages/certifi/cacert.pem", vec![]),
            ("/home/a/.bashrc", vec![]),
            ("/srv/models/m.gguf", vec![]),
            ("/srv/models/tokenizer.json", vec![]),
            ("/usr/lib/libc.so.6", vec![]),
        ] {
            assert_eq!(declared.classes(&file(path)), classes, "{path}");
        }
        let mut cut = file("/srv/data/a");
        cut.cut = true;
        assert_eq!(declared.classes(&cut), [], "who knows where it is");
        assert!(Declared::new(&list(&["srv"]), &[]).is_err());
    }

    proptest! {
        #[test]
        fn any_path_has_classes(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            let declared = Declared::new(&["/**".to_owned()], &["/*".to_owned()]).unwrap();
            let file = FileAccess { name: path.clone(), path, inode: (0, 0), access: READ, cut: false, incomplete: false };
            prop_assert!(declared.classes(&file).len() <= 2);
        }
    }
}
