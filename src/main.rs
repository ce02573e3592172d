//! The `benchinf` command: everything it does stands in the library.

// The engine allocates every activation anew. The system's allocator gives large blocks back to
// the kernel each time, and the page faults of getting them again cost a third of a prefill.
#[cfg(feature = "infer")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    benchinf::cli::main()
}
