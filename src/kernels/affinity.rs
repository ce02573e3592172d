//! On which hardware threads the system runs ours.

use crate::error::{Error, Result};

/// Keeps the calling thread, and those that it starts from now on, on some hardware threads, given
/// by their numbers.
///
/// # Errors
/// [`Error::Affinity`] with what the system said.
pub fn keep_on(cpus: &[u32]) -> Result<()> {
    system::keep_on(cpus).map_err(|problem| Error::Affinity { cpus: cpus.to_vec(), problem })
}

/// Numbers of the hardware threads that the calling thread may run on.
///
/// # Errors
/// Why the system does not tell.
pub fn usable() -> std::result::Result<Vec<u32>, String> {
    system::usable()
}

#[cfg(target_os = "linux")]
mod system {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    /// The thread that asks.
    const CALLER: Pid = Pid::from_raw(0);

    pub(super) fn keep_on(cpus: &[u32]) -> Result<(), String> {
        let mut set = CpuSet::new();
        for &cpu in cpus {
            set.set(cpu as usize).map_err(|e| e.to_string())?;
        }
        sched_setaffinity(CALLER, &set).map_err(|e| e.to_string())
    }

    pub(super) fn usable() -> Result<Vec<u32>, String> {
        let set = sched_getaffinity(CALLER).map_err(|e| e.to_string())?;
        let is_set = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
        Ok((0..CpuSet::count()).filter(is_set).map(|cpu| cpu as u32).collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    const PROBLEM: &str = "programs cannot choose their hardware threads on this system";

    pub(super) fn keep_on(_cpus: &[u32]) -> Result<(), String> {
        Err(PROBLEM.into())
    }

    pub(super) fn usable() -> Result<Vec<u32>, String> {
        Err(PROBLEM.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_those_it_starts_stay_where_they_are_kept() {
        let all = usable().unwrap();
        let last = *all.last().unwrap();
        let there = std::thread::spawn(move || {
            keep_on(&[last]).unwrap();
            let started = std::thread::spawn(usable).join().unwrap();
            (usable(), started)
        });
        assert_eq!(there.join().unwrap(), (Ok(vec![last]), Ok(vec![last])));
        assert_eq!(usable(), Ok(all), "other threads are as they were");
        for cpus in [&[][..], &[1_000_000]] {
            let message = keep_on(cpus).unwrap_err().to_string();
            assert!(message.starts_with("cannot keep a thread on "), "{message}");
        }
    }
}
