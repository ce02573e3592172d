//! A series of pass times in bounded memory.

/// Most blocks that [`Blocks::means`] gives.
pub const MAX_BLOCKS: usize = 16;

/// Pass times as the means of consecutive blocks. A block is one pass to begin with; whenever
/// there are twice as many as wanted, neighbours are joined, so that any number of passes leaves
/// between [`MAX_BLOCKS`] ÷ 2 and [`MAX_BLOCKS`] of them, in order.
#[derive(Clone, Debug)]
pub struct Blocks {
    passes_per_block: u64,
    /// Sums of the full blocks.
    sums_ns: Vec<u64>,
    open_sum_ns: u64,
    open_passes: u64,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { passes_per_block: 1, sums_ns: Vec::new(), open_sum_ns: 0, open_passes: 0 }
    }
}

impl Blocks {
    /// Takes one pass in.
    pub fn record(&mut self, pass_ns: u64) {
        self.open_sum_ns = self.open_sum_ns.saturating_add(pass_ns);
        self.open_passes += 1;
        if self.open_passes < self.passes_per_block {
            return;
        }
        if self.sums_ns.len() == MAX_BLOCKS {
            self.sums_ns =
                self.sums_ns.chunks(2).map(|pair| pair[0].saturating_add(pair[1])).collect();
            self.passes_per_block *= 2;
            // The block that was full is now the first half of one.
            return;
        }
        self.sums_ns.push(self.open_sum_ns);
        (self.open_sum_ns, self.open_passes) = (0, 0);
    }

    /// Mean pass time of each full block, in nanoseconds, rounded down.
    pub fn means(&self) -> Vec<u64> {
        self.sums_ns.iter().map(|sum_ns| sum_ns / self.passes_per_block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_means_of_consecutive_passes(values in prop::collection::vec(0_u64..1000, 0..300)) {
            let mut blocks = Blocks::default();
            values.iter().for_each(|&ns| blocks.record(ns));
            let means = blocks.means();
            let per_block = blocks.passes_per_block as usize;
            let want: Vec<u64> = values
                .chunks_exact(per_block)
                .map(|block| block.iter().sum::<u64>() / per_block as u64)
                .collect();
            prop_assert_eq!(&means, &want);
            prop_assert!(means.len() <= MAX_BLOCKS);
            prop_assert!(means.len() >= values.len().min(MAX_BLOCKS / 2));
        }
    }
}
