//! A number with where it comes from and how far it can be trusted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How well a figure is supported. Later variants are weaker.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Wording or a table of the maker or the authority, seen.
    Official,
    /// Wording or a table of the maker or the authority, seen in somebody else's copy.
    Quoted,
    /// Somebody else's statement.
    Secondary,
    /// Arithmetic on other figures; the arithmetic stands beside it.
    Calculated,
    /// From memory, or rumoured: nothing was seen that says so.
    Unverified,
}

impl Grade {
    /// The word that files and outputs use.
    pub fn name(self) -> &'static str {
        match self {
            Grade::Official => "official",
            Grade::Quoted => "quoted",
            Grade::Secondary => "secondary",
            Grade::Calculated => "calculated",
            Grade::Unverified => "unverified",
        }
    }
}

/// What a figure says about the quantity it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// The value as its source states it.
    #[default]
    Stated,
    /// Somebody's estimate.
    Rough,
    /// The quantity is this or less.
    AtMost,
    /// The quantity is this or more.
    AtLeast,
}

/// Where figures come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source {
    /// The id that figures of the same file name.
    pub id: String,
    /// The citation.
    pub title: String,
    /// Where it can be found.
    pub url: Option<String>,
    /// Which copy of it was read, if it was not read at its own place.
    pub seen: Option<String>,
    /// The grade of its figures, unless one says otherwise.
    pub grade: Grade,
}

/// A number with where it comes from. Above 0 and finite; 0 only where a device is known to lack
/// something altogether.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The number; its unit stands in the name of the field that holds the figure.
    pub value: f64,
    /// The [`Source::id`] of its source.
    pub source: String,
    /// How well it is supported.
    pub grade: Grade,
    /// What it says about the quantity.
    pub precision: Precision,
    /// The arithmetic behind it, or what else a reader must know.
    pub note: Option<String>,
    /// Other readings of the same quantity that may change an answer. They have none of their own.
    pub alternatives: Vec<Figure>,
}

impl Figure {
    /// Lowest and highest value among this reading and its alternatives.
    pub fn range(&self) -> (f64, f64) {
        self.alternatives.iter().fold((self.value, self.value), |(low, high), other| {
            (low.min(other.value), high.max(other.value))
        })
    }

    /// The 0 of a device that is known to lack something altogether.
    pub(super) fn zero(source: String, grade: Grade, note: &str) -> Self {
        Self {
            value: 0.0,
            source,
            grade,
            precision: Precision::Stated,
            note: Some(note.into()),
            alternatives: Vec::new(),
        }
    }
}
