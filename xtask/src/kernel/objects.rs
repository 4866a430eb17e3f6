//! Looks at finished modules for what the compiler's flags were to prevent.
//!
//! A flag that stops working gives a module that still loads here and fails on another machine: with
//! retbleed's mitigation on, on a processor with landing pads, or deep in somebody's stack.

use super::config::Config;
use super::tree::Tree;
use anyhow::{Context, Result, bail};
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use object::elf::{self, RelocationType};
use object::read::elf::{ElfFile64, ElfSection64};
use object::{
    Endianness, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SymbolKind,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The largest stack frame. A kernel stack has 16 KiB, and writeback enters us from deep within it.
const FRAME_LIMIT: u64 = 1024;

/// The relocations that the loader of every supported kernel knows.
const RELOCATIONS: &[RelocationType] = &[
    elf::R_X86_64_NONE,
    elf::R_X86_64_64,
    elf::R_X86_64_PC32,
    elf::R_X86_64_PLT32,
    elf::R_X86_64_32,
    elf::R_X86_64_32S,
    elf::R_X86_64_PC64,
];

type Section<'data, 'file> = ElfSection64<'data, 'file, Endianness>;

/// What a kernel asks of a module's code.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    return_thunks: bool,
    retpolines: bool,
    unwind_tables: bool,
    /// With KASAN stacks are twice as large, and so are the frames that it watches.
    stacks: Stacks,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stacks {
    #[default]
    Plain,
    Doubled,
}

impl Stacks {
    fn frame_limit(self) -> u64 {
        match self {
            Stacks::Plain => FRAME_LIMIT,
            Stacks::Doubled => 2 * FRAME_LIMIT,
        }
    }
}

impl Rules {
    fn of(tree: &Tree) -> Rules {
        if tree.is_user_mode {
            return Rules::default();
        }
        let config: &Config = &tree.config;
        Rules {
            return_thunks: config.return_thunks(),
            retpolines: config.retpolines(),
            unwind_tables: config.has("UNWINDER_ORC"),
            stacks: if config.has("KASAN") { Stacks::Doubled } else { Stacks::Plain },
        }
    }
}

/// What was found in a module.
#[derive(Debug, Default)]
struct Findings {
    faults: Vec<String>,
    functions: usize,
    largest_frame: u64,
}

/// Fails if anything in a module breaks its kernel's rules.
pub fn check(file: &Path, tree: &Tree) -> Result<()> {
    let data = fs::read(file).with_context(|| file.display().to_string())?;
    let findings = examine(&data, Rules::of(tree)).with_context(|| file.display().to_string())?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if !findings.faults.is_empty() {
        bail!("{name} for {}:\n  {}", tree.release, findings.faults.join("\n  "));
    }
    eprintln!(
        "{name} for {}: {} functions, the largest frame has {} bytes",
        tree.release, findings.functions, findings.largest_frame
    );
    Ok(())
}

fn examine(data: &[u8], rules: Rules) -> Result<Findings> {
    let module: ElfFile64<'_, Endianness> = ElfFile64::parse(data)?;
    let mut findings = Findings::default();
    for section in module.sections() {
        relocations(&section, &mut findings)?;
    }
    let wanted = [(rules.unwind_tables, ".orc_unwind"), (rules.return_thunks, ".return_sites")];
    for (_, name) in wanted.iter().filter(|(wanted, name)| *wanted && module.section_by_name(name).is_none())
    {
        findings.faults.push(format!("objtool left no {name}"));
    }
    for symbol in module.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let Some(section) = symbol.section_index() else { continue };
        let section = module.section_by_index(section)?;
        // Replacements that are patched in at boot follow rules of their own.
        if section.name()?.starts_with(".altinstr") {
            continue;
        }
        let code =
            section.data_range(symbol.address(), symbol.size())?.context("a function outside its section")?;
        let function = Function { name: symbol.name()?, address: symbol.address(), code };
        findings.functions += 1;
        function.examine(rules, &paravirt_sites(&module, &section)?, &mut findings);
    }
    Ok(findings)
}

fn relocations(section: &Section<'_, '_>, findings: &mut Findings) -> Result<()> {
    for (offset, relocation) in section.relocations() {
        if let RelocationFlags::Elf { r_type } = relocation.flags()
            && !RELOCATIONS.contains(&r_type)
        {
            let place = section.name()?;
            findings
                .faults
                .push(format!("{place}+{offset:#x}: relocation {r_type:?}, which no kernel loads"));
        }
    }
    Ok(())
}

/// Where a section names the kernel's table of paravirtual operations: calls through it are patched at load.
fn paravirt_sites(
    module: &ElfFile64<'_, Endianness>,
    section: &Section<'_, '_>,
) -> Result<BTreeMap<u64, ()>> {
    let mut sites = BTreeMap::new();
    for (offset, relocation) in section.relocations() {
        if let RelocationTarget::Symbol(symbol) = relocation.target()
            && module.symbol_by_index(symbol)?.name()? == "pv_ops"
        {
            sites.insert(offset, ());
        }
    }
    Ok(sites)
}

struct Function<'data> {
    name: &'data str,
    address: u64,
    code: &'data [u8],
}

