//! Reading the counters.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};

use crate::machine::Machine;
use crate::telemetry::{ProcessUse, ProcessorTicks, Sample};

/// Files of one kind that are read for a sample, at most: a machine of hundreds of processors
/// must neither take milliseconds nor use up the files that a process may open.
const FILES_MAX: usize = 64;

/// Takes samples. It keeps the files open that it reads each time.
#[derive(Debug)]
pub struct Sampler {
    throttle: Option<Vec<NumberFile>>,
    frequency: Option<Vec<NumberFile>>,
    unavailable: BTreeMap<String, String>,
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

impl Sampler {
    /// Finds out what this machine tells.
    pub fn new() -> Self {
        Self::of(&Machine::default())
    }

    fn of(machine: &Machine) -> Self {
        let mut unavailable = BTreeMap::new();
        let mut no = |keys: &[&str], reason: String| {
            unavailable.extend(keys.iter().map(|key| ((*key).to_owned(), reason.clone())));
        };
        let throttle = throttle_files(machine).map_err(|e| no(&["throttle_events"], e)).ok();
        let frequency = frequency_files(machine).map_err(|e| no(&["frequency_hz"], e)).ok();
        if let Err(reason) = process_use() {
            no(&["other_load_share", "involuntary_switches", "major_faults"], reason);
        }
        if let Err(reason) = processor_ticks() {
            no(&["other_load_share", "steal_share"], reason);
        }
        Self { throttle, frequency, unavailable }
    }

    /// Reads every counter that the machine tells. What fails now is absent from the sample.
    pub fn sample(&mut self) -> Sample {
        let throttle = self.throttle.as_deref_mut().and_then(read_all);
        let frequency = self.frequency.as_deref_mut().and_then(read_all);
        Sample {
            processors: processor_ticks().ok(),
            process: process_use().ok(),
            throttle_events: throttle.map(|(sum, _)| sum),
            // The kernel writes kHz.
            frequency_hz: frequency.map(|(sum, n)| (sum / n.max(1)).saturating_mul(1_000)),
        }
    }

    /// The keys of [`Conditions`](crate::telemetry::Conditions) that are never told here, each
    /// with the reason.
    pub fn unavailable(&self) -> &BTreeMap<String, String> {
        &self.unavailable
    }
}

/// A kernel file that holds one number, kept open: reading it again asks the kernel anew.
#[derive(Debug)]
struct NumberFile(File);

impl NumberFile {
    fn open(machine: &Machine, name: &str) -> Result<Self, String> {
        let path = machine.path(name);
        let unread = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
        let mut file = Self(File::open(&path).map_err(unread)?);
        // Some drivers offer the file and then refuse to tell.
        file.read().map_err(unread)?;
        Ok(file)
    }

    fn read(&mut self) -> std::io::Result<u64> {
        let mut text = [0; 32];
        self.0.rewind()?;
        let length = self.0.read(&mut text)?;
        let text = String::from_utf8_lossy(&text[..length]);
        text.trim().parse().map_err(std::io::Error::other)
    }
}

/// Sum of the numbers, and how many they are; absent if one cannot be read.
fn read_all(files: &mut [NumberFile]) -> Option<(u64, u64)> {
    let mut sum = 0_u64;
    for file in files.iter_mut() {
        sum = sum.saturating_add(file.read().ok()?);
    }
    Some((sum, files.len() as u64))
}

/// A counter for each core, and one for each package; x86 counts them for each hardware thread
/// and repeats the same event.
fn throttle_files(machine: &Machine) -> Result<Vec<NumberFile>, String> {
    let file = |number: u32, name: &str| {
        let name = format!("sys/devices/system/cpu/cpu{number}/thermal_throttle/{name}");
        NumberFile::open(machine, &name)
    };
    let mut files = Vec::new();
    for number in spread(machine.first_of_cores()?) {
        files.push(file(number, "core_throttle_count")?);
    }
    for number in spread(machine.first_of_packages()?) {
        files.push(file(number, "package_throttle_count")?);
    }
    Ok(files)
}

fn frequency_files(machine: &Machine) -> Result<Vec<NumberFile>, String> {
    let name = |number| format!("sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq");
    spread(machine.usable()?).map(|number| NumberFile::open(machine, &name(number))).collect()
}

/// All of the numbers, or as many as are read at most, spread evenly over them.
fn spread(numbers: Vec<u32>) -> impl Iterator<Item = u32> {
    let step = numbers.len().div_ceil(FILES_MAX).max(1);
    numbers.into_iter().step_by(step)
}

/// Busy time of guests is already in the time of the processes that run them; waiting for a disk
/// is idle.
#[cfg(target_os = "linux")]
fn processor_ticks() -> Result<ProcessorTicks, String> {
    use procfs::CurrentSI;

    let stat =
        procfs::KernelStats::current().map_err(|e| format!("cannot read /proc/stat: {e}"))?;
    let total = &stat.total;
    let all = |parts: &[Option<u64>]| {
        parts.iter().flatten().fold(0_u64, |sum, part| sum.saturating_add(*part))
    };
    let (user, nice, system) = (Some(total.user), Some(total.nice), Some(total.system));
    Ok(ProcessorTicks {
        busy: all(&[user, nice, system, total.irq, total.softirq]),
        idle: all(&[Some(total.idle), total.iowait]),
        stolen: total.steal.unwrap_or(0),
        n_processors: stat.cpu_time.len() as u64,
        ticks_per_s: procfs::ticks_per_second(),
    })
}

#[cfg(not(target_os = "linux"))]
fn processor_ticks() -> Result<ProcessorTicks, String> {
    Err("read on Linux only".into())
}

/// The system's account of all threads; `/proc/self/status` has the switches of one thread only.
#[cfg(unix)]
fn process_use() -> Result<ProcessUse, String> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;

    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|e| format!("getrusage: {e}"))?;
    let cpu_us = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(ProcessUse {
        cpu_ns: count(cpu_us).saturating_mul(1_000),
        involuntary_switches: count(usage.involuntary_context_switches()),
        major_faults: count(usage.major_page_faults()),
    })
}

