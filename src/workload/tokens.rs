//! Token ids drawn from the seed: varied, never one repeated id.

use crate::model::random::Stream;

/// The tokens of every sequence at every position.
#[derive(Clone, Copy, Debug)]
pub struct TokenStream {
    stream: Stream,
    vocab_size: u32,
}

impl TokenStream {
    /// Tokens below `vocab_size` under `seed`.
    pub fn new(seed: u64, vocab_size: usize) -> Self {
        // Configurations bound the vocabulary far below 2³².
        Self { stream: Stream::new(seed, "tokens"), vocab_size: vocab_size as u32 }
    }

    /// Tokens of `batch_size` sequences at positions `start..start + n`, one row after another.
    pub fn rows(&self, batch_size: u32, start: u32, n: u32) -> Vec<u32> {
        (0..u64::from(batch_size))
            .flat_map(|row| (0..u64::from(n)).map(move |i| row << 32 | (u64::from(start) + i)))
            .map(|index| self.stream.below(index, self.vocab_size))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_token_and_rows_differ() {
        let tokens = TokenStream::new(5, 1000);
        let whole = tokens.rows(2, 0, 8);
        assert_eq!(tokens.rows(1, 3, 5), whole[3..8]);
        assert_ne!(whole[..8], whole[8..]);
        assert!(whole.iter().collect::<std::collections::HashSet<_>>().len() > 12);
    }
}
