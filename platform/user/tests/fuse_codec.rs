//! The FUSE codec against arbitrary bytes: nothing panics, nothing reads outside, round trips hold.

use bento_user::fuse::abi::{self, Opcode};
use bento_user::fuse::reply::references;
use bento_user::fuse::request::{BodyFault, DecodeError, decode};
use bento_user::fuse::{DirEntry, Errno, Full, Op, ReplyBuf};
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

fn message(opcode: u32, extlen: u16, body: &[u8]) -> Vec<u8> {
    let header = abi::InHeader {
        len: u32::try_from(40 + body.len()).unwrap(),
        opcode,
        unique: 2,
        nodeid: 1,
        total_extlen: extlen,
        ..abi::InHeader::default()
    };
    [header.as_bytes(), body].concat()
}

/// Uses all that was decoded, so that a bad slice would show.
fn touch(op: &Op<'_>) -> usize {
    let extra = if let Op::BatchForget(forgets) = op { forgets.count() } else { 0 };
    format!("{op:?}").len() + extra
}

fn any_opcode() -> impl Strategy<Value = u32> {
    prop_oneof![proptest::sample::select(Opcode::ALL).prop_map(Opcode::raw), any::<u32>()]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 1..256)
}

/// A well-formed message of each shape, from raw material for its fixed part, names and data.
fn well_formed(opcode: Opcode, raw: &[u8; 88], first: &[u8], second: &[u8], data: &[u8]) -> Vec<u8> {
    fn sized<T: FromBytes + IntoBytes + zerocopy::Immutable>(raw: &[u8; 88]) -> T {
        T::read_from_prefix(raw).unwrap().0
    }
    let len = u32::try_from(data.len()).unwrap();
    let nul: &[u8] = b"\0";
    let parts: Vec<Vec<u8>> = match opcode {
        Opcode::Lookup | Opcode::Unlink | Opcode::Rmdir | Opcode::Removexattr => vec![[first, nul].concat()],
        Opcode::Symlink => vec![[first, nul, second, nul].concat()],
        Opcode::Mknod | Opcode::Create => vec![raw[..16].to_vec(), [first, nul].concat()],
        Opcode::Mkdir | Opcode::Link | Opcode::Getxattr => vec![raw[..8].to_vec(), [first, nul].concat()],
        Opcode::Rename => vec![raw[..8].to_vec(), [first, nul, second, nul].concat()],
        Opcode::Rename2 => vec![raw[..16].to_vec(), [first, nul, second, nul].concat()],
        Opcode::Write => {
            vec![abi::WriteIn { size: len, ..sized(raw) }.as_bytes().to_vec(), data.to_vec()]
        }
        Opcode::Setxattr => {
            let arg = abi::SetxattrIn { size: len, ..sized(raw) };
            vec![arg.as_bytes().to_vec(), [first, nul].concat(), data.to_vec()]
        }
        Opcode::Ioctl => {
            vec![abi::IoctlIn { in_size: len, ..sized(raw) }.as_bytes().to_vec(), data.to_vec()]
        }
        Opcode::NotifyReply => {
            let arg = abi::NotifyRetrieveIn { size: len, ..sized(raw) };
            vec![arg.as_bytes().to_vec(), data.to_vec()]
        }
        Opcode::BatchForget => {
            let count = data.len() / 16;
            let arg = abi::BatchForgetIn { count: u32::try_from(count).unwrap(), reserved: 0 };
            vec![arg.as_bytes().to_vec(), data[..count * 16].to_vec()]
        }
        _ => vec![raw.to_vec()],
    };
    message(opcode.raw(), 0, &parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_or_fail_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok((_, op)) = decode(&bytes) {
            touch(&op);
        }
    }

    #[test]
    fn any_body_behind_a_true_header_decodes_or_fails_without_a_panic(
        opcode in any_opcode(), extlen in prop_oneof![Just(0u16), any::<u16>()],
        body in vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..300),
    ) {
        match decode(&message(opcode, extlen, &body)) {
            Ok((header, op)) => {
                prop_assert_eq!(header.opcode, opcode);
                touch(&op);
            }
            Err(error) => {
                let answerable = matches!(error, DecodeError::Body { .. });
                prop_assert!(answerable);
            }
        }
    }

    #[test]
    fn well_formed_messages_decode_and_keep_names_and_data(
        opcode in proptest::sample::select(Opcode::ALL), raw in proptest::array::uniform32(any::<u8>()),
        first in name(), second in name(), data in vec(any::<u8>(), 0..200),
        cut in any::<proptest::sample::Index>(), flip in any::<(proptest::sample::Index, u8)>(),
    ) {
        let mut fixed = [0; 88];
        for (at, byte) in fixed.iter_mut().enumerate() {
            *byte = raw[at % 32];
        }
        let bytes = well_formed(opcode, &fixed, &first, &second, &data);
        let (header, op) = decode(&bytes).unwrap();
        prop_assert_eq!(header.opcode, opcode.raw());
        let (names, payload): (Vec<&[u8]>, Option<&[u8]>) = match op {
            Op::Lookup { name } | Op::Unlink { name } | Op::Rmdir { name } | Op::Removexattr { name }
            | Op::Mknod { name, .. } | Op::Mkdir { name, .. } | Op::Create { name, .. }
            | Op::Link { name, .. } | Op::Getxattr { name, .. } => (vec![name], None),
            Op::Symlink { name, target } => (vec![name, target], None),
            Op::Rename { name, newname, .. } => (vec![name, newname], None),
            Op::Setxattr { name, value, .. } => (vec![name], Some(value)),
            Op::Write { data, .. } | Op::Ioctl { data, .. } | Op::NotifyReply { data, .. } => (vec![], Some(data)),
            Op::BatchForget(forgets) => {
                prop_assert_eq!(forgets.count(), data.len() / 16);
                (vec![], None)
            }
            _ => (vec![], None),
        };
        for (name, sent) in names.iter().zip([&first, &second]) {
            prop_assert_eq!(*name, &sent[..]);
        }
        if let Some(payload) = payload {
            prop_assert_eq!(payload, &data[..]);
        }

        // Cut short with a matching length field, and with one byte changed: errors, or some other request.
        let mut cut = bytes[..cut.index(bytes.len())].to_vec();
        if let Some(len) = cut.len().checked_sub(40) {
            cut[..4].copy_from_slice(&u32::try_from(len + 40).unwrap().to_ne_bytes());
        }
        let mut flipped = bytes.clone();
        let at = flip.0.index(flipped.len());
        flipped[at] ^= flip.1;
        for mutant in [cut, flipped] {
            if let Ok((_, op)) = decode(&mutant) {
                touch(&op);
            }
        }
    }

    #[test]
    fn a_listing_holds_what_was_pushed_and_never_exceeds_its_size(
        names in vec(name(), 0..40), size in 0u32..8192, room in 0usize..8192,
    ) {
        let mut space = vec![0xAA; room];
        let mut reply = ReplyBuf::new(&mut space);
        let mut pushed = 0;
        {
            let mut listing = reply.listing(size);
            for (name, ino) in names.iter().zip(1u64..) {
                let plus = abi::EntryOut { nodeid: ino, ..abi::EntryOut::default() };
                let entry = DirEntry { ino, next: ino + 7, kind: 8, name };
                if listing.push_plus(&plus, entry) == Err(Full) {
                    break;
                }
                pushed += 1;
            }
        }
        let mut rest = reply.payload();
        prop_assert!(rest.len() <= room.min(usize::try_from(size).unwrap()));
        for (name, ino) in names.iter().take(pushed).zip(1u64..) {
            let (plus, after) = abi::EntryOut::read_from_prefix(rest).unwrap();
            let (dirent, after) = abi::Dirent::read_from_prefix(after).unwrap();
            prop_assert_eq!((plus.nodeid, dirent.ino, dirent.off), (ino, ino, ino + 7));
            prop_assert_eq!(&after[..name.len()], &name[..]);
            let padded = (24 + name.len()).next_multiple_of(8) - 24;
            prop_assert!(after[name.len()..padded].iter().all(|&byte| byte == 0));
            rest = &after[padded..];
        }
        prop_assert!(rest.is_empty());
        let counted: Vec<u64> = references(Opcode::Readdirplus.raw(), reply.payload()).collect();
        prop_assert_eq!(counted, (1..=u64::try_from(pushed).unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn references_of_any_bytes_are_found_without_a_panic(
        opcode in any_opcode(), payload in vec(any::<u8>(), 0..600),
    ) {
        prop_assert!(references(opcode, &payload).count() <= payload.len());
    }

    #[test]
    fn an_xattr_fits_its_room_or_is_refused(value in vec(any::<u8>(), 0..100), wanted in 0u32..100) {
        let mut space = [0; 4096];
        let mut reply = ReplyBuf::new(&mut space);
        let fits = value.len() <= usize::try_from(wanted).unwrap();
        match reply.xattr(wanted, &value) {
            Ok(()) if wanted == 0 => {
                let answer = abi::GetxattrOut::read_from_bytes(reply.payload()).unwrap();
                prop_assert_eq!(usize::try_from(answer.size).unwrap(), value.len());
            }
            Ok(()) => prop_assert!(fits && reply.payload() == value),
            Err(errno) => prop_assert!(errno == Errno::RANGE && !fits),
        }
    }
}

#[test]
fn malformed_requests_say_what_is_wrong_and_whom_to_answer() {
    let fault = |bytes: &[u8]| match decode(bytes) {
        Err(DecodeError::Body { header, fault }) => (header.unique, fault),
        other => panic!("{other:?}"),
    };
    assert_eq!(decode(&[0; 39]), Err(DecodeError::NoHeader(39)));
    let lookup = Opcode::Lookup.raw();
    assert_eq!(fault(&message(lookup, 0, b"name")), (2, BodyFault::Name));
    assert_eq!(fault(&message(lookup, 0, b"\0")), (2, BodyFault::Name));
    assert_eq!(fault(&message(lookup, 1, b"name\0")), (2, BodyFault::Count));
    assert_eq!(fault(&message(Opcode::Mkdir.raw(), 0, b"1234567")), (2, BodyFault::Short));
    let mut long = message(lookup, 0, b"name\0");
    long.push(0);
    assert_eq!(fault(&long), (2, BodyFault::Length));
    let batch = abi::BatchForgetIn { count: u32::MAX, reserved: 0 };
    assert_eq!(fault(&message(Opcode::BatchForget.raw(), 0, batch.as_bytes())), (2, BodyFault::Count));
    assert!(matches!(decode(&message(999, 0, &[])), Ok((_, Op::Unknown))));
}

#[test]
fn extensions_behind_a_name_are_not_part_of_it() {
    let bytes = message(Opcode::Mkdir.raw(), 1, b"mode....name\0extended");
    let Ok((_, Op::Mkdir { name, .. })) = decode(&bytes) else { panic!() };
    assert_eq!(name, b"name");
}

#[test]
fn an_init_of_an_old_kernel_is_shorter() {
    let bytes = message(Opcode::Init.raw(), 0, [7u32, 33, 65536, 1 << 29].as_bytes());
    let Ok((_, Op::Init(init))) = decode(&bytes) else { panic!() };
    assert_eq!((init.major, init.minor, init.flags, init.flags2), (7, 33, 1 << 29, 0));
}

#[test]
fn a_resent_request_keeps_its_identity() {
    let mut bytes = message(Opcode::Statfs.raw(), 0, &[]);
    let (first, _) = decode(&bytes).unwrap();
    bytes[15] |= 0x80;
    let (again, _) = decode(&bytes).unwrap();
    assert!(!first.is_resent() && again.is_resent());
    assert_eq!(first.id(), again.id());
    assert_ne!(first.unique, again.unique, "the reply must name it as it came");
}
