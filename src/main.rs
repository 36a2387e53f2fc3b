//! The `synchub` command. What it can do stands in [`synchub::cli`].

use std::process::ExitCode;

// Version 2 of mimalloc (Cargo.toml): its peak under `synchub-loadtest hostile` was lower than that of version 3.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The variable FAILPOINTS says where a test wants the hub to stop or to lie.
    #[cfg(feature = "fail-points")]
    let _scenario = fail::FailScenario::setup();
    synchub::cli::main()
}
