//! Whose name a name is, and what of it changes while its owner stays the same.
//!
//! The public suffix list says where the part begins that somebody registered; its private section
//! says the same about providers under whose names every customer has a label (`github.io`). What is
//! left of that belongs to one owner, and only there anything is general. What the list does not
//! know, and providers that it does not list, stay as they are, name by name.

use crate::baseline::paths::token::{self, NamePattern, Piece};

/// Providers under whose names different customers have theirs, and that the list leaves out or
/// knows in part only: nothing is general there unless the list itself says where a customer's label
/// is. Also names that exist to hand traffic to whoever asks for one.
const PROVIDERS: &[&str] = &[
    "akamai.net",
    "akamaihd.net",
    "akamaized.net",
    "amazonaws.com",
    "amazonaws.com.cn",
    "atlassian.net",
    "auth0.com",
    "azure-api.net",
    "azure.com",
    "azureedge.net",
    "azurefd.net",
    "backblazeb2.com",
    "burpcollaborator.net",
    "cloudflarestorage.com",
    "cloudfront.net",
    "databricks.com",
    "digitaloceanspaces.com",
    "dnslog.cn",
    "edgekey.net",
    "edgesuite.net",
    "fastly.net",
    "googleapis.com",
    "googleusercontent.com",
    "gradio.live",
    "huggingface.cloud",
    "interact.sh",
    "linodeobjects.com",
    "modal.run",
    "myqcloud.com",
    "nip.io",
    "oast.fun",
    "oast.pro",
    "oastify.com",
    "okta.com",
    "pipedream.net",
    "proxy.runpod.net",
    "runpod.net",
    "salesforce.com",
    "sharepoint.com",
    "slack.com",
    "snowflakecomputing.com",
    "sslip.io",
    "wasabisys.com",
    "windows.net",
    "zendesk.com",
];

/// A name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned<'a> {
    /// Labels that the owner chooses, without the dot at the end; empty for the domain itself.
    pub free: &'a [u8],
    /// What is registered, or given to one customer.
    pub domain: &'a [u8],
}

/// Takes a name (lower case, no dot at the end) apart; none where it cannot be told who owns it.
pub fn owned(name: &[u8]) -> Option<Owned<'_>> {
    let plain = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if !name.iter().all(plain) || name.split(|b| *b == b'.').any(<[u8]>::is_empty) {
        return None;
    }
    let found = psl::domain(name)?;
    if !found.suffix().is_known() {
        return None;
    }
    let domain = found.as_bytes();
    if PROVIDERS.iter().any(|provider| ends_with(domain, provider)) && !is_private(&found) {
        return None;
    }
    let free = &name[..name.len().checked_sub(domain.len())?];
    let free = free.strip_suffix(b".").unwrap_or(free);
    Some(Owned { free, domain })
}

/// Whether different people have their names directly below this one: a public suffix, or a
/// provider's domain. Where nobody knows, as in names of one's own, nothing is taken to be shared.
pub fn is_shared(domain: &[u8]) -> bool {
    let found = psl::suffix(domain);
    let listed = found.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == domain);
    let of_customer = || psl::domain(domain).is_some_and(|found| is_private(&found));
    listed || PROVIDERS.iter().any(|provider| ends_with(domain, provider)) && !of_customer()
}

fn is_private(domain: &psl::Domain<'_>) -> bool {
    domain.suffix().typ() == Some(psl::Type::Private)
}

/// Whether a domain is a provider's or one below it.
fn ends_with(domain: &[u8], provider: &str) -> bool {
    domain
        .strip_suffix(provider.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
}

/// The one form of a name: numbers and hashes in the labels that its owner chooses become classes,
/// `{n}` for a number of any length; everything else is literal and escaped. The second value says
/// whether any class is in it.
pub fn form(name: &[u8]) -> (String, bool) {
    let name = normal(name);
    let mut text = String::with_capacity(name.len() + 8);
    let Some(Owned { free, domain }) = owned(&name) else {
        token::write_literal(&name, &mut text);
        return (text, false);
    };
    let mut general = false;
    for label in free.split(|b| *b == b'.').filter(|label| !label.is_empty()) {
        general |= write_label(label, &mut text);
        text.push('.');
    }
    token::write_literal(domain, &mut text);
    (text, general)
}

/// The open form that a name belongs to: any one label before the domain. None for the domain
/// itself, for deeper names, and where nothing may be general.
pub fn open(name: &[u8]) -> Option<String> {
    let name = normal(name);
    let Owned { free, domain } = owned(&name)?;
    if free.is_empty() || free.contains(&b'.') {
        return None;
    }
    let mut text = "{any}.".to_owned();
    token::write_literal(domain, &mut text);
    Some(text)
}

/// [`open`] for a name that is given as its form.
pub fn open_of_form(form: &str) -> Option<String> {
    if form.contains('\\') {
        return None;
    }
    let mut name = String::with_capacity(form.len());
    let mut rest = form;
    while let Some((before, class)) = rest.split_once('{') {
        name.push_str(before);
        // Any label will do: whose name it is depends on what is behind the classes.
        name.push('0');
        rest = class.split_once('}')?.1;
    }
    name.push_str(rest);
    open(name.as_bytes())
}

/// Lower case, without the dot at the end.
fn normal(name: &[u8]) -> Vec<u8> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    name.to_ascii_lowercase()
}

