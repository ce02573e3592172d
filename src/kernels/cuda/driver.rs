//! The driver: looked for when the program runs, and asked before anything computes.
//!
//! A program that is linked to the driver's library does not start without it. So the driver's
//! functions stand in this program, each a few instructions that load the library at the first call
//! (`driver_x86_64.s`) and go on to it; whoever asks learns in words what is missing.

#![allow(unsafe_code)]

use std::error::Error as _;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use candle_core::cuda::cudarc::driver::{DriverError, result, sys};
use candle_core::cuda::kernels;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// The driver's library.
const LIBRARY_NAME: &str = "libcuda.so.1";

/// The oldest devices whose kernels are written for: the first that multiply bf16.
const CAPABILITY_MIN: Version = Version { major: 8, minor: 0 };

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
std::arch::global_asm!(
    include_str!("driver_x86_64.s"),
    include_str!("driver_functions.s"),
    first_call = sym first_call,
    options(att_syntax)
);

/// What one function of the driver goes by: its address, and its name behind it.
#[repr(C)]
struct Slot {
    address: AtomicPtr<c_void>,
    /// The first of its bytes; a zero ends them.
    name: [c_char; 0],
}

/// Where the function of a slot is: in the driver, or what stands for it.
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
extern "C" fn first_call(slot: &'static Slot) -> *mut c_void {
    // SAFETY: behind every address stands a name that ends with a zero (`driver_x86_64.s`).
    let name = unsafe { CStr::from_ptr(slot.name.as_ptr()) };
    let found = match library() {
        // SAFETY: only the address is taken; whoever calls it knows what it takes.
        Ok(library) => unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()) }
            .map_or(not_in_this_driver as *mut c_void, |function| *function),
        Err(_) => no_driver as *mut c_void,
    };
    slot.address.store(found, Ordering::Release);
    found
}

/// `CUDA_ERROR_STUB_LIBRARY`: what the toolkit's own library says where there is no driver.
extern "C" fn no_driver() -> c_int {
    34
}

/// `CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER`.
extern "C" fn not_in_this_driver() -> c_int {
    36
}

/// The driver's library, loaded once and never given back.
fn library() -> Result<&'static Library, &'static str> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    // SAFETY: the driver's library may be loaded at any time and from any thread.
    let load = || unsafe { Library::open(Some(LIBRARY_NAME), RTLD_NOW | RTLD_GLOBAL) };
    // What the loader says stands behind what the crate does.
    let words = |e: libloading::Error| e.source().map_or(e.to_string(), ToString::to_string);
    LIBRARY.get_or_init(|| load().map_err(words)).as_ref().map_err(String::as_str)
}

/// A version, or a compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the point.
    pub major: u32,
    /// After it.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// As the driver and the runtime write them: 13000 for 13.0.
    pub(super) fn of_number(number: i32) -> Self {
        let number = u32::try_from(number).unwrap_or(0);
        Self { major: number / 1000, minor: number % 1000 / 10 }
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// What keeps a device from being used.
#[derive(Clone, Debug, PartialEq)]
pub enum Obstacle {
    /// The machine has no driver, by what the loader said.
    NoDriver(String),
    /// The driver cannot read what this program was compiled to.
    DriverTooOld {
        /// The newest CUDA that the driver knows.
        driver: Version,
        /// The one that this program was built with.
        built: Version,
    },
    /// There is a driver, and no device that it lets this process see.
    NoDevice,
    /// There are fewer devices.
    NoSuchDevice {
        /// How many.
        n_devices: usize,
    },
    /// The device is older than any that kernels are written for.
    DeviceTooOld(Version),
    /// The engine's kernels were compiled for another kind of device.
    BuiltForAnother {
        /// The device's compute capability.
        device: Version,
        /// What the kernels were compiled for, as the compiler writes it.
        target: String,
    },
    /// Anything else that the driver says.
    Failed(String),
}

/// Looks for a device, and for all that would keep it from computing.
///
/// # Errors
/// The first obstacle.
pub fn check(ordinal: usize) -> Result<(), Obstacle> {
    library().map_err(|problem| Obstacle::NoDriver(problem.into()))?;
    let image = Image::of(kernels::FILL.ptx());
    let driver = version().map_err(failed)?;
    if let Some(built) = image.as_ref().map(|image| image.cuda).filter(|built| *built > driver) {
        return Err(Obstacle::DriverTooOld { driver, built });
    }
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => return Err(Obstacle::NoDevice),
        other => other.map_err(failed)?,
    }
    let n_devices = result::device::get_count().map_err(failed)? as usize;
    match n_devices {
        0 => return Err(Obstacle::NoDevice),
        n_devices if ordinal >= n_devices => return Err(Obstacle::NoSuchDevice { n_devices }),
        _ => {}
    }
    let device = capability(ordinal).map_err(failed)?;
    if device < CAPABILITY_MIN {
        return Err(Obstacle::DeviceTooOld(device));
    }
    match image {
        Some(image) if !image.runs_on(device) => {
            Err(Obstacle::BuiltForAnother { device, target: image.target })
        }
        _ => Ok(()),
    }
}

