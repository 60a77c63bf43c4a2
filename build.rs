//! Generates the C header from `src/ffi` and names the shared object.
//!
//! A release build brings `include/heapledger.h` up to date. Other builds leave it alone, so that
//! `tests/abi.rs` can find it stale; it compares with the copy every build leaves in `OUT_DIR`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HEADER: &str = "include/heapledger.h";

fn main() -> Result<()> {
    for path in ["build.rs", "cbindgen.toml", "src/ffi", HEADER] {
        println!("cargo::rerun-if-changed={path}");
    }
    name_shared_object(&env::var("CARGO_CFG_TARGET_OS")?);
    share_the_unwinder();
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let header = match generate_header(&root) {
        Ok(header) => header,
        // The compiler says it better: what stops cbindgen is source that does not parse.
        Err(error) => {
            println!("cargo::warning=no header was generated: {error}");
            return Ok(());
        }
    };
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("heapledger.h"),
        &header,
    )?;
    if env::var("PROFILE")? == "release"
        && let Err(error) = write_if_changed(&root.join(HEADER), &header)
    {
        println!("cargo::warning={HEADER} is stale and could not be written: {error}");
    }
    Ok(())
}

/// `-soname`: a program linked with the library finds the instance that is already loaded.
/// `-z nodelete`: the program's memory may be recorded for as long as it runs.
fn name_shared_object(target_os: &str) {
    if target_os == "linux" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libheapledger.so");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

/// Links with GCC's unwinder even where the linker has one of its own, as zig has: exceptions and ends of
/// threads pass through our frames, and two unwinders cannot carry one of them. `scripts/wheel` says
/// in which folder it is.
fn share_the_unwinder() {
    println!("cargo::rerun-if-env-changed=HEAPLEDGER_UNWINDER");
    if let Ok(folder) = env::var("HEAPLEDGER_UNWINDER") {
        println!("cargo::rustc-link-search=native={folder}");
        println!("cargo::rustc-link-lib=dylib:+verbatim=libgcc_s.so.1");
    }
}

/// Reads only `src/ffi`, from its `mod.rs` on: a walk over the whole crate would need `cargo metadata`.
fn generate_header(root: &Path) -> Result<Vec<u8>> {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let builder = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/ffi/mod.rs"));
    let mut header = Vec::new();
    builder.generate()?.write(&mut header);
    let header = String::from_utf8(header)?;
    Ok(for_c_readers(&header).into_bytes())
}

/// What cbindgen cannot be configured to say.
fn for_c_readers(header: &str) -> String {
    let header = header.replace("HL_STATUS_", "HL_");
    let header = header.replace("# Safety", "Duties of the caller:");
    header.trim_end().to_owned() + "\n"
}

fn write_if_changed(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, content)
}
