//! Caches, as the kernel describes them.

use std::collections::BTreeMap;

use crate::machine::Machine;
use crate::units::Bytes;

/// One cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// 1 is nearest to the core.
    pub level: u32,
    /// `data`, `instruction` or `unified`.
    pub kind: String,
    /// Size.
    pub size_bytes: Bytes,
    /// Hardware threads that share it, as the kernel lists them.
    pub shared_by_threads: String,
}

/// What all caches of a machine hold together.
///
/// The kernel repeats what the processor or the hypervisor says: a virtual machine may be shown
/// less cache than the host has, or a shared cache once for each of its processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheTotals {
    /// Every data or unified cache of the highest level that any hardware thread has, counted
    /// once however many threads share it. A working set must be a multiple of this before its
    /// traffic is the memory's.
    pub last_level_bytes: Bytes,
    /// Every data or unified cache of every level, each counted once: what could be held at
    /// most, where no level repeats another.
    pub all_levels_bytes: Bytes,
}

impl Machine {
    /// The caches that a hardware thread uses, from the first level on.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn caches_of(&self, number: u32) -> Result<Vec<Cache>, String> {
        let mut caches = Vec::new();
        for index in 0.. {
            let directory = format!("sys/devices/system/cpu/cpu{number}/cache/index{index}");
            let of = |name: &str| self.text(&format!("{directory}/{name}"));
            let level = match of("level") {
                Ok(level) => level,
                Err(_) if index > 0 => break,
                Err(reason) => return Err(reason),
            };
            let size = of("size")?;
            let kib = size.strip_suffix('K').and_then(|kib| kib.parse::<u64>().ok());
            let kib = kib.ok_or_else(|| format!("a cache has size `{size}`"))?;
            caches.push(Cache {
                level: level.parse().map_err(|_| format!("a cache has level `{level}`"))?,
                kind: of("type")?.to_lowercase(),
                size_bytes: Bytes(kib.saturating_mul(1024)),
                shared_by_threads: of("shared_cpu_list")?,
            });
        }
        Ok(caches)
    }

    /// What the caches of all hardware threads in operation hold together, whichever of the
    /// threads this process may use: data may lie in any of them.
    ///
    /// # Errors
    /// Why the system does not tell.
    pub fn cache_totals(&self) -> Result<CacheTotals, String> {
        // A cache is told by its level, its kind and who shares it.
        let mut instances = BTreeMap::new();
        for number in self.online()? {
            for cache in self.caches_of(number)? {
                if cache.kind != "instruction" {
                    let key = (cache.level, cache.kind, cache.shared_by_threads);
                    instances.insert(key, cache.size_bytes);
                }
            }
        }
        let last = instances.keys().map(|(level, ..)| *level).max();
        let last = last.ok_or("the system lists no data cache")?;
        let of_last = instances.iter().filter(|((level, ..), _)| *level == last);
        Ok(CacheTotals {
            last_level_bytes: of_last.map(|(_, size)| *size).sum(),
            all_levels_bytes: instances.values().copied().sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::tests::tree;
    use crate::units::Bytes;

    type CacheRow<'a> = (u32, u32, &'a str, &'a str, &'a str);

    /// Rows of (hardware thread, index, level, type, size and who shares it).
    fn files(online: &str, rows: &[(CacheRow<'_>, &str)]) -> Vec<(String, String)> {
        let mut files = vec![("sys/devices/system/cpu/online".to_owned(), online.to_owned())];
        for ((number, index, level, kind, size), shared) in rows {
            let at = format!("sys/devices/system/cpu/cpu{number}/cache/index{index}");
            for (name, text) in
                [("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)]
            {
                files.push((format!("{at}/{name}"), (*text).to_owned()));
            }
        }
        files
    }

    fn totals(online: &str, rows: &[(CacheRow<'_>, &str)]) -> Result<(u64, u64), String> {
        let files = files(online, rows);
        let files: Vec<_> = files.iter().map(|(name, text)| (&name[..], &text[..])).collect();
        let (_root, machine) = tree(&files);
        machine.cache_totals().map(|totals| (totals.last_level_bytes.0, totals.all_levels_bytes.0))
    }

    #[test]
    fn a_shared_cache_counts_once_and_instructions_never() {
        let rows = [
            ((0, 0, "1", "Data", "32K"), "0"),
            ((0, 1, "1", "Instruction", "64K"), "0"),
            ((0, 2, "3", "Unified", "1024K"), "0-1"),
            ((1, 0, "1", "Data", "32K"), "1"),
            ((1, 1, "1", "Instruction", "64K"), "1"),
            ((1, 2, "3", "Unified", "1024K"), "0-1"),
            ((2, 0, "1", "Data", "48K"), "2"),
            ((2, 1, "3", "Unified", "512K"), "2"),
        ];
        let kib = 1024;
        assert_eq!(totals("0-2", &rows), Ok((1536 * kib, (1536 + 112) * kib)));
        // A thread that is switched off brings nothing.
        assert_eq!(totals("0-1", &rows), Ok((1024 * kib, (1024 + 64) * kib)));
    }

    #[test]
    fn cores_without_the_highest_level_do_not_lower_it() {
        let rows = [
            ((0, 0, "2", "Unified", "1024K"), "0"),
            ((0, 1, "3", "Unified", "8192K"), "0"),
            ((1, 0, "2", "Unified", "2048K"), "1"),
        ];
        assert_eq!(totals("0-1", &rows), Ok((8192 * 1024, (8192 + 3072) * 1024)));
    }

    #[test]
    fn a_machine_that_does_not_tell_gives_a_reason() {
        assert!(totals("0", &[]).unwrap_err().contains("cache/index0/level"));
        let odd = [((0, 0, "1", "Data", "big"), "0")];
        assert_eq!(totals("0", &odd).unwrap_err(), "a cache has size `big`");
        let code = [((0, 0, "1", "Instruction", "32K"), "0")];
        assert_eq!(totals("0", &code).unwrap_err(), "the system lists no data cache");
    }

    #[test]
    fn the_caches_of_one_thread_keep_their_order() {
        let rows = [((0, 0, "1", "Data", "32K"), "0"), ((0, 1, "2", "Unified", "512K"), "0-1")];
        let files = files("0", &rows);
        let files: Vec<_> = files.iter().map(|(name, text)| (&name[..], &text[..])).collect();
        let (_root, machine) = tree(&files);
        let caches = machine.caches_of(0).unwrap();
        assert_eq!(caches.iter().map(|cache| cache.level).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((caches[0].kind.as_str(), caches[0].size_bytes), ("data", Bytes(32 * 1024)));
        assert_eq!(caches[1].shared_by_threads, "0-1");
    }
}
