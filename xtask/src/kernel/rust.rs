//! A Rust crate as one relocatable object, built by the rules of the kernel that is to load it.

use super::config::Config;
use super::place::Places;
use super::process::{capture, run};
use super::tree::Tree;
use crate::{build, setup};
use anyhow::{Context, Result, bail};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Symbols that begin so are what C calls; everything else becomes local to the module.
const ENTRY_PREFIX: &str = "bento_rust_";

/// Functions that the kernel has better ones of, fitted to the processor at boot.
const OF_THE_KERNEL: &[&str] = &["memcpy", "memset", "memmove", "memcmp", "bcmp", "strlen"];

/// Builds a module's crate for a kernel, and writes its object file to `object`.
pub fn build_object(places: &Places, tree: &Tree, package: &str, object: &Path) -> Result<()> {
    setup::need(&[setup::BUILD])?;
    rust_source()?;
    let flags = flags(places, tree);
    let mut hasher = DefaultHasher::new();
    flags.hash(&mut hasher);
    // One target directory for each set of flags, or every change of kernel would rebuild everything.
    let target = places.build.join("rust").join(format!("{:016x}", hasher.finish()));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(places.repo.join("platform/kernel"));
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "--package",
        &package.replace('_', "-"),
        "--target",
        build_target(),
    ]);
    cargo.arg("-Zbuild-std=core,alloc").env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    run(&mut cargo)?;
    let library = target.join(build_target()).join("release").join(format!("lib{package}.a"));
    merge(places, &library, object)
}

fn build_target() -> &'static str {
    setup::BARE_TARGET
}

/// The flags follow the kernel's own configuration.
///
/// All of them, `core` included, must agree: that is why `core` is built along.
fn flags(places: &Places, tree: &Tree) -> Vec<String> {
    let mut flags: Vec<String> = [
        // Calls to the kernel are plain, not through a table that no kernel loader fills.
        "-Zplt=yes",
        "-Crelocation-model=static",
        // An interrupt may use the stack at once.
        "-Cno-redzone=y",
        "-Cpanic=abort",
        "-Cforce-unwind-tables=n",
        "-Ctarget-cpu=x86-64",
        "-Ztune-cpu=generic",
        "-Csymbol-mangling-version=v0",
        // A table of addresses means an indirect jump.
        "-Cjump-tables=n",
    ]
    .map(str::to_string)
    .to_vec();
    if tree.is_user_mode {
        // Modules lie far from the text there, and the host's kernel owns the mitigations.
        flags.push("-Ccode-model=large".to_string());
    } else {
        flags.push("-Ccode-model=kernel".to_string());
        flags.extend(mitigations(&tree.config).map(str::to_string));
        if tree.config.has("KASAN_GENERIC") {
            flags.extend(KASAN.iter().map(ToString::to_string));
        }
    }
    // Panic messages name files: of the project, not of whoever built it.
    let mut shorten =
        |from: PathBuf, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    shorten(places.repo.clone(), "bento");
    if let Ok(sysroot) = sysroot() {
        shorten(sysroot.join("lib/rustlib/src/rust/library"), "rust");
    }
    if let Some(home) = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(cargo_home) {
        shorten(home.join("registry/src"), "crates");
    }
    flags
}

/// As the kernel has its C code watched: calls, no shadow of stacks and globals; the offset is x86's.
const KASAN: &[&str] = &[
    "-Zsanitizer=kernel-address",
    "-Cllvm-args=-asan-mapping-offset=0xdffffc0000000000",
    "-Cllvm-args=-asan-instrumentation-with-call-threshold=0",
    "-Cllvm-args=-asan-stack=0",
    "-Cllvm-args=-asan-globals=0",
];

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"))
}

fn mitigations(config: &Config) -> impl Iterator<Item = &'static str> + use<> {
    [
        (config.retpolines(), "-Zretpoline-external-thunk"),
        (config.return_thunks(), "-Zfunction-return=thunk-extern"),
        (config.landing_pads(), "-Zcf-protection=branch"),
        // Room before each function, for call depth tracking.
        (config.has("CALL_PADDING"), "-Zpatchable-function-entry=16,16"),
    ]
    .into_iter()
    .filter_map(|(wanted, flag)| wanted.then_some(flag))
}

fn sysroot() -> Result<PathBuf> {
    let printed = capture(Command::new("rustc").args(["--print", "sysroot"]).current_dir(build::root()))?;
    Ok(PathBuf::from(printed.stdout.trim()))
}

/// Makes sure that the source of `core` is there.
fn rust_source() -> Result<()> {
    let source = sysroot()?.join("lib/rustlib/src/rust/library/core");
    if source.is_dir() {
        return Ok(());
    }
    let line = "rustup component add rust-src";
    eprintln!("installing the source of Rust's libraries");
    run(Command::new("rustup").args(["component", "add", "rust-src"]))
        .with_context(|| format!("the source of Rust's libraries is missing; install it with:\n    {line}"))
}

