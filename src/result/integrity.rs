//! Digests over a result file, and the verdict on one.
//!
//! A record (each top-level key, each case and each ceiling) is digested in its canonical form:
//! JSON without blanks, keys sorted by their bytes, integers in full and other numbers in the
//! shortest form that reads back the same. It is RFC 8785 but for integers beyond 2⁵³, which that
//! would round. The digests are chained in the order of the file:
//!
//! ```text
//! head₀ = SHA-256("benchinf result chain v1")
//! headᵢ = SHA-256(headᵢ₋₁ ‖ name ‖ 0 ‖ digestᵢ)
//! ```
//!
//! so that a record can be neither changed, dropped, added nor moved. A last digest covers the
//! file's text as it stands. None of this keeps anybody from making a new file: only a signature
//! ties the head to whoever holds a key, and nothing here shows that a run took place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::result::file::{IntegrityFile, RecordDigestFile, ResultFile, SignatureFile};
use crate::result::format::FormatVersion;
use crate::result::imported::ImportedFile;
use crate::result::signature::SigningKey;
use crate::result::store;

const ALGORITHM: &str = "sha256";
const CANONICAL: &str = "sorted_keys.v1";
const CHAIN_START: &[u8] = b"benchinf result chain v1";
/// The key whose value is blanked before the text is digested.
const TEXT_KEY: &str = "\"file_sha256\": \"";
/// The key whose value is blanked before the text is signed.
const SIGNATURE_KEY: &str = "\"signature\": \"";
const SIGNATURE_DIGITS: usize = 128;
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// SHA-256 of a value's canonical form, in hexadecimal.
pub fn sha256_of(value: &Value) -> String {
    hex::encode(digest_of(value))
}

fn digest_of(value: &Value) -> [u8; 32] {
    // serde_json's map is sorted as long as no crate switches its insertion order on; a test
    // holds that.
    Sha256::digest(value.to_string()).into()
}

/// A file that carries digests of itself.
pub trait Sealed: Serialize {
    /// Where they stand.
    fn integrity(&mut self) -> &mut Option<IntegrityFile>;
}

impl Sealed for ResultFile {
    fn integrity(&mut self) -> &mut Option<IntegrityFile> {
        &mut self.integrity
    }
}

impl Sealed for ImportedFile {
    fn integrity(&mut self) -> &mut Option<IntegrityFile> {
        &mut self.integrity
    }
}

/// A file's text with its digests, ready to be written.
pub fn seal<T: Sealed>(file: &mut T, key: Option<&SigningKey>) -> String {
    *file.integrity() = None;
    let text = serde_json::to_string(&*file).expect("keys are strings");
    let digests = records(&text).expect("it was just written");
    let head = hex::encode(chain(&digests));
    *file.integrity() = Some(IntegrityFile {
        algorithm: ALGORITHM.into(),
        canonical: CANONICAL.into(),
        records: digests
            .iter()
            .map(|(name, digest)| RecordDigestFile {
                record: name.clone(),
                sha256: hex::encode(digest),
            })
            .collect(),
        signature: key.map(|key| SignatureFile {
            algorithm: "ed25519".into(),
            public_key: key.public_key_hex(),
            signature: "0".repeat(SIGNATURE_DIGITS),
        }),
        head: head.clone(),
        file_sha256: BLANK.into(),
    });
    let mut text = store::to_json(file);
    if let Some(key) = key {
        let signature = key.sign_hex(&signed_message(&head, &text));
        replace_last(&mut text, SIGNATURE_KEY, &signature);
        let stated = file.integrity().as_mut().and_then(|integrity| integrity.signature.as_mut());
        stated.expect("it was put there above").signature = signature;
    }
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    replace_last(&mut text, TEXT_KEY, &digest);
    if let Some(integrity) = file.integrity() {
        integrity.file_sha256 = digest;
    }
    text
}

/// Puts `value` in place of as many characters after the last `key`.
fn replace_last(text: &mut String, key: &str, value: &str) {
    if let Some(start) = text.rfind(key).map(|at| at + key.len()) {
        text.replace_range(start..start + value.len(), value);
    }
}

/// What a signature signs: the head, and the whole text with zeros for the two values that are not
/// known yet. `text` must have them.
fn signed_message(head: &str, text: &str) -> Vec<u8> {
    let text = hex::encode(Sha256::digest(text));
    format!("benchinf result v1\n{head}\n{text}\n").into_bytes()
}

