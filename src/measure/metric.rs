//! Which latency an iteration is, and where it is kept.

use crate::case::Test;
use crate::histogram::Histogram;
use crate::measure::PassTimes;

/// A latency with one definition. The definition's id goes into the result file, because a
/// changed definition silently breaks history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The forward pass over a prompt.
    PrefillPass,
    /// One decode step: the forward pass and the greedy pick that the next step consumes.
    DecodeStep,
    /// Time to first token.
    Ttft,
    /// Time per output token after the first, one value per request.
    Tpot,
    /// Inter-token latency, one value per gap.
    Itl,
    /// End-to-end latency.
    E2el,
    /// [`Metric::PrefillPass`] by the device's own clock.
    PrefillPassDevice,
    /// [`Metric::DecodeStep`] by the device's own clock.
    DecodeStepDevice,
    /// [`Metric::Itl`] by the device's own clock.
    ItlDevice,
}

impl Metric {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Metric::PrefillPass => "prefill_pass",
            Metric::DecodeStep => "decode_step",
            Metric::Ttft => "ttft",
            Metric::Tpot => "tpot",
            Metric::Itl => "itl",
            Metric::E2el => "e2el",
            Metric::PrefillPassDevice => "prefill_pass_device",
            Metric::DecodeStepDevice => "decode_step_device",
            Metric::ItlDevice => "itl_device",
        }
    }

    /// All of them, in the order in which they are told.
    pub const ALL: [Metric; 9] = [
        Metric::PrefillPass,
        Metric::DecodeStep,
        Metric::Ttft,
        Metric::Tpot,
        Metric::Itl,
        Metric::E2el,
        Metric::PrefillPassDevice,
        Metric::DecodeStepDevice,
        Metric::ItlDevice,
    ];

    /// The latency that a test has beside those of the host's clock, where a device has its own.
    pub fn of_device(test: Test) -> Option<Metric> {
        match test {
            Test::Prefill { .. } => Some(Metric::PrefillPassDevice),
            Test::Decode { .. } => Some(Metric::DecodeStepDevice),
            Test::Generate { n_gen: 0 | 1, .. } => None,
            Test::Generate { .. } => Some(Metric::ItlDevice),
        }
    }

    /// The latencies that a test has by the host's clock.
    pub fn of_test(test: Test) -> &'static [Metric] {
        match test {
            Test::Prefill { .. } => &[Metric::PrefillPass],
            Test::Decode { .. } => &[Metric::DecodeStep],
            Test::Generate { n_gen: 0 | 1, .. } => &[Metric::Ttft, Metric::E2el],
            Test::Generate { .. } => &[Metric::Ttft, Metric::Tpot, Metric::Itl, Metric::E2el],
        }
    }

    /// Id and text of the definition.
    pub fn definition(self) -> (&'static str, &'static str) {
        match self {
            Metric::PrefillPass => (
                "prefill_pass.v1",
                "forward pass over the prompt, up to the logits of its last position",
            ),
            Metric::DecodeStep => (
                "decode_step.v1",
                "forward pass of one token per sequence and the greedy pick that the next step consumes",
            ),
            Metric::Ttft => {
                ("ttft.v1", "request start to first output token: prefill and first greedy pick")
            }
            Metric::Tpot => ("tpot.v1", "(e2el - ttft) / (n_gen - 1); absent for n_gen = 1"),
            Metric::Itl => {
                ("itl.v1", "gap between consecutive output tokens; never contains the first")
            }
            Metric::E2el => ("e2el.v1", "request start to last output token"),
            Metric::PrefillPassDevice => (
                "prefill_pass_device.v1",
                "prefill_pass by the device's own clock, from when it came to the first launch \
                 until it had done the last",
            ),
            Metric::DecodeStepDevice => (
                "decode_step_device.v1",
                "decode_step by the device's own clock, from when it came to the first launch \
                 until it had done the last",
            ),
            Metric::ItlDevice => (
                "itl_device.v1",
                "step of every output token but the first by the device's own clock, from when \
                 it came to the first launch until it had done the last",
            ),
        }
    }
}

/// Keeps the iteration times of one case as the metrics of its test.
#[derive(Clone, Debug)]
pub struct Recorder {
    test: Test,
    series: Vec<(Metric, Histogram)>,
}

impl Recorder {
    /// An empty recorder for a test.
    pub fn new(test: Test) -> Self {
        let series = Metric::of_test(test).iter().map(|&m| (m, Histogram::default())).collect();
        Self { test, series }
    }

