"""benchinf's random numbers, drawn again with NumPy: the same bits as `src/model/random.rs`.

SplitMix64 read at an index, streams told apart by FNV-1a of their names, and bell-shaped numbers
as the sum of four uniform 16-bit ones (Irwin-Hall).
"""

import numpy as np

GAMMA = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
# sqrt(4 * (2**32 - 1) / 12), the spread of the sum, in 32-bit floats as there.
SPREAD = np.float32(37837.227)
CENTRE = 2 * 0xFFFF
# Numbers drawn at a time: their 64-bit intermediates stay in the cache.
CHUNK = 1 << 16


def mix(z):
    """The output function of SplitMix64, on a Python integer."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Stream:
    """A stream of random numbers with its own name under a seed."""

    def __init__(self, seed, name):
        digest = 0xCBF29CE484222325
        for byte in name.encode():
            digest = ((digest ^ byte) * 0x100000001B3) & MASK
        self.key = mix(mix((seed + GAMMA) & MASK) ^ digest)

    def bits(self, indices):
        """64 random bits for each of an array of indices."""
        z = np.asarray(indices, dtype=np.uint64) + np.uint64(1)
        z *= np.uint64(GAMMA)
        z += np.uint64(self.key)
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        return z

    def below(self, indices, bound):
        """A whole number below `bound` for each index."""
        high = self.bits(indices) >> np.uint64(32)
        return (high * np.uint64(bound)) >> np.uint64(32)

    def bells(self, start, n, mean, stddev):
        """Bell-shaped 32-bit floats at indices `start .. start + n`."""
        scale = np.float32(stddev) / SPREAD
        out = np.empty(n, dtype=np.float32)
        lanes = np.uint64(0x0000FFFF0000FFFF)
        for begin in range(0, n, CHUNK):
            end = min(begin + CHUNK, n)
            bits = self.bits(np.arange(start + begin, start + end, dtype=np.uint64))
            # Two sums of two in the halves of a word, then their sum.
            pairs = (bits & lanes) + ((bits >> np.uint64(16)) & lanes)
            sums = (pairs & np.uint64(0xFFFFFFFF)) + (pairs >> np.uint64(32))
            centred = sums.astype(np.int32) - np.int32(CENTRE)
            out[begin:end] = np.float32(mean) + centred.astype(np.float32) * scale
        return out


def tokens(seed, vocab_size, batch_size, start, n):
    """Token ids of `batch_size` sequences at positions `start .. start + n`, one row each."""
    stream = Stream(seed, "tokens")
    return [
        stream.below((row << 32) + np.arange(start, start + n, dtype=np.uint64), vocab_size)
        .astype(int)
        .tolist()
        for row in range(batch_size)
    ]
