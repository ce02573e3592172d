//! Memory that tasks write different parts of.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

/// A slice that many tasks write at once, each where no other does.
#[derive(Debug)]
pub(super) struct Chunks<'a, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: whoever takes a part promises that nobody else uses it meanwhile.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { first: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// Nobody else uses this part as long as it lives.
    ///
    /// # Panics
    /// If the slice has no such part.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "no part {range:?}");
        // SAFETY: inside of the slice, which is borrowed mutably for `'a`; alone by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}
