// SPDX-License-Identifier: GPL-2.0-only
/* Cached blocks: which are there, bringing them in, letting them go. */
#include "internal.h"

/* Blocks that one insertion looks at to find some to drop. */
#define STEPS 64

/* Moves some blocks, whose pages lie side by side in memory too, and waits. */
int bk_io(struct block_device *bdev, u64 no, struct page *page, u64 count, blk_opf_t opf)
{
	struct bio_vec vec;
	struct bio bio;
	int error;

	bio_init(&bio, bdev, &vec, 1, opf);
	bio.bi_iter.bi_sector = no << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
	__bio_add_page(&bio, page, count << BENTO_BLOCK_BITS, 0);
	error = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return error;
}

struct bk_block *bk_block_new(u64 no)
{
	struct bk_block *block = kzalloc(sizeof(*block), GFP_NOFS | __GFP_NOFAIL);

	block->rust.no = no;
	atomic_set(&block->refs, 1);
	rwlock_init(&block->latch);
	return block;
}

void bk_put(struct bk_block *block)
{
	if (!atomic_dec_and_test(&block->refs))
		return;
	while (block->frozen_count)
		put_page(block->frozen[--block->frozen_count].page);
	if (block->page)
		put_page(block->page);
	kfree_rcu(block, rcu);
}

static struct bk_block *lookup(struct bento_mount *m, u64 no)
{
	struct bk_block *block;

	rcu_read_lock();
	block = xa_load(&m->cache, no);
	if (block && !atomic_inc_not_zero(&block->refs))
		block = NULL;
	rcu_read_unlock();
	return block;
}

static bool is_clean(struct bk_block *block)
{
	bool clean = false;

	if (read_trylock(&block->latch)) {
		clean = !block->tag && !block->frozen_count;
		read_unlock(&block->latch);
	}
	return clean;
}

/*
 * Takes a block that nobody pins out of the cache; its last reference is the caller's then. Under the lock of the cache:
 * somebody else may be taking it out, and the cache has one reference to give.
 */
static bool take_out(struct bento_mount *m, unsigned long no, struct bk_block *block)
{
	bool taken;

	xa_lock(&m->cache);
	taken = xa_load(&m->cache, no) == block && atomic_cmpxchg(&block->refs, 1, 0) == 1;
	if (taken)
		__xa_erase(&m->cache, no);
	xa_unlock(&m->cache);
	return taken;
}

/* Drops blocks that are clean and not pinned, found by a clock, in so many steps: how many. */
static unsigned long drop_some(struct bento_mount *m, unsigned long steps, unsigned long most)
{
	unsigned long no = READ_ONCE(m->cache_hand), dropped = 0;
	struct bk_block *block;

	while (steps-- && dropped < most) {
		struct bk_block *victim = NULL;

		rcu_read_lock();
		block = xa_find_after(&m->cache, &no, ULONG_MAX, XA_PRESENT);
		if (!block)
			no = 0;
		else if (block->used)
			block->used = false;
		else if (READ_ONCE(block->state) == BK_READY && is_clean(block) && take_out(m, no, block))
			victim = block;
		rcu_read_unlock();
		if (!victim)
			continue;
		atomic_long_dec(&m->cached);
		atomic64_inc(&m->evicted);
		WRITE_ONCE(victim->gone, true);
		atomic_set(&victim->refs, 1);
		bk_put(victim);
		dropped++;
	}
	WRITE_ONCE(m->cache_hand, no);
	return dropped;
}

static void make_room(struct bento_mount *m)
{
	if (atomic_long_read(&m->cached) > m->cache_most)
		drop_some(m, STEPS, 2);
}

/* Gives memory back: how many blocks. */
unsigned long bk_cache_shrink(struct bento_mount *m, unsigned long most)
{
	return drop_some(m, 2 * most, most);
}

