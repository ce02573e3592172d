//! Products against a plain loop in f64, over shapes that fit no tile.

use half::{bf16, f16};
use proptest::prelude::*;

use super::{Element, Gemm, GemmShape, PACKED_MAX, parts};
use crate::kernels::Instructions;
use crate::kernels::drawn::drawn;

/// Runs the product on NaN, so that an element that nobody writes shows, and compares.
///
/// Any order of summation is off by at most `k · ε · Σ|a||b|` (Higham, Accuracy and Stability of
/// Numerical Algorithms, §3.1, with ε twice the unit roundoff).
fn check<T: Element>(gemm: &mut Gemm, from: fn(f32) -> T, to: fn(T) -> f32) {
    let GemmShape { m, n, k } = gemm.shape();
    let a: Vec<T> = drawn("a", m * k).into_iter().map(from).collect();
    let b: Vec<T> = drawn("b", k * n).into_iter().map(from).collect();
    let mut c = vec![f32::NAN; m * n];
    gemm.run(&a, &b, &mut c);
    for row in 0..m {
        for column in 0..n {
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for depth in 0..k {
                let (a, b) = (to(a[row * k + depth]), to(b[depth * n + column]));
                let product = f64::from(a) * f64::from(b);
                sum += product;
                magnitude += product.abs();
            }
            let found = f64::from(c[row * n + column]);
            let bound = k as f64 * f64::from(f32::EPSILON) * magnitude;
            assert!(
                (found - sum).abs() <= bound,
                "{m}×{n}×{k} {}: C[{row}, {column}] is {found}, not {sum} ± {bound}",
                gemm.instructions().name(),
            );
        }
    }
}

/// Every format on every instruction set, on pools of one to three threads.
fn check_all(m: usize, n: usize, k: usize) {
    for n_threads in 1..=3 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            for instructions in Instructions::available() {
                let mut gemm = Gemm::new(instructions, GemmShape { m, n, k }).unwrap();
                check::<f32>(&mut gemm, |value| value, |value| value);
                check::<f16>(&mut gemm, f16::from_f32, f16::to_f32);
                check::<bf16>(&mut gemm, bf16::from_f32, bf16::to_f32);
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_of_any_small_shape_are_right(m in 0..70_usize, n in 0..70_usize, k in 0..70_usize) {
        check_all(m, n, k);
    }
}

#[test]
fn products_of_several_blocks_are_right() {
    check_all(257, 129, 300);
    check_all(200, 300, 1);
    check_all(13, 530, 515);
}

#[test]
fn products_larger_than_what_is_packed_at_once_are_right() {
    check_all(PACKED_MAX + 3, 5, 7);
    check_all(3, PACKED_MAX + 35, 5);
    check_all(2, 3, PACKED_MAX + 259);
}

#[test]
fn a_product_of_no_depth_is_zero() {
    check_all(7, 9, 0);
}

#[test]
fn a_second_run_sees_nothing_of_the_first() {
    let shape = GemmShape { m: 31, n: 45, k: 70 };
    for instructions in Instructions::available() {
        let mut gemm = Gemm::new(instructions, shape).unwrap();
        gemm.run(&[f32::NAN; 31 * 70], &[f32::NAN; 70 * 45], &mut [0.0; 31 * 45]);
        check::<f32>(&mut gemm, |value| value, |value| value);
    }
}

#[test]
fn slices_of_another_length_are_refused() {
    let shape = GemmShape { m: 2, n: 3, k: 4 };
    for lengths in [[7, 12, 6], [8, 13, 6], [8, 12, 5]] {
        let run = || {
            let [a, b, c] = lengths.map(|length| vec![0.0; length]);
            Gemm::new(Instructions::Portable, shape).unwrap().run(&a, &b, &mut c.clone());
        };
        assert!(std::panic::catch_unwind(run).is_err(), "{lengths:?} was taken");
    }
}

#[test]
fn instructions_that_are_missing_are_refused() {
    let shape = GemmShape { m: 2, n: 3, k: 4 };
    for instructions in Instructions::ALL {
        let made = std::panic::catch_unwind(|| Gemm::new(instructions, shape).is_ok());
        assert_eq!(made.is_ok(), instructions.is_available(), "{}", instructions.name());
    }
}

#[test]
fn parts_cover_a_range_evenly() {
    let cut = |range, max, unit| parts(range, max, unit).collect::<Vec<_>>();
    assert!(cut(0..0, 8, 4).is_empty());
    assert_eq!(cut(5..13, 8, 4), vec![5..13; 1]);
    assert_eq!(cut(0..17, 8, 2), [0..6, 6..12, 12..17]);
    assert_eq!(cut(0..4097, 4096, 16), [0..2064, 2064..4097]);
}
