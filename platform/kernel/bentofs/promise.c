// SPDX-License-Identifier: GPL-2.0-only
/*
 * Space that is promised: a write(2) or a fault that succeeded never fails later for want of it.
 *
 * A dirty block without blocks on disk is promised one, and its file the nodes that the tree of extents may grow by. A
 * promise is taken from what could be claimed; who places or publishes brings it along as the budget of his call.
 */
#include <linux/bitmap.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/writeback.h>

#include "internal.h"

/* Blocks of one entry of the states: two bits for what each is waiting for, one for whether a larger folio has it dirty. */
#define WORD 16
#define LOW_BITS 0
#define HIGH_BITS 16
#define DIRTY_BITS 32
#define EACH ((u64)0xffff)

/* Blocks that a larger write is promised at once. */
#define AHEAD 256
/* Extents that lie in the inode itself; records of a node at the least, with some that two pieces make; levels. */
#define INLINE_EXTENTS 5
#define NODE_RECORDS 60
#define LEVELS 5

static struct bk_file *file_of(struct inode *inode)
{
	return &bk_inode_of(inode)->file;
}

/* Those of sixteen blocks that are in a state. */
static u64 in_state(u64 word, enum bk_state_of_block state)
{
	u64 low = word >> LOW_BITS & EACH, high = word >> HIGH_BITS & EACH;

	return (state & 1 ? low : ~low) & (state & 2 ? high : ~high) & EACH;
}

static u64 with_state(u64 word, u64 mask, enum bk_state_of_block to)
{
	word &= ~(mask << LOW_BITS | mask << HIGH_BITS);
	return word | (to & 1 ? mask : 0) << LOW_BITS | (to & 2 ? mask : 0) << HIGH_BITS;
}

/* Replaces an entry if it still is `old`. Answers what it was; or an error, without memory, if `gfp` allows that. */
static void *replace(struct bk_file *f, u64 index, void *old, u64 word, gfp_t gfp)
{
	return xa_cmpxchg(&f->states, index, old, word ? xa_mk_value(word) : NULL, gfp);
}

static u64 word_of(void *entry)
{
	return entry ? xa_to_value(entry) : 0;
}

/* The states of sixteen blocks, after `mask` of them went over to something; answers what they were. */
static u64 change(struct bk_file *f, u64 index, u64 mask, enum bk_state_of_block to)
{
	void *old = xa_load(&f->states, index);

	for (;;) {
		u64 before = word_of(old), after;
		void *seen;

		/* What is promised is promised once. */
		if (to == BK_WAITING || to == BK_CONVERT)
			after = with_state(before, mask & in_state(before, BK_NONE), to);
		else
			after = with_state(before, mask, to);
		if (after == before)
			return before;
		seen = replace(f, index, old, after, GFP_NOFS | __GFP_NOFAIL);
		if (seen == old)
			return before;
		old = seen;
	}
}

static u64 mask_of(u64 index, u64 first, u64 end)
{
	u64 from = max(index * WORD, first) - index * WORD, to = min((index + 1) * WORD, end) - index * WORD;

	return (EACH >> (WORD - (to - from))) << from;
}

/* Notes a state for those blocks that have none; how many. */
static u64 mark(struct bk_file *f, u64 first, u64 count, enum bk_state_of_block kind)
{
	u64 index, end = first + count, marked = 0;

	for (index = first / WORD; index * WORD < end; index++) {
		u64 mask = mask_of(index, first, end), before = change(f, index, mask, kind);

		marked += hweight64(mask & in_state(before, BK_NONE));
	}
	return marked;
}

/* Blocks whose placement is open now: how many of them had waited, and how many were to be converted. */
void bk_take_off(struct inode *inode, u64 first, u64 count, u64 *waiting, u64 *convert)
{
	struct bk_file *f = file_of(inode);
	u64 index, end = first + count;

	*waiting = *convert = 0;
	for (index = first / WORD; index * WORD < end; index++) {
		u64 mask = mask_of(index, first, end), before = change(f, index, mask, BK_FLYING);

		*waiting += hweight64(mask & in_state(before, BK_WAITING));
		*convert += hweight64(mask & in_state(before, BK_CONVERT));
	}
}

