//! Tests of formats. What each format says is read back with readers that know nothing of the
//! writers ([`parsers`]), and with those of others: `serde_json`, a JSON schema validator and
//! Vector's syslog parser.

mod any;
mod examples;
mod hostile;
mod page;
mod parsers;
mod schema;
mod whole;
mod words;
