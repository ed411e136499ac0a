//! The `fhir-bridge` program; everything is in the library.

fn main() -> std::process::ExitCode {
    fhir_bridge::cli::main()
}
