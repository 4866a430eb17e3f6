//! The model against the figures of a real file system, and the judge against trees that it must tell apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_api::Time;
use rustix::io::Errno;

use super::state::{Mapping, Unsettled};
use super::*;
use crate::ace::Generator;
use crate::ace::bounds::Profile;
use crate::jlang::{Op, Workload};

const START: Time = Time::new(1_000_000_000, 0);

fn fresh() -> Model {
    Model::new(0o755, START)
}

fn ops(text: &str) -> Vec<Op> {
    text.replace("; ", "\n").parse::<Workload>().expect("valid text").ops
}

fn oracle_of(ops: &[Op]) -> (Oracle, usize) {
    let history = History::predicted(fresh(), ops, START);
    let events = history.events.len();
    (Oracle::build(fresh(), &history, &[]).expect("the model agrees with itself"), events)
}

fn oracle(text: &str) -> (Oracle, usize) {
    oracle_of(&ops(text))
}

/// The tree of a state, as a walker would find it: every block with the last version that is not newer than the state.
fn render(oracle: &Oracle, state: usize) -> Tree {
    let snapshot = oracle.snapshot(state).expect("the state exists");
    let mut nodes: BTreeMap<state::Ino, Arc<Node>> = BTreeMap::new();
    let mut tree = Tree::default();
    for (path, ino) in &snapshot.paths {
        let inode = snapshot.state.get(*ino).expect("paths lead to inodes");
        let node = nodes.entry(*ino).or_insert_with(|| {
            let content = |mapping: &Unsettled<Mapping>| match mapping.now {
                Mapping::Data(cell) => {
                    let versions = &oracle.cells[cell.0 as usize].versions;
                    let then = versions.iter().rfind(|v| Some(v.op) <= snapshot.by).unwrap_or(&versions[0]);
                    Some(then.content.clone())
                }
                _ => None,
            };
            let blocks = inode.blocks.iter();
            Arc::new(Node {
                ino: u64::from(ino.0) + 100,
                kind: inode.kind,
                mode: inode.mode,
                uid: inode.uid,
                gid: inode.gid,
                nlink: inode.nlink,
                rdev: inode.rdev,
                size: inode.size.now,
                sectors: inode.blocks.len() as u64 * 8,
                mtime: inode.mtime.time.now,
                ctime: inode.ctime.time.now,
                xattrs: inode.xattrs.iter().map(|(k, v)| (k.clone().into_bytes(), v.clone())).collect(),
                target: inode.target.clone().into_bytes(),
                blocks: blocks.filter_map(|(no, m)| Some((*no, content(m)?))).collect(),
            })
        });
        tree.nodes.insert(path.clone().into_bytes(), node.clone());
    }
    tree
}

fn change(tree: &mut Tree, path: &str, with: impl FnOnce(&mut Node)) {
    with(Arc::make_mut(tree.nodes.get_mut(path.as_bytes()).expect("the path exists")));
}

fn fields(verdict: Result<usize, Violation>) -> Vec<&'static str> {
    verdict.expect_err("a violation").differences.iter().map(|difference| difference.field).collect()
}

/// A block whose first half is one content and whose second half is another.
fn halves(one: &crate::disk::Content, other: &crate::disk::Content) -> crate::disk::Content {
    let mut bytes = **one;
    bytes[2048..].copy_from_slice(&other[2048..]);
    Arc::new(bytes)
}

