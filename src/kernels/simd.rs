//! Vectors of floats, one type for each instruction set, so that a kernel is written once.
//!
//! A kernel is a value with a [`Kernel::run`] that is generic over [`Simd`]; [`dispatch`] runs it
//! compiled for the instruction set asked for.

#![allow(unsafe_code)]

use crate::kernels::Instructions;

/// What a kernel may do with vectors.
///
/// # Safety
/// Every function needs the instruction set of the type, and pointers to as many elements as it
/// says. Nothing needs to be aligned.
pub(super) trait Simd: Copy {
    /// A vector of [`Simd::LANES`] floats.
    type V: Copy;
    /// A vector of as many 32-bit integers, or of as many groups of four bytes.
    type I: Copy;

    /// Floats in a vector.
    const LANES: usize;
    /// Rows of two vectors whose sums stay in registers, beside what they are made from.
    const TILE_ROWS: usize;
    /// Rows of the tallest tile of bytes, where each row also has two vectors of integer sums; a part
    /// of the sums may go to memory between blocks.
    const BYTE_TILE_ROWS: usize;
    /// Whether products of pairs of bf16 are one instruction.
    const HAS_BF16_DOT: bool;

    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, value: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// The greater of both; `b` if either is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, fused where the machine has it.
    unsafe fn multiply_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest whole numbers.
    unsafe fn round(a: Self::V) -> Self::V;
    /// 2 to the power of whole numbers from −126 to 127.
    unsafe fn exp2_of_whole(a: Self::V) -> Self::V;
    /// Asks for the line at an address, which may be any, to be brought near.
    unsafe fn prefetch(address: *const u8);
    /// The same, into the first cache.
    unsafe fn prefetch_nearest(address: *const u8);
    unsafe fn sum(a: Self::V) -> f32;
    unsafe fn greatest(a: Self::V) -> f32;

    /// [`Simd::LANES`] numbers of binary16.
    unsafe fn load_f16(from: *const u16) -> Self::V;
    /// [`Simd::LANES`] pairs of bfloat16: the first of each, and the second of each.
    unsafe fn load_bf16_pairs(from: *const u16) -> (Self::V, Self::V);
    /// Adds to each float the product of two pairs: `pair`, the same for all lanes, and that of
    /// the lane at `from`. Only where [`Simd::HAS_BF16_DOT`].
    unsafe fn dot_bf16(pair: *const u16, from: *const u16, sum: Self::V) -> Self::V;

    /// [`Simd::LANES`] bytes, each a number from 0 to 255, as floats.
    unsafe fn load_u8(from: *const u8) -> Self::V;
    /// Whole numbers from −128 to 127 as bytes; anything for what is not a number.
    unsafe fn store_i8(to: *mut i8, whole: Self::V);
    /// [`Simd::LANES`] groups of four bytes.
    unsafe fn load_bytes(from: *const u8) -> Self::I;
    /// The same group of four bytes in all lanes.
    unsafe fn splat_bytes(from: *const u32) -> Self::I;
    /// The lower four bits of each byte.
    unsafe fn low_nibbles(bytes: Self::I) -> Self::I;
    /// The upper four bits of each byte.
    unsafe fn high_nibbles(bytes: Self::I) -> Self::I;
    unsafe fn splat_i32(value: i32) -> Self::I;
    /// What [`Simd::add_offset_products`] adds to, where −128 times the sum of all of its `signed`
    /// bytes stands at `offset`.
    unsafe fn start_of_offset_sums(offset: *const u32) -> Self::I;
    /// Adds to each integer the products of four bytes, which stand for the numbers 128 below
    /// them, with four signed bytes from −127 to 127. Sums are right once all products are added.
    unsafe fn add_offset_products(offset: Self::I, signed: Self::I, sums: Self::I) -> Self::I;
    /// Adds the products of four bytes from 0 to 15 with four signed bytes from −127 to 127 to sums
    /// that began with 0, at most [`NIBBLE_GROUPS`] times.
    unsafe fn add_nibble_products(nibbles: Self::I, signed: Self::I, sums: Self::I) -> Self::I;
    /// The integers that [`Simd::add_nibble_products`] summed, which may still be in two parts.
    unsafe fn whole_nibble_sums(sums: Self::I) -> Self::I;
    /// Integers as floats, rounded to nearest.
    unsafe fn floats(integers: Self::I) -> Self::V;
    /// The same bits, to be kept where sums of floats are kept and not calculated with.
    unsafe fn bits_of_integers(integers: Self::I) -> Self::V;
    /// What [`Simd::bits_of_integers`] was made from.
    unsafe fn integers_of_bits(bits: Self::V) -> Self::I;
    /// Wraps where it overflows.
    unsafe fn add_i32(a: Self::I, b: Self::I) -> Self::I;
}