/// Turns a static library into one object that the kernel's build can take in.
fn merge(places: &Places, library: &Path, object: &Path) -> Result<()> {
    let dir = tempfile::tempdir_in(&places.build)?;
    run(Command::new("ar").arg("x").arg(library).current_dir(dir.path()))?;
    let members = members(dir.path())?;
    let mut entries = Vec::new();
    for member in &members {
        redirect(member)?;
        entries.extend(
            symbols(member)?.into_iter().filter(|symbol| symbol.is_entry()).map(|symbol| symbol.name),
        );
    }
    if entries.is_empty() {
        bail!("{} has no entry that begins with {ENTRY_PREFIX}", library.display());
    }
    let merged = dir.path().join("merged");
    let mut ld = Command::new("ld");
    ld.args(["-r", "--gc-sections", "-T"]).arg(places.repo.join("platform/kernel/rust.lds"));
    for entry in &entries {
        ld.args(["-u", entry]);
    }
    run(ld.arg("-o").arg(&merged).args(&members))?;
    // Two modules may hold the same crates: nothing of theirs is seen from outside.
    let mut objcopy = Command::new("objcopy");
    objcopy.args(entries.iter().map(|entry| format!("--keep-global-symbol={entry}")));
    run(objcopy.arg(&merged))?;
    // What kbuild gets is small; the debug information stays beside it, for finding a line by an address.
    let debug = object.with_extension("debug");
    fs::copy(&merged, &debug).with_context(|| debug.display().to_string())?;
    run(Command::new("objcopy").arg("--strip-debug").arg(&merged))?;
    super::place::write_if_changed(object, &fs::read(&merged)?)
}

fn members(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut members = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    members.sort();
    Ok(members)
}

/// Renames symbols of one member.
///
/// The library's memory functions step aside for the kernel's. And rustc's shim for failed allocations, one
/// jump to a function that does not return, is left out: objtool would take that jump for a return.
fn redirect(member: &Path) -> Result<()> {
    let symbols = symbols(member)?;
    let mut renames = Vec::new();
    if file_name(member).starts_with("compiler_builtins") {
        renames.extend(OF_THE_KERNEL.iter().map(|name| format!("{name}=builtin_{name}")));
    }
    let ends = |symbol: &&Symbol, end: &str| symbol.name.ends_with(end);
    let shim =
        symbols.iter().find(|symbol| ends(symbol, "___rust_alloc_error_handler") && !symbol.is_defined());
    let real =
        symbols.iter().find(|symbol| ends(symbol, "___rdl_alloc_error_handler") && symbol.is_defined());
    if let (Some(shim), Some(real)) = (shim, real) {
        renames.push(format!("{}={}", shim.name, real.name));
    }
    if renames.is_empty() {
        return Ok(());
    }
    let mut objcopy = Command::new("objcopy");
    for rename in &renames {
        objcopy.args(["--redefine-sym", rename]);
    }
    run(objcopy.arg(member))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

struct Symbol {
    name: String,
    kind: char,
}

impl Symbol {
    fn is_defined(&self) -> bool {
        matches!(self.kind, 'T' | 't' | 'W' | 'w')
    }

    fn is_entry(&self) -> bool {
        self.kind == 'T' && self.name.starts_with(ENTRY_PREFIX)
    }
}

fn symbols(object: &Path) -> Result<Vec<Symbol>> {
    let listed = capture(Command::new("nm").arg(object))?.stdout;
    let symbol = |line: &str| {
        let mut fields = line.split_whitespace().rev();
        let (name, kind) = (fields.next()?, fields.next()?);
        Some(Symbol { name: name.to_string(), kind: kind.chars().next()? })
    };
    Ok(listed.lines().filter_map(symbol).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mitigation_of_the_kernel_brings_its_flag() {
        let config = |text: &str| {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join(".config");
            fs::write(&path, text).expect("a file");
            Config::read(&path).expect("a configuration")
        };
        let flags = |text: &str| mitigations(&config(text)).collect::<Vec<_>>();
        assert_eq!(flags(""), Vec::<&str>::new());
        assert_eq!(
            flags("CONFIG_RETHUNK=y\nCONFIG_RETPOLINE=y\n"),
            ["-Zretpoline-external-thunk", "-Zfunction-return=thunk-extern"]
        );
        assert_eq!(
            flags("CONFIG_MITIGATION_RETHUNK=y\nCONFIG_X86_KERNEL_IBT=y\nCONFIG_CALL_PADDING=y\n"),
            ["-Zfunction-return=thunk-extern", "-Zcf-protection=branch", "-Zpatchable-function-entry=16,16"]
        );
    }
}
