//! The `synchub` command. What it can do stands in [`synchub::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    synchub::cli::main()
}
