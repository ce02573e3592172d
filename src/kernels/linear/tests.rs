//! Products against their definition.

use candle_core::quantized::k_quants::{BlockQ4K, BlockQ8_0, GgmlType};
use half::{bf16, f16};
use proptest::prelude::*;

use super::*;
use crate::kernels::drawn::drawn;

#[test]
fn operations_of_a_cycle_by_hand() {
    let of = |format: WeightFormat| {
        Instructions::ALL.map(|instructions| format.flops_per_cycle(instructions))
    };
    // Best set first: two units, two operations, 16 lanes, and pairs or quadruples in each.
    assert_eq!(of(WeightFormat::Float(FloatFormat::F32)), [64, 64, 64, 32, 4]);
    assert_eq!(of(WeightFormat::Float(FloatFormat::F16)), [64, 64, 64, 32, 4]);
    assert_eq!(of(WeightFormat::Float(FloatFormat::Bf16)), [128, 64, 64, 32, 4]);
    assert_eq!(of(WeightFormat::Blocks(BlockFormat::Int8)), [256, 256, 128, 64, 4]);
}

/// A matrix as products take it, and what its numbers are in the format wanted.
struct Matrix {
    numbers: Numbers,
    values: Vec<f64>,
}

enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Matrix {
    fn drawn(format: WeightFormat, name: &str, n_rows: usize, n_in: usize) -> Self {
        Self::of(format, drawn(name, n_rows * n_in), n_in)
    }

    fn of(format: WeightFormat, given: Vec<f32>, n_in: usize) -> Self {
        let (numbers, values): (_, Vec<f64>) = match format {
            WeightFormat::Float(FloatFormat::F32) => {
                let values = given.iter().map(|&x| x.into()).collect();
                (Numbers::F32(given), values)
            }
            WeightFormat::Float(FloatFormat::F16) => {
                let halves: Vec<f16> = given.into_iter().map(f16::from_f32).collect();
                let values = halves.iter().map(|&x| x.into()).collect();
                (Numbers::F16(halves), values)
            }
            WeightFormat::Float(FloatFormat::Bf16) => {
                let halves: Vec<bf16> = given.into_iter().map(bf16::from_f32).collect();
                let values = halves.iter().map(|&x| x.into()).collect();
                (Numbers::Bf16(halves), values)
            }
            WeightFormat::Blocks(BlockFormat::Q8_0) => {
                let values = quantised::<BlockQ8_0>(&given, n_in);
                (Numbers::F32(given), values)
            }
            WeightFormat::Blocks(BlockFormat::Q4K) => {
                let values = quantised::<BlockQ4K>(&given, n_in);
                (Numbers::F32(given), values)
            }
            WeightFormat::Blocks(BlockFormat::Int8) => {
                let whole: Vec<f32> = given.iter().map(|x| (127.0 * x).round()).collect();
                let values = whole.iter().map(|&x| x.into()).collect();
                (Numbers::F32(whole), values)
            }
        };
        Self { numbers, values }
    }

    fn rows(&self) -> Rows<'_> {
        match &self.numbers {
            Numbers::F32(rows) => Rows::F32(rows),
            Numbers::F16(rows) => Rows::F16(rows),
            Numbers::Bf16(rows) => Rows::Bf16(rows),
        }
    }
}

/// Rows through the engine's blocks and back.
fn quantised<B: GgmlType>(numbers: &[f32], n_in: usize) -> Vec<f64> {
    let rows = numbers.chunks_exact(n_in).flat_map(|row| {
        let mut row = row.to_vec();
        row.resize(n_in.next_multiple_of(B::BLCK_SIZE), 0.0);
        let mut blocks = vec![B::zeros(); row.len() / B::BLCK_SIZE];
        B::from_float(&row, &mut blocks);
        B::to_float(&blocks, &mut row);
        row.truncate(n_in);
        row
    });
    rows.map(f64::from).collect()
}

/// Activations as products by blocks take them: 32 at a time whole multiples of 1/127 of the
/// greatest.
fn in_bytes(x: &[f32], n_in: usize) -> Vec<f64> {
    let rows = x.chunks_exact(n_in);
    let blocks = rows.flat_map(|row| row.chunks(32)).map(|block| {
        let max = block.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        let inverse = Some(127.0 / max).filter(|x| x.is_finite()).unwrap_or(0.0);
        let scale = f64::from(max / 127.0);
        block.iter().map(|x| f64::from((x * inverse).round_ties_even()) * scale).collect::<Vec<_>>()
    });
    blocks.flatten().collect()
}

