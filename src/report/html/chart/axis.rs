//! Axes: what range they show, and which ticks they name. Values become positions here, so that
//! the plotting crate sees linear axes alone.

/// Values beyond this are of no measurement and would leave what pictures can hold.
const LARGEST: f64 = 1e30;

/// Room beside the outermost values, as a share of the range.
const ROOM: f64 = 0.05;

/// How a value becomes a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report::html) enum Scale {
    /// As it is.
    Linear,
    /// By its logarithm.
    Log,
    /// A quantile by the logarithm of what is beyond it: each nine takes the same room.
    Nines,
}

impl Scale {
    /// Where a value stands; absent where it has no place.
    pub(in crate::report::html) fn position(self, value: f64) -> Option<f64> {
        let position = match self {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Nines => -(1.0 - value).log10(),
        };
        (position.is_finite() && value.abs() < LARGEST).then_some(position)
    }
}

/// An axis of a chart.
#[derive(Clone, Debug)]
pub(in crate::report::html) struct Axis {
    /// What it shows, with its unit.
    pub(in crate::report::html) title: String,
    pub(in crate::report::html) scale: Scale,
    /// First and last position.
    pub(in crate::report::html) range: (f64, f64),
    /// Positions that have a name.
    pub(in crate::report::html) ticks: Vec<(f64, String)>,
}

/// Smallest and largest position of values; absent without any.
fn extremes(scale: Scale, values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter_map(|value| scale.position(value)).fold(None, |range, at| match range {
        None => Some((at, at)),
        Some((low, high)) => Some((low.min(at), high.max(at))),
    })
}

/// The range with some room, and some width even for a single value.
fn widened((low, high): (f64, f64), least_width: f64) -> (f64, f64) {
    let missing = (least_width - (high - low)).max(0.0) / 2.0;
    let (low, high) = (low - missing, high + missing);
    let room = (high - low) * ROOM;
    (low - room, high + room)
}

impl Axis {
    /// An axis from zero to a little more than the largest value.
    pub(in crate::report::html) fn from_zero(
        title: &str,
        values: impl Iterator<Item = f64>,
        name: impl Fn(f64) -> String,
    ) -> Option<Self> {
        let (_, high) = extremes(Scale::Linear, values)?;
        let high = if high > 0.0 { high } else { 1.0 };
        Some(Self::linear(title, (0.0, high * (1.0 + ROOM)), name))
    }

    /// An axis around the values.
    pub(in crate::report::html) fn around(
        title: &str,
        values: impl Iterator<Item = f64>,
        name: impl Fn(f64) -> String,
    ) -> Option<Self> {
        let (low, high) = extremes(Scale::Linear, values)?;
        let least = (high.abs() * 0.02).max(1e-9);
        Some(Self::linear(title, widened((low, high), least), name))
    }

    fn linear(title: &str, range: (f64, f64), name: impl Fn(f64) -> String) -> Self {
        let step = round_step((range.1 - range.0) / 5.0);
        let first = (range.0 / step).ceil();
        let ticks = (0..12).map(|i| (first + f64::from(i)) * step);
        let ticks = ticks.filter(|at| *at <= range.1).map(|at| (at, short(&name(at)))).collect();
        Self { title: title.into(), scale: Scale::Linear, range, ticks }
    }

