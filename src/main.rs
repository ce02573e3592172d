//! The `benchinf` command: everything it does stands in the library.

fn main() -> std::process::ExitCode {
    benchinf::cli::main()
}
