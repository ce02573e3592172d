//! Products against their definition.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::kernels::drawn::drawn;

/// A matrix in one of the formats.
enum Matrix {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Matrix {
    fn drawn(format: WeightFormat, name: &str, len: usize) -> Self {
        let numbers = drawn(name, len).into_iter();
        match format {
            WeightFormat::F32 => Self::F32(numbers.collect()),
            WeightFormat::F16 => Self::F16(numbers.map(f16::from_f32).collect()),
            WeightFormat::Bf16 => Self::Bf16(numbers.map(bf16::from_f32).collect()),
        }
    }

    fn rows(&self) -> Rows<'_> {
        match self {
            Self::F32(rows) => Rows::F32(rows),
            Self::F16(rows) => Rows::F16(rows),
            Self::Bf16(rows) => Rows::Bf16(rows),
        }
    }

    fn at(&self, i: usize) -> f64 {
        match self {
            Self::F32(rows) => rows[i].into(),
            Self::F16(rows) => rows[i].into(),
            Self::Bf16(rows) => rows[i].into(),
        }
    }
}

/// The outputs of `x (rows, n_in)` by the definition, and of each the sum of its products'
/// sizes, which rounding errors are a share of.
fn reference(matrix: &Matrix, x: &[f32], n_in: usize, bias: &[f32]) -> Vec<(f64, f64)> {
    let mut outputs = Vec::new();
    for x in x.chunks_exact(n_in) {
        for (row, &bias) in bias.iter().enumerate() {
            let products = x.iter().enumerate();
            let products = products.map(|(i, &x)| matrix.at(row * n_in + i) * f64::from(x));
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
            outputs.push((sum + f64::from(bias), size + f64::from(bias.abs())));
        }
    }
    outputs
}

/// Rounding of sums in f32, and of activations to bf16 where a product of pairs does so.
fn tolerance(format: WeightFormat, instructions: Instructions) -> f64 {
    match format {
        WeightFormat::Bf16 if has_bf16_dot(instructions) => 2.0_f64.powi(-8),
        _ => 1e-6,
    }
}

fn formats() -> impl Strategy<Value = WeightFormat> {
    prop::sample::select(vec![WeightFormat::F32, WeightFormat::F16, WeightFormat::Bf16])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn stacked_products_are_those_of_the_definition(
        format in formats(),
        n_rows in 1_usize..40,
        n_in in 1_usize..300,
        (n_first, n_second) in (1_usize..150, 0_usize..70),
        has_bias: bool,
    ) {
        let x = drawn("x", n_rows * n_in);
        let (first, second) = (
            Matrix::drawn(format, "first", n_first * n_in),
            Matrix::drawn(format, "second", n_second * n_in),
        );
        let bias = |name, len| match has_bias {
            true => drawn(name, len),
            false => vec![0.0; len],
        };
        let (first_bias, second_bias) = (bias("bias 1", n_first), bias("bias 2", n_second));
        let wanted_first = reference(&first, &x, n_in, &first_bias);
        let wanted_second = reference(&second, &x, n_in, &second_bias);
        let mut pool = Pool::new(3).unwrap();
        let biases = [&first_bias[..], &second_bias[..]];
        let linear = Linear::pack(
            &mut pool,
            &[first.rows(), second.rows()],
            has_bias.then_some(&biases[..]),
            n_in,
            Outputs::Stacked,
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
            prop_assert_eq!(f64::from(value), first.at((n_first - 1) * n_in + i));
        }
    }

    #[test]
    fn gated_products_are_those_of_the_definition(
        format in formats(),
        n_rows in 1_usize..30,
        n_in in 1_usize..100,
        n_out in 1_usize..100,
    ) {
        let x = drawn("x", n_rows * n_in);
        let gate = Matrix::drawn(format, "gate", n_out * n_in);
        let up = Matrix::drawn(format, "up", n_out * n_in);
        let no_bias = vec![0.0; n_out];
        let gates = reference(&gate, &x, n_in, &no_bias);
        let ups = reference(&up, &x, n_in, &no_bias);
        let mut pool = Pool::new(2).unwrap();
        let sources = [gate.rows(), up.rows()];
        let linear = Linear::pack(&mut pool, &sources, None, n_in, Outputs::SwiGlu).unwrap();
        for instructions in Instructions::available() {
            let tolerance = tolerance(format, instructions);
            let mut y = vec![f32::NAN; n_rows * n_out];
            let scratch = &mut Scratch::default();
            linear.forward(instructions, &mut pool, scratch, &x, &mut y, Store::Overwrite);
            for ((&found, &(gate, gate_size)), &(up, up_size)) in y.iter().zip(&gates).zip(&ups) {
                let wanted = gate / (1.0 + (-gate).exp()) * up;
                let bound = tolerance * (gate_size * up.abs() + up_size * gate.abs() + gate_size * up_size * tolerance + 1.0);
                prop_assert!((f64::from(found) - wanted).abs() <= 1.2 * bound, "{found} is not {wanted}");
            }
        }
    }
}

#[test]
fn large_products_are_cut_into_blocks_and_steps() {
    // More rows than a block, a depth of several steps, more panels than a task holds.
    let (n_rows, n_in, n_out) = (413, 1100, 331);
    for format in [WeightFormat::F32, WeightFormat::F16, WeightFormat::Bf16] {
        let x = drawn("x", n_rows * n_in);
        let matrix = Matrix::drawn(format, "w", n_out * n_in);
        let wanted = reference(&matrix, &x, n_in, &vec![0.0; n_out]);
        let mut pool = Pool::new(2).unwrap();
        let linear =
            Linear::pack(&mut pool, &[matrix.rows()], None, n_in, Outputs::Stacked).unwrap();
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
