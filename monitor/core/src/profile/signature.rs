//! Signatures of profiles: Ed25519 (RFC 8032) over the content.
//!
//! The content is the profile's own text without signature and without what people may change
//! freely (comments, order, spacing). Knows keys as values; files and trust are the shell's.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::Profile;

/// Put before the content, so that a signature of something else is never one of a profile.
const CONTEXT: &[u8] = b"slmguard profile 1\n";

/// Who vouches for a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Public key, base64 of 32 bytes.
    pub key: String,
    /// Signature, base64 of 64 bytes.
    pub value: String,
}

/// Why a profile is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the profile is not signed")]
    Missing,
    /// It is not one.
    #[error("the signature cannot be read: {0}")]
    Malformed(&'static str),
    /// Of somebody else.
    #[error("the profile is signed by the key {0}, which is not the trusted one")]
    OtherKey(String),
    /// Of something else.
    #[error("the signature is not of this content: the profile was changed after it was signed")]
    Changed,
}

impl Profile {
    /// The same profile with a signature.
    pub fn signed(mut self, key: &SigningKey) -> Self {
        let value = key.sign(&self.signed_bytes());
        self.signature = Some(Signature {
            key: STANDARD.encode(key.verifying_key().as_bytes()),
            value: STANDARD.encode(value.to_bytes()),
        });
        self
    }

    /// Whether the holder of `trusted` vouches for this content.
    pub fn verify(&self, trusted: &VerifyingKey) -> Result<(), SignatureError> {
        let signature = self.signature.as_ref().ok_or(SignatureError::Missing)?;
        let key = bytes::<32>(&signature.key, "its key is not 32 bytes in base64")?;
        if key != trusted.to_bytes() {
            // Shown as it is written: base64 has no hostile characters, since it was decoded.
            return Err(SignatureError::OtherKey(signature.key.clone()));
        }
        let value = bytes::<64>(&signature.value, "its value is not 64 bytes in base64")?;
        let value = ed25519_dalek::Signature::from_bytes(&value);
        trusted
            .verify_strict(&self.signed_bytes(), &value)
            .map_err(|_| SignatureError::Changed)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        [CONTEXT, self.content().as_bytes()].concat()
    }
}

fn bytes<const N: usize>(text: &str, problem: &'static str) -> Result<[u8; N], SignatureError> {
    STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| <[u8; N]>::try_from(bytes).ok())
        .ok_or(SignatureError::Malformed(problem))
}
