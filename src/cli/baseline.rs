//! Named results to compare with: `results/baselines/NAME.json`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Where baselines lie, from where the command is run: beside the results.
const DIRECTORY: &str = "results/baselines";

/// The name of a baseline, which is a file's name as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaselineName(String);

impl FromStr for BaselineName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_name = !text.is_empty() && text.len() <= 100 && !text.starts_with('.');
        match is_name && text.chars().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "`{text}` is not a name of letters, digits, -, _ and . that does not begin with ."
            )),
        }
    }
}

impl BaselineName {
    /// Where the file of that name lies, or would.
    pub(super) fn place(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(format!("{}.json", self.0))
    }

    /// The file of a baseline that was saved.
    ///
    /// # Errors
    /// [`Error::NoBaseline`].
    pub(super) fn path(&self) -> Result<PathBuf> {
        let path = self.place();
        match path.is_file() {
            true => Ok(path),
            false => Err(Error::NoBaseline { name: self.0.clone(), path }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names_and_nothing_else() {
        for name in ["main", "v1.2", "pr-12_x"] {
            assert!(name.parse::<BaselineName>().is_ok(), "{name}");
        }
        let long = "x".repeat(101);
        for name in ["", ".", "..", ".x", "a/b", "../x", "a\\b", "a b", "ä", "a\n", &long] {
            assert!(name.parse::<BaselineName>().is_err(), "{name}");
        }
    }
}
