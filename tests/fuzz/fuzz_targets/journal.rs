//! Whatever bytes come in, a journal is replayed or refused without a panic. Lines get the digests
//! that they should have, or the fuzzer would never come past the first.

#![no_main]

use benchinf::result;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = result::replay(bytes);
    let mut journal = Vec::new();
    let mut last = String::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(entry) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
        let (line, digest) = result::journal_line(&last, &entry);
        journal.extend(line.into_bytes());
        last = digest;
    }
    if let Ok(replayed) = result::replay(journal.as_slice()) {
        let finished = "2026-01-01T00:00:00Z".to_owned();
        let _ = replayed.assembly.finish(result::file::RunEnd::Interrupted, finished, 0);
    }
});
