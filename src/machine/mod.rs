//! What the system's files tell about the machine, as far as it stays the same while a run
//! lasts. It reads and understands those files; it knows nothing of result files, of time, and
//! of what anything is asked for.
//!
//! Everything is told without special rights. What is not told is an error whose text is the
//! reason, so that a figure is never guessed. Names of hosts and users, serial numbers and the
//! kernel's command line are not read.

mod caches;
mod limits;
mod processor;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use caches::{Cache, CacheTotals};

/// The files of one machine: of this one, or a made-up tree of them.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

impl Machine {
    /// A machine whose files lie under `root` as they do under `/`.
    pub fn under(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Where `file`, given from the root on, lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// What stands in `file`, without white space around it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn text(&self, file: &str) -> Result<String, String> {
        let path = self.path(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// The first value of `key` in a file of lines `key: value`.
    ///
    /// # Errors
    /// Why the file cannot be read, or that it does not list the key.
    pub fn field(&self, file: &str, key: &str) -> Result<String, String> {
        self.text(file)?
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_owned())
            .ok_or_else(|| format!("{} does not list `{key}`", self.path(file).display()))
    }

    /// Numbers of the hardware threads that are in operation.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn online(&self) -> Result<Vec<u32>, String> {
        parse_list(&self.text("sys/devices/system/cpu/online")?)
    }

    /// The hardware threads that this process may run on, as the kernel lists them: `0-3,8`.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn affinity(&self) -> Result<String, String> {
        self.field("proc/self/status", "Cpus_allowed_list")
    }

    /// Numbers of the hardware threads that this process may run on.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn usable(&self) -> Result<Vec<u32>, String> {
        let online = self.online()?;
        let mut usable = parse_list(&self.affinity()?)?;
        // The mask may name threads that are switched off or were never there.
        usable.retain(|number| online.contains(number));
        Ok(usable)
    }

    /// One hardware thread, the first, of each package.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn first_of_packages(&self) -> Result<Vec<u32>, String> {
        Ok(self.packages()?.into_values().collect())
    }

    /// One hardware thread, the first, of each core.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn first_of_cores(&self) -> Result<Vec<u32>, String> {
        Ok(self.cores()?.into_values().collect())
    }

    /// Package numbers, each with its first hardware thread.
    fn packages(&self) -> Result<BTreeMap<String, u32>, String> {
        let packages = self.distinct("physical_package_id")?;
        // Systems whose firmware does not describe packages number all of them −1.
        match packages.contains_key("-1") {
            true => Err("the firmware does not tell packages apart".into()),
            false => Ok(packages),
        }
    }

    /// Lists of the hardware threads that share a core, each with the first of them.
    fn cores(&self) -> Result<BTreeMap<String, u32>, String> {
        self.distinct("thread_siblings_list")
    }

    /// The values of a topology file over all hardware threads, each with the first that has it.
    fn distinct(&self, name: &str) -> Result<BTreeMap<String, u32>, String> {
        let mut values = BTreeMap::new();
        for number in self.online()? {
            let value =
                self.text(&format!("sys/devices/system/cpu/cpu{number}/topology/{name}"))?;
            values.entry(value).or_insert(number);
        }
        Ok(values)
    }
}

/// The numbers of a kernel list such as `0-3,8`, ascending as the kernel writes them.
fn parse_list(text: &str) -> Result<Vec<u32>, String> {
    let wrong = || format!("`{text}` is not a list of hardware threads");
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.parse().map_err(|_| wrong())?;
        let last: u32 = last.parse().map_err(|_| wrong())?;
        // No machine has a million; a range that says so would only fill memory.
        if last < first || last >= 1 << 20 {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A made-up tree of files, gone when dropped.
    pub fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        let machine = Machine::under(root.path());
        (root, machine)
    }

    #[test]
    fn lists_of_hardware_threads() {
        assert_eq!(parse_list("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_list("5"), Ok(vec![5]));
        assert_eq!(parse_list(""), Ok(vec![]));
        for wrong in ["a", "3-1", "1-", "-1", "0-4294967295"] {
            assert!(parse_list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn usable_threads_are_in_operation_and_allowed() {
        let (_root, machine) = tree(&[
            ("sys/devices/system/cpu/online", "0,2-5"),
            ("proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t1-3,7"),
        ]);
        assert_eq!(machine.usable(), Ok(vec![2, 3]));
    }

    #[test]
    fn packages_and_cores_are_counted_once() {
        let topology = |package: &'static str| {
            [
                ("sys/devices/system/cpu/online", "0-3"),
                ("sys/devices/system/cpu/cpu0/topology/physical_package_id", package),
                ("sys/devices/system/cpu/cpu1/topology/physical_package_id", package),
                ("sys/devices/system/cpu/cpu2/topology/physical_package_id", "1"),
                ("sys/devices/system/cpu/cpu3/topology/physical_package_id", "1"),
                ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2"),
                ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1"),
                ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2"),
                ("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "3"),
            ]
        };
        let (_root, machine) = tree(&topology("0"));
        assert_eq!(machine.first_of_packages(), Ok(vec![0, 2]));
        assert_eq!(machine.first_of_cores(), Ok(vec![0, 1, 3]));
        assert_eq!(machine.n_sockets(), Ok(2));
        assert_eq!(machine.threads_per_core(), Ok(2));
        let (_root, machine) = tree(&topology("-1"));
        assert!(machine.n_sockets().unwrap_err().contains("firmware"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (_root, machine) = tree(&[("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu")]);
        assert_eq!(machine.field("proc/cpuinfo", "flags"), Ok("fpu".into()));
        let missing = machine.field("proc/cpuinfo", "microcode").unwrap_err();
        assert!(missing.ends_with("proc/cpuinfo does not list `microcode`"), "{missing}");
        let unread = machine.text("sys/none").unwrap_err();
        assert!(unread.starts_with("cannot read ") && unread.contains("sys/none: "), "{unread}");
    }
}
