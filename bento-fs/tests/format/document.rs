//! `docs/format.md` says what the code does: every structure, every field, every number, and the worked log.
use crate::small_geometry;
use bento_api::{BLOCK, BatchSeq, BlockNo};
use bento_fs::format::log::{self, BatchHeader, LogHeader, Tag, TagArea, Totals};
use bento_fs::format::{BlockKind, Corruption, LAYOUTS};
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// The cells of all table rows, trimmed, with code marks taken off.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    DOCUMENT.lines().filter_map(|line| {
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
    for cells in rows() {
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
    let documented: BTreeMap<u16, (String, String)> = rows()
        .filter_map(|cells| match cells.as_slice() {
            [code, name, text] => Some((code.parse().ok()?, ((*name).to_string(), (*text).to_string()))),
            _ => None,
        })
        .collect();
    let coded = Corruption::ALL.iter();
    let coded = coded.map(|problem| (problem.code(), (problem.name().to_string(), problem.text().to_string()))).collect();
    assert_eq!(documented, coded);
}

#[test]
fn every_magic_is_documented() {
    for kind in BlockKind::ALL {
        let magic = kind.magic().to_le_bytes();
        let magic = std::str::from_utf8(&magic).unwrap();
        assert!(DOCUMENT.contains(&format!("`{magic}`")), "{magic}");
    }
}

/// The bytes of the example in the document: `block 4` and so on, each line an offset and 16 bytes.
fn example(block: u64) -> BTreeMap<usize, Vec<u8>> {
    let start = DOCUMENT.find(&format!("block {block}:\n")).expect("the example has this block");
    let lines = DOCUMENT[start..].lines().skip(1);
    lines
        .map_while(|line| {
            let (offset, bytes) = line.split_once(": ")?;
            let offset = usize::from_str_radix(offset, 16).ok()?;
            let bytes = bytes.split_whitespace().take_while(|word| word.len() == 2);
            Some((offset, bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()))
        })
        .collect()
}

fn shows(block: u64, bytes: &[u8; BLOCK]) {
    let documented = example(block);
    assert!(!documented.is_empty());
    let mut dump = format!("block {block}:\n");
    let shown: BTreeMap<usize, Vec<u8>> = bytes
        .chunks(16)
        .enumerate()
        .filter(|(line, chunk)| *line == 0 || chunk.iter().any(|byte| *byte != chunk[0]))
        .map(|(line, chunk)| (line * 16, chunk.to_vec()))
        .collect();
    for (offset, bytes) in &shown {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        dump += &format!("{offset:03x}: {}\n", bytes.join(" "));
    }
    assert_eq!(documented, shown, "the document should say\n{dump}");
}

/// The worked log: a batch of two blocks, of which the second looks like a record.
#[test]
fn the_worked_log_is_what_the_code_writes() {
    let geometry = small_geometry();
    let epoch = 0x0123_4567_89ab_cdef;
    let totals = Totals { free_blocks: 15_106, free_inodes: 3824, orphans: 0 };
    let slot = LogHeader { counter: 1, epoch, tail_seq: BatchSeq(1), tail_at: 0, prev_crc: 0, totals };
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
        totals: Totals { free_blocks: 15_105, free_inodes: 3823, orphans: 0 },
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
