//! The formats that a product can read.

use half::slice::HalfFloatSliceExt;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

/// Element formats a product can read. Every value of them is a value of f32, so widening is
/// exact.
pub trait Element: Copy + Send + Sync + sealed::Sealed {
    /// Writes `from` as f32 to `to`, which is as long.
    #[doc(hidden)]
    fn widen(from: &[Self], to: &mut [f32]);

    /// `from` as f32, in `room` of the same length unless it is that already.
    #[doc(hidden)]
    #[inline]
    fn widened<'a>(from: &'a [Self], room: &'a mut [f32]) -> &'a [f32] {
        Self::widen(from, room);
        room
    }
}

impl Element for f32 {
    #[inline]
    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    #[inline]
    fn widened<'a>(from: &'a [Self], _: &'a mut [f32]) -> &'a [f32] {
        from
    }
}

impl Element for half::f16 {
    #[inline]
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
}

impl Element for half::bf16 {
    #[inline]
    fn widen(from: &[Self], to: &mut [f32]) {
        // A bf16 is the upper half of an f32.
        for (wide, narrow) in to.iter_mut().zip(from) {
            *wide = f32::from_bits(u32::from(narrow.to_bits()) << 16);
        }
    }
}
