//! Asking for memory before it is needed.

#![allow(unsafe_code)]

/// Asks for the cache lines of `elements`, where the machine takes such hints. Hardware follows
/// long rows by itself, but begins anew, a few lines late, with each short piece of a row.
#[inline]
pub(super) fn prefetch<T>(elements: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in elements.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = elements;
}
