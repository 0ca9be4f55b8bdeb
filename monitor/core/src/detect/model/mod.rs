//! Model files: what their first bytes say they are, and what they say about themselves. Pure: byte
//! slices in, values out.
//!
//! Model files come from strangers. No bytes make these parsers panic, loop or take more memory
//! than [`Limits`] and the slice itself allow; what is cut off or wrong ends the reading, and what
//! was read until then stays.

mod gguf;
mod magic;
mod onnx;
mod reader;
mod safetensors;

pub use magic::{Format, SNIFFED, sniff};

use crate::text::escape;

/// Bytes of a file that are worth reading for [`describe`].
pub const DESCRIBED: usize = 16 << 20;
/// Pairs of metadata that are kept.
const PAIRS: usize = 32;
/// Bytes of a text that are kept.
const TEXT: usize = 256;

/// Which texts and how many are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pairs of metadata.
    pub pairs: usize,
    /// Bytes of a text.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pairs: PAIRS,
            text: TEXT,
        }
    }
}

/// What a model file says about itself. Texts are escaped and short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Version of the format, or of its intermediate representation.
    pub version: Option<u64>,
    /// Its name for itself.
    pub name: Option<String>,
    /// Architecture, or the program that made it.
    pub architecture: Option<String>,
    /// Quantisation, or the types of its tensors, the most frequent first.
    pub quantisation: Option<String>,
    /// Tokens that it can attend to.
    pub context: Option<u64>,
    /// Tensors.
    pub tensors: Option<u64>,
    /// Whether it is an adapter to another model rather than a model.
    pub adapter: bool,
    /// SHA-256 of the chat template: a template is code that runs in the server.
    pub template: Option<String>,
    /// Other metadata that was kept.
    pub metadata: Vec<(String, String)>,
    /// The bytes ended before the file's header did, or the header is wrong from some point on.
    pub partial: bool,
}

/// Reads what a file of this format says about itself from its first bytes.
pub fn describe(format: Format, bytes: &[u8]) -> Description {
    let limits = Limits::default();
    match format {
        Format::Gguf => gguf::describe(bytes, limits),
        Format::Safetensors => safetensors::describe(bytes, limits),
        Format::Onnx => onnx::describe(bytes, limits),
        _ => Description::default(),
    }
}

impl Description {
    fn keep(&mut self, key: &str, value: String, limits: Limits) {
        if self.metadata.len() < limits.pairs {
            self.metadata.push((key.to_owned(), value));
        }
    }
}

/// A digest as people write it.
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Text of a file, short and escaped.
fn shown(bytes: &[u8], limits: Limits) -> String {
    let short = &bytes[..bytes.len().min(limits.text)];
    let mut text = escape(short);
    if bytes.len() > limits.text {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
