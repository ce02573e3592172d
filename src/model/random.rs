//! Weights and tokens drawn from a seed: the same bits on any machine and any number of threads.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number
//! generators*, 2014) read at an index: element i of a stream is the mix of `key + (i + 1) · γ`,
//! so every element can be drawn alone. Only integer arithmetic and single IEEE operations
//! follow, never a library's logarithm or cosine, whose last bit differs between systems.

use half::{bf16, f16};
use rayon::prelude::*;

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers with its own name under a seed.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream called `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a tells names apart; mixing it with the seed makes every pair its own stream.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { key: mix(mix(seed.wrapping_add(GAMMA)) ^ hash) }
    }

    /// What a kernel draws the same numbers from.
    pub fn key(self) -> u64 {
        self.key
    }

    /// 64 random bits.
    pub fn bits(self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// A whole number below `bound`, which must not be 0, by multiplication instead of a
    /// remainder.
    pub fn below(self, index: u64, bound: u32) -> u32 {
        (((self.bits(index) >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A bell-shaped number with the given mean and standard deviation: the sum of four uniform
    /// 16-bit numbers (Irwin–Hall), exact in 32-bit floats before its one scaling. Its tails end
    /// at 3.5 standard deviations.
    pub fn bell(self, index: u64, mean: f32, stddev: f32) -> f32 {
        const CENTRE: i32 = 2 * 0xffff;
        // √(4 · (2³² − 1) / 12), the spread of that sum.
        const SPREAD: f32 = 37_837.227;
        let bits = self.bits(index);
        let sum = (0..4).map(|i| (bits >> (16 * i) & 0xffff) as i32).sum::<i32>();
        mean + (sum - CENTRE) as f32 * (stddev / SPREAD)
    }

    /// The first `len` numbers of the stream in the format wanted, drawn in parallel.
    pub fn bells<T: FromF32 + Send>(self, len: usize, mean: f32, stddev: f32) -> Vec<T> {
        (0..len)
            .into_par_iter()
            .with_min_len(1 << 12)
            .map(|i| T::from_f32(self.bell(i as u64, mean, stddev)))
            .collect()
    }
}

/// Formats that weights can have.
pub trait FromF32 {
    /// Rounds to nearest, ties to even.
    fn from_f32(value: f32) -> Self;
}

impl FromF32 for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl FromF32 for f16 {
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }
}

impl FromF32 for bf16 {
    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence() {
        // SplitMix64 from state 0 begins with these, in any implementation.
        let raw = Stream { key: 0 };
        assert_eq!(
            [raw.bits(0), raw.bits(1), raw.bits(2)],
            [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
        );
    }

    #[test]
    fn the_same_bits_forever() {
        let stream = Stream::new(7, "model.norm.weight");
        let drawn: Vec<u32> = (0..4).map(|i| stream.bell(i, 0.0, 1.0).to_bits()).collect();
        assert_eq!(drawn, GOLDEN);
        assert_ne!(stream.bits(0), Stream::new(8, "model.norm.weight").bits(0));
        assert_ne!(stream.bits(0), Stream::new(7, "model.norm.weighs").bits(0));
    }

    /// Computed apart from this code, in Python with NumPy's 32-bit floats.
    const GOLDEN: [u32; 4] = [0x3fc6_f9e3, 0xbf92_8fb0, 0xbedd_4875, 0xbf31_69d7];

    #[test]
    fn any_number_of_threads_draws_the_same() {
        let stream = Stream::new(1, "w");
        let draw = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| stream.bells::<bf16>(100_003, 0.0, 0.02))
        };
        assert_eq!(draw(1), draw(7));
    }

    #[test]
    fn mean_and_spread_are_as_asked() {
        let drawn = Stream::new(3, "w").bells::<f32>(1 << 20, 1.0, 0.25);
        let n = drawn.len() as f64;
        let mean = drawn.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = drawn.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        // Five standard errors of a million values.
        assert!((mean - 1.0).abs() < 5.0 * 0.25 / n.sqrt(), "{mean}");
        assert!((variance.sqrt() - 0.25).abs() < 5.0 * 0.25 / (2.0 * n).sqrt(), "{variance}");
    }

    #[test]
    fn numbers_below_a_bound_reach_all_of_it() {
        let stream = Stream::new(3, "tokens");
        let drawn: std::collections::HashSet<u32> = (0..200).map(|i| stream.below(i, 7)).collect();
        assert_eq!(drawn.len(), 7);
        assert!(drawn.into_iter().all(|v| v < 7));
    }
}
