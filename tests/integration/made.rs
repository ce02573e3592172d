//! Result files with the rounds that a test wants, whole and sealed, as a run would have left them.

use benchinf::case::Case;
use benchinf::measure::{PassTimes, Recorder};
use benchinf::model::DecoderConfig;
use benchinf::result::file::{
    AxesFile, CaseFile, CheckFile, ConditionsFile, DeviceTimeFile, ResultFile, RoundFile, RunEnd,
};
use benchinf::result::{self, Assembly, Entry, Record};

use crate::repository;

/// Passes of a round.
const N_PASSES: u64 = 4;

/// A file that is being made.
pub struct Made {
    template: ResultFile,
    /// Each with the times of a pass's iterations, one list for each round.
    cases: Vec<(AxesFile, Vec<Vec<u64>>)>,
    core_speed_per_s: f64,
    other_load_share: Option<f64>,
    /// Of each round of a case.
    handover_ns: Vec<f64>,
    /// Shares of the time that launches and the device took.
    device_shares: Option<(f64, f64)>,
}

impl Made {
    /// One of a run of that name, without cases.
    pub fn new(run_id: &str) -> Self {
        let path = repository("tests/data/results/valid/v1.1.json");
        let mut template = result::read(&path).expect("the fixture is read");
        template.run.id = run_id.into();
        template.tool.dirty = Some(false);
        Self {
            template,
            cases: Vec::new(),
            core_speed_per_s: 6e8,
            other_load_share: None,
            handover_ns: Vec::new(),
            device_shares: None,
        }
    }

    /// With a prefill of `n_prompt` tokens whose passes took `pass_ns`, one value for each round.
    pub fn prefill(self, n_prompt: u32, pass_ns: &[u64]) -> Self {
        let axes = AxesFile { n_prompt, ..self.axes(0) };
        self.case(axes, pass_ns)
    }

    /// With any case, whose iterations share the time of a pass.
    pub fn case(self, axes: AxesFile, pass_ns: &[u64]) -> Self {
        let n = u64::from(axes.n_gen.max(1));
        // The first iteration takes what is left over, so that the sum is exact.
        let iterations = |pass_ns: &u64| {
            let mut iteration_ns = vec![pass_ns / n; n as usize];
            iteration_ns[0] += pass_ns % n;
            iteration_ns
        };
        let rounds: Vec<Vec<u64>> = pass_ns.iter().map(iterations).collect();
        self.iterations(axes, &rounds)
    }

    /// With any case, from the iterations of a pass of each round.
    pub fn iterations(mut self, axes: AxesFile, rounds: &[impl AsRef<[u64]>]) -> Self {
        let rounds = rounds.iter().map(|round| round.as_ref().to_vec()).collect();
        self.cases.push((axes, rounds));
        self
    }

    /// The axes of a case of the fixture: `pp16`, `tg8` or `pp8+tg4`.
    pub fn axes(&self, idx: usize) -> AxesFile {
        self.template.cases[idx].axes.clone()
    }

    /// On cores that fast.
    pub fn core_speed(mut self, per_s: f64) -> Self {
        self.core_speed_per_s = per_s;
        self
    }

    /// While other programs took that share.
    pub fn other_load(mut self, share: f64) -> Self {
        self.other_load_share = Some(share);
        self
    }

    /// On two threads between which a word took so long in each round of a case.
    pub fn handover(mut self, ns: &[f64]) -> Self {
        self.handover_ns = ns.to_vec();
        self
    }

    /// On a device with a clock of its own, which took that share of the time, as launches took theirs.
    pub fn device_shares(mut self, launch: f64, device: f64) -> Self {
        self.device_shares = Some((launch, device));
        self
    }

    /// With another head: tool, environment or plan.
    pub fn edit(mut self, edit: impl FnOnce(&mut ResultFile)) -> Self {
        edit(&mut self.template);
        self
    }