/// Every record of a file's text with its digest, in the order of the chain: keys sorted, cases and
/// ceilings as they stand. One record at a time is held as a tree.
fn records(text: &str) -> serde_json::Result<Vec<(String, [u8; 32])>> {
    let keys: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let mut digests = Vec::new();
    for (key, raw) in keys {
        match key.as_str() {
            "integrity" => {}
            "cases" | "ceilings" if raw.get().starts_with('[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw.get())?;
                for (i, item) in items.into_iter().enumerate() {
                    let item: Value = serde_json::from_str(item.get())?;
                    let id = item.get("id").and_then(Value::as_str);
                    let id = id.map_or_else(|| i.to_string(), str::to_owned);
                    digests.push((format!("{key}/{id}"), digest_of(&item)));
                }
            }
            _ => {
                let value: Value = serde_json::from_str(raw.get())?;
                // A key that looks like the name of a case is not one.
                digests.push((key.replace('/', "~1"), digest_of(&value)));
            }
        }
    }
    Ok(digests)
}

fn chain(digests: &[(String, [u8; 32])]) -> [u8; 32] {
    digests.iter().fold(Sha256::digest(CHAIN_START).into(), |head: [u8; 32], (name, digest)| {
        let link = Sha256::new().chain_update(head).chain_update(name).chain_update([0]);
        link.chain_update(digest).finalize().into()
    })
}

/// What `verify` says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte is as it was written.
    Intact {
        /// Who signed it, if anybody did.
        signature: Signature,
    },
    /// Something was changed.
    Altered {
        /// Which records, or `layout` where all of them are intact.
        records: Vec<String>,
    },
    /// The file is of a version that has no digests.
    NoDigests,
    /// Nothing can be said.
    Unreadable {
        /// Why.
        problem: String,
    },
}

/// A signature of an intact file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// There is none.
    None,
    /// It is valid for the key that the file itself names, in hexadecimal. That shows who signed
    /// only to those who know the key from elsewhere.
    Valid {
        /// The key.
        public_key: String,
    },
}

/// The record that stands for blanks, order and everything else around the records.
pub const LAYOUT: &str = "layout";
/// The record of the digests themselves.
pub const INTEGRITY: &str = "integrity";

/// Holds a file's text against its digests.
pub fn verify(text: &[u8]) -> Verdict {
    let unreadable = |problem: String| Verdict::Unreadable { problem };
    let Ok(text) = std::str::from_utf8(text) else {
        return unreadable("this is not a result file: it is not UTF-8 text".into());
    };
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(default, borrow)]
        format_version: Option<&'a RawValue>,
        #[serde(default, borrow)]
        integrity: Option<&'a RawValue>,
    }
    let head: Head = match serde_json::from_str(text) {
        Ok(head) => head,
        Err(e) => return unreadable(format!("this is not a result file: {e}")),
    };
    let version = match head.format_version.map(|raw| serde_json::from_str(raw.get())) {
        Some(Ok(version)) => version,
        Some(Err(e)) => return unreadable(format!("this is not a result file: {e}")),
        None => return unreadable("this is not a result file: it has no format_version".into()),
    };
    let version: FormatVersion = version;
    if let Err(problem) = version.check_readable() {
        return unreadable(problem);
    }
    let altered = || Verdict::Altered { records: vec![INTEGRITY.into()] };
    match head.integrity.filter(|raw| raw.get() != "null") {
        None if (version.major, version.minor) < (1, 1) => Verdict::NoDigests,
        None => altered(),
        Some(raw) => match serde_json::from_str::<IntegrityFile>(raw.get()) {
            Ok(stated) if stated.algorithm == ALGORITHM && stated.canonical == CANONICAL => {
                match records(text) {
                    Ok(found) => held_against(text, &found, &stated),
                    Err(e) => unreadable(format!("this is not a result file: {e}")),
                }
            }
            _ => altered(),
        },
    }
}

