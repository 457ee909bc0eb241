//! Compiles the wire contract without a protoc install, and exports its descriptors for reflection and tests.

use std::error::Error;
use std::path::{Path, PathBuf};

/// Where the largest of a stream's frames is: boxed, so that small frames stay small.
const BOXED: &str = ".tradepost.v1.OpenResponse.frame.dispatch";

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its folders by the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let folder = root.join("tradepost/v1");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|found| found.path()))
        .collect::<Result<Vec<PathBuf>, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let out = std::env::var("OUT_DIR")?;
    // Encoded by the compiler: the generated types would drop our own method options, which say who may call what.
    std::fs::write(Path::new(&out).join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().boxed(BOXED).compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
