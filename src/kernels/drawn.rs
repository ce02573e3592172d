//! Numbers for tests of kernels.

/// `len` numbers in [−1, 1), of both signs and never all alike; others for each name.
pub(super) fn drawn(name: &str, len: usize) -> Vec<f32> {
    let seed = name.bytes().fold(1_u64, |seed, byte| seed.wrapping_mul(257) + u64::from(byte));
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}
