//! Compiles the library that is loaded before libc in the programs of an instance (shim/); `src/shim.rs` contains it.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=shim");
    println!("cargo::rerun-if-env-changed=CC");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut command = Command::new(&compiler);
    command.args(["-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE"]);
    command.args(["-fPIC", "-shared", "-Wl,-soname,testkit-shim.so"]);
    command.args(["shim/syslog.c", "shim/fsync.c", "-o"]).arg(out.join("shim.so"));
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "the C compiler {compiler} failed ({status:?}); the tests need one: \
         apt-get install --no-install-recommends gcc libc6-dev (or set CC)"
    );
}