pub(super) fn failed(error: DriverError) -> Obstacle {
    let text = error.error_string().ok().map(|text| text.to_string_lossy().into_owned());
    Obstacle::Failed(text.unwrap_or_else(|| format!("{:?}", error.0)))
}

/// The newest CUDA that the driver knows.
pub(super) fn version() -> Result<Version, DriverError> {
    let mut number = 0;
    // SAFETY: the driver writes one number there, whether or not it was started.
    unsafe { sys::cuDriverGetVersion(&mut number) }.result()?;
    Ok(Version::of_number(number))
}

fn capability(ordinal: usize) -> Result<Version, DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let device = result::device::get(ordinal as c_int)?;
    let part = |attribute| {
        // SAFETY: the device is one of those that the driver counts.
        let part = unsafe { result::device::get_attribute(device, attribute) }?;
        Ok(u32::try_from(part).unwrap_or(0))
    };
    Ok(Version {
        major: part(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        minor: part(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    })
}

/// What the head of a compiled kernel says of itself.
#[derive(Clone, Debug, PartialEq)]
struct Image {
    /// The first CUDA whose driver reads it.
    cuda: Version,
    /// Such as `sm_90a`.
    target: String,
}

impl Image {
    fn of(ptx: &str) -> Option<Self> {
        let word = |key: &str| {
            let mut words = ptx.lines().take(40).filter_map(|line| line.strip_prefix(key));
            words.next().map(|rest| rest.trim().split(',').next().unwrap_or_default().to_owned())
        };
        Some(Self {
            cuda: cuda_of_ptx(Version::parse(&word(".version")?)?),
            target: word(".target")?,
        })
    }

    /// PTX runs on its own and on all later devices, but for that with a letter at its end.
    fn runs_on(&self, device: Version) -> bool {
        let Some(number) = self.target.strip_prefix("sm_") else { return true };
        let digits = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        let Ok(number_of_target) = digits.parse::<u32>() else { return true };
        let target = Version { major: number_of_target / 10, minor: number_of_target % 10 };
        match number.strip_prefix(digits) {
            Some("a") => device == target,
            Some("f") => device.major == target.major && device >= target,
            _ => device >= target,
        }
    }
}

/// The first CUDA that knows a version of PTX, by the table in its documentation.
fn cuda_of_ptx(ptx: Version) -> Version {
    match ptx {
        Version { major: 7, minor } => Version { major: 11, minor },
        Version { major: 8, minor } if minor <= 5 => Version { major: 12, minor },
        Version { major: 8, minor } => Version { major: 12, minor: minor + 1 },
        Version { major, minor } => Version { major: major + 4, minor },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn the_head_of_a_kernel_tells_what_it_needs() {
        let ptx = "//\n// Generated by NVIDIA NVVM Compiler\n//\n\n.version 9.0\n.target sm_90a\n.address_size 64\n";
        let image = Image::of(ptx).unwrap();
        assert_eq!((image.cuda, &*image.target), (version("13.0"), "sm_90a"));
        assert_eq!(Image::of("nothing"), None);
        // That of this very build.
        let built = Image::of(kernels::FILL.ptx()).unwrap();
        assert!(built.cuda >= version("12.0") && built.target.starts_with("sm_"), "{built:?}");
        for (ptx, cuda) in [("7.8", "11.8"), ("8.0", "12.0"), ("8.5", "12.5"), ("8.7", "12.8")] {
            assert_eq!(cuda_of_ptx(version(ptx)), version(cuda));
        }
    }

    #[test]
    fn kernels_run_on_their_own_devices_and_later_ones() {
        let runs = |target: &str, device: &str| {
            Image { cuda: version("13.0"), target: target.into() }.runs_on(version(device))
        };
        assert!(runs("sm_80", "8.0") && runs("sm_80", "9.0") && runs("sm_80", "12.0"));
        assert!(!runs("sm_89", "8.6"));
        assert!(runs("sm_90a", "9.0") && !runs("sm_90a", "10.0") && !runs("sm_90a", "8.9"));
        assert!(runs("sm_100f", "10.3") && !runs("sm_100f", "12.0"));
    }

    #[test]
    fn versions_as_the_driver_writes_them() {
        assert_eq!(Version::of_number(13000).to_string(), "13.0");
        assert_eq!(Version::of_number(12090).to_string(), "12.9");
        assert!(version("13.0") > version("12.9"));
    }

    /// Without a driver every function of it says so, instead of keeping the program from starting.
    #[test]
    fn the_driver_is_asked_when_it_is_needed() {
        match library() {
            Ok(_) => assert!(super::version().is_ok()),
            Err(problem) => {
                assert!(problem.contains(LIBRARY_NAME), "{problem}");
                assert!(matches!(check(0), Err(Obstacle::NoDriver(_))));
                // Twice: the second call goes by the address that the first one found.
                for _ in 0..2 {
                    let error = result::init().unwrap_err();
                    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_STUB_LIBRARY);
                    let error = super::version().unwrap_err();
                    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_STUB_LIBRARY);
                }
            }
        }
    }
}
