/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The data of regular files: the page cache, space that is promised to dirty blocks, and writing back.
 *
 * A dirty block waits (it has no blocks on disk, and one is promised), is to be converted (its blocks are unwritten), flies
 * (its placement is open), or has blocks of its own and no state here. Of a folio of several blocks, which there are since
 * 6.12, it is noted which are dirty; where nobody noted any, all of it is.
 *
 * Locking: i_rwsem -> invalidate_lock -> folio lock | PG_writeback -> publishing -> credits. Nobody waits for the journal
 * or for space under a folio lock; PG_writeback is no lock that an entry, a commit or a checkpoint could wait for.
 */
#ifndef BENTO_DATA_H
#define BENTO_DATA_H

#include <linux/iomap.h>
#include <linux/mempool.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>
#include <linux/xarray.h>

struct bento_mount;
struct bk_call;

/* Mappings that a file remembers. */
#define BK_PIECES 4
/* Blocks of one flight: 1 MiB. */
#define BK_FLIGHT 256
/* The largest folio, as an order of blocks: 256 KiB. One store through a mapping makes all of it dirty. */
#define BK_FOLIO_ORDER 6

/* A piece of a file that maps uniformly. */
struct bk_piece {
	u64 file, blocks, block;
	u32 kind;
};

enum bk_state_of_block { BK_NONE, BK_WAITING, BK_CONVERT, BK_FLYING };

struct bk_file {
	/* What lies where, as of this version of the map. */
	spinlock_t map_lock;
	u32 piece_next;
	u64 map_version;
	struct bk_piece pieces[BK_PIECES];

	/* The states of dirty blocks, and which are dirty in larger folios, sixteen to an entry. */
	struct xarray states;
	/* There was no memory to note what is dirty of some large folio. */
	bool unnoted;
	/* Blocks that wait, that fly to new places, that will make the tree of extents grow; nodes promised for that. */
	spinlock_t space_lock;
	u64 waiting, flying, growing, tree, tree_lent;

	/* Held around all that raises the size on disk, so that it only ever rises, and around the end of waiting blocks. */
	struct mutex publishing;
	loff_t disk_size;
	/* Data is published so far, but the size may not say so before the block with the old end is written. */
	loff_t pending_size;
	/* The end whose block was written last and is part of the file as it was then; 0 while it is on its way again. */
	loff_t end_landed;
	/* Folios behind the end on disk that are neither dirty nor under writeback for a moment. */
	atomic_t taking;
	/* The end of the write under way, under i_rwsem: space is promised in larger steps. */
	loff_t write_end;
	/* Cut to nothing, and not closed since. */
	bool replaced;
};

/* Blocks that so many bytes take. A file may end at the last byte that a signed number counts. */
static inline u64 bk_blocks(u64 bytes)
{
	return (bytes + BENTO_BLOCK - 1) >> BENTO_BLOCK_BITS;
}

/* Part of a folio, for a request that was made large enough. */
static inline void bk_bio_add(struct bio *bio, struct folio *folio, size_t bytes, size_t offset)
{
	WARN_ON_ONCE(!bento_bio_add(bio, folio, bytes, offset));
}

/* What a mount keeps for the data of its files. */
struct bk_data {
	struct workqueue_struct *work;
	struct work_struct landing;
	spinlock_t landed_lock;
	struct list_head landed;
	mempool_t *flights;
	atomic_t flying;
	/* Blocks that only those who make room may take; blocks that are promised or on their way. */
	u64 kept;
	atomic64_t promised;
	struct mutex flushing;
	atomic64_t flushed;
};

/* space: promise.c */
int bk_promise(struct inode *inode, u64 first, u64 count, enum bk_state_of_block kind);
int bk_promise_open(struct inode *inode, u64 count);
void bk_break_promise(struct inode *inode, u64 waiting, u64 growing);
s64 bk_promise_write(struct inode *inode, u64 block, u64 count, u64 end);
int bk_note_dirty(struct bk_file *f, u64 first, u64 count, gfp_t gfp);
u64 bk_take_dirty(struct bk_file *f, u64 first, u64 count);
void bk_forget_states(struct inode *inode, u64 first, u64 end);
void bk_forget_range(struct inode *inode, u64 first, u64 end);
void bk_release_unused(struct inode *inode, u64 first, u64 end);
enum bk_state_of_block bk_state(struct bk_file *f, u64 block, u64 most, u64 *run);
void bk_take_off(struct inode *inode, u64 first, u64 count, u64 *waiting, u64 *convert);
void bk_land(struct bk_file *f, u64 first, u64 count);
void bk_write_back(struct bento_mount *m);
u64 bk_pending_sectors(struct inode *inode);

/* data.c */
int bk_map(struct inode *inode, u64 first, u64 count, struct bk_piece *to);
void bk_dirty(struct inode *inode, struct folio *folio, u64 first, u64 count);
int bk_zero_tail(struct inode *inode, loff_t from, loff_t to);
extern const struct address_space_operations bk_file_aops;

/* publish.c */
int bk_place(struct bk_call *c, struct inode *inode, u64 block, u64 count, struct bento_placement *to);
int bk_publish_data(struct bk_call *c, struct inode *inode, u32 id, loff_t size, u64 blocks, u64 growing);
void bk_abandon(struct bk_call *c, struct inode *inode, u32 id, u64 blocks, u64 growing);
int bk_trim_past_end(struct bk_call *c, struct inode *inode);
int bk_raise_size(struct bk_call *c, struct inode *inode, loff_t size);
void bk_hold_size(struct inode *inode, u64 at);
bool bk_has_pending(struct inode *inode);
int bk_raise_pending(struct inode *inode);

/* writeback.c */
int bk_writepages(struct address_space *mapping, struct writeback_control *wbc);
int bk_data_init(struct bento_mount *m);
void bk_data_destroy(struct bento_mount *m);

/* direct.c */
ssize_t bk_direct_read(struct kiocb *iocb, struct iov_iter *to);
ssize_t bk_direct_write(struct kiocb *iocb, struct iov_iter *from);

/* file.c */
void bk_file_init(struct bk_file *f);
void bk_file_fill(struct inode *inode, const struct bento_attr *attr);
void bk_file_evict(struct inode *inode);
int bk_settle_end(struct inode *inode, loff_t to);
int bk_truncate(struct inode *inode, loff_t size);
int bk_fsync(struct file *file, loff_t start, loff_t end, int datasync);
void bk_write_soon(struct inode *inode);
int bk_report_begin(struct inode *inode, loff_t at, loff_t length, unsigned int flags, struct iomap *map,
		    struct iomap *source);
extern const struct file_operations bk_file_fops;

#endif
