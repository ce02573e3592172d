//! What this binary was built from.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use crate::result::file::ToolFile;

/// Instruction set extensions the compiler was allowed to assume, comma-separated.
pub const TARGET_FEATURES: &str = env!("BENCHINF_TARGET_FEATURES");

/// Whether figures of this build say anything about the hardware.
pub fn is_debug_build() -> bool {
    cfg!(debug_assertions) || env!("BENCHINF_OPT_LEVEL") == "0"
}

/// This binary, as result files describe it.
pub fn tool() -> ToolFile {
    let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let features = [("infer", cfg!(feature = "infer")), ("cuda", cfg!(feature = "cuda"))];
    ToolFile {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: present(env!("BENCHINF_COMMIT")),
        dirty: present(env!("BENCHINF_DIRTY")).map(|dirty| dirty == "true"),
        features: features.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).into()).collect(),
        target: env!("BENCHINF_TARGET").into(),
        target_features: TARGET_FEATURES.split(',').map(str::to_owned).collect(),
        compiler: env!("BENCHINF_RUSTC").into(),
        profile: env!("BENCHINF_PROFILE").into(),
        opt_level: env!("BENCHINF_OPT_LEVEL").into(),
        debug_build: is_debug_build(),
        binary_sha256: binary_sha256(),
    }
}

/// SHA-256 of the running binary, in hexadecimal; absent where the system does not show it.
fn binary_sha256() -> Option<String> {
    let mut file = std::fs::File::open(std::env::current_exe().ok()?).ok()?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hex::encode(hasher.finalize())),
            n => hasher.update(&piece[..n]),
        }
    }
}
