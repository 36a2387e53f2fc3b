//! The `synchub` command. What it can do stands in [`synchub::cli`].

use std::process::ExitCode;

// Version 2 of mimalloc, without huge pages (Cargo.toml): under `synchub-loadtest hostile` its memory grew less than
// that of version 3, and half as much as with them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The variable FAILPOINTS says where a test wants the hub to stop or to lie.
    #[cfg(feature = "fail-points")]
    let _scenario = fail::FailScenario::setup();
    synchub::cli::main()
}