#[test]
fn every_state_that_a_workload_passes_is_accepted_at_its_time() {
    for profile in Profile::ALL {
        for workload in Generator::new(profile, 1).iter() {
            let (oracle, events) = oracle_of(&workload.ops);
            for crash in 0..=events {
                let judge = oracle.at(crash);
                for state in judge.range() {
                    // What was written in place and synced is durable whatever the state: then an earlier one
                    // never looked like this.
                    let in_place = |d: &Difference| ["data", "mtime", "ctime"].contains(&d.field);
                    let superseded =
                        |v: &Violation| state < *judge.range().end() && v.differences.iter().all(in_place);
                    let verdict = judge.check(&render(&oracle, state));
                    assert!(
                        verdict.as_ref().map_or_else(superseded, |_| true),
                        "{workload}\ncrash {crash} state {state}: {verdict:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_came_before_the_last_persistence_point_is_refused() {
    let mut refused = 0;
    for workload in Generator::new(Profile::Osdi18, 1).iter() {
        let (oracle, events) = oracle_of(&workload.ops);
        let judge = oracle.at(events);
        for state in 0..*judge.range().start() {
            // A state may equal a later one: what an operation does another can undo.
            let found = judge.check(&render(&oracle, state));
            assert!(found.as_ref().map_or(true, |found| judge.range().contains(found)));
            refused += usize::from(found.is_err());
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn the_model_finds_invalid_what_a_real_file_system_refused() {
    // Measured by running every workload on ext4.
    let mut failures: BTreeMap<i32, u64> = BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    for workload in Generator::new(Profile::Head, 1).iter().filter(|w| seen.insert(w.id())) {
        let history = History::predicted(fresh(), &workload.ops, START);
        let failed = history.events.iter().find_map(|event| match event {
            Event::End(_, Err(errno)) => Some(errno.raw_os_error()),
            _ => None,
        });
        if let Some(errno) = failed {
            *failures.entry(errno).or_default() += 1;
        }
    }
    assert_eq!(failures, BTreeMap::from([(9, 14), (22, 5)]));
}

#[test]
fn errors_are_those_of_the_manual_pages() {
    let setup = "mkdir A 0755; mkdir A/D 0755; open foo O_RDWR|O_CREAT 0644; symlink loop loop; symlink gone dangling";
    let long = "x".repeat(256);
    let cases = [
        ("mkdir A 0755".to_owned(), Errno::EXIST),
        ("mkdir foo/x 0755".to_owned(), Errno::NOTDIR),
        ("mkdir none/x 0755".to_owned(), Errno::NOENT),
        (format!("mkdir {long} 0755"), Errno::NAMETOOLONG),
        ("rmdir A".to_owned(), Errno::NOTEMPTY),
        ("rmdir foo".to_owned(), Errno::NOTDIR),
        ("rmdir test".to_owned(), Errno::BUSY),
        ("unlink A".to_owned(), Errno::ISDIR),
        ("unlink none".to_owned(), Errno::NOENT),
        ("link A x".to_owned(), Errno::PERM),
        ("link foo A".to_owned(), Errno::EXIST),
        ("rename A A/D/x".to_owned(), Errno::INVAL),
        ("rename A/D A".to_owned(), Errno::NOTEMPTY),
        ("rename foo A".to_owned(), Errno::ISDIR),
        ("rename A foo".to_owned(), Errno::NOTDIR),
        ("rename A/D A RENAME_EXCHANGE".to_owned(), Errno::INVAL),
        ("rename foo none RENAME_EXCHANGE".to_owned(), Errno::NOENT),
        ("rename foo A RENAME_NOREPLACE".to_owned(), Errno::EXIST),
        ("truncate loop 3".to_owned(), Errno::LOOP),
        ("truncate dangling 3".to_owned(), Errno::NOENT),
        ("truncate A 3".to_owned(), Errno::ISDIR),
        ("truncate foo -1".to_owned(), Errno::INVAL),
        ("falloc foo FALLOC_FL_PUNCH_HOLE 0 10".to_owned(), Errno::OPNOTSUPP),
        ("falloc foo 0 0 0".to_owned(), Errno::INVAL),
        ("removexattr foo".to_owned(), Errno::NODATA),
        ("fsync bar".to_owned(), Errno::BADF),
        ("dwrite foo 100 512".to_owned(), Errno::INVAL),
        ("open A O_RDWR|O_CREAT 0644".to_owned(), Errno::ISDIR),
        ("open foo O_RDWR|O_CREAT|O_EXCL 0644".to_owned(), Errno::EXIST),
        ("open loop O_RDWR|O_CREAT|O_EXCL 0644".to_owned(), Errno::EXIST),
        ("opendir foo 0777".to_owned(), Errno::NOTDIR),
        ("symlink foo A/D".to_owned(), Errno::EXIST),
    ];
    for (line, errno) in cases {
        let history = History::predicted(fresh(), &ops(&format!("{setup}; {line}")), START);
        assert!(
            matches!(history.events.last(), Some(Event::End(_, Err(found))) if *found == errno),
            "{line}: {:?}",
            history.events.last()
        );
    }
}

#[test]
fn a_later_operation_without_an_earlier_one_is_no_prefix() {
    let (oracle, events) = oracle("open foo O_RDWR|O_CREAT 0644; mkdir A 0755");
    let judge = oracle.at(events);
    let mut tree = render(&oracle, 2);
    tree.nodes.remove(b"foo".as_slice());
    assert!(judge.check(&tree).is_err());
    assert_eq!(judge.check(&render(&oracle, 1)).ok(), Some(1));
}

#[test]
fn a_file_that_was_fsynced_must_be_there_with_its_data_and_times() {
    let (oracle, events) = oracle("open foo O_RDWR|O_CREAT 0644; write foo 0 5000; fsync foo");
    let judge = oracle.at(events);
    let whole = render(&oracle, *judge.range().end());
    assert!(judge.check(&whole).is_ok());
    assert_eq!(fields(judge.check(&render(&oracle, 0))), ["mtime", "ctime", "name"]);
    let mut tree = whole.clone();
    change(&mut tree, "foo", |node| drop(node.blocks.remove(&1)));
    assert_eq!(fields(judge.check(&tree)), ["data"]);
    let mut tree = whole.clone();
    change(&mut tree, "foo", |node| node.size = 4096);
    assert_eq!(fields(judge.check(&tree)), ["size"]);
    let mut tree = whole.clone();
    change(&mut tree, "foo", |node| node.mtime = START);
    assert_eq!(fields(judge.check(&tree)), ["mtime"]);
    let mut tree = whole;
    change(&mut tree, "foo", |node| node.sectors = 8);
    assert_eq!(fields(judge.check(&tree)), ["sectors"]);
}

#[test]
fn a_block_written_in_place_is_old_or_new_by_sector_until_it_is_synced() {
    let text = "open foo O_RDWR|O_CREAT 0644; write foo 0 4096; fsync foo; write foo 0 4096";
    let (oracle, events) = oracle(text);
    let judge = oracle.at(events);
    let before = render(&oracle, 2);
    let after = render(&oracle, 3);
    let (old, new) = (
        before.nodes[b"foo".as_slice()].blocks[&0].clone(),
        after.nodes[b"foo".as_slice()].blocks[&0].clone(),
    );
    assert_ne!(old, new);
    for content in [old.clone(), new.clone(), halves(&old, &new), halves(&new, &old)] {
        let mut tree = before.clone();
        change(&mut tree, "foo", |node| drop(node.blocks.insert(0, content)));
        assert!(judge.check(&tree).is_ok());
    }
    let mut torn = *new;
    torn[700..1100].copy_from_slice(&old[700..1100]);
    for content in [torn, [7; 4096], [0; 4096]] {
        let mut tree = after.clone();
        change(&mut tree, "foo", |node| drop(node.blocks.insert(0, Arc::new(content))));
        assert_eq!(fields(judge.check(&tree)), ["data"]);
    }
    let (oracle, events) = self::oracle(&format!("{text}; fdatasync foo"));
    let judge = oracle.at(events);
    let mut tree = after.clone();
    change(&mut tree, "foo", |node| drop(node.blocks.insert(0, halves(&new, &old))));
    assert_eq!(fields(judge.check(&tree)), ["data"]);
    // fdatasync promises no times, fsync does.
    let times = before.nodes[b"foo".as_slice()].mtime;
    let mut tree = after.clone();
    change(&mut tree, "foo", |node| node.mtime = times);
    assert!(judge.check(&tree).is_ok());
    let (oracle, events) = self::oracle(&format!("{text}; fsync foo"));
    assert_eq!(fields(oracle.at(events).check(&tree)), ["mtime"]);
}

#[test]
fn a_size_never_covers_bytes_that_were_not_written() {
    let text = "open foo O_RDWR|O_CREAT 0644; write foo 0 1000; sync; write foo 1000 1000";
    let (oracle, events) = oracle(text);
    let judge = oracle.at(events);
    let after = render(&oracle, *judge.range().end());
    assert!(judge.check(&after).is_ok());
    let mut tree = after;
    change(&mut tree, "foo", |node| {
        let mut bytes = *node.blocks[&0];
        bytes[1024..].fill(0);
        node.blocks.insert(0, Arc::new(bytes));
    });
    assert_eq!(fields(judge.check(&tree)), ["data"]);
}

#[test]
fn what_was_cut_off_never_comes_back_when_the_file_grows() {
    let text = "open foo O_RDWR|O_CREAT 0644; write foo 0 4096; sync; truncate foo 100; truncate foo 4096";
    let (oracle, events) = oracle(text);
    let judge = oracle.at(events);
    let old = render(&oracle, 2);
    let end = *judge.range().end();
    let mut tree = render(&oracle, end);
    assert!(judge.check(&tree).is_ok());
    assert_eq!(tree.nodes[b"foo".as_slice()].blocks[&0][100..], [0; 3996]);
    change(&mut tree, "foo", |node| node.blocks = old.nodes[b"foo".as_slice()].blocks.clone());
    assert_eq!(fields(judge.check(&tree)), ["data"]);
    assert_eq!(judge.check(&old).ok(), Some(2));
}

#[test]
fn data_of_an_earlier_life_of_a_block_is_refused() {
    let punch = "open foo O_RDWR|O_CREAT 0644; write foo 0 8192; sync; \
                 falloc foo FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 0 4096";
    let block = |oracle: &Oracle, state| render(oracle, state).nodes[b"foo".as_slice()].blocks[&0].clone();
    let (oracle, events) = oracle(&format!("{punch}; sync"));
    let old = block(&oracle, 2);
    let mut tree = render(&oracle, 3);
    assert_eq!(oracle.at(events).check(&tree).ok(), Some(3));
    change(&mut tree, "foo", |node| drop(node.blocks.insert(0, old.clone())));
    assert_eq!(fields(oracle.at(events).check(&tree)), ["data in a hole"]);
    let (oracle, events) = self::oracle(&format!("{punch}; write foo 0 4096; fdatasync foo"));
    let mut tree = render(&oracle, 4);
    assert_eq!(oracle.at(events).check(&tree).ok(), Some(4));
    change(&mut tree, "foo", |node| drop(node.blocks.insert(0, old)));
    assert_eq!(fields(oracle.at(events).check(&tree)), ["data"]);
    // And the new data must not show up before the hole does.
    let (oracle, events) = self::oracle(&format!("{punch}; write foo 0 4096"));
    let new = block(&oracle, 4);
    let mut tree = render(&oracle, 2);
    change(&mut tree, "foo", |node| drop(node.blocks.insert(0, new)));
    assert!(oracle.at(events).check(&tree).is_err());
}

#[test]
fn names_of_one_inode_must_stay_names_of_one_inode() {
    let (oracle, events) = oracle("open foo O_RDWR|O_CREAT 0644; link foo bar; sync");
    let judge = oracle.at(events);
    let mut tree = render(&oracle, *judge.range().end());
    assert!(judge.check(&tree).is_ok());
    change(&mut tree, "bar", |node| node.ino += 1);
    assert_eq!(fields(judge.check(&tree)), ["inode number"]);
}

#[test]
fn attributes_links_and_targets_are_compared() {
    let text = "open foo O_RDWR|O_CREAT 0644; fsetxattr foo; symlink foo ln; mkdir A 0755; sync";
    let (oracle, events) = oracle(text);
    let judge = oracle.at(events);
    let good = render(&oracle, *judge.range().end());
    type Change = fn(&mut Node);
    let cases: [(&str, &str, Change); 7] = [
        ("foo", "xattrs", |node| node.xattrs.clear()),
        ("foo", "mode", |node| node.mode = 0o600),
        ("foo", "owner", |node| node.gid = 7),
        ("foo", "links", |node| node.nlink = 2),
        ("ln", "link target", |node| node.target = Vec::new()),
        ("A", "links", |node| node.nlink = 3),
        ("", "links", |node| node.nlink = 2),
    ];
    for (path, field, spoil) in cases {
        let mut tree = good.clone();
        change(&mut tree, path, spoil);
        assert_eq!(fields(judge.check(&tree)), [field], "{path}");
    }
    let mut tree = good.clone();
    let stray = good.nodes[b"foo".as_slice()].clone();
    tree.nodes.insert(b"A/stray".to_vec(), Arc::new(Node { ino: 999, ..(*stray).clone() }));
    assert_eq!(fields(judge.check(&tree)), ["name"]);
}

/// Notes an operation of one stream that changes something in `joins` transactions.
fn step(history: &mut History, stream: u8, line: &str, joins: usize) -> OpId {
    let time = Time::new(START.seconds + 1 + history.ops.len() as i64, 0);
    let id = history.start(Stream(stream), line.parse().expect("valid text"), time);
    (0..joins).for_each(|_| history.join(id));
    history.end(id, Ok(None));
    id
}

#[test]
fn a_write_in_several_transactions_may_be_cut_between_them() {
    let mut history = History::default();
    step(&mut history, 0, "open foo O_RDWR|O_CREAT 0644", 1);
    let write = history.start(Stream(0), "write foo 0 12288".parse().expect("valid text"), START);
    history.join(write);
    let crash = history.events.len();
    history.join(write);
    history.end(write, Ok(None));
    let oracle = Oracle::build(fresh(), &history, &[]).expect("the model agrees");
    let whole = render(&oracle, oracle.states() - 1);
    for (blocks, size, good) in
        [(0, 0, true), (1, 4096, true), (1, 12288, true), (3, 12288, true), (1, 5000, false)]
    {
        let mut tree = whole.clone();
        change(&mut tree, "foo", |node| {
            node.size = size;
            node.blocks.retain(|no, _| *no < blocks);
        });
        assert_eq!(oracle.at(crash).check(&tree).is_ok(), good, "{blocks} blocks, {size} bytes");
    }
    // After the last of them a prefix has all or, before the first, nothing; between them still a part.
    assert!(oracle.at(history.events.len()).check(&whole).is_ok());
    step(&mut history, 0, "fsync foo", 0);
    let oracle = Oracle::build(fresh(), &history, &[]).expect("the model agrees");
    let mut part = whole.clone();
    change(&mut part, "foo", |node| drop(node.blocks.remove(&2)));
    assert!(oracle.at(history.events.len()).check(&part).is_err());
    assert!(oracle.at(history.events.len()).check(&whole).is_ok());
}

#[test]
fn streams_take_the_order_in_which_their_transactions_joined() {
    let mut history = History::default();
    let slow = history.start(Stream(0), "mkdir A 0755".parse().expect("valid text"), START);
    step(&mut history, 1, "mkdir B 0755", 1);
    let between = history.events.len();
    history.join(slow);
    history.end(slow, Ok(None));
    let oracle = Oracle::build(fresh(), &history, &[]).expect("the model agrees");
    let judge = oracle.at(history.events.len());
    let names = |state| {
        render(&oracle, state)
            .nodes
            .keys()
            .map(|k| String::from_utf8_lossy(k).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(1), ["", "B"]);
    assert_eq!(names(2), ["", "A", "B"]);
    let mut only_a = render(&oracle, 2);
    only_a.nodes.remove(b"B".as_slice());
    change(&mut only_a, "", |node| node.nlink = 3);
    assert!(judge.check(&only_a).is_err());
    assert_eq!(oracle.at(between).range(), 0..=1);
}

#[test]
fn an_error_beside_other_streams_must_have_been_right_at_some_moment() {
    let mut history = History::default();
    let racing = history.start(Stream(0), "mkdir A 0755".parse().expect("valid text"), START);
    step(&mut history, 1, "mkdir A 0755", 1);
    step(&mut history, 1, "rmdir A", 1);
    history.end(racing, Err(Errno::EXIST));
    assert!(Oracle::build(fresh(), &history, &[]).is_ok());
    let mut history = History::default();
    let wrong = history.start(Stream(0), "mkdir A 0755".parse().expect("valid text"), START);
    history.end(wrong, Err(Errno::EXIST));
    let error = Oracle::build(fresh(), &history, &[]).expect_err("nothing was there");
    assert!(error.to_string().starts_with("operation 0 (mkdir A 0755): expected success"), "{error}");
    assert!(Oracle::build(fresh(), &history, &[Errno::EXIST]).is_ok());
}

#[test]
fn fsync_promises_the_last_change_of_its_file_and_all_before() {
    let text = "mkdir B 0755; open foo O_RDWR|O_CREAT 0644; mkdir A 0755; fsync foo";
    let (oracle, events) = oracle(text);
    // The directory made after the file may be missing, the one before it may not.
    assert_eq!(oracle.at(events).range(), 2..=3);
    assert_eq!(oracle.persistence_points(), [events]);
}

#[test]
fn a_file_unlinked_while_open_takes_writes_and_is_gone_after_the_crash() {
    let (oracle, events) =
        oracle("open foo O_RDWR|O_CREAT 0644; sync; unlink foo; write foo 0 10; fsync foo");
    assert!(oracle.cells.iter().any(|cell| cell.versions.len() == 1));
    let judge = oracle.at(events);
    assert_eq!(fields(judge.check(&render(&oracle, 1))), ["mtime", "ctime", "name"]);
    let gone = render(&oracle, *judge.range().end());
    assert_eq!(gone.nodes.len(), 1);
    assert!(judge.check(&gone).is_ok());
}

#[test]
fn a_number_that_the_host_saw_must_come_back() {
    let mut history = History::default();
    let op = history.start(Stream(0), "open foo O_RDWR|O_CREAT 0644".parse().expect("valid text"), START);
    history.join(op);
    history.end(op, Ok(Some(42)));
    step(&mut history, 0, "sync", 0);
    let oracle = Oracle::build(fresh(), &history, &[]).expect("the model agrees");
    let judge = oracle.at(history.events.len());
    let mut tree = render(&oracle, 1);
    assert_eq!(fields(judge.check(&tree)), ["inode number"]);
    change(&mut tree, "foo", |node| node.ino = 42);
    assert!(judge.check(&tree).is_ok());
}
