//! Ed25519 keys and signatures, in the formats of OpenSSL: PKCS#8 and SPKI as PEM.

use std::path::Path;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};

use crate::error::{Error, Result};
use crate::result::read::check_regular;

/// A private key.
#[derive(Debug)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new key from the system's random numbers.
    ///
    /// # Errors
    /// [`Error::Engine`] if the system has none.
    pub fn generate() -> Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(Error::engine("drawing random numbers for a key"))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// Reads a private key in PKCS#8 PEM, as `benchinf keygen` and `openssl genpkey -algorithm
    /// ed25519` write it.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Key`].
    pub fn read(path: &Path) -> Result<Self> {
        check_regular(path)?;
        let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(&text).map_err(|_| Error::Key {
            path: path.into(),
            problem: "this is not an Ed25519 private key in PKCS#8 PEM; make one with `benchinf \
                      keygen FILE`"
                .into(),
        })?;
        Ok(Self(key))
    }

    /// The private key as PKCS#8 PEM.
    pub fn to_pem(&self) -> String {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF).expect("32 bytes are always a key");
        (*pem).clone()
    }

    /// The public key as SPKI PEM.
    pub fn public_key_pem(&self) -> String {
        let key = self.0.verifying_key();
        key.to_public_key_pem(LineEnding::LF).expect("32 bytes are always a key")
    }

    /// The public key in hexadecimal.
    pub fn public_key_hex(&self) -> String {
        hex::encode(self.0.verifying_key().as_bytes())
    }

    pub(super) fn sign_hex(&self, message: &[u8]) -> String {
        hex::encode(self.0.sign(message).to_bytes())
    }
}

/// Reads a public key in SPKI PEM and gives it in hexadecimal.
///
/// # Errors
/// [`Error::Read`] or [`Error::Key`].
pub fn read_public_key(path: &Path) -> Result<String> {
    check_regular(path)?;
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    let key = VerifyingKey::from_public_key_pem(&text).map_err(|_| Error::Key {
        path: path.into(),
        problem: "this is not an Ed25519 public key in PEM; `benchinf keygen` writes one beside \
                  the private key"
            .into(),
    })?;
    Ok(hex::encode(key.as_bytes()))
}

/// Whether a signature in hexadecimal is that of a public key for a message.
pub(super) fn verifies(public_key_hex: &str, message: &[u8], signature_hex: &str) -> bool {
    let bytes = |text: &str| hex::decode(text).ok().filter(|_| !text.contains(char::is_uppercase));
    let key = bytes(public_key_hex)
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let signature = bytes(signature_hex)
        .and_then(|bytes| <[u8; 64]>::try_from(bytes).ok())
        .map(|bytes| Signature::from_bytes(&bytes));
    match (key, signature) {
        (Some(key), Some(signature)) => key.verify_strict(message, &signature).is_ok(),
        _ => false,
    }
}
