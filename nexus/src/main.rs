//! The `nexus` binary; the library of the same name has its parts.

fn main() -> std::process::ExitCode {
    nexus::cli::main()
}
