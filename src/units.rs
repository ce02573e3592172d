//! Units as people read them. One prefix family per quantity: bytes of memory in powers of two
//! (GiB), rates in powers of ten (GB/s, GFLOP/s). The two are never mixed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Floating-point operations, two per dense multiply-accumulate.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Flops(pub u64);

/// A number of bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl std::ops::Add for Flops {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self(0), |sum, bytes| sum + bytes)
    }
}

impl std::fmt::Display for Bytes {
    /// Binary prefixes with two decimals: `1.25 GiB`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        match unit {
            0 => write!(f, "{} B", self.0),
            _ => write!(f, "{value:.2} {}", UNITS[unit]),
        }
    }
}

/// A duration with the prefix that leaves one to three digits before the point: `17.3 ms`.
/// Of years nobody counts the seconds.
pub fn duration_text(ns: u64) -> String {
    const YEAR_NS: u64 = 31_557_600_000_000_000;
    if ns > 30 * YEAR_NS {
        return "> 30 years".into();
    }
    const STEPS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let value = ns as f64;
    let (step, unit) = STEPS.into_iter().find(|(step, _)| value >= *step).unwrap_or((1.0, "ns"));
    format!("{} {unit}", significant(value / step))
}

/// Bytes per second in powers of ten: `38.7 GB/s`.
pub fn bytes_per_s_text(per_s: f64) -> String {
    rate_text(per_s, "B/s")
}

/// Operations per second in powers of ten: `512 GFLOP/s`.
pub fn flops_per_s_text(per_s: f64) -> String {
    rate_text(per_s, "FLOP/s")
}

fn rate_text(per_s: f64, unit: &str) -> String {
    const STEPS: [(f64, &str); 5] = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (step, prefix) = STEPS.into_iter().find(|(step, _)| per_s >= *step).unwrap_or((1.0, ""));
    format!("{} {prefix}{unit}", significant(per_s / step))
}

/// Three significant digits, for values people compare by eye; without an exponent, but for what
/// nobody would count the digits of.
pub fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 1e12 => format!("{value:.2e}"),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A parameter count as the field writes it: `135M`, `1.24B`.
pub fn count_text(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}K", significant(count as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{}M", significant(count as f64 / 1e6)),
        _ => format!("{}B", significant(count as f64 / 1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_quantities() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (5 << 30, "5.00 GiB"),
            (u64::MAX, "16777216.00 TiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        for (ns, text) in [
            (0, "0.00 ns"),
            (999, "999 ns"),
            (1_500, "1.50 µs"),
            (12_340_000, "12.3 ms"),
            (2_000_000_000, "2.00 s"),
            (u64::MAX, "> 30 years"),
        ] {
            assert_eq!(duration_text(ns), text);
        }
        for (per_s, text) in [(38.7e9, "38.7 GB/s"), (999.0, "999 B/s"), (1.5e12, "1.50 TB/s")] {
            assert_eq!(bytes_per_s_text(per_s), text);
        }
        assert_eq!(flops_per_s_text(512.3e9), "512 GFLOP/s");
        for (count, text) in [(999, "999"), (134_515_008, "135M"), (1_235_814_400, "1.24B")] {
            assert_eq!(count_text(count), text);
        }
    }
}
