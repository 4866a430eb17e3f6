//! What can be wrong on disk: stable numbers, shared by mount, recovery and fsck.
//!
//! A number is never given a second meaning. The hundreds name the structure: 1 superblock, 2 log, 3 group,
//! 4 inode, 5 extents, 6 directory, 7 extended attributes, 8 orphan slots, 9 group summary, 10 provenance. Numbers below x50 are
//! found in one structure alone; those from x50 on are relations between structures, which only fsck sees (600s:
//! free map at 62x, index at 64x, relations from 670).
use bento_api::{Errno, Stop};

macro_rules! corruptions {
    ($($code:literal $name:ident $text:literal,)*) => {
        /// A structure on disk that is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Corruption {
            $(#[doc = $text] $name,)*
        }

        impl Corruption {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable number.
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What is wrong, in a few words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The problem that has this number.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

corruptions! {
    101 SuperblockMagic "the superblock's magic is not Bento's",
    102 SuperblockChecksum "the superblock's checksum is wrong",
    103 SuperblockVersion "the superblock has an unknown version",
    104 SuperblockIncompat "the volume uses features that this version does not know",
    105 SuperblockBlockSize "the block size is not 4096",
    106 SuperblockHash "the directory hash is unknown",
    107 SuperblockInodeSize "the inode size is not 256",
    108 SuperblockGroups "the size or number of groups is out of range",
    109 SuperblockSize "the volume's size does not fit its groups",
    110 SuperblockLog "the log lies outside its place or has a wrong length",
    111 SuperblockSummary "the group summary lies outside its place or is too short",
    112 SuperblockLabel "the label is not terminated, or has bytes after its end",
    113 SuperblockState "the state or the error behaviour has unknown values",
    114 SuperblockTail "unused bytes of the superblock are not zero",
    115 SuperblockFirstInode "the first free inode number is out of range",
    116 SuperblockCopyGroup "the superblock copy names a wrong group",
    117 SuperblockReserved "more blocks are reserved than there are",
    150 SuperblockDevice "the volume is larger than its device",
    151 SuperblockCopy "a superblock copy differs from the superblock",
    201 LogSlotMagic "a log header's magic is wrong",
    202 LogSlotChecksum "a log header's checksum is wrong",
    203 LogSlotVersion "a log header has an unknown version",
    204 LogSlotTail "a log header's counter or tail is out of range",
    205 LogSlotUnused "unused bytes of a log header are not zero",
    206 LogRecordMagic "a log record's magic is wrong",
    207 LogRecordChecksum "a log record's checksum is wrong",
    208 LogRecordEpoch "a log record belongs to another epoch",
    209 LogRecordSequence "a log record is out of sequence",
    210 LogRecordChain "a log record does not follow the one before it",
    211 LogRecordCounts "a log record's counts are out of range",
    212 LogRecordUnused "unused bytes of a log record are not zero",
    213 LogTagBlock "a tag block of a log record is wrong",
    214 LogTagsChecksum "the tag blocks of a log record do not belong to it",
    215 LogTag "a tag of a log record has an unknown kind, or names a block outside the volume",
    216 LogCopyChecksum "a copy in the log has a wrong checksum",
    250 LogNoSlot "neither log header is valid",
    251 LogDamaged "a batch that was durable is damaged",
    252 LogNotEmpty "the volume calls itself clean, and its log holds batches",
    253 LogTotals "the totals in the log are not what the groups have",
    301 GroupMagic "an allocation block's magic is wrong",
    302 GroupChecksum "an allocation block's checksum is wrong",
    303 GroupBlock "an allocation block lies at the wrong place",
    304 GroupOwner "an allocation block belongs to another group",
    305 GroupFreeBlocks "a group's count of free blocks does not match its bitmap",
    306 GroupFreeInodes "a group's count of free inodes does not match its bitmap",
    307 GroupInitialised "a group's mark of initialised inodes is out of range",
    308 GroupTail "bits past the end of a bitmap are not set, or unused bytes are not zero",
    309 GroupMetadata "a group's own metadata is marked free",
    350 GroupInodeMark "an inode above the mark of initialised ones is marked used",
    351 GroupInodeUsed "an inode in use is marked free",
    352 GroupInodeFree "a free inode is marked used",
    353 GroupBlockUsed "a block in use is marked free",
    354 GroupBlockFree "a block that nothing uses is marked used",
    401 InodeMagic "an inode's magic is wrong",
    402 InodeChecksum "an inode's checksum is wrong",
    403 InodeRecordSize "an inode's record size is not 256",
    404 InodeMode "an inode has an unknown type",
    405 InodeLayout "an inode's layout is unknown or does not fit its type",
    406 InodeDepth "an inode's tree is too deep, or of a type that has none",
    407 InodeFileSize "an inode's size is out of range",
    408 InodeTime "an inode's time has a billion nanoseconds or more",
    409 InodeBlocks "an inode's block count is out of range",
    410 InodeXattrBlock "an inode's attribute block is out of range",
    411 InodeParent "an inode's parent does not fit its type",
    412 InodeRoot "an inode's root area has bytes where none may be",
    413 InodeFree "a free inode has more than its generation",
    421 SymlinkMagic "a symlink block's magic is wrong",
    422 SymlinkChecksum "a symlink block's checksum is wrong",
    423 SymlinkBlock "a symlink block lies at the wrong place",
    424 SymlinkOwner "a symlink block belongs to another inode",
    425 SymlinkTarget "a symlink's target is empty, too long, or holds a NUL",
    450 InodeNumber "an inode number is out of range",
    451 InodeUnused "an inode that is free is in use",
    452 InodeType "an inode is of another type than its use asks for",
    453 InodeHeld "an inode's block count is not what it holds",
    454 InodeLinks "an inode's link count is not the number of its names",
    455 InodeNameless "an inode has links and no name",
    501 ExtentMagic "an extent node's magic is wrong",
    502 ExtentChecksum "an extent node's checksum is wrong",
    503 ExtentBlock "an extent node lies at the wrong place",
    504 ExtentOwner "an extent node belongs to another inode",
    505 ExtentLevel "an extent node is at the wrong level",
    506 ExtentCount "an extent node's count is out of range",
    507 ExtentTail "unused records of an extent node are not zero",
    508 ExtentRecord "an extent has no length, or unknown bits",
    509 ExtentOrder "extents are out of order or overlap",
    510 ExtentChild "an extent node's child is out of range",
    511 ExtentRange "an extent leads outside the volume's data blocks",
    550 ExtentShared "a block has more than one owner",
    551 ExtentUnwritten "blocks that must hold metadata are marked as never written",
    552 ExtentPlace "a directory, symlink or orphan file has blocks where none may be",
    601 DirMagic "a directory block's magic is wrong",
    602 DirChecksum "a directory block's checksum is wrong",
    603 DirBlock "a directory block lies at the wrong place",
    604 DirOwner "a directory block belongs to another inode",
    605 DirLength "a directory entry's length is out of range",
    606 DirName "a directory entry's name is empty, too long, or holds a slash or a NUL",
    607 DirKind "a directory entry's type is unknown",
    608 DirHole "a hole in a directory is not empty, or lies beside another",
    609 DirPadding "the bytes after a directory entry's name are not zero",
    610 DirInode "a directory entry's inode number is out of range",
    611 DirPlace "a directory entry is looked for where none begins",
    621 FreeMapMagic "a free map block's magic is wrong",
    622 FreeMapChecksum "a free map block's checksum is wrong",
    623 FreeMapBlock "a free map block lies at the wrong place",
    624 FreeMapOwner "a free map block belongs to another inode",
    641 IndexMagic "an index node's magic is wrong",
    642 IndexChecksum "an index node's checksum is wrong",
    643 IndexBlock "an index node lies at the wrong place",
    644 IndexOwner "an index node belongs to another inode",
    645 IndexLevel "an index node is at the wrong level",
    646 IndexCount "an index node's count is out of range",
    647 IndexTail "unused records of an index node are not zero",
    648 IndexRecord "an index record's position is out of range",
    649 IndexOrder "index records are out of order",
    650 IndexChild "an index node's child is out of range",
    670 DirHash "a directory entry's hash is not its name's",
    671 DirTwice "a directory has the same name twice",
    672 DirType "a directory entry's type is not its inode's",
    673 DirSecondName "a directory has a second name",
    674 DirParent "a directory's parent is not the directory that names it",
    675 DirUnreachable "a directory can't be reached from the root",
    676 DirLoop "a directory lies inside itself",
    677 DirIndex "a directory has no index and needs one, or has one and may not",
    678 IndexMissing "a directory entry is not in the index",
    679 IndexStale "an index record leads to no entry of its hash",
    680 FreeMapMissing "a directory's free map is not complete",
    681 FreeMapValue "the free map has another largest hole than the block",
    682 DirMissing "the only block of a directory is missing",
    701 XattrMagic "an attribute block's magic is wrong",
    702 XattrChecksum "an attribute block's checksum is wrong",
    703 XattrBlock "an attribute block lies at the wrong place",
    704 XattrOwner "an attribute block belongs to another inode",
    705 XattrLength "an attribute is longer than its area",
    706 XattrNamespace "an attribute's namespace is unknown",
    707 XattrName "an attribute's name is empty where it may not be, or holds a NUL",
    708 XattrCount "an attribute block's count is wrong",
    709 XattrTail "unused bytes of an attribute area are not zero",
    750 XattrTwice "an inode has the same attribute twice",
    801 OrphanMagic "an orphan block's magic is wrong",
    802 OrphanChecksum "an orphan block's checksum is wrong",
    803 OrphanBlock "an orphan block lies at the wrong place",
    804 OrphanOwner "an orphan block does not belong to the orphan inode",
    805 OrphanInode "an orphan slot names an inode that is out of range or reserved",
    850 OrphanSlot "an orphan slot and its inode do not name each other",
    851 OrphanMissing "an inode without links is in no orphan slot",
    901 SummaryMagic "a summary block's magic is wrong",
    902 SummaryChecksum "a summary block's checksum is wrong",
    903 SummaryBlock "a summary block lies at the wrong place",
    904 SummaryOwner "a summary block has the wrong index",
    905 SummaryEntry "a summary entry counts more than a group can have",
    1001 ProvMagic "a provenance block's magic is wrong",
    1002 ProvChecksum "a provenance block's checksum is wrong",
    1003 ProvBlock "a provenance block lies at the wrong place",
    1004 ProvOwner "a provenance block does not belong to the provenance inode",
    1005 ProvHead "the head of the provenance log has a number out of range",
    1006 ProvFill "a provenance block's count or number is out of range",
    1007 ProvSession "a provenance block's session is unknown",
    1008 ProvRecord "a provenance record is malformed",
    1009 ProvTail "unused bytes of a provenance block are not zero",
    1050 ProvPlace "the provenance log has a hole, or blocks where none may be",
    1051 ProvOrder "provenance blocks are not in the order of their numbers",
}

impl core::fmt::Display for Corruption {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (problem {})", self.text(), self.code())
    }
}

impl core::error::Error for Corruption {}

impl From<Corruption> for bento_api::Corruption {
    fn from(corruption: Corruption) -> Self {
        Self(corruption.code())
    }
}

impl From<Corruption> for Errno {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption.into())
    }
}

impl From<Corruption> for Stop {
    fn from(corruption: Corruption) -> Self {
        Self::Error(corruption.into())
    }
}
