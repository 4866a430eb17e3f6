//! What one version hands to the next: what the code knows of its volume, which is all that is in no container.
use crate::format::{HashKey, geometry};
use crate::op::{Life, Volume};
use crate::variant::{Recording, Variant};
use bento_api::BlockNo;
use bento_api::envelope::{Reader, Refused, Writer, tag};

/// Words of the volume's section.
const WORDS: usize = 19;
const BYTES: usize = WORDS * 8;

/// Writes the envelope. Its section [`tag::PROV`] says that every operation up to here was recorded.
pub(super) fn export<V: Variant>(volume: &Volume, to: &mut [u8]) -> Result<usize, Refused> {
    let mut bytes = [0; BYTES];
    put_volume(volume, &mut bytes);
    let mut writer = Writer::new(to)?;
    writer.section(tag::VOLUME, &bytes)?;
    writer.section(tag::VERSION, V::NAME.as_bytes())?;
    if V::RECORDING == Recording::Yes {
        writer.section(tag::PROV, &[])?;
    }
    writer.finish()
}

/// The volume as the next version is to know it.
pub(super) fn import(bytes: &[u8]) -> Result<Volume, Refused> {
    let reader = Reader::new(bytes)?;
    reader.require_known(&[tag::VOLUME])?;
    let mut volume = volume_of(reader.section(tag::VOLUME)?).ok_or(Refused::BadSection(tag::VOLUME))?;
    if reader.section(tag::PROV).is_err() {
        volume.unrecorded = volume.life;
    }
    volume.life.takeover = volume.life.takeover.saturating_add(1);
    Ok(volume)
}

/// The volume as words, in the order of its fields.
fn put_volume(volume: &Volume, to: &mut [u8; BYTES]) {
    let Volume { geometry, seed, hash_key, reserve, id, read_only, boot, life, unrecorded } = volume;
    let half = |bytes: &[u8; 16], at: usize| {
        bytes.as_chunks::<8>().0.get(at).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let words: [u64; WORDS] = [
        geometry.blocks_total,
        geometry.groups_start.0,
        geometry.groups.into(),
        geometry.blocks_per_group.into(),
        geometry.inodes_per_group.into(),
        geometry.log_start.0,
        geometry.log_len,
        geometry.summary_start.0,
        geometry.summary_len,
        (*seed).into(),
        half(&hash_key.0, 0),
        half(&hash_key.0, 1),
        *reserve,
        *id,
        u64::from(*read_only),
        half(boot, 0),
        half(boot, 1),
        life.word(),
        unrecorded.word(),
    ];
    for (place, word) in to.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
}

fn volume_of(bytes: &[u8]) -> Option<Volume> {
    let (words, _) = bytes.first_chunk::<BYTES>()?.as_chunks::<8>();
    let word = |at: usize| words.get(at).map(|bytes| u64::from_le_bytes(*bytes));
    let small = |at: usize| u32::try_from(word(at)?).ok();
    let halves = |at: usize| {
        let mut bytes = [0; 16];
        for (place, at) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(at..) {
            *place = word(at)?.to_le_bytes();
        }
        Some(bytes)
    };
    let geometry = geometry::Geometry {
        blocks_total: word(0)?,
        groups_start: BlockNo(word(1)?),
        groups: small(2)?,
        blocks_per_group: small(3)?,
        inodes_per_group: small(4)?,
        log_start: BlockNo(word(5)?),
        log_len: word(6)?,
        summary_start: BlockNo(word(7)?),
        summary_len: word(8)?,
    };
    geometry.check().ok()?;
    Some(Volume {
        geometry,
        seed: small(9)?,
        hash_key: HashKey(halves(10)?),
        reserve: word(12)?,
        id: word(13)?,
        read_only: word(14)? != 0,
        boot: halves(15)?,
        life: Life::of_word(word(17)?),
        unrecorded: Life::of_word(word(18)?),
    })
}
