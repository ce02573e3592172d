//! How good the evidence for a figure or a text is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From best to worst, so that the weakest of several is their maximum.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The maker's or authority's own wording or table, seen.
    Official,
    /// Official wording, quoted in another document.
    Quoted,
    /// A secondary source.
    Secondary,
    /// Arithmetic.
    Calculated,
    /// From memory, or rough.
    Unverified,
}