void bk_land(struct bk_file *f, u64 first, u64 count)
{
	u64 index, end = first + count;

	for (index = first / WORD; index * WORD < end; index++)
		change(f, index, mask_of(index, first, end), BK_NONE);
}

/*
 * Notes which blocks of a larger folio are dirty: the folio itself knows only that something in it is. An error only if
 * `gfp` allows it.
 */
int bk_note_dirty(struct bk_file *f, u64 first, u64 count, gfp_t gfp)
{
	u64 index, end = first + count;

	for (index = first / WORD; index * WORD < end; index++) {
		u64 mask = mask_of(index, first, end) << DIRTY_BITS;
		void *old = xa_load(&f->states, index);

		while ((word_of(old) & mask) != mask) {
			void *seen = replace(f, index, old, word_of(old) | mask, gfp);

			if (xa_is_err(seen))
				return xa_err(seen);
			if (seen == old)
				break;
			old = seen;
		}
	}
	return 0;
}

/* Notes no more what was noted of some blocks; what that was. */
static u64 take_dirty(struct bk_file *f, u64 index, u64 mask)
{
	void *old = xa_load(&f->states, index);

	for (;;) {
		u64 before = word_of(old), dirty = before & mask << DIRTY_BITS;
		void *seen;

		if (!dirty)
			return 0;
		seen = replace(f, index, old, before & ~dirty, GFP_NOFS | __GFP_NOFAIL);
		if (seen == old)
			return dirty >> DIRTY_BITS;
		old = seen;
	}
}

/* Which blocks of a larger folio are noted as dirty, 64 at the most, as bits; they are noted no more. */
u64 bk_take_dirty(struct bk_file *f, u64 first, u64 count)
{
	u64 index, end = first + count, dirty = 0;

	BUILD_BUG_ON(BK_FOLIO_ORDER > 6 || 1 << BK_FOLIO_ORDER > BK_FLIGHT);
	if (xa_empty(&f->states))
		return 0;
	for (index = first / WORD; index * WORD < end; index++) {
		u64 word = take_dirty(f, index, mask_of(index, first, end));

		dirty |= index * WORD < first ? word >> (first - index * WORD) : word << (index * WORD - first);
	}
	return dirty;
}

static bool is_noted_dirty(struct bk_file *f, u64 block)
{
	return word_of(xa_load(&f->states, block / WORD)) >> (DIRTY_BITS + block % WORD) & 1;
}

static void forget_dirty(struct bk_file *f, u64 first, u64 end)
{
	unsigned long index;
	void *entry;

	xa_for_each_range(&f->states, index, entry, first / WORD, (end - 1) / WORD)
		take_dirty(f, index, mask_of(index, first, end));
}

static enum bk_state_of_block state_in(u64 word, u64 bit)
{
	return (word >> (LOW_BITS + bit) & 1) | (word >> (HIGH_BITS + bit) & 1) << 1;
}

/* The state of a block, and how many from there, `most` at the most, are in the same. */
enum bk_state_of_block bk_state(struct bk_file *f, u64 block, u64 most, u64 *run)
{
	unsigned long index = block / WORD;
	void *entry = xa_load(&f->states, index);
	u64 at, end = block + most;
	enum bk_state_of_block state = state_in(word_of(entry), block % WORD);

	for (at = block + 1; at < end; at++) {
		if (at % WORD == 0) {
			index = at / WORD;
			entry = xa_load(&f->states, index);
			if (!entry && state == BK_NONE) {
				/* Over all that nobody noted anything of. */
				entry = xa_find(&f->states, &index, ULONG_MAX, XA_PRESENT);
				if (!entry || (u64)index * WORD >= end) {
					at = end;
					break;
				}
				at = (u64)index * WORD;
			}
		}
		if (state_in(word_of(entry), at % WORD) != state)
			break;
	}
	*run = at - block;
	return state;
}

