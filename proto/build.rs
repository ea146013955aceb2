//! Compiles `custody.v1` with a compiler written in Rust, so that no `protoc` is needed.

use std::{env, fs, io, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 2] = ["custody/v1/manager.proto", "custody/v1/provider.proto"];

fn main() -> io::Result<()> {
    let descriptors = protox::compile(FILES, ["proto"]).map_err(io::Error::other)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("custody.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".")
        // what carries content, and what opens a key store
        .skip_debug(["custody.v1.Field", "custody.v1.StorePassword"])
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
