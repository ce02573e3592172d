//! That a pass did its work: how far its output is from a reference.

use crate::error::{Error, Result};

/// What an output is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The same prompt in chunks, each attending to the cached ones before it.
    ChunkedPrefill,
    /// The same tokens, picks included, in one forward pass.
    TeacherForced,
    /// The same computation once more: of a token or two there is no other way. It proves nothing.
    Repeated,
    /// Entries of a product drawn anew for each pass, computed one by one in double precision;
    /// and before the first, the whole product by Freivalds' test.
    ProductEntries,
    /// Entries of a product drawn anew for each pass, computed one by one in double precision; all
    /// of it is spoiled before.
    SampledEntries,
    /// The exact sum of all words, known since they were written.
    WordSum,
    /// Words drawn anew for each pass, spoiled before it.
    SpoiledWords,
}

impl Reference {
    /// What it is, in words.
    pub fn description(self) -> &'static str {
        match self {
            Reference::ChunkedPrefill => {
                "logits of the same prompt computed in chunks, each attending to those cached before it"
            }
            Reference::TeacherForced => {
                "logits after the same tokens, greedy picks included, computed in forward passes over many"
            }
            Reference::Repeated => "the same computation once more, which proves nothing",
            Reference::ProductEntries => {
                "entries of the product drawn anew for each pass, in double precision; all of it by Freivalds' test once"
            }
            Reference::SampledEntries => {
                "entries of the product drawn anew for each pass, spoiled before it, in double precision"
            }
            Reference::WordSum => "the sum of all words, known since they were written",
            Reference::SpoiledWords => "words drawn anew for each pass, spoiled before it",
        }
    }
}

/// How far the output of one pass is from its reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// What it was held against.
    pub reference: Reference,
    /// Values compared.
    pub values: u64,
    /// The largest difference, as a share of the largest reference value.
    pub error: f64,
    /// The largest error that rounding explains.
    pub tolerance: f64,
}

impl Check {
    /// The check, if the output stood it.
    ///
    /// # Errors
    /// [`Error::OutputWrong`].
    pub fn passed(self) -> Result<Self> {
        let Check { reference, error, tolerance, .. } = self;
        // An error that is not a number is not small.
        match error <= tolerance {
            true => Ok(self),
            false => {
                Err(Error::OutputWrong { reference: reference.description(), error, tolerance })
            }
        }
    }
}

/// The checks of several passes, all of them passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checks {
    /// What the passes were held against.
    pub reference: Reference,
    /// Passes looked at.
    pub passes: u64,
    /// Values compared in each.
    pub values: u64,
    /// The largest error of any.
    pub max_error: f64,
    /// The largest error that rounding explains.
    pub tolerance: f64,
}

impl Checks {
    /// One pass's.
    pub fn of(check: Check) -> Self {
        let Check { reference, values, error, tolerance } = check;
        Self { reference, passes: 1, values, max_error: error, tolerance }
    }

    /// With one more pass of the same workload.
    pub fn and(self, check: Check) -> Self {
        Self { passes: self.passes + 1, max_error: self.max_error.max(check.error), ..self }
    }
}