/// How often [`Simd::add_nibble_products`] may add to the same sums: two products each time, in 16
/// bits.
pub(super) const NIBBLE_GROUPS: usize = 8;
const _: () = assert!(NIBBLE_GROUPS * 2 * 15 * 127 <= i16::MAX as usize);

/// eˣ to within 2 units in the last place for x ≤ 0; e⁻⁸⁷, all but 0, below −87.
///
/// Cody and Waite's reduction to |r| ≤ ln 2 / 2 and the polynomial of Cephes' `expf`.
///
/// # Safety
/// As [`Simd`] says.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: by the caller.
    unsafe {
        let x = S::max(S::splat(-87.0), x);
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::multiply_add(n, S::splat(-0.693_359_4), x);
        let r = S::multiply_add(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_3e-1] {
            p = S::multiply_add(p, r, S::splat(c));
        }
        let p = S::multiply_add(p, S::mul(r, r), S::add(r, S::splat(1.0)));
        S::mul(p, S::exp2_of_whole(n))
    }
}

/// What a kernel multiplies beside floats. It decides for which instruction sets it is compiled:
/// those that differ in what it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Products {
    /// Nothing.
    Floats,
    /// Pairs of bf16.
    Pairs,
    /// Groups of four bytes.
    Bytes,
}

/// Something to run on vectors.
pub(super) trait Kernel {
    type Output;

    const PRODUCTS: Products;

    /// To be marked `#[inline(always)]`, or it is compiled without the instructions it is for.
    ///
    /// # Safety
    /// The machine has the instructions of `S`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// Runs `kernel` with `instructions`.
///
/// # Panics
/// If this machine does not have them.
pub(super) fn dispatch<K: Kernel>(instructions: Instructions, kernel: K) -> K::Output {
    instructions.assert_available();
    // Conditions are known when compiling, so what is never run is not compiled.
    match instructions {
        // SAFETY: asserted above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Bf16 if matches!(K::PRODUCTS, Products::Pairs) => unsafe {
            x86::on_avx512_bf16(kernel)
        },
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Bf16 | Instructions::Avx512Vnni
            if matches!(K::PRODUCTS, Products::Bytes) =>
        {
            // SAFETY: asserted above; a better set has all of it.
            unsafe { x86::on_avx512_vnni(kernel) }
        }
        // SAFETY: asserted above; a better set has all of it.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Bf16 | Instructions::Avx512Vnni | Instructions::Avx512 => unsafe {
            x86::on_avx512(kernel)
        },
        // SAFETY: asserted above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { x86::on_avx2(kernel) },
        // SAFETY: plain code runs anywhere.
        Instructions::Portable => unsafe { kernel.run::<Portable>() },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("asserted above"),
    }
}

/// [`Simd::TILE_ROWS`] of `instructions`.
pub(super) fn tile_rows(instructions: Instructions) -> usize {
    struct TileRows;
    impl Kernel for TileRows {
        type Output = usize;

        const PRODUCTS: Products = Products::Floats;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> usize {
            S::TILE_ROWS
        }
    }
    dispatch(instructions, TileRows)
}

/// [`Simd::HAS_BF16_DOT`] of `instructions`.
pub(super) fn has_bf16_dot(instructions: Instructions) -> bool {
    struct HasBf16Dot;
    impl Kernel for HasBf16Dot {
        type Output = bool;

        const PRODUCTS: Products = Products::Pairs;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> bool {
            S::HAS_BF16_DOT
        }
    }
    dispatch(instructions, HasBf16Dot)
}

/// Plain Rust, in arrays that a compiler makes vectors of.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn lanes(of: impl FnMut(usize) -> f32) -> [f32; 8] {
    std::array::from_fn(of)
}