impl Function<'_> {
    fn examine(&self, rules: Rules, paravirt: &BTreeMap<u64, ()>, findings: &mut Findings) {
        let mut frame = Frame::default();
        let mut fault = |at: u64, what: &str| {
            findings.faults.push(format!("{}+{:#x}: {what}", self.name, at - self.address));
        };
        for instruction in &mut Decoder::with_ip(64, self.code, self.address, DecoderOptions::NONE) {
            frame.note(&instruction);
            if uses_floating_point(&instruction) {
                fault(instruction.ip(), "floating point or SIMD");
            }
            match instruction.flow_control() {
                FlowControl::Return if rules.return_thunks => fault(instruction.ip(), "naked return"),
                FlowControl::IndirectCall | FlowControl::IndirectBranch
                    if rules.retpolines
                        && paravirt.range(instruction.ip()..instruction.next_ip()).next().is_none() =>
                {
                    fault(instruction.ip(), "indirect branch outside a thunk");
                }
                _ => {}
            }
        }
        let size = frame.size();
        let limit = rules.stacks.frame_limit();
        if size >= limit {
            fault(self.address, &format!("a frame of {size} bytes, {limit} are too many"));
        }
        findings.largest_frame = findings.largest_frame.max(size);
    }
}

/// The stack that a function takes: saved registers and the largest single step of the stack pointer.
#[derive(Default)]
struct Frame {
    pushes: u64,
    step: u64,
    is_past_prologue: bool,
}

impl Frame {
    fn note(&mut self, instruction: &Instruction) {
        match instruction.mnemonic() {
            Mnemonic::Push if !self.is_past_prologue => self.pushes += 8,
            Mnemonic::Sub | Mnemonic::Add | Mnemonic::Lea => self.note_step(instruction),
            Mnemonic::Call | Mnemonic::Pop => self.is_past_prologue = true,
            _ => {}
        }
    }

    fn note_step(&mut self, instruction: &Instruction) {
        if instruction.op0_register() != Register::RSP {
            return;
        }
        let down = match (instruction.mnemonic(), instruction.op1_kind()) {
            (Mnemonic::Lea, _) if instruction.memory_base() == Register::RSP => {
                (instruction.memory_displacement64() as i64).wrapping_neg()
            }
            (Mnemonic::Lea, _) | (_, OpKind::Register | OpKind::Memory) => 0,
            (Mnemonic::Sub, _) => instruction.immediate(1) as i64,
            _ => (instruction.immediate(1) as i64).wrapping_neg(),
        };
        self.step = self.step.max(u64::try_from(down).unwrap_or(0));
    }

    fn size(&self) -> u64 {
        self.pushes + self.step
    }
}

/// The kernel saves these registers for nobody but its own callers of kernel_fpu_begin().
fn uses_floating_point(instruction: &Instruction) -> bool {
    let is_vector =
        |register: Register| register.is_vector_register() || register.is_mm() || register.is_st();
    (0..instruction.op_count()).any(|operand| is_vector(instruction.op_register(operand)))
        || instruction.cpuid_features().iter().any(|feature| {
            matches!(
                feature,
                CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387 | CpuidFeature::MMX
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const STRICT: Rules =
        Rules { return_thunks: true, retpolines: true, unwind_tables: false, stacks: Stacks::Plain };

    /// What is wrong with a piece of C, built as a careless build would.
    fn faults(source: &str, flags: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let (text, object) = (dir.path().join("a.c"), dir.path().join("a.o"));
        fs::write(&text, source).expect("a file");
        let mut compiler = Command::new("cc");
        compiler.args(["-c", "-O1", "-fno-stack-protector", "-fcf-protection=none"]).args(flags);
        assert!(compiler.arg("-o").arg(&object).arg(&text).status().expect("a C compiler").success());
        let rules = if flags.contains(&"-fPIC") { Rules::default() } else { STRICT };
        let findings = examine(&fs::read(&object).expect("an object"), rules).expect("an ELF file");
        findings.faults.into_iter().filter(|fault| !fault.contains("objtool left")).collect()
    }

    fn has(faults: &[String], what: &str) -> bool {
        faults.iter().any(|fault| fault.contains(what))
    }

    const THUNKS: &[&str] = &["-mfunction-return=thunk-extern", "-mindirect-branch=thunk-extern"];

    #[test]
    fn code_by_the_rules_passes() {
        assert_eq!(faults("int f(int (*g)(int), int x) { return g(x) + 1; }", THUNKS), Vec::<String>::new());
    }

    #[test]
    fn a_naked_return_and_an_indirect_call_are_seen() {
        let found = faults("int f(int (*g)(int), int x) { return g(x) + 1; }", &[]);
        assert!(has(&found, "naked return") && has(&found, "indirect branch"), "{found:?}");
    }

    #[test]
    fn floating_point_is_seen_and_a_memory_fence_is_not_taken_for_it() {
        let sum = "double f(double *a) { return a[0] + a[1]; }";
        assert!(has(&faults(sum, THUNKS), "floating point"));
        assert!(has(&faults("long double f(long double *a) { return *a * 2; }", THUNKS), "floating point"));
        assert_eq!(
            faults("void f(void) { asm volatile(\"lfence; mfence; pause\"); }", THUNKS),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_large_frame_is_seen() {
        let source = "void g(char *); void f(void) { char room[1100]; g(room); }";
        assert!(has(&faults(source, THUNKS), "a frame of"));
        let small = "void g(char *); void f(void) { char room[900]; g(room); }";
        assert_eq!(faults(small, THUNKS), Vec::<String>::new());
    }

    #[test]
    fn a_relocation_that_the_loader_does_not_know_is_seen() {
        assert!(has(&faults("extern int x; int f(void) { return x; }", &["-fPIC"]), "relocation"));
    }
}
