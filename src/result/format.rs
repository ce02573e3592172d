//! The version of the result file format, and who may read what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version this build writes.
pub const FORMAT_VERSION: FormatVersion = FormatVersion { major: 1, minor: 3 };

/// `major.minor`. A minor version adds keys that older readers may ignore; a major version
/// changes the meaning of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^\d+\.\d+$"))]
pub struct FormatVersion {
    /// Changes when an old reader would misunderstand.
    pub major: u32,
    /// Changes when something is added.
    pub minor: u32,
}

impl FormatVersion {
    /// Whether this build can read a file of that version.
    ///
    /// # Errors
    /// A sentence saying what to do.
    pub fn check_readable(self) -> Result<(), String> {
        if self.major > FORMAT_VERSION.major {
            return Err(format!(
                "format version {self} is newer than this benchinf reads ({FORMAT_VERSION}): \
                 read it with the benchinf that wrote it, or a newer one"
            ));
        }
        if self.major == 0 {
            return Err(format!("format version {self} was never released"));
        }
        Ok(())
    }
}

impl std::fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl From<FormatVersion> for String {
    fn from(version: FormatVersion) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for FormatVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once('.');
        parts
            .and_then(|(major, minor)| {
                Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
            })
            .ok_or_else(|| format!("`{text}` is not a format version such as {FORMAT_VERSION}"))
    }
}
