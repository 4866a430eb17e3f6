//! Volumes without a problem.
use crate::volume::Volume;
use bento_fsck::{Journal, Options, Outcome, check};

#[test]
fn a_new_volume_is_clean() {
    let report = Volume::empty().check();
    assert_eq!(report.problems, []);
    assert_eq!((report.outcome, report.journal), (Outcome::Complete, Journal::Clean));
    assert_eq!((report.stats.directories, report.stats.files, report.stats.names), (2, 1, 1));
}

#[test]
fn a_volume_with_one_of_everything_is_clean() {
    let report = Volume::rich().0.check();
    assert!(report.is_clean(), "{:#?}", report.problems);
    assert_eq!(report.notes, []);
    let stats = report.stats;
    assert_eq!((stats.directories, stats.symlinks, stats.special, stats.orphans), (5, 2, 2, 1));
    assert_eq!(stats.names, 613);
}

#[test]
fn a_quick_check_looks_at_superblock_and_log_only() {
    let (volume, places) = Volume::rich();
    volume.edit_inode(places.file, |inode| inode.nlink = 1);
    let report = check(&volume.disk, &Options { quick: true, ..Options::default() });
    assert_eq!((report.outcome, report.is_clean()), (Outcome::Quick, true));
}
