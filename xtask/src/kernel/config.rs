//! A kernel's configuration, as its build left it.

use anyhow::{Context, Result};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The options that are built in (`=y`).
#[derive(Clone, Debug, Default)]
pub struct Config {
    on: HashSet<String>,
}

impl Config {
    /// Reads a `.config`.
    pub fn read(path: &Path) -> Result<Config> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Config::parse(&text))
    }

    fn parse(text: &str) -> Config {
        let name = |line: &str| Some(line.strip_prefix("CONFIG_")?.strip_suffix("=y")?.to_string());
        Config { on: text.lines().filter_map(name).collect() }
    }

    /// Whether an option, named without `CONFIG_`, is on.
    pub fn has(&self, option: &str) -> bool {
        self.on.contains(option)
    }

    /// Returns from functions go through a thunk; the option was renamed in 6.9.
    pub fn return_thunks(&self) -> bool {
        self.has("RETHUNK") || self.has("MITIGATION_RETHUNK")
    }

    /// Indirect calls and jumps go through thunks; the option was renamed in 6.9.
    pub fn retpolines(&self) -> bool {
        self.has("RETPOLINE") || self.has("MITIGATION_RETPOLINE")
    }

    /// A straight-line speculation barrier follows each return and indirect jump.
    pub fn speculation_barriers(&self) -> bool {
        self.has("SLS") || self.has("MITIGATION_SLS")
    }

    /// Targets of indirect branches begin with a landing pad.
    pub fn landing_pads(&self) -> bool {
        self.has("X86_KERNEL_IBT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_options_that_are_built_in_count() {
        let config =
            Config::parse("CONFIG_RETHUNK=y\n# CONFIG_SLS is not set\nCONFIG_EXT4_FS=m\nCONFIG_HZ=250\n");
        assert!(config.return_thunks() && !config.speculation_barriers() && !config.retpolines());
        assert!(!config.has("EXT4_FS") && !config.has("HZ"));
    }
}
