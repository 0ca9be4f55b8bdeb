//! Subjects in the arguments of a call: mail addresses, hosts, account numbers, plain words.
//!
//! Text in, words out. Models write the same destination in many ways (a list in one string, with
//! or without `https://`, `7.0` for 7, inside markup): this brings them to one form. Arguments may
//! be cut; what touches the cut is left out, because half an address is a wrong address.

/// How a subject can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// Words: a name that only the connector's own directory can resolve.
    Words,
    /// One word with a digit in it: an account, a file, an id.
    Number,
    /// A host.
    Host,
    /// A mail address.
    Mail,
}

/// A subject in its one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// Lower case.
    pub text: String,
    /// How it can be reached.
    pub shape: Shape,
    /// It is the whole argument, and not a part of it.
    pub whole: bool,
}

/// Mail providers that serve everybody: who shares one of these shares nothing else.
const PUBLIC_MAIL: [&str; 16] = [
    "aol.com",
    "fastmail.com",
    "gmail.com",
    "gmx.com",
    "gmx.de",
    "hotmail.com",
    "icloud.com",
    "live.com",
    "mail.com",
    "msn.com",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "yahoo.com",
    "yandex.com",
    "zoho.com",
];
/// Ends of host names that are taken for one without `https://` or `www.` before them. File names
/// end in other ways.
const ENDS: [&str; 12] = [
    "ai", "app", "biz", "co", "com", "dev", "info", "io", "me", "net", "org", "xyz",
];

/// Who an argument that names destinations names. `cut`: text is missing at the end.
pub fn destinations(text: &str, cut: bool) -> Vec<Subject> {
    let text = text.trim().to_lowercase();
    let mut found = mails(&text, cut);
    if !found.is_empty() || text.is_empty() {
        return found;
    }
    if let Some(host) = host(&text) {
        let whole = host == text;
        return vec![subject(host, Shape::Host, whole)];
    }
    let plain = match text.strip_suffix(".0") {
        Some(number) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => number,
        _ => &text,
    };
    let one_word = !plain.contains(char::is_whitespace);
    let shape = if one_word && plain.bytes().any(|b| b.is_ascii_digit()) {
        Shape::Number
    } else {
        Shape::Words
    };
    found.push(subject(plain.to_owned(), shape, plain == text));
    found
}

/// The hosts that a text mentions: what a reader is asked to click on.
pub fn links(text: &str, cut: bool) -> Vec<Subject> {
    let text = text.to_lowercase();
    let end = text.len();
    let mut found: Vec<Subject> = vec![];
    for word in text.split(|c: char| c.is_whitespace() || "\"'<>()[]{},;|`*".contains(c)) {
        let at_the_end = word.as_ptr() as usize - text.as_ptr() as usize + word.len() == end;
        let word = word.trim_end_matches(['.', ':', '!', '?', '/']);
        if word.contains('@') || (cut && at_the_end) {
            continue;
        }
        let marked = word.contains("://") || word.starts_with("www.");
        let Some(host) = host(word) else { continue };
        let ending = host.rsplit('.').next().unwrap_or_default();
        if (marked || ENDS.contains(&ending)) && found.iter().all(|s| s.text != host) {
            found.push(subject(host, Shape::Host, false));
        }
    }
    found
}

/// The organisation behind a mail address, if it is one: the part after the `@`, unless everybody
/// can have an address there.
pub fn organisation(mail: &str) -> Option<&str> {
    let (_, domain) = mail.rsplit_once('@')?;
    (!PUBLIC_MAIL.contains(&domain)).then_some(domain)
}

fn subject(text: String, shape: Shape, whole: bool) -> Subject {
    Subject { text, shape, whole }
}

fn mails(text: &str, cut: bool) -> Vec<Subject> {
    let ours = |c: char| c.is_ascii_alphanumeric() || "._%+-@".contains(c);
    let mut found: Vec<Subject> = vec![];
    for word in text.split(|c| !ours(c)) {
        let at_the_end = word.as_ptr() as usize - text.as_ptr() as usize + word.len() == text.len();
        let word = word.trim_matches('.');
        let Some((local, domain)) = word.split_once('@') else {
            continue;
        };
        if local.is_empty() || !is_host(domain) || (cut && at_the_end) {
            continue;
        }
        if found.iter().all(|s| s.text != word) {
            found.push(subject(word.to_owned(), Shape::Mail, word == text));
        }
    }
    found
}

/// The host of a URL or of something like one.
fn host(text: &str) -> Option<String> {
    let text = text
        .strip_prefix("https://")
        .or(text.strip_prefix("http://"))
        .unwrap_or(text);
    let text = text.split([':', '/', '?', '#']).next().unwrap_or_default();
    let text = text.strip_prefix("www.").unwrap_or(text);
    is_host(text).then(|| text.to_owned())
}

/// Labels with dots between, the last one of letters only.
fn is_host(text: &str) -> bool {
    let label =
        |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let Some((front, last)) = text.rsplit_once('.') else {
        return false;
    };
    last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic()) && front.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(subjects: Vec<Subject>) -> Vec<String> {
        subjects.into_iter().map(|s| s.text).collect()
    }

    #[test]
    fn one_destination_has_one_form() {
        for (text, cut, wanted) in [
            ("Ann@Example.org", false, vec!["ann@example.org"]),
            (
                "[\"a@x.org\", \"b@y.org\"]",
                false,
                vec!["a@x.org", "b@y.org"],
            ),
            ("a@x.org,b@y.or", true, vec!["a@x.org"]),
            (
                "https://www.evil.example/path?q=1",
                false,
                vec!["evil.example"],
            ),
            ("evil.example", false, vec!["evil.example"]),
            ("7.0", false, vec!["7"]),
            ("Riverside View", false, vec!["riverside view"]),
            ("", false, vec![]),
        ] {
            assert_eq!(texts(destinations(text, cut)), wanted, "{text}");
        }
        assert_eq!(destinations("GB29NWBK", false)[0].shape, Shape::Number);
        assert_eq!(destinations("Riverside 3", false)[0].shape, Shape::Words);
    }

    #[test]
    fn links_are_found_in_a_message_and_files_are_not() {
        let text = "Please click www.evil.example/x, or (https://b.test). See notes.docx, a@x.org";
        assert_eq!(texts(links(text, false)), ["evil.example", "b.test"]);
        assert_eq!(texts(links("go to shop.com", true)), [""; 0]);
    }

    #[test]
    fn everybodys_mail_is_no_organisation() {
        assert_eq!(organisation("a@corp.example"), Some("corp.example"));
        assert_eq!(organisation("a@gmail.com"), None);
        assert_eq!(organisation("word"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_panic(text in ".{0,120}", cut in any::<bool>()) {
            for subject in destinations(&text, cut).into_iter().chain(links(&text, cut)) {
                prop_assert!(!subject.text.is_empty());
            }
        }

        #[test]
        fn the_one_form_is_its_own_form(text in "[a-z0-9@. :/-]{1,30}") {
            for subject in destinations(&text, false) {
                let again = destinations(&subject.text, false);
                prop_assert!(again.iter().any(|s| s.text == subject.text || subject.shape == Shape::Words), "{:?}", again);
            }
        }
    }
}
