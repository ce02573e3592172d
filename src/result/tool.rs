//! What this binary was built from.

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
    }
}