/* Nodes that the tree may grow by. */
static u64 tree_for(struct inode *inode, u64 growing)
{
	if (!growing || (growing <= INLINE_EXTENTS && !inode->i_blocks))
		return 0;
	return DIV_ROUND_UP(growing, NODE_RECORDS) + LEVELS;
}

static bool take(struct bento_mount *m, u64 blocks)
{
	s64 all = atomic64_read(&m->available[1]);

	do {
		if (all < (s64)(m->data.kept + blocks))
			return false;
	} while (!atomic64_try_cmpxchg(&m->available[1], &all, all - (s64)blocks));
	atomic64_add(blocks, &m->data.promised);
	return true;
}

static void give(struct bento_mount *m, u64 blocks)
{
	atomic64_add(blocks, &m->available[1]);
	atomic64_sub(blocks, &m->data.promised);
}

static int take_for(struct inode *inode, u64 waiting, u64 growing)
{
	struct bk_file *f = file_of(inode);
	u64 wanted, held;

	spin_lock(&f->space_lock);
	wanted = tree_for(inode, f->growing + growing);
	held = f->tree + f->tree_lent;
	spin_unlock(&f->space_lock);
	wanted = wanted > held ? wanted - held : 0;
	if (!take(bk_mount_of(inode), waiting + wanted))
		return -ENOSPC;
	spin_lock(&f->space_lock);
	f->waiting += waiting;
	f->growing += growing;
	f->tree += wanted;
	spin_unlock(&f->space_lock);
	return 0;
}

/* Gives back what blocks were promised that need it no more. */
void bk_break_promise(struct inode *inode, u64 waiting, u64 growing)
{
	struct bk_file *f = file_of(inode);
	u64 wanted, held, excess = 0;

	spin_lock(&f->space_lock);
	f->waiting -= min(waiting, f->waiting);
	f->growing -= min(growing, f->growing);
	wanted = tree_for(inode, f->growing);
	held = f->tree + f->tree_lent;
	if (held > wanted)
		excess = min(held - wanted, f->tree);
	f->tree -= excess;
	spin_unlock(&f->space_lock);
	give(bk_mount_of(inode), waiting + excess);
}

/* Promises space to those blocks of a hole, or of unwritten blocks, that have no state. ENOSPC. Waits for nothing. */
int bk_promise(struct inode *inode, u64 first, u64 count, enum bk_state_of_block kind)
{
	u64 new = kind == BK_WAITING, marked;
	int error = take_for(inode, count * new, count);

	if (error)
		return error;
	marked = mark(file_of(inode), first, count, kind);
	if (marked < count)
		bk_break_promise(inode, (count - marked) * new, count - marked);
	return 0;
}

/* Promises blocks that take off at once. */
int bk_promise_open(struct inode *inode, u64 count)
{
	return take_for(inode, count, count);
}

/*
 * Ends the states of a range that is not to get blocks. What is noted as dirty stays so: somebody may be making it dirty.
 */
void bk_forget_states(struct inode *inode, u64 first, u64 end)
{
	struct bk_file *f = file_of(inode);
	u64 waiting = 0, convert = 0;
	unsigned long index;
	void *entry;

	xa_for_each_range(&f->states, index, entry, first / WORD, (end - 1) / WORD) {
		u64 mask = mask_of(index, first, end), before = change(f, index, mask, BK_NONE);

		waiting += hweight64(mask & in_state(before, BK_WAITING));
		convert += hweight64(mask & in_state(before, BK_CONVERT));
	}
	if (waiting || convert)
		bk_break_promise(inode, waiting, waiting + convert);
}

/* A range is gone from the page cache, or reads as zeros there: nothing of it is dirty. Nobody makes it so meanwhile. */
void bk_forget_range(struct inode *inode, u64 first, u64 end)
{
	bk_forget_states(inode, first, end);
	forget_dirty(file_of(inode), first, end);
}

