//! `docs/format.md` says what the code does: every structure, every field, every number, and the worked log.
use crate::small_geometry;
use bento_api::{BLOCK, BatchSeq, BlockNo};
use bento_fs::format::log::{self, BatchHeader, LogHeader, Tag, TagArea, Totals};
use bento_fs::format::{BlockKind, Corruption, LAYOUTS};
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// The cells of a text's table rows, trimmed, with code marks taken off.
fn rows_of(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter_map(|line| {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
    })
}

/// The short path of a structure, as the document writes it: `inode::RawInode`.
fn path(module: &str, name: &str) -> String {
    let short = module.strip_prefix("bento_fs::format::").expect("structures are declared in format");
    format!("{short}::{name}")
}

#[test]
fn every_field_is_documented_at_its_offset_with_its_size_and_path() {
    let mut documented: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    for cells in rows_of(DOCUMENT) {
        let [offset, size, .., rust] = cells.as_slice() else { continue };
        let (Ok(offset), Ok(size)) = (offset.parse(), size.parse()) else { continue };
        documented.entry((*rust).to_string()).or_default().push((offset, size));
    }
    for layout in LAYOUTS {
        let path = path(layout.module, layout.name);
        for field in layout.fields {
            let row = documented.remove(&format!("{path}::{}", field.name));
            assert_eq!(row, Some(vec![(field.offset, field.size)]), "{path}::{}", field.name);
        }
    }
    assert!(documented.is_empty(), "rows without a field: {documented:?}");
}

#[test]
fn every_structure_has_a_heading_with_its_size() {
    for layout in LAYOUTS {
        let path = path(layout.module, layout.name);
        let heading = format!("(`{path}`, {} bytes)", layout.size);
        assert!(DOCUMENT.contains(&heading), "no heading ends with {heading}");
    }
}

#[test]
fn fields_follow_each_other_without_gaps() {
    for layout in LAYOUTS {
        let mut at = 0;
        for field in layout.fields {
            assert_eq!(field.offset, at, "{}::{}", layout.name, field.name);
            at += field.size;
        }
        assert_eq!(at, layout.size, "{}", layout.name);
    }
}

#[test]
fn every_problem_number_is_documented() {
    let (_, section) =
        DOCUMENT.split_once("## 13. Problem numbers").expect("the document lists the problem numbers");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let mut documented: BTreeMap<u16, Vec<&str>> = rows_of(section)
        .filter_map(|cells| Some((cells.first()?.parse().ok()?, cells.into_iter().skip(1).collect())))
        .collect();
    for problem in Corruption::ALL {
        let row = documented.remove(&problem.code());
        assert_eq!(row, Some(vec![problem.name(), problem.text()]), "problem {}", problem.code());
    }
    assert!(documented.is_empty(), "rows without a problem: {documented:?}");
}

#[test]
fn every_magic_is_documented() {
    for kind in BlockKind::ALL {
        let magic = kind.magic().to_le_bytes();
        let magic = std::str::from_utf8(&magic).unwrap();
        assert!(DOCUMENT.contains(&format!("`{magic}`")), "{magic}");
    }
}

/// The lines of the example that show a block.
fn example(block: u64) -> String {
    let (_, lines) = DOCUMENT.split_once(&format!("block {block}:\n")).expect("the example has this block");
    lines.lines().take_while(|line| line.contains(": ")).map(|line| format!("{line}\n")).collect()
}

/// A dump of a block, without the lines that repeat one byte.
fn dump(bytes: &[u8; BLOCK]) -> String {
    let lines = bytes.chunks(16).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != line[0]));
    let hex = |line: &[u8]| line.iter().map(|byte| format!(" {byte:02x}")).collect::<String>();
    lines.map(|(number, line)| format!("{:03x}:{}\n", number * 16, hex(line))).collect()
}

fn shows(block: u64, bytes: &[u8; BLOCK]) {
    let (documented, written) = (example(block), dump(bytes));
    assert!(documented == written, "block {block} should read\n{written}");
}

/// The worked log: a batch of two blocks, of which the second looks like a record.
#[test]
fn the_worked_log_is_what_the_code_writes() {
    let geometry = small_geometry();
    let epoch = 0x0123_4567_89ab_cdef;
    let totals = Totals { free_blocks: 15_108, free_inodes: 3824, orphans: 0 };
    let slot = LogHeader {
        counter: 1,
        epoch,
        tail_seq: BatchSeq(1),
        tail_at: 0,
        prev_crc: 0,
        totals,
        unrecorded: 0,
    };
    let mut bytes = [0; BLOCK];
    slot.encode(&mut bytes, 0x5eed_5eed);
    shows(3, &bytes);

    let first = [0x11; BLOCK];
    let mut second = [0x22; BLOCK];
    log::unescape(&mut second);
    assert!(log::escape(&mut second));
    let mut header = BatchHeader {
        epoch,
        seq: BatchSeq(1),
        copies: 2,
        totals: Totals { free_blocks: 15_107, free_inodes: 3823, orphans: 0 },
        time: 1_700_000_000,
        tags_crc: log::epoch_seed(epoch),
        ..BatchHeader::default()
    };
    let mut bytes = [0; BLOCK];
    assert!(Tag::full(BlockNo(1028), false, &first, epoch).write(&mut bytes, TagArea::Header, 0));
    assert!(Tag::full(BlockNo(1090), true, &second, epoch).write(&mut bytes, TagArea::Header, 1));
    header.seal(&mut bytes);
    assert!(BatchHeader::decode(&bytes, &geometry, epoch).is_ok());
    shows(4, &bytes);
    shows(6, &second);
}
