//! Which values share a bucket: HdrHistogram's layout for three significant figures, from 1 ns.
//!
//! Up to 2,047 ns every value has its own bucket. From there each octave (a doubling) has 1,024
//! buckets of equal width: 2 ns wide from 2,048, 4 ns from 4,096, and so on. A bucket is thus
//! never wider than a 1,024th of its values.

use super::MAX_NS;

/// Buckets of an octave.
pub(super) const OCTAVE: usize = 1 << OCTAVE_BITS;

const OCTAVE_BITS: u32 = 10;

/// Buckets that all values up to [`MAX_NS`] need.
pub(super) const N_BUCKETS: usize = index_of(MAX_NS) + 1;

/// The bucket that `value` falls into.
pub(super) const fn index_of(value: u64) -> usize {
    // Two octaves' worth of values need no shift, hence the mask with one more bit.
    let shift = u64::BITS - (OCTAVE_BITS + 1) - (value | (2 * OCTAVE as u64 - 1)).leading_zeros();
    ((shift as usize) << OCTAVE_BITS) + (value >> shift) as usize
}

/// Smallest value of a bucket.
pub(super) const fn lowest(index: usize) -> u64 {
    let shift = shift(index);
    ((index - (shift << OCTAVE_BITS)) as u64) << shift
}

/// Largest value of a bucket.
pub(super) const fn highest(index: usize) -> u64 {
    lowest(index) + ((1 << shift(index)) - 1)
}

/// Buckets that a histogram has whose header says that it reaches to `value`: whole octaves, and
/// never less than the values that need no rounding.
pub(super) const fn n_buckets_to(value: u64) -> usize {
    // The bit puts small values into the second octave, the last without rounding.
    index_of(value | OCTAVE as u64) / OCTAVE * OCTAVE + OCTAVE
}

const fn shift(index: usize) -> usize {
    (index >> OCTAVE_BITS).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_buckets() {
        for (value, low, high) in [
            (0, 0, 0),
            (2047, 2047, 2047),
            (2048, 2048, 2049),
            (4095, 4094, 4095),
            (4096, 4096, 4099),
            (14_000_001, 13_991_936, 14_000_127),
        ] {
            let index = index_of(value);
            assert_eq!((lowest(index), highest(index)), (low, high), "{value}");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for index in 1..N_BUCKETS {
            assert_eq!(lowest(index), highest(index - 1) + 1, "bucket {index}");
            assert_eq!((index_of(lowest(index)), index_of(highest(index))), (index, index));
            let width = highest(index) - lowest(index) + 1;
            assert!(width == 1 || width * 1024 <= lowest(index), "bucket {index}");
        }
    }

    #[test]
    fn a_range_is_covered_in_whole_octaves() {
        for (value, n) in [(2, 2048), (1024, 2048), (2047, 2048), (2048, 3072), (MAX_NS, 33_792)] {
            assert_eq!(n_buckets_to(value), n, "{value}");
        }
    }
}