/// The four bytes of a group.
#[inline(always)]
fn bytes(group: u32) -> [u8; 4] {
    group.to_ne_bytes()
}

/// Adds to each sum the products of four numbers, made of bytes by `of`, with signed bytes.
#[inline(always)]
fn add_byte_products(a: [u32; 8], b: [u32; 8], sums: [u32; 8], of: fn(u8) -> i32) -> [u32; 8] {
    std::array::from_fn(|i| {
        let products = bytes(a[i]).into_iter().zip(bytes(b[i]));
        let sum: i32 = products.map(|(a, b)| of(a) * i32::from(b as i8)).sum();
        (sums[i] as i32).wrapping_add(sum) as u32
    })
}

impl Simd for Portable {
    type V = [f32; 8];
    type I = [u32; 8];

    const LANES: usize = 8;
    const TILE_ROWS: usize = 2;
    const BYTE_TILE_ROWS: usize = 1;
    const HAS_BF16_DOT: bool = false;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: by the caller; floats are read wherever they stand.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        // SAFETY: by the caller.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] / b[i])
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn multiply_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Fused where every machine of the target has it; elsewhere that would be a call of the
        // mathematical library.
        match cfg!(target_arch = "aarch64") {
            true => lanes(|i| a[i].mul_add(b[i], c[i])),
            false => lanes(|i| a[i] * b[i] + c[i]),
        }
    }

    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::V {
        // Adding 1.5 · 2²³ leaves no bit for a fraction.
        const WHOLE: f32 = 12_582_912.0;
        lanes(|i| a[i] + WHOLE - WHOLE)
    }

    #[inline(always)]
    unsafe fn exp2_of_whole(a: Self::V) -> Self::V {
        lanes(|i| f32::from_bits(((a[i] as i32 + 127) << 23) as u32))
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}

    #[inline(always)]
    unsafe fn prefetch_nearest(_: *const u8) {}

    #[inline(always)]
    unsafe fn sum(a: Self::V) -> f32 {
        a.iter().sum()
    }

    #[inline(always)]
    unsafe fn greatest(a: Self::V) -> f32 {
        a.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self::V {
        // SAFETY: by the caller.
        let bits = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        lanes(|i| half::f16::from_bits(bits[i]).to_f32())
    }

    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const u16) -> (Self::V, Self::V) {
        // SAFETY: by the caller.
        let bits = unsafe { from.cast::<[u16; 16]>().read_unaligned() };
        // A bf16 is the upper half of an f32.
        let of = |i: usize| f32::from_bits(u32::from(bits[i]) << 16);
        (lanes(|i| of(2 * i)), lanes(|i| of(2 * i + 1)))
    }

    unsafe fn dot_bf16(_: *const u16, _: *const u16, _: Self::V) -> Self::V {
        unreachable!("no such instruction is claimed")
    }

    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::V {
        // SAFETY: by the caller.
        let numbers = unsafe { from.cast::<[u8; 8]>().read() };
        lanes(|i| numbers[i].into())
    }

    #[inline(always)]
    unsafe fn store_i8(to: *mut i8, whole: Self::V) {
        // SAFETY: by the caller.
        unsafe { to.cast::<[i8; 8]>().write(whole.map(|x| x as i8)) }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self::I {
        // SAFETY: by the caller.
        unsafe { from.cast::<[u32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat_bytes(from: *const u32) -> Self::I {
        // SAFETY: by the caller.
        [unsafe { from.read_unaligned() }; 8]
    }

    #[inline(always)]
    unsafe fn low_nibbles(bytes: Self::I) -> Self::I {
        bytes.map(|group| group & 0x0f0f_0f0f)
    }

    #[inline(always)]
    unsafe fn high_nibbles(bytes: Self::I) -> Self::I {
        bytes.map(|group| group >> 4 & 0x0f0f_0f0f)
    }

    #[inline(always)]
    unsafe fn splat_i32(value: i32) -> Self::I {
        [value as u32; 8]
    }

    #[inline(always)]
    unsafe fn start_of_offset_sums(_: *const u32) -> Self::I {
        [0; 8]
    }

    #[inline(always)]
    unsafe fn add_offset_products(offset: Self::I, signed: Self::I, sums: Self::I) -> Self::I {
        add_byte_products(offset, signed, sums, |byte| i32::from(byte) - 128)
    }

    #[inline(always)]
    unsafe fn add_nibble_products(nibbles: Self::I, signed: Self::I, sums: Self::I) -> Self::I {
        add_byte_products(nibbles, signed, sums, i32::from)
    }

    #[inline(always)]
    unsafe fn whole_nibble_sums(sums: Self::I) -> Self::I {
        sums
    }

    #[inline(always)]
    unsafe fn floats(integers: Self::I) -> Self::V {
        lanes(|i| integers[i] as i32 as f32)
    }

    #[inline(always)]
    unsafe fn bits_of_integers(integers: Self::I) -> Self::V {
        integers.map(f32::from_bits)
    }

    #[inline(always)]
    unsafe fn integers_of_bits(bits: Self::V) -> Self::I {
        bits.map(f32::to_bits)
    }

    #[inline(always)]
    unsafe fn add_i32(a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Simd};

    /// # Safety
    /// The machine has these instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni")]
    pub unsafe fn on_avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: by the caller.
        unsafe { kernel.run::<Avx512Bf16>() }
    }

    /// # Safety
    /// The machine has these instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub unsafe fn on_avx512_vnni<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: by the caller.
        unsafe { kernel.run::<Avx512Vnni>() }
    }

    /// # Safety
    /// The machine has these instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub unsafe fn on_avx512<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: by the caller.
        unsafe { kernel.run::<Avx512>() }
    }

    /// # Safety
    /// The machine has these instructions.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn on_avx2<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: by the caller.
        unsafe { kernel.run::<Avx2>() }
    }

    /// 32 registers of 16 floats.
    #[derive(Clone, Copy)]
    pub struct Avx512;

    /// The same with products of groups of four bytes.
    #[derive(Clone, Copy)]
    pub struct Avx512Vnni;

    /// The same with products of pairs of bf16, too.
    #[derive(Clone, Copy)]
    pub struct Avx512Bf16;

    macro_rules! avx512 {
        ($name:ident, $has_bf16_dot:literal, $dot:path, $bytes:ident) => {
            // SAFETY of all blocks: whoever uses this type has made sure of the instructions and
            // of what pointers point to, as `Simd` says.
            impl Simd for $name {
                type V = __m512;
                type I = __m512i;

                const LANES: usize = 16;
                const TILE_ROWS: usize = 12;
                const BYTE_TILE_ROWS: usize = 12;
                const HAS_BF16_DOT: bool = $has_bf16_dot;

                #[inline(always)]
                unsafe fn splat(value: f32) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_set1_ps(value) }
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_loadu_ps(from) }
                }

                #[inline(always)]
                unsafe fn store(to: *mut f32, value: __m512) {
                    // SAFETY: see above.
                    unsafe { _mm512_storeu_ps(to, value) }
                }

                #[inline(always)]
                unsafe fn add(a: __m512, b: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_add_ps(a, b) }
                }

                #[inline(always)]
                unsafe fn sub(a: __m512, b: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_sub_ps(a, b) }
                }

                #[inline(always)]
                unsafe fn mul(a: __m512, b: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_mul_ps(a, b) }
                }

                #[inline(always)]
                unsafe fn div(a: __m512, b: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_div_ps(a, b) }
                }

                #[inline(always)]
                unsafe fn max(a: __m512, b: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_max_ps(a, b) }
                }

                #[inline(always)]
                unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_fmadd_ps(a, b, c) }
                }

                #[inline(always)]
                unsafe fn round(a: __m512) -> __m512 {
                    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
                    // SAFETY: see above.
                    unsafe { _mm512_roundscale_ps::<NEAREST>(a) }
                }

                #[inline(always)]
                unsafe fn exp2_of_whole(a: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), a) }
                }

                #[inline(always)]
                unsafe fn prefetch(address: *const u8) {
                    // SAFETY: reads nothing.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
                }

                #[inline(always)]
                unsafe fn prefetch_nearest(address: *const u8) {
                    // SAFETY: reads nothing.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
                }

                #[inline(always)]
                unsafe fn sum(a: __m512) -> f32 {
                    // SAFETY: see above.
                    unsafe { _mm512_reduce_add_ps(a) }
                }

                #[inline(always)]
                unsafe fn greatest(a: __m512) -> f32 {
                    // SAFETY: see above.
                    unsafe { _mm512_reduce_max_ps(a) }
                }

                #[inline(always)]
                unsafe fn load_f16(from: *const u16) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
                }

                #[inline(always)]
                unsafe fn load_bf16_pairs(from: *const u16) -> (__m512, __m512) {
                    // SAFETY: see above. A bf16 is the upper half of an f32.
                    unsafe {
                        let pairs = _mm512_loadu_si512(from.cast());
                        let second =
                            _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32));
                        let first = _mm512_slli_epi32::<16>(pairs);
                        (_mm512_castsi512_ps(first), _mm512_castsi512_ps(second))
                    }
                }

                #[inline(always)]
                unsafe fn dot_bf16(pair: *const u16, from: *const u16, sum: __m512) -> __m512 {
                    // SAFETY: see above.
                    unsafe { $dot(pair, from, sum) }
                }

                #[inline(always)]
                unsafe fn load_u8(from: *const u8) -> __m512 {
                    // SAFETY: see above.
                    unsafe {
                        let numbers = _mm_loadu_si128(from.cast());
                        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(numbers))
                    }
                }

                #[inline(always)]
                unsafe fn store_i8(to: *mut i8, whole: __m512) {
                    // SAFETY: see above.
                    unsafe {
                        let bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(whole));
                        _mm_storeu_si128(to.cast(), bytes);
                    }
                }

                #[inline(always)]
                unsafe fn load_bytes(from: *const u8) -> __m512i {
                    // SAFETY: see above.
                    unsafe { _mm512_loadu_si512(from.cast()) }
                }

                #[inline(always)]
                unsafe fn splat_bytes(from: *const u32) -> __m512i {
                    // SAFETY: see above.
                    unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
                }

                #[inline(always)]
                unsafe fn low_nibbles(bytes: __m512i) -> __m512i {
                    // SAFETY: see above.
                    unsafe { _mm512_and_si512(bytes, _mm512_set1_epi8(15)) }
                }

                #[inline(always)]
                unsafe fn high_nibbles(bytes: __m512i) -> __m512i {
                    // SAFETY: see above.
                    unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15)) }
                }

                #[inline(always)]
                unsafe fn splat_i32(value: i32) -> __m512i {
                    // SAFETY: see above.
                    unsafe { _mm512_set1_epi32(value) }
                }

                #[inline(always)]
                unsafe fn start_of_offset_sums(offset: *const u32) -> __m512i {
                    // SAFETY: see above.
                    unsafe { $bytes::start(offset) }
                }

                #[inline(always)]
                unsafe fn add_offset_products(
                    offset: __m512i,
                    signed: __m512i,
                    sums: __m512i,
                ) -> __m512i {
                    // SAFETY: see above.
                    unsafe { $bytes::add_offset_products(offset, signed, sums) }
                }

                #[inline(always)]
                unsafe fn add_nibble_products(
                    nibbles: __m512i,
                    signed: __m512i,
                    sums: __m512i,
                ) -> __m512i {
                    // SAFETY: see above.
                    unsafe { $bytes::add_nibble_products(nibbles, signed, sums) }
                }

                #[inline(always)]
                unsafe fn whole_nibble_sums(sums: __m512i) -> __m512i {
                    // SAFETY: see above.
                    unsafe { $bytes::whole_nibble_sums(sums) }
                }

                #[inline(always)]
                unsafe fn floats(integers: __m512i) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_cvtepi32_ps(integers) }
                }

                #[inline(always)]
                unsafe fn bits_of_integers(integers: __m512i) -> __m512 {
                    // SAFETY: see above.
                    unsafe { _mm512_castsi512_ps(integers) }
                }

                #[inline(always)]
                unsafe fn integers_of_bits(bits: __m512) -> __m512i {
                    // SAFETY: see above.
                    unsafe { _mm512_castps_si512(bits) }
                }

                #[inline(always)]
                unsafe fn add_i32(a: __m512i, b: __m512i) -> __m512i {
                    // SAFETY: see above.
                    unsafe { _mm512_add_epi32(a, b) }
                }
            }
        };
    }

    /// # Safety
    /// As [`Simd::dot_bf16`] asks.
    #[inline(always)]
    unsafe fn dot(pair: *const u16, from: *const u16, sum: __m512) -> __m512 {
        // SAFETY: by the caller; any 512 bits are bf16.
        unsafe {
            let pair = _mm512_set1_epi32(pair.cast::<i32>().read_unaligned());
            let pairs = _mm512_loadu_si512(from.cast());
            let as_bf16 = |v: __m512i| std::mem::transmute::<__m512i, __m512bh>(v);
            _mm512_dpbf16_ps(sum, as_bf16(pair), as_bf16(pairs))
        }
    }

    /// # Safety
    /// None; it is never called.
    unsafe fn no_dot(_: *const u16, _: *const u16, _: __m512) -> __m512 {
        unreachable!("no such instruction is claimed")
    }

    /// Products of bytes by the instruction that sums four of them.
    mod vnni {
        use std::arch::x86_64::*;

        /// Offset bytes are multiplied as they are, 128 above their numbers.
        ///
        /// # Safety
        /// The machine has AVX-512 F, and the word can be read.
        #[inline(always)]
        pub unsafe fn start(offset: *const u32) -> __m512i {
            // SAFETY: by the caller.
            unsafe { _mm512_set1_epi32(offset.cast::<i32>().read_unaligned()) }
        }

        /// # Safety
        /// The machine has AVX-512 F and VNNI.
        #[inline(always)]
        pub unsafe fn add_products(a: __m512i, signed: __m512i, sums: __m512i) -> __m512i {
            // SAFETY: by the caller.
            unsafe { _mm512_dpbusd_epi32(sums, a, signed) }
        }

        pub use add_products as add_nibble_products;
        pub use add_products as add_offset_products;

        /// # Safety
        /// None.
        #[inline(always)]
        pub unsafe fn whole_nibble_sums(sums: __m512i) -> __m512i {
            sums
        }
    }

    /// Products of bytes by way of 16-bit sums, which must not overflow: two products of whole
    /// bytes, 2 · 128 · 127, do not.
    mod pairs {
        use std::arch::x86_64::*;

        /// Offset bytes are made the numbers they stand for.
        ///
        /// # Safety
        /// The machine has AVX-512 F.
        #[inline(always)]
        pub unsafe fn start(_: *const u32) -> __m512i {
            // SAFETY: by the caller.
            unsafe { _mm512_setzero_si512() }
        }

        /// # Safety
        /// The machine has AVX-512 F and BW.
        #[inline(always)]
        pub unsafe fn add_nibble_products(
            nibbles: __m512i,
            signed: __m512i,
            sums: __m512i,
        ) -> __m512i {
            // SAFETY: by the caller.
            unsafe { _mm512_add_epi16(sums, _mm512_maddubs_epi16(nibbles, signed)) }
        }

        /// # Safety
        /// As above.
        #[inline(always)]
        pub unsafe fn whole_nibble_sums(sums: __m512i) -> __m512i {
            // SAFETY: by the caller.
            unsafe { _mm512_madd_epi16(sums, _mm512_set1_epi16(1)) }
        }

        /// # Safety
        /// As above.
        #[inline(always)]
        pub unsafe fn add_offset_products(
            offset: __m512i,
            signed: __m512i,
            sums: __m512i,
        ) -> __m512i {
            // SAFETY: by the caller.
            unsafe {
                let numbers = _mm512_xor_si512(offset, _mm512_set1_epi8(-128));
                let negative = _mm512_movepi8_mask(numbers);
                let zero = _mm512_setzero_si512();
                let signed = _mm512_mask_sub_epi8(signed, negative, zero, signed);
                let pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(numbers), signed);
                _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            }
        }
    }

    avx512!(Avx512, false, no_dot, pairs);
    avx512!(Avx512Vnni, false, no_dot, vnni);
    avx512!(Avx512Bf16, true, dot, vnni);

    /// 16 registers of 8 floats.
    #[derive(Clone, Copy)]
    pub struct Avx2;

    // SAFETY of all blocks: as for AVX-512.
    impl Simd for Avx2 {
        type V = __m256;
        type I = __m256i;

        const LANES: usize = 8;
        const TILE_ROWS: usize = 6;
        const BYTE_TILE_ROWS: usize = 4;
        const HAS_BF16_DOT: bool = false;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m256) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(to, value) }
        }

        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn div(a: __m256, b: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_div_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_max_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn round(a: __m256) -> __m256 {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            // SAFETY: see above.
            unsafe { _mm256_round_ps::<NEAREST>(a) }
        }

        #[inline(always)]
        unsafe fn exp2_of_whole(a: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(address: *const u8) {
            // SAFETY: reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
        }

        #[inline(always)]
        unsafe fn prefetch_nearest(address: *const u8) {
            // SAFETY: reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        unsafe fn sum(a: __m256) -> f32 {
            // SAFETY: see above.
            unsafe {
                let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
            }
        }

        #[inline(always)]
        unsafe fn greatest(a: __m256) -> f32 {
            // SAFETY: see above.
            unsafe {
                let half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
            }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
        }

        #[inline(always)]
        unsafe fn load_bf16_pairs(from: *const u16) -> (__m256, __m256) {
            // SAFETY: see above. A bf16 is the upper half of an f32.
            unsafe {
                let pairs = _mm256_loadu_si256(from.cast());
                let second = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32));
                let first = _mm256_slli_epi32::<16>(pairs);
                (_mm256_castsi256_ps(first), _mm256_castsi256_ps(second))
            }
        }

        unsafe fn dot_bf16(_: *const u16, _: *const u16, _: __m256) -> __m256 {
            unreachable!("no such instruction is claimed")
        }

        #[inline(always)]
        unsafe fn load_u8(from: *const u8) -> __m256 {
            // SAFETY: see above.
            unsafe {
                let numbers = _mm_loadl_epi64(from.cast());
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(numbers))
            }
        }

        #[inline(always)]
        unsafe fn store_i8(to: *mut i8, whole: __m256) {
            // SAFETY: see above.
            unsafe {
                let numbers = _mm256_cvtps_epi32(whole);
                let (low, high) =
                    (_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
                let halves = _mm_packs_epi32(low, high);
                _mm_storel_epi64(to.cast(), _mm_packs_epi16(halves, halves));
            }
        }

        #[inline(always)]
        unsafe fn load_bytes(from: *const u8) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        unsafe fn splat_bytes(from: *const u32) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }

        #[inline(always)]
        unsafe fn low_nibbles(bytes: __m256i) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_and_si256(bytes, _mm256_set1_epi8(15)) }
        }

        #[inline(always)]
        unsafe fn high_nibbles(bytes: __m256i) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15)) }
        }

        #[inline(always)]
        unsafe fn splat_i32(value: i32) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_set1_epi32(value) }
        }

        #[inline(always)]
        unsafe fn start_of_offset_sums(_: *const u32) -> __m256i {
            // SAFETY: see above. Offset bytes are made the numbers they stand for.
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        unsafe fn add_offset_products(offset: __m256i, signed: __m256i, sums: __m256i) -> __m256i {
            // SAFETY: see above. Sums of two products do not overflow up to 2 · 128 · 127.
            unsafe {
                let numbers = _mm256_xor_si256(offset, _mm256_set1_epi8(-128));
                let signed = _mm256_sign_epi8(signed, numbers);
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(numbers), signed);
                _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            }
        }

        #[inline(always)]
        unsafe fn add_nibble_products(nibbles: __m256i, signed: __m256i, sums: __m256i) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_add_epi16(sums, _mm256_maddubs_epi16(nibbles, signed)) }
        }

        #[inline(always)]
        unsafe fn whole_nibble_sums(sums: __m256i) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_madd_epi16(sums, _mm256_set1_epi16(1)) }
        }

        #[inline(always)]
        unsafe fn floats(integers: __m256i) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_cvtepi32_ps(integers) }
        }

        #[inline(always)]
        unsafe fn bits_of_integers(integers: __m256i) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_castsi256_ps(integers) }
        }

        #[inline(always)]
        unsafe fn integers_of_bits(bits: __m256) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_castps_si256(bits) }
        }

        #[inline(always)]
        unsafe fn add_i32(a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_add_epi32(a, b) }
        }
    }
}
