//! What the system's settings allow: processor time, and pages of memory.

use crate::machine::Machine;

impl Machine {
    /// Processors' worth of time that control groups leave this process: the lowest quota from
    /// its own group up to the root, each divided by its period. A process that has used its
    /// quota up stands still until the period ends, which looks like a slow machine.
    ///
    /// # Errors
    /// That there is no quota, or why the system does not tell.
    pub fn quota_cpus(&self) -> Result<f64, String> {
        let groups = self.text("proc/self/cgroup")?;
        let mut lowest: Option<f64> = None;
        for line in groups.lines() {
            // `hierarchy:controllers:path`; version 2 has hierarchy 0 and names no controller.
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            // Where both versions are in use, version 2 stands beside the others.
            let mounts: &[&str] = match controllers {
                "" => &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
                _ if controllers.split(',').any(|name| name == "cpu") => {
                    &["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"]
                }
                _ => continue,
            };
            for mount in mounts {
                for group in ancestors(path) {
                    let quota = self.quota_of(&format!("{mount}{group}"));
                    lowest = lowest.into_iter().chain(quota).reduce(f64::min);
                }
            }
        }
        lowest.ok_or_else(|| "no control group sets a quota".into())
    }

    /// The quota of one group, by either version's files; absent where it has none.
    fn quota_of(&self, group: &str) -> Option<f64> {
        let (quota, period) = match self.text(&format!("{group}/cpu.max")) {
            Ok(both) => {
                let (quota, period) = both.split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
            Err(_) => (
                self.text(&format!("{group}/cpu.cfs_quota_us")).ok()?,
                self.text(&format!("{group}/cpu.cfs_period_us")).ok()?,
            ),
        };
        // No quota is `max` in version 2 and −1 in version 1.
        let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    }

    /// When the kernel backs memory by huge pages unasked: `always`, `madvise` or `never`.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn transparent_hugepages(&self) -> Result<String, String> {
        let modes = self.text("sys/kernel/mm/transparent_hugepage/enabled")?;
        let selected = modes.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        selected
            .map(|(mode, _)| mode.to_owned())
            .ok_or_else(|| format!("the kernel lists `{modes}` and selects none"))
    }

    /// What the kernel's clocks count: `tsc`, `kvm-clock`, `arch_sys_counter`, … A slow or
    /// emulated source makes every reading of a clock expensive.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn clocksource(&self) -> Result<String, String> {
        self.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
    }
}

/// A group's path and those of the groups around it: `/a/b`, `/a` and the root's, which is empty.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path.trim_end_matches('/')), |path| {
        path.rfind('/').map(|slash| &path[..slash])
    })
}

#[cfg(test)]
mod tests {
    use crate::machine::tests::tree;

    #[test]
    fn the_lowest_quota_on_the_way_up_counts() {
        let (_root, machine) = tree(&[
            ("proc/self/cgroup", "0::/outer/inner"),
            ("sys/fs/cgroup/outer/inner/cpu.max", "max 100000"),
            ("sys/fs/cgroup/outer/cpu.max", "150000 100000"),
        ]);
        assert_eq!(machine.quota_cpus(), Ok(1.5));
        let (_root, machine) = tree(&[
            ("proc/self/cgroup", "0::/outer/inner"),
            ("sys/fs/cgroup/outer/inner/cpu.max", "50000 100000"),
            ("sys/fs/cgroup/outer/cpu.max", "150000 100000"),
        ]);
        assert_eq!(machine.quota_cpus(), Ok(0.5));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let (_root, machine) =
            tree(&[("proc/self/cgroup", "0::/"), ("sys/fs/cgroup/cpu.max", "200000 50000")]);
        assert_eq!(machine.quota_cpus(), Ok(4.0));
    }

    #[test]
    fn version_1_has_two_files() {
        let (_root, machine) = tree(&[
            ("proc/self/cgroup", "8:memory:/x\n4:cpu,cpuacct:/job\n0::/"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000"),
        ]);
        assert_eq!(machine.quota_cpus(), Ok(2.5));
    }

    #[test]
    fn no_quota_is_a_reason_and_no_number() {
        let (_root, machine) =
            tree(&[("proc/self/cgroup", "0::/a"), ("sys/fs/cgroup/a/cpu.max", "max 100000")]);
        assert_eq!(machine.quota_cpus(), Err("no control group sets a quota".into()));
        let (_root, machine) = tree(&[]);
        assert!(machine.quota_cpus().unwrap_err().starts_with("cannot read"));
    }

    #[test]
    fn the_selected_mode_stands_in_brackets() {
        let file = "sys/kernel/mm/transparent_hugepage/enabled";
        let (_root, machine) = tree(&[(file, "always [madvise] never")]);
        assert_eq!(machine.transparent_hugepages(), Ok("madvise".into()));
        let (_root, machine) = tree(&[(file, "always never")]);
        assert!(machine.transparent_hugepages().is_err());
    }
}