    /// A logarithmic axis around the positive values.
    pub(in crate::report::html) fn log(
        title: &str,
        values: impl Iterator<Item = f64>,
        name: impl Fn(f64) -> String,
    ) -> Option<Self> {
        let range = widened(extremes(Scale::Log, values.filter(|v| *v > 0.0))?, 0.3);
        let decades = range.1 - range.0;
        let digits: &[f64] = match decades {
            d if d < 0.8 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
            d if d < 2.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = (decades / 6.0).ceil().max(1.0) as i32;
        let (first, last) = (range.0.floor() as i32, range.1.ceil() as i32);
        let powers = (first..=last).filter(|power| power.rem_euclid(every) == 0);
        let values =
            powers.flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
        let within = |(at, _): &(f64, String)| (range.0..=range.1).contains(at);
        let ticks = values.map(|v| (v.log10(), short(&name(v)))).filter(within).collect();
        Some(Self { title: title.into(), scale: Scale::Log, range, ticks })
    }

    /// A logarithmic axis that names just the values there are, as far as there is room.
    pub(in crate::report::html) fn log_of_few(
        title: &str,
        values: &[f64],
        name: impl Fn(f64) -> String,
    ) -> Option<Self> {
        let mut axis = Self::log(title, values.iter().copied(), &name)?;
        let mut values = values.to_vec();
        values.retain(|v| *v > 0.0 && Scale::Log.position(*v).is_some());
        values.sort_by(f64::total_cmp);
        let apart = (axis.range.1 - axis.range.0) / 9.0;
        axis.ticks.clear();
        for value in values {
            let at = value.log10();
            if axis.ticks.last().is_none_or(|(last, _)| at - last > apart) {
                axis.ticks.push((at, name(value)));
            }
        }
        Some(axis)
    }

    /// Quantiles up to that of `n` values, evenly by nines.
    pub(in crate::report::html) fn quantiles(title: &str, n: u64) -> Self {
        let last = (2.0 * n as f64).log10().clamp(1.05, 6.0);
        let named = [(0.0, "min"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];
        let named = named.into_iter().chain([(0.9999, "p99.99"), (0.99999, "p99.999")]);
        let ticks = named
            .filter_map(|(q, name)| Some((Scale::Nines.position(q)?, name.to_owned())))
            .filter(|(at, _)| *at <= last)
            .collect();
        Self { title: title.into(), scale: Scale::Nines, range: (0.0, last), ticks }
    }

    /// Whether the values span so much that their logarithms tell more.
    pub(in crate::report::html) fn wants_log(values: impl Iterator<Item = f64>) -> bool {
        extremes(Scale::Log, values.filter(|v| *v > 0.0)).is_some_and(|(a, b)| b - a > 0.9)
    }

    /// Where a value stands on it; absent outside.
    pub(in crate::report::html) fn position(&self, value: f64) -> Option<f64> {
        let slack = (self.range.1 - self.range.0) * 1e-9;
        self.scale
            .position(value)
            .filter(|at| (self.range.0 - slack..=self.range.1 + slack).contains(at))
    }
}

/// The name of a tick without zeros that say nothing: `20 ms` for `20.0 ms`, and 0 without a unit.
fn short(name: &str) -> String {
    let (number, unit) = name.split_at(name.find(' ').unwrap_or(name.len()));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    match number {
        "0" | "-0" => "0".to_owned(),
        number => format!("{number}{unit}"),
    }
}

/// 1, 2 or 5 times a power of ten, the next above.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let digit = step / power;
    let round = [1.0, 2.0, 5.0].into_iter().find(|round| digit <= *round).unwrap_or(10.0);
    round * power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_round() {
        for (step, round) in [(0.11, 0.2), (1.0, 1.0), (3.0, 5.0), (70.0, 100.0), (0.05, 0.05)] {
            assert!((round_step(step) - round).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn names_of_ticks_are_short() {
        for (name, want) in [
            ("20.0 ms", "20 ms"),
            ("0.00 ns", "0"),
            ("1.50 s", "1.5 s"),
            ("100 %", "100 %"),
            ("20", "20"),
        ] {
            assert_eq!(short(name), want);
        }
    }

    #[test]
    fn quantiles_stand_by_their_nines() {
        let axis = Axis::quantiles("", 1_000);
        let names: Vec<&str> = axis.ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["min", "p50", "p90", "p99", "p99.9"]);
        assert!((axis.position(0.99).unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(axis.position(1.0), None);
    }

    #[test]
    fn nothing_makes_no_axis_and_one_value_does() {
        let name = |v: f64| v.to_string();
        assert!(Axis::log("", [0.0, -1.0, f64::NAN].into_iter(), name).is_none());
        assert!(Axis::around("", std::iter::empty(), name).is_none());
        for axis in [
            Axis::log("", [7.0].into_iter(), name),
            Axis::around("", [7.0].into_iter(), name),
            Axis::from_zero("", [0.0].into_iter(), name),
            Axis::log_of_few("", &[7.0], name),
        ] {
            let axis = axis.unwrap();
            assert!(axis.range.0 < axis.range.1 && !axis.ticks.is_empty(), "{axis:?}");
        }
    }

    proptest! {
        /// Any values give an axis with few ticks, all of them in its range.
        #[test]
        fn ticks_are_few_and_inside(values in prop::collection::vec(any::<f64>(), 1..20)) {
            let name = |v: f64| format!("{v:e}");
            let axes = [
                Axis::log("", values.iter().copied(), name),
                Axis::log_of_few("", &values, name),
                Axis::around("", values.iter().copied(), name),
                Axis::from_zero("", values.iter().copied(), name),
            ];
            for axis in axes.into_iter().flatten() {
                prop_assert!(axis.range.0.is_finite() && axis.range.0 < axis.range.1, "{axis:?}");
                prop_assert!(axis.ticks.len() <= 15, "{axis:?}");
                for (at, _) in &axis.ticks {
                    prop_assert!((axis.range.0..=axis.range.1).contains(at), "{axis:?}");
                }
            }
        }
    }
}