/// The outputs of `x (rows, n_in)` by the definition, and of each the sum of its products'
/// sizes, which rounding errors are a share of.
fn reference(
    format: WeightFormat,
    matrix: &Matrix,
    x: &[f32],
    n_in: usize,
    bias: &[f32],
) -> Vec<(f64, f64)> {
    let x = match format {
        WeightFormat::Blocks(BlockFormat::Q8_0 | BlockFormat::Q4K) => in_bytes(x, n_in),
        WeightFormat::Blocks(BlockFormat::Int8) | WeightFormat::Float(_) => {
            x.iter().map(|&x| x.into()).collect()
        }
    };
    let mut outputs = Vec::new();
    for x in x.chunks_exact(n_in) {
        for (weights, &bias) in matrix.values.chunks_exact(n_in).zip(bias) {
            let products = weights.iter().zip(x).map(|(w, x)| w * x);
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
            outputs.push((sum + f64::from(bias), size + f64::from(bias.abs())));
        }
    }
    outputs
}

/// Rounding of sums in f32, and of activations to bf16 where a product of pairs does so. The
/// least values of q4_k are larger than what is left of them.
fn tolerance(format: WeightFormat, instructions: Instructions) -> f64 {
    match format {
        WeightFormat::Float(FloatFormat::Bf16) if has_bf16_dot(instructions) => 2.0_f64.powi(-8),
        WeightFormat::Blocks(BlockFormat::Q4K) => 4e-6,
        _ => 1e-6,
    }
}

/// Activations as a format takes them.
fn activations(format: WeightFormat, len: usize) -> Vec<f32> {
    let numbers = drawn("x", len);
    match format {
        WeightFormat::Blocks(BlockFormat::Int8) => {
            numbers.iter().map(|x| (127.0 * x).round()).collect()
        }
        _ => numbers,
    }
}

const FORMATS: [WeightFormat; 6] = [
    WeightFormat::Float(FloatFormat::F32),
    WeightFormat::Float(FloatFormat::F16),
    WeightFormat::Float(FloatFormat::Bf16),
    WeightFormat::Blocks(BlockFormat::Q8_0),
    WeightFormat::Blocks(BlockFormat::Q4K),
    WeightFormat::Blocks(BlockFormat::Int8),
];

fn formats() -> impl Strategy<Value = WeightFormat> {
    prop::sample::select(FORMATS.to_vec())
}

