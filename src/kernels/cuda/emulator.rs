//! Runs kernels on the processor (`emulator.h`), so that tests can hold them against their
//! definitions without a device.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use super::launch::Launch;
use super::program::{PRELUDE, Source, Variant};

/// Three sizes of a grid or block.
#[repr(C)]
struct Index {
    x: u32,
    y: u32,
    z: u32,
}

type Emulated = unsafe extern "C" fn(Index, Index, *mut *mut c_void);

/// Compiled sources. One kernel runs at a time, since its shared memory is the library's own.
static LIBRARIES: Mutex<Option<HashMap<Variant, Library>>> = Mutex::new(None);

/// Runs all blocks of a launch, whose addresses are those of this process.
pub(super) fn run(launch: &Launch<'_>) {
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let libraries = libraries.get_or_insert_default();
    let library = libraries.entry(launch.variant).or_insert_with(|| compiled(&launch.variant));
    let name = format!("emulated_{}", launch.name);
    // SAFETY: this is the kind of function that `EMULATED` makes.
    let kernel = unsafe { library.get::<Emulated>(name.as_bytes()) }.expect("the source has it");
    let mut values = launch.arguments.clone();
    let mut arguments: Vec<*mut c_void> =
        values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
    let [x, y, z] = launch.grid;
    let block = Index { x: launch.n_threads, y: 1, z: 1 };
    // SAFETY: what holds of a launch on a device (`context.rs`) holds here; no other kernel runs.
    unsafe { kernel(Index { x, y, z }, block, arguments.as_mut_ptr()) };
}

fn compiled(variant: &Variant) -> Library {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("kernels.cpp"), folder.path().join("kernels.so"));
    let exports: Vec<String> =
        kernels(variant.source).iter().map(|name| format!("EMULATED({name})\n")).collect();
    let parts =
        [include_str!("emulator.h"), PRELUDE, variant.source.text(), &exports.concat()].join("\n");
    std::fs::write(&source, parts).unwrap();
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++17", "-O1", "-fPIC", "-shared", "-Wno-unknown-pragmas"]);
    compiler.args(variant.definitions()).arg("-o").args([&library, &source]);
    let done = compiler.output().expect("a C++ compiler, as CUDA's own needs it");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // SAFETY: it was made just now, and does nothing when it is loaded.
    unsafe { Library::new(&library) }.unwrap()
}

/// The kernels that a source has.
fn kernels(source: Source) -> Vec<String> {
    let words = match source {
        Source::Rows => {
            "embed rms_norm keep_rows keep_elements swiglu add_bias greatest stand_at advance_step \
             spoil"
        }
        Source::Rotary => "rotate",
        Source::Products => "product_narrowed product_wide product_added product_gated",
        Source::SingleAttention => "attend_single join_splits",
        Source::BlockAttention => "attend_block",
        Source::Probes => {
            "draw_elements draw_tf32 draw_e4m3 draw_int8 draw_words read_sum copy_words triad"
        }
    };
    let names = words.split(' ');
    match source {
        Source::Products => {
            names.flat_map(|name| (1..=8).map(move |n| format!("{name}_{n}"))).collect()
        }
        _ => names.map(str::to_owned).collect(),
    }
}