static bool is_dirty(struct bk_file *f, struct folio *folio, u64 block)
{
	if (folio_test_writeback(folio))
		return true;
	if (folio_test_large(folio) && !READ_ONCE(f->unnoted))
		return is_noted_dirty(f, block);
	return folio_test_dirty(folio);
}

/* Takes promises back from blocks that nobody made dirty: a write came to less than it was to. Under i_rwsem. */
void bk_release_unused(struct inode *inode, u64 first, u64 end)
{
	u64 at;

	/* No fault makes them dirty meanwhile. */
	filemap_invalidate_lock(inode->i_mapping);
	for (at = first; at < end; at++) {
		struct folio *folio;
		bool used = false;
		u64 run;

		switch (bk_state(file_of(inode), at, end - at, &run)) {
		case BK_NONE:
		case BK_FLYING:
			at += run - 1;
			continue;
		default:
		}
		folio = bento_find_folio(inode->i_mapping, at);
		if (folio) {
			used = is_dirty(file_of(inode), folio, at);
			folio_put(folio);
		}
		if (!used)
			bk_forget_states(inode, at, at + 1);
	}
	filemap_invalidate_unlock(inode->i_mapping);
}

/* Seconds in which nothing lands, and in all, that somebody waits for others' data. */
#define STALLED 5
#define ENOUGH 60

/*
 * Writes what others have dirty: then what the growth of their trees was promised, and did not need, comes back. Waits while
 * less and less of it flies: a device may be slow.
 */
void bk_write_back(struct bento_mount *m)
{
	int flying = INT_MAX, seconds, stalled = 0;

	if (!atomic64_read(&m->data.promised))
		return;
	try_to_writeback_inodes_sb(m->sb, WB_REASON_FS_FREE_SPACE);
	for (seconds = 0; seconds < ENOUGH && stalled < STALLED && !fatal_signal_pending(current); seconds++) {
		int now = atomic_read(&m->data.flying);

		stalled = now < flying ? 0 : stalled + 1;
		flying = now;
		if (wait_event_timeout(m->completed, !atomic_read(&m->data.flying), HZ))
			break;
	}
}

static int promise_once(struct inode *inode, u64 block, u64 count, u64 end, u64 *run)
{
	struct bk_file *f = file_of(inode);
	enum bk_state_of_block kind;
	struct bk_piece piece;
	int error;

	if (bk_state(f, block, count, run) != BK_NONE)
		return 0;
	error = bk_map(inode, block, end - block, &piece);
	if (error)
		return error;
	*run = min3(piece.blocks, end - block, (u64)AHEAD);
	if (piece.kind == BENTO_MAP_DATA)
		return 0;
	kind = piece.kind == BENTO_MAP_HOLE ? BK_WAITING : BK_CONVERT;
	error = bk_promise(inode, block, *run, kind);
	if (error == -ENOSPC && *run > 1) {
		*run = 1;
		error = bk_promise(inode, block, 1, kind);
	}
	return error;
}

/* Promises space to some blocks at least; how many, or an error. */
static s64 promise_some(struct inode *inode, u64 block, u64 count, u64 end)
{
	struct bento_mount *m = bk_mount_of(inode);
	u32 tried = 0;
	u64 run;

	for (;;) {
		int error = promise_once(inode, block, count, end, &run);

		if (!error)
			return run;
		if (error == -ENOSPC)
			error = bk_find_space(m, true, &tried);
		if (error)
			return error;
	}
}

/*
 * Promises space to blocks that are about to be made dirty: to how many of them, or an error if there is none for the first.
 * Where a write goes on, up to `end`, some behind them may get it too. Not under a folio lock.
 */
s64 bk_promise_write(struct inode *inode, u64 block, u64 count, u64 end)
{
	u64 done = 0;

	while (done < count) {
		s64 some = promise_some(inode, block + done, count - done, max(end, block + count));

		if (some < 0)
			return done ?: some;
		done += some;
	}
	return min(done, count);
}

u64 bk_pending_sectors(struct inode *inode)
{
	struct bk_file *f = file_of(inode);

	return (READ_ONCE(f->waiting) + READ_ONCE(f->flying)) << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
}