    /// The text of the file.
    pub fn text(self) -> String {
        let mut file = self.template.clone();
        let config = file.plan.models[0].config.to_string();
        let config = DecoderConfig::parse(&config, "the fixture").expect("it has a shape");
        let live = |axes: &AxesFile| -> Case {
            let axes = AxesFile { test: String::new(), ..axes.clone() };
            result::case_of(&axes).expect("the axes name a case")
        };
        let cases: Vec<Case> = self.cases.iter().map(|(axes, _)| live(axes)).collect();
        file.cases = cases.iter().map(|case| result::case_file(case, &config)).collect();
        file.ceilings.clear();
        let n_rounds = self.cases.iter().map(|(_, rounds)| rounds.len()).max().unwrap_or(0);
        file.plan.repetitions = n_rounds as u32;
        let (finished, ended) = (file.run.finished.clone(), file.run.ended);
        let mut assembly = Assembly::new(file).expect("no id is there twice");
        let mut at_ns = 0;
        for (case, (_, rounds)) in cases.iter().zip(&self.cases) {
            for (round_idx, iteration_ns) in rounds.iter().enumerate() {
                at_ns += 1;
                let record = self.round(case, round_idx, iteration_ns);
                assembly.apply(&Entry { at_ns, record }).expect("it can have happened");
            }
        }
        let mut file = assembly.finish(RunEnd::Completed, finished, at_ns);
        file.run.ended = ended;
        result::seal(&mut file, None)
    }

    fn round(&self, case: &Case, round_idx: usize, iteration_ns: &[u64]) -> Record {
        let template: &CaseFile = &self.template.cases[0];
        let pass_ns: u64 = iteration_ns.iter().sum();
        let n = case.test.forward_passes();
        let mut recorder = Recorder::new(case.test);
        let scaled =
            |share: f64| iteration_ns.iter().map(|&ns| (ns as f64 * share) as u64).collect();
        let device_ns: Option<Vec<u64>> = self.device_shares.map(|(_, device)| scaled(device));
        let pass = PassTimes { host_ns: iteration_ns, device_ns: device_ns.as_deref() };
        (0..N_PASSES).for_each(|_| recorder.record_pass(pass));
        let speed = Some(self.core_speed_per_s);
        let handover_ns = self.handover_ns.get(round_idx).copied();
        let conditions = template.rounds[0].conditions.clone().expect("the fixture tells them");
        let conditions = ConditionsFile {
            core_speed_before_per_s: speed,
            core_speed_after_per_s: speed,
            other_load_share: self.other_load_share,
            // Rounds tell one of the two in turns.
            handover_before_ns: handover_ns.filter(|_| round_idx.is_multiple_of(2)),
            handover_ns: handover_ns.filter(|_| !round_idx.is_multiple_of(2)),
            ..conditions
        };
        let round = RoundFile {
            passes: N_PASSES,
            iterations: N_PASSES * n,
            total_ns: N_PASSES * pass_ns,
            min_pass_ns: pass_ns,
            max_pass_ns: pass_ns,
            min_pass_idx: Some(0),
            block_pass_ns: vec![pass_ns; N_PASSES as usize],
            conditions: Some(conditions),
            device_time: self.device_shares.zip(device_ns).map(|((launch, _), device_ns)| {
                DeviceTimeFile {
                    launch_ns: ((N_PASSES * pass_ns) as f64 * launch) as u64,
                    device_ns: N_PASSES * device_ns.iter().sum::<u64>(),
                }
            }),
            ..template.rounds[0].clone()
        };
        let check = template.check.clone().expect("the fixture's cases were checked");
        Record::Round {
            id: case.id(),
            round: Box::new(round),
            check: CheckFile { passes: N_PASSES, ..check },
            kernel: None,
            latencies: result::latency_files(&recorder),
        }
    }
}

/// `n` times around `centre_ns`, within one per cent of each other, in another order for each
/// `seed`.
pub fn around(centre_ns: f64, n: usize, seed: usize) -> Vec<u64> {
    let step = |i: usize| ((i * 7 + seed * 5) % 13) as f64 / 13.0 - 0.5;
    (0..n).map(|i| (centre_ns * (1.0 + 0.01 * step(i))) as u64).collect()
}
