//! Memory whose pages nobody has touched.

#![allow(unsafe_code)]

/// Size of a huge page on x86-64, and on aarch64 with pages of 4 KiB.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Zeroed memory, aligned to huge pages, which it asks the system for where there are such.
///
/// Pages come into being when they are first written, near the core that does so.
#[derive(Debug)]
pub struct Buffer {
    map: memmap2::MmapMut,
    offset_bytes: usize,
    n_words: usize,
}

impl Buffer {
    /// `n_words` words of 8 bytes.
    ///
    /// # Errors
    /// If the system refuses that much memory.
    pub fn new(n_words: usize) -> std::io::Result<Self> {
        // With room to begin at a huge page; pages that are not touched cost nothing.
        let length = n_words
            .checked_mul(8)
            .and_then(|bytes| bytes.checked_add(HUGE_PAGE_BYTES))
            .ok_or(std::io::ErrorKind::OutOfMemory)?;
        let map = memmap2::MmapMut::map_anon(length)?;
        // Only a hint: without huge pages the memory is as good and a little slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let address = map.as_ptr() as usize;
        let offset_bytes = address.next_multiple_of(HUGE_PAGE_BYTES) - address;
        Ok(Self { map, offset_bytes, n_words })
    }

    /// All words.
    pub fn as_slice(&self) -> &[u64] {
        // SAFETY: the map is longer than the words by what the offset can be, aligned by it, and
        // borrowed as long as the slice. Zeroed bytes are words.
        unsafe { std::slice::from_raw_parts(self.begin().cast(), self.n_words) }
    }

    /// All words, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u64] {
        // SAFETY: as in `as_slice`, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.begin_mut().cast(), self.n_words) }
    }

    /// The same memory as floats, two to a word.
    pub fn as_f32_slice(&self) -> &[f32] {
        // SAFETY: as in `as_slice`; a float is half a word and any bits are one.
        unsafe { std::slice::from_raw_parts(self.begin().cast(), 2 * self.n_words) }
    }

    /// The same memory as floats, to be written.
    pub fn as_f32_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_f32_slice`, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.begin_mut().cast(), 2 * self.n_words) }
    }

    /// The same memory as words of 4 bytes, two to a word of 8, lower half first on a machine that
    /// stores it first.
    pub fn as_u32_slice(&self) -> &[u32] {
        // SAFETY: as in `as_f32_slice`.
        unsafe { std::slice::from_raw_parts(self.begin().cast(), 2 * self.n_words) }
    }

    /// The same memory as words of 4 bytes, to be written.
    pub fn as_u32_mut_slice(&mut self) -> &mut [u32] {
        // SAFETY: as in `as_f32_slice`, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.begin_mut().cast(), 2 * self.n_words) }
    }

    /// The same memory as half-words, four to a word.
    pub fn as_u16_slice(&self) -> &[u16] {
        // SAFETY: as in `as_f32_slice`.
        unsafe { std::slice::from_raw_parts(self.begin().cast(), 4 * self.n_words) }
    }

    /// The same memory as half-words, to be written.
    pub fn as_u16_mut_slice(&mut self) -> &mut [u16] {
        // SAFETY: as in `as_f32_slice`, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.begin_mut().cast(), 4 * self.n_words) }
    }

    /// The same memory as bytes.
    pub fn as_u8_slice(&self) -> &[u8] {
        // SAFETY: as in `as_f32_slice`.
        unsafe { std::slice::from_raw_parts(self.begin(), 8 * self.n_words) }
    }

    /// The same memory as bytes, to be written.
    pub fn as_u8_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_f32_slice`, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.begin_mut(), 8 * self.n_words) }
    }

    fn begin(&self) -> *const u8 {
        self.map[self.offset_bytes..].as_ptr()
    }

    fn begin_mut(&mut self) -> *mut u8 {
        self.map[self.offset_bytes..].as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_zeroed_aligned_and_both_words_and_floats() {
        let mut buffer = Buffer::new(1001).unwrap();
        assert_eq!(buffer.as_slice(), [0; 1001]);
        assert_eq!(buffer.as_slice().as_ptr().addr() % HUGE_PAGE_BYTES, 0);
        buffer.as_mut_slice()[1000] = u64::from(1.5_f32.to_bits()) << 32;
        let last = if cfg!(target_endian = "little") { 2001 } else { 2000 };
        assert_eq!(buffer.as_f32_slice().len(), 2002);
        assert_eq!(buffer.as_f32_slice()[last], 1.5);
        buffer.as_f32_mut_slice()[last] = 0.0;
        assert_eq!(buffer.as_slice()[1000], 0);
    }

    #[test]
    fn an_empty_buffer_is_fine_and_an_absurd_one_an_error() {
        assert!(Buffer::new(0).unwrap().as_slice().is_empty());
        assert!(Buffer::new(usize::MAX / 4).is_err());
        assert!(Buffer::new(usize::MAX / 16).is_err());
    }
}
