//! What a file knows of a histogram: the buckets that hold anything, in order.

use super::codec;
use super::layout::{N_BUCKETS, highest, index_of, lowest};

/// Most durations that a histogram may hold: half of what the format can write, so that a live
/// histogram read from a file can go on for longer than any machine runs.
pub(super) const MAX_COUNT: u64 = 1 << 62;

/// A histogram as files have it: which buckets hold how many durations. Takes memory for the
/// buckets in use alone, some hundred of up to 33,000.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Ascending bucket indexes below [`N_BUCKETS`] with their counts, none zero.
    entries: Vec<(u32, u64)>,
    /// The sum of all counts, at most [`MAX_COUNT`].
    count: u64,
}

/// Values that lie so far out that something else was timed as well.
///
/// These are Tukey's far fences (J. W. Tukey, Exploratory Data Analysis, 1977, section 2D):
/// values below Q1 − 3·IQR or above Q3 + 3·IQR, where IQR = Q3 − Q1. They are for flagging; no
/// figure of a result leaves them out.
///
/// Quartiles are known to their bucket only, so the fences are placed where the outermost values
/// of both buckets would put them, and a bucket counts when all of it lies beyond. Whatever is
/// counted here is therefore beyond the fences of the exact quartiles too (the values at ranks
/// ⌈n/4⌉ and ⌈3n/4⌉). A value that is beyond those by less than 0.8 % of Q3 may go uncounted:
/// eight buckets, seven in the fence and one in the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outliers {
    /// Durations below this are outliers, in nanoseconds; 0 if the fence lies below zero.
    pub low_fence_ns: u64,
    /// Durations above this are outliers, in nanoseconds.
    pub high_fence_ns: u64,
    /// How many lie below the low fence.
    pub low: u64,
    /// How many lie above the high fence.
    pub high: u64,
}

impl Outliers {
    /// Fewest values that quartiles are worth taking of.
    pub const MIN_COUNT: u64 = 12;
}

impl Buckets {
    /// Reads what [`Buckets::encode`] or any HdrHistogram library of the same precision and
    /// range wrote.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the text. Its precision must be
    /// [`SIGNIFICANT_FIGURES`](super::SIGNIFICANT_FIGURES), its range within 1 ns to an hour; nothing may be missing or left
    /// over.
    pub fn decode(text: &str) -> Result<Self, String> {
        codec::decode(text)
    }

    /// The buckets in HdrHistogram's V2 deflate format, as base64: any HdrHistogram library
    /// reads it. The same content gives the same text.
    pub fn encode(&self) -> String {
        codec::encode(&self.entries)
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value at quantile `q` in 0..=1 in nanoseconds, as far as the buckets know: the largest
    /// of the bucket in which it lies (the smallest for 0); 0 when empty.
    pub fn quantile(&self, q: f64) -> u64 {
        value_at(self.entries.iter().map(|&(index, n)| (index as usize, n)), self.count, q)
    }

    /// Takes all of `other` in, as if each duration had been counted here.
    ///
    /// # Errors
    /// A sentence, and nothing is changed, if the counts exceed 2⁶².
    pub fn merge(&mut self, other: &Self) -> Result<(), String> {
        self.count = add_counts(self.count, other.count)?;
        let ours = std::mem::take(&mut self.entries);
        self.entries.reserve(ours.len() + other.entries.len());
        let (mut ours, mut theirs) = (ours.as_slice(), other.entries.as_slice());
        while let ([a, left @ ..], [b, right @ ..]) = (ours, theirs) {
            let entry = match a.0.cmp(&b.0) {
                std::cmp::Ordering::Less => *a,
                std::cmp::Ordering::Equal => (a.0, a.1 + b.1),
                std::cmp::Ordering::Greater => *b,
            };
            if a.0 <= b.0 {
                ours = left;
            }
            if b.0 <= a.0 {
                theirs = right;
            }
            self.entries.push(entry);
        }
        self.entries.extend_from_slice(ours);
        self.entries.extend_from_slice(theirs);
        Ok(())
    }

    /// The buckets in use from the lowest: the largest value of each in nanoseconds, and how many
    /// durations it holds.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().map(|&(index, n)| (highest(index as usize), n))
    }

    /// Counts the values beyond Tukey's far fences; absent below [`Outliers::MIN_COUNT`] values.
    pub fn outliers(&self) -> Option<Outliers> {
        if self.count < Outliers::MIN_COUNT {
            return None;
        }
        let [q1, q3] = [0.25, 0.75].map(|q| index_of(self.quantile(q)));
        let range = highest(q3) - lowest(q1);
        let low_fence_ns = lowest(q1).saturating_sub(3 * range);
        let high_fence_ns = highest(q3) + 3 * range;
        let count_if = |is_out: &dyn Fn(usize) -> bool| {
            self.entries.iter().filter(|(index, _)| is_out(*index as usize)).map(|(_, n)| n).sum()
        };
        Some(Outliers {
            low_fence_ns,
            high_fence_ns,
            low: count_if(&|index| highest(index) < low_fence_ns),
            high: count_if(&|index| lowest(index) > high_fence_ns),
        })
    }

    /// From ascending bucket indexes and their counts, none zero.
    ///
    /// # Errors
    /// A sentence, if the counts exceed 2⁶².
    pub(super) fn try_from_entries(entries: Vec<(u32, u64)>) -> Result<Self, String> {
        debug_assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
        debug_assert!(entries.iter().all(|(index, n)| (*index as usize) < N_BUCKETS && *n > 0));
        let count = entries.iter().try_fold(0, |sum, (_, n)| add_counts(sum, *n))?;
        Ok(Self { entries, count })
    }

    /// Ascending bucket indexes and their counts, none zero.
    pub(super) fn entries(&self) -> &[(u32, u64)] {
        &self.entries
    }
}

/// The sum, while a histogram may hold that many.
pub(super) fn add_counts(a: u64, b: u64) -> Result<u64, String> {
    let sum = a.checked_add(b).filter(|sum| *sum <= MAX_COUNT);
    sum.ok_or_else(|| format!("the counts {a} and {b} add up to more than a histogram can hold"))
}

/// HdrHistogram's value at quantile `q` of ascending bucket indexes and counts that sum to
/// `count`.
pub(super) fn value_at(counts: impl Iterator<Item = (usize, u64)>, count: u64, q: f64) -> u64 {
    // Beyond 2⁵³ the product may round to more than there are.
    let rank =
        ((if q > 1.0 { 1.0 } else { q } * count as f64).ceil() as u64).clamp(1, count.max(1));
    let mut seen = 0;
    for (index, n) in counts {
        seen += n;
        if seen >= rank {
            return if q == 0.0 { lowest(index) } else { highest(index) };
        }
    }
    0
}
