//! The `synchub` command. What it can do stands in [`synchub::cli`].

use std::process::ExitCode;

// Version 2 of mimalloc (Cargo.toml): under attack its peak lay 60 MiB above the start, that of version 3
// 80 to 95, that of the system's allocator 80 to 90, which did not give it back either.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The variable FAILPOINTS says where a test wants the hub to stop or to lie.
    #[cfg(feature = "fail-points")]
    let _scenario = fail::FailScenario::setup();
    synchub::cli::main()
}
