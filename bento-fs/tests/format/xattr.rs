//! Extended attributes, against a vector.
use bento_api::{BLOCK, BlockNo, InodeNo};
use bento_fs::format::Corruption;
use bento_fs::format::block::{self, BlockKind};
use bento_fs::format::xattr::{self, BLOCK_ROOM, Namespace};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Attribute = (Namespace, Vec<u8>, Vec<u8>);

fn listed(area: &[u8]) -> Vec<Attribute> {
    let own = |attribute: xattr::Xattr<'_>| {
        (attribute.namespace, attribute.name.to_vec(), attribute.value.to_vec())
    };
    xattr::xattrs(area).map(|attribute| own(attribute.unwrap())).collect()
}

fn agree_with_a_vector(area: &mut [u8], seed: u64, most: usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut model: Vec<Attribute> = Vec::new();
    for _ in 0..5000 {
        let namespace = Namespace::ALL[rng.random_range(0..5)];
        let name = if namespace.is_prefix() { vec![b'a' + rng.random_range(0..8u8)] } else { Vec::new() };
        let at = model.iter().position(|(space, other, _)| (*space, other) == (namespace, &name));
        if let Some(at) = at {
            assert_eq!(xattr::remove(area, namespace, &name), Ok(true));
            model.remove(at);
        } else {
            assert_eq!(xattr::remove(area, namespace, &name), Ok(false));
            let value = vec![rng.random(); rng.random_range(0..most)];
            let used: usize =
                model.iter().map(|(_, name, value)| xattr::xattr_len(name.len(), value.len())).sum();
            let fits = used + xattr::xattr_len(name.len(), value.len()) <= area.len();
            assert_eq!(xattr::insert(area, namespace, &name, &value), Ok(fits));
            if fits {
                model.push((namespace, name, value));
            }
        }
        assert_eq!(listed(area), model);
    }
}

#[test]
fn the_area_in_an_inode_does_what_a_vector_does() {
    agree_with_a_vector(&mut [0; 48], 3, 20);
}

#[test]
fn the_area_in_a_block_does_what_a_vector_does() {
    let mut bytes = [0; BLOCK];
    block::start(&mut bytes, BlockKind::Xattr, BlockNo(70), InodeNo(20).into());
    agree_with_a_vector(xattr::block_area_mut(&mut bytes), 4, 1200);
    xattr::count_block(&mut bytes).unwrap();
    assert_eq!(xattr::check_block(&bytes), Ok(()));
    bytes[32] ^= 1;
    assert_eq!(xattr::check_block(&bytes), Err(Corruption::XattrCount));
}

#[test]
fn one_attribute_can_fill_a_block() {
    let mut area = [0; BLOCK_ROOM];
    let value = vec![7; BLOCK_ROOM - 4 - 1];
    assert_eq!(xattr::insert(&mut area, Namespace::User, b"n", &value), Ok(true));
    assert_eq!(xattr::insert(&mut area, Namespace::User, b"m", b""), Ok(false));
    assert_eq!(xattr::find(&area, Namespace::User, b"n").unwrap().unwrap().value, value);
}

#[test]
fn full_names_are_split_by_namespace() {
    assert_eq!(Namespace::split(b"user.mime"), Some((Namespace::User, b"mime".as_slice())));
    assert_eq!(Namespace::split(b"security.selinux"), Some((Namespace::Security, b"selinux".as_slice())));
    assert_eq!(Namespace::split(b"system.posix_acl_access"), Some((Namespace::AclAccess, b"".as_slice())));
    for none in [b"user.".as_slice(), b"system.posix_acl_accessX", b"other.x", b"user", b""] {
        assert_eq!(Namespace::split(none), None);
    }
}

#[test]
fn damage_is_named() {
    let mut area = [0; 48];
    assert_eq!(xattr::insert(&mut area, Namespace::User, b"name", b"value"), Ok(true));
    let cases = [
        (0, 200, Corruption::XattrLength),
        (3, 1, Corruption::XattrLength),
        (1, 9, Corruption::XattrNamespace),
        (1, 4, Corruption::XattrName),
        (4, 0, Corruption::XattrName),
        (47, 1, Corruption::XattrTail),
    ];
    for (at, value, problem) in cases {
        let mut damaged = area;
        damaged[at] = value;
        assert_eq!(xattr::usage(&damaged), Err(problem), "byte {at} = {value}");
        assert_eq!(xattr::insert(&mut damaged, Namespace::User, b"x", b""), Err(problem));
        assert_eq!(xattr::remove(&mut damaged, Namespace::User, b"name"), Err(problem));
    }
}