fn held_against(text: &str, found: &[(String, [u8; 32])], integrity: &IntegrityFile) -> Verdict {
    let mut altered = differing(found, &integrity.records);
    if altered.is_empty() && hex::encode(chain(found)) != integrity.head {
        altered.push(INTEGRITY.into());
    }
    let signature = match &integrity.signature {
        None => Signature::None,
        Some(signature) => {
            if !is_valid(signature, &integrity.head, text) {
                altered.push(format!("{INTEGRITY}/signature"));
            }
            Signature::Valid { public_key: signature.public_key.clone() }
        }
    };
    if altered.is_empty() && !text_is(text, &integrity.file_sha256) {
        altered.push(LAYOUT.into());
    }
    match altered.is_empty() {
        true => Verdict::Intact { signature },
        false => Verdict::Altered { records: altered },
    }
}

fn is_valid(signature: &SignatureFile, head: &str, text: &str) -> bool {
    let mut blanked = text.to_owned();
    let is_there =
        [(SIGNATURE_KEY, SIGNATURE_DIGITS), (TEXT_KEY, BLANK.len())].iter().all(|(key, digits)| {
            let value = blanked.rfind(key).and_then(|at| {
                let start = at + key.len();
                blanked.get(start..start + digits)
            });
            let is_hex = value.is_some_and(|v| v.bytes().all(|b| b.is_ascii_hexdigit()));
            if is_hex {
                replace_last(&mut blanked, key, &"0".repeat(*digits));
            }
            is_hex
        });
    signature.algorithm == "ed25519"
        && is_there
        && super::signature::verifies(
            &signature.public_key,
            &signed_message(head, &blanked),
            &signature.signature,
        )
}

/// Records that were changed, dropped, added, or moved.
fn differing(found: &[(String, [u8; 32])], stated: &[RecordDigestFile]) -> Vec<String> {
    let same_names = found.len() == stated.len()
        && found.iter().zip(stated).all(|((name, _), stated)| *name == stated.record);
    if same_names {
        let pairs = found.iter().zip(stated);
        let changed = pairs.filter(|((_, digest), stated)| hex::encode(digest) != stated.sha256);
        return changed.map(|((name, _), _)| name.clone()).collect();
    }
    let stated_of: std::collections::HashMap<&str, &str> =
        stated.iter().map(|s| (s.record.as_str(), s.sha256.as_str())).collect();
    let found_of: std::collections::HashMap<&str, String> =
        found.iter().map(|(name, digest)| (name.as_str(), hex::encode(digest))).collect();
    let mut names: Vec<String> = found
        .iter()
        .filter(|(name, _)| stated_of.get(name.as_str()) != Some(&found_of[name.as_str()].as_str()))
        .map(|(name, _)| name.clone())
        .collect();
    let missing = stated.iter().filter(|s| !found_of.contains_key(s.record.as_str()));
    names.extend(missing.map(|s| format!("{} (missing)", s.record)));
    // The same records in another order, or one of them twice.
    if names.is_empty() {
        names.push(INTEGRITY.into());
    }
    names
}

/// Whether the text, its own digest blanked, has that digest.
fn text_is(text: &str, file_sha256: &str) -> bool {
    let Some(start) = text.rfind(TEXT_KEY).map(|at| at + TEXT_KEY.len()) else { return false };
    let Some(rest) = text.get(start + BLANK.len()..) else { return false };
    let stands_there = text.get(start..start + BLANK.len()) == Some(file_sha256);
    let digest = Sha256::new()
        .chain_update(&text[..start])
        .chain_update(BLANK)
        .chain_update(rest)
        .finalize();
    stands_there && hex::encode(digest) == file_sha256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_sorts_keys_and_keeps_every_digit() {
        let value: Value = serde_json::from_str(
            r#"{"b": [1.50, 1e3, -0.0], "a": {"z": null, "y": 18446744073709551615}, "é": "\u0041"}"#,
        )
        .unwrap();
        assert_eq!(
            value.to_string(),
            r#"{"a":{"y":18446744073709551615,"z":null},"b":[1.5,1000.0,-0.0],"é":"A"}"#
        );
        // SHA-256 of the two bytes `{}`.
        assert_eq!(
            sha256_of(&serde_json::json!({})),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
    }

    #[test]
    fn the_chain_is_of_names_digests_and_their_order() {
        let record = |name: &str, byte| (name.to_owned(), [byte; 32]);
        let head = chain(&[record("a", 1), record("b", 2)]);
        assert_ne!(head, chain(&[record("b", 2), record("a", 1)]));
        assert_ne!(head, chain(&[record("a", 1), record("c", 2)]));
        assert_ne!(head, chain(&[record("a", 1)]));
    }
}