fn write_label(label: &[u8], out: &mut String) -> bool {
    let mut general = false;
    for piece in NamePattern::of(label).pieces() {
        match piece {
            Piece::Class(class) => {
                token::write_class(*class, out);
                general = true;
            }
            Piece::Literal(bytes) => {
                let same = |a: &u8, b: &u8| a.is_ascii_digit() == b.is_ascii_digit();
                for run in bytes.chunk_by(same) {
                    if run[0].is_ascii_digit() {
                        out.push_str("{n}");
                        general = true;
                    } else {
                        token::write_literal(run, out);
                    }
                }
            }
        }
    }
    general
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn is(name: &str, expected_form: &str, expected_open: Option<&str>) {
        assert_eq!(form(name.as_bytes()).0, expected_form, "{name}");
        assert_eq!(open(name.as_bytes()).as_deref(), expected_open, "{name}");
    }

    #[test]
    fn numbers_in_an_owner_s_labels_are_classes() {
        let any = Some("{any}.huggingface.co");
        is(
            "cdn-lfs-us-1.huggingface.co",
            "cdn-lfs-us-{n}.huggingface.co",
            any,
        );
        is("CDN-LFS.HuggingFace.co.", "cdn-lfs.huggingface.co", any);
        is("huggingface.co", "huggingface.co", None);
        is("a.b.example.co.uk", "a.b.example.co.uk", None);
        is(
            "a.example.co.uk",
            "a.example.co.uk",
            Some("{any}.example.co.uk"),
        );
        is(
            "0123456789abcdef0123.cdn.example.com",
            "{hex}.cdn.example.com",
            None,
        );
        is(
            "a.example2024.com",
            "a.example2024.com",
            Some("{any}.example2024.com"),
        );
    }

    #[test]
    fn nothing_is_general_above_the_label_of_a_customer() {
        for name in [
            "user12345.github.io",
            "team-1.hf.space",
            "x1.workers.dev",
            "bucket-2024.s3.amazonaws.com",
            "bucket-1.s3.eu-west-1.amazonaws.com",
            "d111111abcdef8.cloudfront.net",
            "account1.blob.core.windows.net",
            "x.y.z1.amazonaws.com",
            "project-1.googleapis.com",
            "a1b2.ngrok.io",
            "app-1.vercel.app",
            "10.0.0.1.nip.io",
        ] {
            is(name, name, None);
        }
        is("v1.api.user.github.io", "v{n}.api.user.github.io", None);
        is(
            "v1.user.github.io",
            "v{n}.user.github.io",
            Some("{any}.user.github.io"),
        );
    }

    #[test]
    fn nothing_is_general_where_nobody_knows_the_owner() {
        for name in [
            "db1",
            "db1.svc.cluster.local",
            "x1.internal",
            "com",
            "co.uk",
            "10.0.0.1",
            "",
        ] {
            is(name, name, None);
        }
        is("a..example.com", "a..example.com", None);
        is("{n}.example.com", "\\x7bn\\x7d.example.com", None);
    }

    #[test]
    fn every_provider_is_under_the_rule() {
        for provider in PROVIDERS {
            let name = format!("customer1.{provider}");
            assert_eq!(open(name.as_bytes()), None, "{name}");
            assert_eq!(form(name.as_bytes()), (name, false));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_form_and_the_owner_stays(name in "([a-z0-9]{1,4}\\.){0,4}(com|co\\.uk|github\\.io|amazonaws\\.com|example)|\\PC{0,20}") {
            let (text, general) = form(name.as_bytes());
            if let Some(Owned { domain, .. }) = owned(&normal(name.as_bytes())) {
                prop_assert_eq!(general, text.contains('{'));
                let domain = String::from_utf8_lossy(domain).into_owned();
                prop_assert!(text.ends_with(&domain));
                prop_assert!(open(name.as_bytes()).is_none_or(|open| open.ends_with(&domain)));
                prop_assert_eq!(open_of_form(&text), open(name.as_bytes()));
            } else {
                prop_assert!(!general);
            }
        }
        #[test]
        fn raw_bytes_too(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (form(&name), open(&name));
        }
    }
}