proptest! {
    #[test]
    fn tasks_cover_a_product_once(
        n_rows in 0_usize..1500,
        n_panels in 0_usize..300,
        tile_rows in 1_usize..=ROWS_MAX,
        n_threads in 1_usize..70,
        lengths in prop::collection::vec(1_usize..70, 1..10),
    ) {
        let cut = Cut::new(n_rows, n_panels, tile_rows, n_threads);
        let mut n_covered = vec![0; n_rows * n_panels];
        let (mut first, mut lengths) = (0, lengths.into_iter().cycle());
        while first < cut.n_tasks() {
            let length = lengths.next().unwrap_or(1).min(cut.n_at_once);
            let end = cut.n_tasks().min(first + length);
            let (rows, panels) = cut.part(first..end);
            first = end;
            prop_assert!(rows.len() <= cut.rows && panels.len() <= cut.n_at_once * cut.panels);
            prop_assert!(rows.start.is_multiple_of(tile_rows));
            for row in rows {
                n_covered[row * n_panels..][panels.clone()].iter_mut().for_each(|n| *n += 1);
            }
        }
        prop_assert!(n_covered.iter().all(|&n| n == 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn stacked_products_are_those_of_the_definition(
        format in formats(),
        // Beyond two of the longest blocks where rows are few.
        (n_rows, n_in) in prop_oneof![(1_usize..40, 1_usize..300), (1_usize..4, 300_usize..1300)],
        (n_first, n_second) in (1_usize..150, 0_usize..70),
        has_bias: bool,
    ) {
        let x = activations(format, n_rows * n_in);
        let (first, second) = (
            Matrix::drawn(format, "first", n_first, n_in),
            Matrix::drawn(format, "second", n_second, n_in),
        );
        let bias = |name, len| match has_bias {
            true => drawn(name, len),
            false => vec![0.0; len],
        };
        let (first_bias, second_bias) = (bias("bias 1", n_first), bias("bias 2", n_second));
        let wanted_first = reference(format, &first, &x, n_in, &first_bias);
        let wanted_second = reference(format, &second, &x, n_in, &second_bias);
        let mut pool = Pool::new(3).unwrap();
        let biases = [&first_bias[..], &second_bias[..]];
        let linear = Linear::pack(
            &mut pool,
            &[first.rows(), second.rows()],
            has_bias.then_some(&biases[..]),
            n_in,
            Outputs::Stacked,
            format,
        ).unwrap();
        let n_out = n_first + n_second;
        prop_assert_eq!((linear.n_in(), linear.n_out()), (n_in, n_out));
        for instructions in Instructions::available() {
            let tolerance = tolerance(format, instructions);
            let mut scratch = Scratch::default();
            for store in [Store::Overwrite, Store::Add] {
                let before = match store {
                    Store::Overwrite => f32::NAN,
                    Store::Add => 1.0,
                };
                let mut y = vec![before; n_rows * n_out];
                linear.forward(instructions, &mut pool, &mut scratch, &x, &mut y, store);
                for (row, y) in y.chunks_exact(n_out).enumerate() {
                    let wanted = wanted_first[row * n_first..][..n_first].iter()
                        .chain(&wanted_second[row * n_second..][..n_second]);
                    for (&found, &(wanted, size)) in y.iter().zip(wanted) {
                        let wanted = if store == Store::Add { wanted + 1.0 } else { wanted };
                        let difference = (f64::from(found) - wanted).abs();
                        prop_assert!(
                            difference <= tolerance * (size + 1.0),
                            "{found} is not {wanted} with {}", instructions.name()
                        );
                    }
                }
            }
        }
        let mut row = vec![0.0; n_in];
        linear.read_row(n_first - 1, &mut row);
        for (i, &value) in row.iter().enumerate() {
            prop_assert_eq!(f64::from(value), first.values[(n_first - 1) * n_in + i]);
        }
    }

    #[test]
    fn gated_products_are_those_of_the_definition(
        // Sums of whole numbers are beyond what the gate tells apart.
        format in prop::sample::select(FORMATS[..5].to_vec()),
        n_rows in 1_usize..30,
        n_in in 1_usize..100,
        n_out in 1_usize..100,
        has_bias: bool,
    ) {
        let x = activations(format, n_rows * n_in);
        let gate = Matrix::drawn(format, "gate", n_out, n_in);
        let up = Matrix::drawn(format, "up", n_out, n_in);
        let bias = |name| match has_bias {
            true => drawn(name, n_out),
            false => vec![0.0; n_out],
        };
        let (gate_bias, up_bias) = (bias("bias of gate"), bias("bias of up"));
        let gates = reference(format, &gate, &x, n_in, &gate_bias);
        let ups = reference(format, &up, &x, n_in, &up_bias);
        let mut pool = Pool::new(2).unwrap();
        let sources = [gate.rows(), up.rows()];
        let biases = [&gate_bias[..], &up_bias[..]];
        let biases = has_bias.then_some(&biases[..]);
        let linear =
            Linear::pack(&mut pool, &sources, biases, n_in, Outputs::SwiGlu, format).unwrap();
        for instructions in Instructions::available() {
            let tolerance = tolerance(format, instructions);
            let scratch = &mut Scratch::default();
            for (store, before) in [(Store::Overwrite, f32::NAN), (Store::Add, 1.0)] {
                let mut y = vec![before; n_rows * n_out];
                linear.forward(instructions, &mut pool, scratch, &x, &mut y, store);
                for ((&found, &(gate, gate_size)), &(up, up_size)) in y.iter().zip(&gates).zip(&ups) {
                    let gated = gate / (1.0 + (-gate).exp()) * up;
                    let wanted = if store == Store::Add { gated + 1.0 } else { gated };
                    let bound = tolerance * (gate_size * up.abs() + up_size * gate.abs() + gate_size * up_size * tolerance + 1.0);
                    prop_assert!((f64::from(found) - wanted).abs() <= 1.2 * bound, "{found} is not {wanted}");
                }
            }
        }
    }
}

#[test]
fn large_products_are_cut_into_blocks_and_steps() {
    // More rows than a block and one beyond its tiles, a depth of several steps, more panels than a
    // task holds.
    let (n_rows, n_in, n_out) = (409, 1100, 331);
    for format in FORMATS {
        let x = activations(format, n_rows * n_in);
        let matrix = Matrix::drawn(format, "w", n_out, n_in);
        let wanted = reference(format, &matrix, &x, n_in, &vec![0.0; n_out]);
        let mut pool = Pool::new(2).unwrap();
        let linear =
            Linear::pack(&mut pool, &[matrix.rows()], None, n_in, Outputs::Stacked, format)
                .unwrap();
        for instructions in Instructions::available() {
            let mut y = vec![f32::NAN; n_rows * n_out];
            let scratch = &mut Scratch::default();
            linear.forward(instructions, &mut pool, scratch, &x, &mut y, Store::Overwrite);
            let tolerance = tolerance(format, instructions);
            for (&found, &(wanted, size)) in y.iter().zip(&wanted) {
                let name = instructions.name();
                let difference = (f64::from(found) - wanted).abs();
                assert!(difference <= tolerance * size, "{found} is not {wanted} with {name}");
            }
        }
    }
}

#[test]
fn the_greatest_numbers_do_not_overflow() {
    let (n_in, n_out) = (288, 64);
    // All but one of a block are the greatest or the least that quantising gives.
    let sign = |output: usize| if output.is_multiple_of(2) { 1.0 } else { -1.0 };
    let weight = |at: usize| if (at % n_in).is_multiple_of(32) { 0.0 } else { sign(at / n_in) };
    let weights: Vec<f32> = (0..n_out * n_in).map(weight).collect();
    let x = [[127.0; 288], [-127.0; 288], [127.0; 288], [-127.0; 288], [-127.0; 288]].concat();
    for format in FORMATS {
        let matrix = Matrix::of(format, weights.clone(), n_in);
        let wanted = reference(format, &matrix, &x, n_in, &vec![0.0; n_out]);
        products_of(format, &matrix, &x, n_in, |y, instructions| {
            for (&found, &(wanted, size)) in y.iter().zip(&wanted) {
                let difference = (f64::from(found) - wanted).abs();
                let name = instructions.name();
                assert!(
                    difference <= tolerance(format, instructions) * size,
                    "{found} is not {wanted} in {format:?} with {name}"
                );
            }
        });
    }
}

#[test]
fn whole_numbers_are_summed_exactly() {
    let n_in = INTEGER_INPUTS_MAX;
    let format = WeightFormat::Blocks(BlockFormat::Int8);
    // Sums of the greatest and the least products, and of both, which pass what f32 counts to.
    let rows = [127.0, -127.0].map(|x| vec![x; n_in]);
    let mut mixed: Vec<f32> =
        (0..n_in).map(|i| if i < n_in / 2 { 127.0 } else { -126.0 }).collect();
    // Odd, while f32 would count in twos on the way.
    mixed[0] = 126.0;
    let weights = rows.iter().chain([&mixed]).flatten().map(|whole| whole / 127.0).collect();
    let greatest = 127 * 127 * n_in as i64;
    let of_mixed = 127 * (n_in / 2 - 1) as i64;
    let wanted = [greatest, -greatest, of_mixed, -greatest, greatest, -of_mixed];
    // More rows than a tile, so that sums wait in memory between steps.
    let n_pairs = ROWS_MAX;
    let (wanted, x) = (wanted.repeat(n_pairs), rows.concat().repeat(n_pairs));
    let matrix = Matrix::of(format, weights, n_in);
    products_of(format, &matrix, &x, n_in, |y, instructions| {
        let y: Vec<i64> = y.iter().map(|&y| y as i64).collect();
        assert_eq!(y, wanted, "with {}", instructions.name());
    });
}

/// Calls `check` with the outputs of `x (rows, n_in)` times a matrix by each set of instructions.
fn products_of(
    format: WeightFormat,
    matrix: &Matrix,
    x: &[f32],
    n_in: usize,
    check: impl Fn(&[f32], Instructions),
) {
    let mut pool = Pool::new(1).unwrap();
    let rows = [matrix.rows()];
    let linear = Linear::pack(&mut pool, &rows, None, n_in, Outputs::Stacked, format).unwrap();
    for instructions in Instructions::available() {
        let mut y = vec![f32::NAN; x.len() / n_in * linear.n_out()];
        let scratch = &mut Scratch::default();
        linear.forward(instructions, &mut pool, scratch, x, &mut y, Store::Overwrite);
        check(&y, instructions);
    }
}

/// Calls `check` with the outputs of `x (rows, 70)` times small weights, in every format that models
/// have and with all instructions, and with their name.
fn outputs_of(x: &[f32], check: impl Fn(&[f32], &str)) {
    let (n_in, n_out) = (70, 40);
    for format in FORMATS[..5].iter().copied() {
        let matrix = Matrix::drawn(format, "w", n_out, n_in);
        products_of(format, &matrix, x, n_in, |y, instructions| {
            check(y, &format!("{format:?} with {}", instructions.name()));
        });
    }
}

#[test]
fn what_is_next_to_nothing_gives_next_to_nothing() {
    // Subnormal, with an inverse that is no number, and with one.
    for tiny in [1e-44_f32, 1e-38, 3e-37, 4e-37] {
        let x: Vec<f32> = drawn("x", 70).iter().map(|x| tiny.copysign(*x)).collect();
        outputs_of(&x, |y, name| {
            assert!(y.iter().all(|y| y.abs() < 1e-34), "{tiny:e} in {name}: {y:?}");
        });
    }
}

#[test]
fn what_is_not_a_number_stays_none() {
    for absurd in [f32::NAN, f32::INFINITY] {
        let mut x = drawn("x", 2 * 70);
        x[70 + 50] = absurd;
        outputs_of(&x, |y, name| {
            let (sound, affected) = y.split_at(y.len() / 2);
            assert!(sound.iter().all(|y| y.is_finite()), "{absurd} in {name}");
            assert!(affected.iter().all(|y| !y.is_finite()), "{absurd} in {name}");
        });
    }
}