/* Shows what a read came to. One that failed leaves the cache. */
static void finish(struct bento_mount *m, struct bk_block *block, int error)
{
	atomic64_inc(&m->fetched);
	if (error) {
		WRITE_ONCE(block->gone, true);
		if (xa_cmpxchg(&m->cache, block->rust.no, block, NULL, 0) == block) {
			atomic_long_dec(&m->cached);
			bk_put(block);
		}
	}
	smp_store_release(&block->state, error ? BK_FAILED : BK_READY);
	wake_up_var(&block->state);
}

/*
 * A block of the cache, pinned: one that is there, or is being read by somebody else, or a new one, which is the
 * caller's to read. None only without memory for its place.
 */
static struct bk_block *find_or_add(struct bento_mount *m, u64 no, bool zeroed, bool *is_new)
{
	struct bk_block *block, *there;

	for (;;) {
		block = lookup(m, no);
		if (block)
			return block;
		block = bk_block_new(no);
		block->page = alloc_page(GFP_NOFS | __GFP_NOFAIL | (zeroed ? __GFP_ZERO : 0));
		block->rust.verified = zeroed;
		atomic_inc(&block->refs);
		there = xa_cmpxchg(&m->cache, no, NULL, block, GFP_NOFS | __GFP_NOFAIL);
		if (!there)
			break;
		bk_put(block);
		bk_put(block);
		if (xa_is_err(there))
			return NULL;
		cond_resched();
	}
	atomic_long_inc(&m->cached);
	make_room(m);
	*is_new = true;
	return block;
}

/* Reads that are waited for together. */
struct reads {
	struct bento_mount *m;
	struct bio *bio;
	struct bk_waiting waiting;
};

static void send(struct reads *reads)
{
	if (reads->bio)
		bk_send(&reads->waiting, reads->bio);
	reads->bio = NULL;
}

/* Blocks that lie side by side share a request. */
static void add_read(struct reads *reads, struct bk_block *block)
{
	sector_t sector = block->rust.no << (BENTO_BLOCK_BITS - SECTOR_SHIFT);

	if (reads->bio && bio_end_sector(reads->bio) == sector &&
	    bio_add_page(reads->bio, block->page, BENTO_BLOCK, 0) == BENTO_BLOCK)
		return;
	send(reads);
	reads->bio = bio_alloc(reads->m->bdev, BENTO_WANTED_MOST, REQ_OP_READ | REQ_META | REQ_PRIO, GFP_NOFS);
	reads->bio->bi_iter.bi_sector = sector;
	__bio_add_page(reads->bio, block->page, BENTO_BLOCK, 0);
}

/* Reads new blocks of the cache, all at once. */
static void read_all(struct bento_mount *m, struct bk_block **blocks, u32 count)
{
	struct reads reads = { .m = m };
	struct blk_plug plug;
	int failed;
	u32 at;

	bk_waiting_begin(&reads.waiting);
	blk_start_plug(&plug);
	for (at = 0; at < count; at++)
		add_read(&reads, blocks[at]);
	send(&reads);
	blk_finish_plug(&plug);
	failed = bk_wait(&reads.waiting);
	for (at = 0; at < count; at++) {
		int error = 0;

		/* Which of them failed, each tells by itself. */
		if (failed)
			error = bk_io(m->bdev, blocks[at]->rust.no, blocks[at]->page, 1, REQ_OP_READ | REQ_META);
		finish(m, blocks[at], error);
	}
}

/*
 * Brings the blocks that a call wants into the cache and pins them. Whoever misses the same block shares one read: what is
 * ours is read before others are waited for. Fails only if not one could be had: of several some are wanted on suspicion.
 */
