//! The processor: its packages and cores, its clocks as rated, and whether it is a virtual one.

use crate::machine::Machine;

const CPU: &str = "sys/devices/system/cpu";

impl Machine {
    /// Packages with a hardware thread in operation.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn n_sockets(&self) -> Result<u32, String> {
        Ok(self.packages()?.len() as u32)
    }

    /// Hardware threads of the core that has most of them.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn threads_per_core(&self) -> Result<u32, String> {
        let cores = self.cores()?;
        let mut most = 0;
        for siblings in cores.keys() {
            most = most.max(super::parse_list(siblings)?.len() as u32);
        }
        Ok(most)
    }

    /// Revision of the microcode, as the kernel writes it. x86 only.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn microcode(&self) -> Result<String, String> {
        self.field("proc/cpuinfo", "microcode")
    }

    /// Whether the processor says that a hypervisor runs it. x86 only: other architectures have
    /// no such flag.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn hypervisor(&self) -> Result<bool, String> {
        let flags = self.field("proc/cpuinfo", "flags")?;
        Ok(flags.split_whitespace().any(|flag| flag == "hypervisor"))
    }

    /// Whether cores may run above their base frequency.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn boost(&self) -> Result<bool, String> {
        let switch = |file: &str| match self.text(&format!("{CPU}/{file}"))?.as_str() {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(format!("{file} says `{other}`")),
        };
        // Drivers tell it either way round, and one of them never both.
        switch("cpufreq/boost")
            .or_else(|_| switch("intel_pstate/no_turbo").map(|off| !off))
            .map_err(|_| "neither cpufreq/boost nor intel_pstate/no_turbo tells".into())
    }

    /// The highest frequency of the fastest core, boost included.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn max_frequency_hz(&self) -> Result<u64, String> {
        self.of_all("cpufreq/cpuinfo_max_freq", 1_000, Iterator::max)
    }

    /// The lowest frequency of the slowest core.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn min_frequency_hz(&self) -> Result<u64, String> {
        self.of_all("cpufreq/cpuinfo_min_freq", 1_000, Iterator::min)
    }

    /// The frequency that the fastest core is rated for without boost.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn base_frequency_hz(&self) -> Result<u64, String> {
        self.of_all("cpufreq/base_frequency", 1_000, Iterator::max)
            .or_else(|_| self.of_all("acpi_cppc/nominal_freq", 1_000_000, Iterator::max))
            .map_err(|_| "neither cpufreq/base_frequency nor acpi_cppc/nominal_freq tells".into())
    }

    /// A file of all hardware threads in operation, made one number in hertz.
    fn of_all(
        &self,
        file: &str,
        unit_hz: u64,
        pick: fn(std::vec::IntoIter<u64>) -> Option<u64>,
    ) -> Result<u64, String> {
        let mut values = Vec::new();
        for number in self.online()? {
            let text = self.text(&format!("{CPU}/cpu{number}/{file}"))?;
            let value = text.parse::<u64>().ok().filter(|value| *value > 0);
            let value = value.ok_or_else(|| format!("{file} says `{text}`"))?;
            values.push(value.saturating_mul(unit_hz));
        }
        pick(values.into_iter()).ok_or_else(|| "no hardware thread is in operation".into())
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::tests::tree;

    #[test]
    fn frequencies_are_of_the_fastest_and_the_slowest_core() {
        let (_root, machine) = tree(&[
            ("sys/devices/system/cpu/online", "0-1"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "5000000"),
            ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "3800000"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq", "800000"),
            ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_min_freq", "400000"),
            ("sys/devices/system/cpu/cpu0/acpi_cppc/nominal_freq", "2450"),
            ("sys/devices/system/cpu/cpu1/acpi_cppc/nominal_freq", "2000"),
        ]);
        assert_eq!(machine.max_frequency_hz(), Ok(5_000_000_000));
        assert_eq!(machine.min_frequency_hz(), Ok(400_000_000));
        assert_eq!(machine.base_frequency_hz(), Ok(2_450_000_000));
    }

    #[test]
    fn a_frequency_of_nothing_is_no_frequency() {
        let (_root, machine) = tree(&[
            ("sys/devices/system/cpu/online", "0"),
            ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "0"),
        ]);
        assert_eq!(machine.max_frequency_hz(), Err("cpufreq/cpuinfo_max_freq says `0`".into()));
        assert!(machine.min_frequency_hz().unwrap_err().starts_with("cannot read"));
        assert!(machine.base_frequency_hz().unwrap_err().starts_with("neither"));
    }

    #[test]
    fn boost_is_told_either_way_round() {
        let boost = |file, text| {
            let (_root, machine) = tree(&[(file, text)]);
            machine.boost()
        };
        assert_eq!(boost("sys/devices/system/cpu/cpufreq/boost", "1"), Ok(true));
        assert_eq!(boost("sys/devices/system/cpu/cpufreq/boost", "0"), Ok(false));
        assert_eq!(boost("sys/devices/system/cpu/intel_pstate/no_turbo", "1"), Ok(false));
        assert_eq!(boost("sys/devices/system/cpu/intel_pstate/no_turbo", "0"), Ok(true));
        assert!(boost("sys/devices/system/cpu/cpufreq/boost", "maybe").is_err());
        assert!(boost("elsewhere", "1").is_err());
    }

    #[test]
    fn a_hypervisor_is_a_word_among_the_flags() {
        let hypervisor = |cpuinfo| {
            let (_root, machine) = tree(&[("proc/cpuinfo", cpuinfo)]);
            machine.hypervisor()
        };
        assert_eq!(hypervisor("flags\t: fpu hypervisor sse"), Ok(true));
        assert_eq!(hypervisor("flags\t: fpu no_hypervisor_here"), Ok(false));
        // The name that the list has on ARM.
        assert!(hypervisor("Features\t: fp asimd").is_err());
    }
}
