//! One axis of a sweep as people type it: `128,512`, `0-512+128`, `1-8*2`.

use std::str::FromStr;

/// The most values one axis may expand to: a typing error must not become a million cases.
pub const MAX_VALUES: usize = 1_000;

/// The values of one axis, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis(pub Vec<u32>);

/// Why a text is not an axis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AxisError {
    /// A part is not a whole number that fits 32 bits.
    #[error("`{0}` is not a whole number below 2^32")]
    NotANumber(String),
    /// A range runs downwards.
    #[error("the range {first}-{last} runs downwards; write {last}-{first}")]
    Downwards {
        /// First value typed.
        first: u32,
        /// Last value typed.
        last: u32,
    },
    /// A range never reaches its end.
    #[error(
        "the range `{0}` never ends: a step must be above 0, and a factor above 1 with a start above 0"
    )]
    NeverEnds(String),
    /// A range has too many values.
    #[error("`{0}` gives more than {MAX_VALUES} values")]
    TooMany(String),
}

impl FromStr for Axis {
    type Err = AxisError;

    /// Values and ranges separated by commas. A range is `first-last` (step 1),
    /// `first-last+step` or `first-last*factor`, both ends included.
    fn from_str(text: &str) -> Result<Self, AxisError> {
        let mut values = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                None => values.push(number(part)?),
                Some((first, rest)) => expand(part, number(first)?, rest, &mut values)?,
            }
            if values.len() > MAX_VALUES {
                return Err(AxisError::TooMany(text.to_owned()));
            }
        }
        Ok(Self(values))
    }
}

/// How a range goes on.
#[derive(Clone, Copy)]
enum Step {
    Add(u32),
    Multiply(u32),
}

fn expand(part: &str, first: u32, rest: &str, values: &mut Vec<u32>) -> Result<(), AxisError> {
    let (last, step) = if let Some((last, step)) = rest.split_once('+') {
        (last, Step::Add(number(step)?))
    } else if let Some((last, factor)) = rest.split_once('*') {
        (last, Step::Multiply(number(factor)?))
    } else {
        (rest, Step::Add(1))
    };
    let last = number(last)?;
    if last < first {
        return Err(AxisError::Downwards { first, last });
    }
    let mut value = Some(first);
    while let Some(v) = value.filter(|&v| v <= last) {
        values.push(v);
        value = match step {
            Step::Add(step) => v.checked_add(step),
            Step::Multiply(factor) => v.checked_mul(factor),
        };
        if value.is_some_and(|next| next <= v) {
            return Err(AxisError::NeverEnds(part.to_owned()));
        }
        if values.len() > MAX_VALUES {
            return Err(AxisError::TooMany(part.to_owned()));
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<u32, AxisError> {
    text.trim().parse().map_err(|_| AxisError::NotANumber(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_their_values() {
        for (text, values) in [
            ("512", vec![512]),
            ("128,512", vec![128, 512]),
            ("0-512+128", vec![0, 128, 256, 384, 512]),
            ("1-8*2", vec![1, 2, 4, 8]),
            ("3-5", vec![3, 4, 5]),
            ("1-10+4, 7", vec![1, 5, 9, 7]),
            ("5-5", vec![5]),
            ("4294967295-4294967295+1", vec![u32::MAX]),
        ] {
            assert_eq!(text.parse(), Ok(Axis(values)), "{text}");
        }
    }

    #[test]
    fn texts_and_their_errors() {
        for (text, message) in [
            ("", "`` is not a whole number below 2^32"),
            ("12x", "`12x` is not a whole number below 2^32"),
            ("1,,2", "`` is not a whole number below 2^32"),
            ("-5", "`` is not a whole number below 2^32"),
            ("9-3", "the range 9-3 runs downwards; write 3-9"),
            (
                "0-8*2",
                "the range `0-8*2` never ends: a step must be above 0, and a factor above 1 with a start above 0",
            ),
            (
                "1-8*1",
                "the range `1-8*1` never ends: a step must be above 0, and a factor above 1 with a start above 0",
            ),
            (
                "1-8+0",
                "the range `1-8+0` never ends: a step must be above 0, and a factor above 1 with a start above 0",
            ),
            ("0-4000000000", "`0-4000000000` gives more than 1000 values"),
        ] {
            let error = text.parse::<Axis>().unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_axis_or_an_error(text in "[0-9,+*a-]{0,24}") {
            if let Ok(Axis(values)) = text.parse() {
                prop_assert!(!values.is_empty() && values.len() <= MAX_VALUES);
            }
        }

        #[test]
        fn a_range_is_its_arithmetic(first in 0_u32..1000, steps in 0_u32..50, step in 1_u32..99) {
            let last = first + steps * step;
            let axis: Axis = format!("{first}-{last}+{step}").parse().unwrap();
            let want: Vec<u32> = (0..=steps).map(|i| first + i * step).collect();
            prop_assert_eq!(axis.0, want);
        }
    }
}