int bk_fetch_wanted(struct bk_call *c)
{
	struct bento_mount *m = c->mount;
	struct bento_call *call = &c->rust;
	u32 at, first = c->pin_count, new_count = 0, had = 0;
	u64 ahead = 0;
	int error = 0;

	for (at = 0; at < call->wanted_count && c->pin_count < BENTO_PINS_MOST; at++) {
		bool is_ahead = call->wanted[at].how == BENTO_FETCH_AHEAD;
		bool is_new = false, zeroed = call->wanted[at].how == BENTO_FETCH_ZEROED;
		struct bk_block *block = find_or_add(m, call->wanted[at].no, zeroed, &is_new);

		if (!block) {
			error = -ENOMEM;
			continue;
		}
		if (is_new && block->rust.no >= m->blocks) {
			finish(m, block, -EIO);
		} else if (is_new && zeroed) {
			finish(m, block, 0);
		} else if (is_new) {
			ahead |= (u64)is_ahead << new_count;
			c->fetching[new_count++] = block;
			if (is_ahead)
				continue;
		}
		if (is_ahead)
			bk_put(block);
		else
			c->pins[c->pin_count++] = block;
	}
	if (at < call->wanted_count && !at)
		return -EOVERFLOW;
	BUILD_BUG_ON(BENTO_WANTED_MOST > 64);
	if (new_count)
		read_all(m, c->fetching, new_count);
	while (ahead) {
		bk_put(c->fetching[__ffs64(ahead)]);
		ahead &= ahead - 1;
	}
	for (at = first; at < c->pin_count; at++) {
		struct bk_block *block = c->pins[at];

		wait_var_event(&block->state, smp_load_acquire(&block->state) != BK_LOADING);
		if (block->state == BK_FAILED)
			error = -EIO;
		else
			had++;
	}
	return had ? 0 : error;
}

static void forget(struct bento_mount *m, struct bk_block *block)
{
	if (!block || xa_is_err(block))
		return;
	WRITE_ONCE(block->gone, true);
	atomic_long_dec(&m->cached);
	bk_put(block);
}

/* Shows a new block to all. It is in the batch already, so without memory for its place the mount must end. */
void bk_publish(struct bento_mount *m, struct bk_block *block)
{
	struct bk_block *old;

	block->rust.verified = 1;
	block->unseen = false;
	atomic_inc(&block->refs);
	old = xa_store(&m->cache, block->rust.no, block, GFP_ATOMIC | __GFP_HIGH);
	if (xa_is_err(old)) {
		bk_put(block);
		WRITE_ONCE(m->poisoned, true);
		bk_shut_down(m, "there was no memory for a new block");
		return;
	}
	atomic_long_inc(&m->cached);
	forget(m, old);
}

void bk_drop_run(struct bento_mount *m, u64 start, u32 count)
{
	unsigned long no = start;
	struct bk_block *block;

	xa_for_each_range(&m->cache, no, block, start, start + count - 1)
		forget(m, xa_erase(&m->cache, no));
}

/* Lays a block over the device: it stays until the end of the mount, which writes nothing. */
int bk_overlay(struct bento_mount *m, u64 no, const void *from)
{
	struct bk_block *block = bk_block_new(no);

	block->page = alloc_page(GFP_KERNEL);
	if (!block->page) {
		bk_put(block);
		return -ENOMEM;
	}
	memcpy(page_address(block->page), from, BENTO_BLOCK);
	block->state = BK_READY;
	atomic_inc(&block->refs);
	atomic_long_inc(&m->cached);
	forget(m, xa_store(&m->cache, no, block, GFP_KERNEL | __GFP_NOFAIL));
	return 0;
}

void bk_cache_destroy(struct bento_mount *m)
{
	struct bk_block *block;
	unsigned long no;

	xa_for_each(&m->cache, no, block) {
		xa_erase(&m->cache, no);
		atomic_set(&block->refs, 1);
		bk_put(block);
	}
	xa_destroy(&m->cache);
}

/* The device of mount and unmount. */

u64 bento_disk_blocks(struct bento_disk *disk)
{
	return bdev_nr_bytes(disk->bdev) >> BENTO_BLOCK_BITS;
}
BENTO_EXPORT(bento_disk_blocks);