    /// Takes the iteration times of one pass in.
    pub fn record_pass(&mut self, pass: PassTimes<'_>) {
        match self.test {
            Test::Prefill { .. } => self.record_each(Metric::PrefillPass, pass.host_ns),
            Test::Decode { .. } => self.record_each(Metric::DecodeStep, pass.host_ns),
            Test::Generate { .. } => self.record_request(pass.host_ns),
        }
        let same_length = |device_ns: &[u64]| device_ns.len() == pass.host_ns.len();
        debug_assert!(pass.device_ns.is_none_or(same_length), "one for each iteration");
        let (Some(metric), Some(device_ns)) = (Metric::of_device(self.test), pass.device_ns) else {
            return;
        };
        if !self.series.iter().any(|(of, _)| *of == metric) {
            self.series.push((metric, Histogram::default()));
        }
        // A request's first token is its prefill, and no step.
        let n_before = usize::from(metric == Metric::ItlDevice);
        self.record_each(metric, device_ns.get(n_before..).unwrap_or(&[]));
    }

    fn record_request(&mut self, iteration_ns: &[u64]) {
        let Some((&ttft, gaps)) = iteration_ns.split_first() else { return };
        let gaps_ns: u64 = gaps.iter().sum();
        self.record_each(Metric::Ttft, &[ttft]);
        self.record_each(Metric::E2el, &[ttft + gaps_ns]);
        self.record_each(Metric::Itl, gaps);
        if !gaps.is_empty() {
            // Rounded to the nearest nanosecond.
            let n = gaps.len() as u64;
            self.record_each(Metric::Tpot, &[(gaps_ns + n / 2) / n]);
        }
    }

    fn record_each(&mut self, metric: Metric, values_ns: &[u64]) {
        if let Some((_, histogram)) = self.series.iter_mut().find(|(m, _)| *m == metric) {
            values_ns.iter().for_each(|&ns| histogram.record(ns));
        }
    }

    /// The metrics of the test, each with its latencies.
    pub fn series(&self) -> &[(Metric, Histogram)] {
        &self.series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(test: Test, passes: &[&[u64]]) -> Vec<(Metric, u64, u64)> {
        let passes: Vec<PassTimes<'_>> =
            passes.iter().map(|host_ns| PassTimes { host_ns, device_ns: None }).collect();
        recorded_of(test, &passes)
    }

    fn recorded_of(test: Test, passes: &[PassTimes<'_>]) -> Vec<(Metric, u64, u64)> {
        let mut recorder = Recorder::new(test);
        passes.iter().for_each(|pass| recorder.record_pass(*pass));
        recorder
            .series()
            .iter()
            .map(|(metric, h)| (*metric, h.moments().count, h.moments().sum))
            .collect()
    }

    #[test]
    fn a_request_splits_into_its_latencies() {
        let test = Test::Generate { n_prompt: 4, n_gen: 3 };
        assert_eq!(
            recorded(test, &[&[100, 10, 20], &[200, 30, 41]]),
            [
                (Metric::Ttft, 2, 300),
                (Metric::Tpot, 2, 15 + 36), // 35.5 rounds up
                (Metric::Itl, 4, 101),
                (Metric::E2el, 2, 130 + 271),
            ]
        );
    }

    #[test]
    fn one_output_token_has_no_gap() {
        let test = Test::Generate { n_prompt: 4, n_gen: 1 };
        assert_eq!(recorded(test, &[&[100]]), [(Metric::Ttft, 1, 100), (Metric::E2el, 1, 100)]);
    }

    #[test]
    fn single_phase_tests_keep_every_iteration() {
        assert_eq!(
            recorded(Test::Prefill { n_prompt: 9 }, &[&[7], &[8]]),
            [(Metric::PrefillPass, 2, 15)]
        );
        assert_eq!(recorded(Test::Decode { n_gen: 2 }, &[&[7, 8]]), [(Metric::DecodeStep, 2, 15)]);
    }

    #[test]
    fn a_devices_own_times_are_a_latency_of_their_own() {
        let pass = PassTimes { host_ns: &[100, 10, 20], device_ns: Some(&[90, 7, 15]) };
        let of_device = |test| recorded_of(test, &[pass, pass]).pop().unwrap();
        let cases = [
            (Test::Prefill { n_prompt: 9 }, (Metric::PrefillPassDevice, 6, 224)),
            (Test::Decode { n_gen: 3 }, (Metric::DecodeStepDevice, 6, 224)),
            (Test::Generate { n_prompt: 4, n_gen: 3 }, (Metric::ItlDevice, 4, 44)),
        ];
        cases.into_iter().for_each(|(test, expected)| assert_eq!(of_device(test), expected));
        let one = PassTimes { host_ns: &[100], device_ns: Some(&[90]) };
        let test = Test::Generate { n_prompt: 4, n_gen: 1 };
        let last = recorded_of(test, &[one]).pop();
        assert_eq!(last, Some((Metric::E2el, 1, 100)));
    }
}