/// The system's number types differ in width; none of them is ever negative.
#[cfg(unix)]
fn count(n: impl TryInto<u64>) -> u64 {
    n.try_into().unwrap_or(0)
}

#[cfg(not(unix))]
fn process_use() -> Result<ProcessUse, String> {
    Err("read on Unix only".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::tree;

    #[test]
    fn every_condition_is_told_or_has_a_reason() {
        let mut sampler = Sampler::new();
        let sample = sampler.sample();
        let told = |key: &str| !sampler.unavailable().contains_key(key);
        assert_eq!(sample.throttle_events.is_some(), told("throttle_events"));
        assert_eq!(sample.frequency_hz.is_some(), told("frequency_hz"));
        assert_eq!(sample.processors.is_some(), told("steal_share"));
        assert_eq!(sample.process.is_some(), told("involuntary_switches"));
        assert_eq!(sample.process.is_some(), told("major_faults"));
        let both = sample.processors.is_some() && sample.process.is_some();
        assert_eq!(both, told("other_load_share"));
        let conditions = sample.until(&sample);
        assert_eq!(conditions.major_faults.is_some(), told("major_faults"));
    }

    #[test]
    fn throttling_counts_each_core_and_package_once() {
        let cpu = "sys/devices/system/cpu";
        let mut files = vec![(format!("{cpu}/online"), "0-3")];
        for (number, siblings, core) in
            [(0, "0-1", "5"), (1, "0-1", "5"), (2, "2-3", "7"), (3, "2-3", "7")]
        {
            let at = format!("{cpu}/cpu{number}");
            files.push((format!("{at}/topology/thread_siblings_list"), siblings));
            files.push((format!("{at}/topology/physical_package_id"), "0"));
            files.push((format!("{at}/thermal_throttle/core_throttle_count"), core));
            files.push((format!("{at}/thermal_throttle/package_throttle_count"), "100"));
        }
        let files: Vec<_> = files.iter().map(|(name, text)| (&name[..], *text)).collect();
        let (root, machine) = tree(&files);
        let mut sampler = Sampler::of(&machine);
        assert_eq!(sampler.sample().throttle_events, Some(112));
        // The open file tells what the kernel says now.
        let counter = root.path().join(format!("{cpu}/cpu2/thermal_throttle/core_throttle_count"));
        std::fs::write(&counter, "19\n").unwrap();
        assert_eq!(sampler.sample().throttle_events, Some(124));
        // A counter that is no number any more makes no sum.
        std::fs::write(&counter, "\n").unwrap();
        assert_eq!(sampler.sample().throttle_events, None);
    }

    #[test]
    fn frequency_is_the_mean_of_the_usable_processors() {
        let (_root, machine) = tree(&[
            ("sys/devices/system/cpu/online", "0-2"),
            ("proc/self/status", "Cpus_allowed_list:\t0,2"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "800000"),
            ("sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq", "2000001"),
        ]);
        let mut sampler = Sampler::of(&machine);
        assert_eq!(sampler.sample().frequency_hz, Some(2_500_000_000));
        assert!(sampler.unavailable()["throttle_events"].contains("thread_siblings_list"));
    }

    #[test]
    fn a_large_machine_is_sampled_in_part() {
        assert_eq!(spread((0..64).collect()).count(), 64);
        let some: Vec<u32> = spread((0..300).collect()).collect();
        assert!(some.len() <= FILES_MAX && some.len() > FILES_MAX / 2);
        assert_eq!((some[0], some[1]), (0, 5));
        assert_eq!(spread(vec![]).count(), 0);
    }
}
