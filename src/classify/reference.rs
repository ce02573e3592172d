//! What a case could reach on other devices: the roofline of each (Williams, Waterman and
//! Patterson, *Roofline*, 2009) as an upper bound of its tokens per second. A model, not a
//! measurement: peak rates, nothing kept in caches, no overhead.

use crate::case::Dtype;
use crate::classify::specification::{PeakRate, Specification};
use crate::result::file::CaseFile;

/// A device's bound for a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound<'s> {
    /// The device.
    pub device: &'s str,
    /// Tokens per second at most, by the model.
    pub tokens_per_s_at_most: f64,
    /// What binds it there.
    pub bound_by: Binding,
}

/// What a roofline binds by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Arithmetic.
    Compute,
    /// Memory traffic.
    Memory,
}

impl Binding {
    /// The word of the output.
    pub fn name(self) -> &'static str {
        match self {
            Binding::Compute => "compute",
            Binding::Memory => "memory",
        }
    }
}

/// The bounds of all devices that have one, highest first.
pub fn bounds<'s>(case: &CaseFile, devices: &'s [Specification]) -> Vec<Bound<'s>> {
    let mut bounds: Vec<Bound> = devices.iter().filter_map(|device| bound(case, device)).collect();
    bounds.sort_by(|a, b| {
        b.tokens_per_s_at_most.total_cmp(&a.tokens_per_s_at_most).then(a.device.cmp(b.device))
    });
    bounds
}

/// Tokens per second that a device cannot exceed on a case, by what is specified of it; absent
/// where neither rate nor bandwidth is.
fn bound<'s>(case: &CaseFile, device: &'s Specification) -> Option<Bound<'s>> {
    let tokens = case.work.tokens as f64;
    let bits = case.axes.dtype.as_str().parse::<Dtype>().ok()?.operands().bits();
    let per_second = |rate: f64, work: u64| (work > 0).then(|| rate * tokens / work as f64);
    let compute =
        rate_for(bits, &device.rates).and_then(|rate| per_second(rate * 1e12, case.work.flops.0));
    let bandwidth = device.dram_bandwidth.upper.as_ref().map(|end| end.value);
    // Without memory of its own a device keeps its weights on chip, and this model says nothing.
    let bandwidth = bandwidth.filter(|bandwidth| *bandwidth > 0.0);
    let memory = bandwidth.and_then(|rate| per_second(rate * 1e9, case.work.bytes_min.0));
    let (tokens_per_s_at_most, bound_by) = match (compute, memory) {
        (Some(compute), Some(memory)) if memory < compute => (memory, Binding::Memory),
        (Some(compute), _) => (compute, Binding::Compute),
        (None, Some(memory)) => (memory, Binding::Memory),
        (None, None) => return None,
    };
    tokens_per_s_at_most.is_finite().then_some(Bound {
        device: &device.name,
        tokens_per_s_at_most,
        bound_by,
    })
}

/// The peak for operands of so many bits: the fastest format that is as wide, or cut from it
/// (TF32 from f32); where none is listed, the next narrower one, which is no slower.
fn rate_for(bits: u32, rates: &[PeakRate]) -> Option<f64> {
    let fits = |rate: &&PeakRate| match bits {
        32 => (19..=32).contains(&rate.bits),
        bits => rate.bits == bits,
    };
    let fastest = |rates: &mut dyn Iterator<Item = &PeakRate>| {
        rates.map(|rate| rate.tera_ops_per_s).max_by(f64::total_cmp)
    };
    fastest(&mut rates.iter().filter(fits)).or_else(|| {
        let narrower = rates.iter().filter(|rate| rate.bits < bits);
        let widest = narrower.clone().map(|rate| rate.bits).max()?;
        fastest(&mut narrower.filter(|rate| rate.bits == widest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(format: &'static str, bits: u32, tera_ops_per_s: f64) -> PeakRate {
        PeakRate { format, bits, tera_ops_per_s }
    }

    #[test]
    fn the_peak_of_a_width_is_never_that_of_a_wider_one() {
        let h100 = [
            rate("fp64", 64, 67.0),
            rate("tf32", 19, 494.7),
            rate("fp16_bf16", 16, 989.4),
            rate("fp8", 8, 1979.0),
        ];
        assert_eq!(rate_for(32, &h100), Some(494.7));
        assert_eq!(rate_for(16, &h100), Some(989.4));
        assert_eq!(rate_for(16, &[rate("fp8", 8, 7.0), rate("fp4", 4, 9.0)]), Some(7.0));
        assert_eq!(rate_for(16, &[rate("fp32", 32, 7.0)]), None);
        assert_eq!(rate_for(32, &[rate("fp32", 32, 82.6), rate("fp16", 16, 330.0)]), Some(82.6));
    }
}
