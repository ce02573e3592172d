//! Whatever bytes come in, a result file is read, held against its digests, reported and merged
//! without a panic; and what was read is written as something that is read again.

#![no_main]

use benchinf::report::{self, Format};
use benchinf::result;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = result::verify(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(file) = result::parse(text) else { return };
    let files = [file];
    for format in [Format::Md, Format::Jsonl, Format::Csv] {
        let _ = report::render(&files, format);
    }
    let [mut file] = files;
    let mut other = file.clone();
    other.run.id.push('2');
    other.run.merged.iter_mut().for_each(|run| run.id.push('2'));
    let merged = result::merge(
        vec![("a".into(), file.clone()), ("b".into(), other)],
        vec!["benchinf".into()],
    );
    if let Ok(mut merged) = merged {
        let sealed = result::seal(&mut merged, None);
        assert!(matches!(result::verify(sealed.as_bytes()), result::Verdict::Intact { .. }));
    }
    // Digests came with the present version, so an older file is never sealed as it stands.
    if file.format_version != result::FORMAT_VERSION {
        return;
    }
    let sealed = result::seal(&mut file, None);
    assert!(matches!(result::verify(sealed.as_bytes()), result::Verdict::Intact { .. }));
    result::parse(&sealed).expect("what was read can be written and read again");
});
