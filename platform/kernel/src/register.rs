//! What a module registers, its mount and its unmount.
use crate::disk::Disk;
use crate::fault::{Place, is_seeded, reach};
use crate::platform::KCall;
use crate::thunks::{VIEW_BYTES, drive, table};
use bento_api::envelope::Refused;
use bento_api::limits::OP_KINDS;
use bento_api::{BLOCK, Bytes, Cost, Errno, FileSystem};
use bento_fs::{BentoFs, Failed, Options, Recording, Space, Variant, mount_into, replay, unmount};
use bento_kernel_abi as c;
use core::ffi::c_void;
use core::fmt::Write;

const _: () =
    assert!(size_of::<Space>() + BLOCK <= c::SPACE_BYTES as usize, "a workspace and a block behind it");

/// A constant registration.
#[repr(transparent)]
pub struct Registered(c::Registration);

// SAFETY: a table of constants and functions.
unsafe impl Sync for Registered {}

/// The registration of a variant of the file system.
pub const fn registration<V: Variant>() -> Registered {
    Registered(c::Registration {
        fingerprint: c::FINGERPRINT,
        scratch_bytes: VIEW_BYTES,
        fs_bytes: size_of::<BentoFs<V>>() as u32,
        space_bytes: size_of::<Space>() as u32,
        wants_first_write: matches!(V::RECORDING, Recording::Yes) as u32,
        version: V::NAME.as_ptr(),
        version_bytes: V::NAME.len(),
        costs: costs::<V>(),
        ops: table::<V>(),
        mount: mount_volume::<V> as *const c_void,
        unmount: unmount_volume as *const c_void,
        drive: drive::<V> as *const c_void,
        export: export::<V> as *const c_void,
        import: import::<V> as *const c_void,
    })
}

/// As the file system's own `cost`, which is no constant function; compared when a volume is mounted.
const fn costs<V: Variant>() -> [Cost; OP_KINDS.len()] {
    let mut costs = [Cost { credits: 0, pages: 0 }; OP_KINDS.len()];
    let mut at = 0;
    while at < costs.len() {
        costs[at] = bento_api::limits::full_cost(OP_KINDS[at], &V::EXTRA);
        at += 1;
    }
    costs
}

/// Mounts a volume: 0 or a negative error number.
unsafe extern "C" fn mount_volume<V: Variant>(
    fs: *mut BentoFs<V>,
    _call: *mut c::Call,
    at: *mut c::Mounting,
) -> i32 {
    // SAFETY: C passes its own, with all that the structure says; nobody else uses it meanwhile.
    let at = unsafe { &mut *at };
    bring_up::<V>(fs, at).map_or_else(tell, |()| 0)
}

/// Marks a volume clean: 0 or a negative error number.
unsafe extern "C" fn unmount_volume(_fs: *mut u8, _call: *mut c::Call, at: *mut c::Mounting) -> i32 {
    // SAFETY: as for a mount.
    let (disk, space, now) = unsafe { (Disk::new((*at).disk), &mut *(*at).space.cast::<Space>(), (*at).now) };
    unmount(&disk, now, space).map_or_else(tell, |()| 0)
}

/// Says what went wrong; the error number for it.
fn tell(failed: Failed) -> i32 {
    let mut line = crate::panic::Line::new();
    // It cannot fail: what is too long is cut.
    let _ = write!(line, "{failed}");
    line.print(crate::panic::ERROR);
    match failed {
        Failed::Device(errno) => -errno.number(),
        Failed::Incompatible(_) => -95,
        Failed::ReadOnlyFeatures(_) | Failed::LogTooSmall(_) => -30,
        Failed::DeviceTooSmall { .. } => -22,
        // The superblock is not one of ours: mount(8) tries other types then.
        Failed::Corrupt(_, block) if block.0 == 0 || block.0 == 1 => -22,
        _ => -117,
    }
}

fn bring_up<V: Variant>(to: *mut BentoFs<V>, at: &mut c::Mounting) -> Result<(), Failed> {
    reach(Place::Mount);
    // SAFETY: C gives the device, and zeroed room for a workspace, which is plain bytes.
    let (disk, space) = unsafe { (Disk::new(at.disk), &mut *at.space.cast::<Space>()) };
    let options = Options { read_only: at.read_only != 0, epoch: at.epoch, now: at.now, boot: at.boot };
    // SAFETY: zeroed room of C's, for plain data.
    let mounted = unsafe { &mut *at.mounted };
    let (volume, superblock) = mount_into::<V>(&disk, &options, space, mounted)?;
    if mounted.read_only != 0 && mounted.replayed != 0 {
        // SAFETY: the room behind the workspace, which C has too.
        let page = unsafe { &mut *at.space.add(size_of::<Space>()).cast::<Bytes>() };
        replay(&disk, &volume.geometry, volume.seed, space, &mut |copy| {
            copy.read(&disk, page)?;
            disk.overlay(copy.home, page)
        })?;
    }
    (at.uuid, at.blocks) = (superblock.uuid, volume.geometry.blocks_total);
    let fs = BentoFs::<V>::new(volume);
    let agree =
        OP_KINDS.iter().zip(costs::<V>()).all(|(kind, cost)| FileSystem::<KCall>::cost(&fs, *kind) == cost);
    if !agree {
        return Err(Failed::Device(Errno::Capacity));
    }
    // SAFETY: room of the size that was registered.
    unsafe { to.write(fs) };
    Ok(())
}

/// Writes what the next version needs to know; changes nothing.
unsafe extern "C" fn export<V: Variant>(
    fs: *const BentoFs<V>,
    _call: *mut c::Call,
    at: *mut c::Handover,
) -> i32 {
    // SAFETY: C passes the live mount's code, kept out of it, and a structure of its own with room for an envelope.
    let (fs, at) = unsafe { (&*fs, &mut *at) };
    // SAFETY: the room that the constant says, nobody else's.
    let envelope = unsafe { core::slice::from_raw_parts_mut(at.envelope, c::ENVELOPE as usize) };
    reach(Place::Export);
    match FileSystem::<KCall>::export(fs, envelope) {
        Ok(bytes) => {
            at.bytes = bytes;
            0
        }
        Err(refused) => refuse(at, refused),
    }
}

/// Takes over from another version.
unsafe extern "C" fn import<V: Variant>(
    fs: *mut BentoFs<V>,
    _call: *mut c::Call,
    at: *mut c::Handover,
) -> i32 {
    // SAFETY: C passes a structure of its own, whose envelope has so many bytes.
    let at = unsafe { &mut *at };
    // SAFETY: as above; nobody writes to it meanwhile.
    let envelope = unsafe { core::slice::from_raw_parts(at.envelope, at.bytes) };
    reach(Place::Import);
    if is_seeded(Place::Refuse) {
        return refuse(at, Refused::Version);
    }
    match BentoFs::<V>::import(envelope) {
        Ok(new) => {
            // SAFETY: room of the size that was registered, which is nobody's yet.
            unsafe { fs.write(new) };
            0
        }
        Err(refused) => refuse(at, refused),
    }
}

/// Leaves the reason to C, which tells whoever asked for the upgrade.
fn refuse(at: &mut c::Handover, refused: Refused) -> i32 {
    let mut line = crate::panic::Line::new();
    // It cannot fail: what is too long is cut.
    let _ = write!(line, "{refused}");
    let room = at.reason.len().saturating_sub(1);
    at.reason.iter_mut().take(room).zip(line.text()).for_each(|(to, from)| *to = *from);
    -Errno::Invalid.number()
}