static int fill_window(struct bento_disk *disk, u64 no)
{
	u32 most = min_t(u64, bento_disk_blocks(disk) - no, BK_WINDOW), page;
	struct bio *bio = bio_alloc(disk->bdev, most, REQ_OP_READ | REQ_META, GFP_KERNEL);
	int error;

	bio->bi_iter.bi_sector = no << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
	for (page = 0; page < most; page++) {
		if (!disk->window[page])
			disk->window[page] = alloc_page(GFP_KERNEL | __GFP_NOFAIL);
		__bio_add_page(bio, disk->window[page], BENTO_BLOCK, 0);
	}
	error = submit_bio_wait(bio);
	bio_put(bio);
	disk->at = no;
	disk->count = error ? 0 : most;
	return error;
}

s32 bento_disk_read(struct bento_disk *disk, u64 no, u8 *to)
{
	bool follows = no == disk->next;
	struct page *page = disk->page;
	int error = 0;

	if (no >= bento_disk_blocks(disk))
		return -EIO;
	disk->next = no + 1;
	/* What cannot be read ahead may be readable by itself. */
	if (no - disk->at < disk->count || (follows && !fill_window(disk, no)))
		page = disk->window[no - disk->at];
	else
		error = bk_io(disk->bdev, no, page, 1, REQ_OP_READ | REQ_META);
	if (!error)
		memcpy(to, page_address(page), BENTO_BLOCK);
	return error;
}
BENTO_EXPORT(bento_disk_read);

s32 bento_disk_write(struct bento_disk *disk, u64 no, const u8 *from)
{
	if (disk->mount->read_only || no >= bento_disk_blocks(disk))
		return -EIO;
	if (no - disk->at < disk->count)
		disk->count = 0;
	memcpy(page_address(disk->page), from, BENTO_BLOCK);
	return bk_io(disk->bdev, no, disk->page, 1, REQ_OP_WRITE | REQ_META | REQ_SYNC);
}
BENTO_EXPORT(bento_disk_write);

s32 bento_disk_flush(struct bento_disk *disk)
{
	return disk->mount->read_only ? 0 : blkdev_issue_flush(disk->bdev);
}
BENTO_EXPORT(bento_disk_flush);

s32 bento_disk_overlay(struct bento_disk *disk, u64 no, const u8 *from)
{
	return bk_overlay(disk->mount, no, from);
}
BENTO_EXPORT(bento_disk_overlay);

/* An entry's side. */

s32 bento_pin(struct bento_call *call, u64 no, struct bento_block **to)
{
	struct bk_call *c = bk_of(call);
	struct bk_block *block;
	u32 at;

	for (at = c->pin_count; at--;) {
		block = c->pins[at];
		if (block->rust.no == no && !READ_ONCE(block->gone)) {
			*to = &block->rust;
			return 0;
		}
	}
	block = lookup(c->mount, no);
	if (!block)
		return 1;
	if (smp_load_acquire(&block->state) != BK_READY || READ_ONCE(block->gone)) {
		bk_put(block);
		return 1;
	}
	if (c->pin_count == BENTO_PINS_MOST) {
		bk_put(block);
		return -EOVERFLOW;
	}
	block->used = true;
	c->pins[c->pin_count++] = block;
	*to = &block->rust;
	return 0;
}
BENTO_EXPORT(bento_pin);

s32 bento_fresh(struct bento_call *call, u64 no, struct bento_block **to)
{
	struct bk_call *c = bk_of(call);
	struct bk_block *block;

	if (c->pin_count == BENTO_PINS_MOST)
		return -EOVERFLOW;
	block = bk_block_new(no);
	block->page = bk_spare(c);
	if (!block->page) {
		bk_put(block);
		return -EOVERFLOW;
	}
	block->unseen = true;
	block->used = true;
	block->state = BK_READY;
	c->pins[c->pin_count++] = block;
	*to = &block->rust;
	return 0;
}
BENTO_EXPORT(bento_fresh);
