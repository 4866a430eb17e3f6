// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing back: place, write, publish.
 *
 * A flight is a handful of blocks that are written together, with all that are dirty of each of their folios. Each folio is
 * locked, made clean, put under writeback and unlocked; then blocks on disk are chosen for those that have none, large bios
 * go out, and when all have come back the placements become part of the file, in process context: of who writes back if he
 * waits anyway (fsync), else of a worker. Only then does writeback of the folios end, so that whoever waited for it finds
 * the blocks.
 *
 * # Locking
 * While a flight is being filled, its folios are under writeback and not on their way: nobody who does that waits for
 * another folio before he has sent his flights off (and has landed them, if nobody else does).
 *
 * # Crash
 * New blocks become reachable in the transaction that follows their data. Blocks that are there are overwritten in place.
 * The size follows the data; it does not pass the old end before the block with that end is written.
 */
#include <linux/backing-dev.h>
#include <linux/bitmap.h>
#include <linux/mempool.h>
#include <linux/pagemap.h>
#include <linux/writeback.h>

#include "internal.h"

/* Flights that one call keeps in the air before it lands the first. */
#define IN_THE_AIR 8
/* Flights that are always there. */
#define FLIGHTS 4

struct placed {
	u32 id;
	/* Of those that were promised: new blocks, and blocks that make the tree grow. */
	u32 blocks, growing;
	u64 first;
	u32 count;
};

/* A dirty block, in a folio under writeback. */
struct dirty {
	struct folio *folio;
	u64 block;
};

struct flight {
	struct list_head link;
	struct inode *inode;
	/* Requests on their way, and who sends them. */
	atomic_t left;
	int error;
	bool waited, publishes;
	struct completion done;
	/* The size of the file that its data reaches to. */
	loff_t size;
	u32 count, placed_count;
	struct bento_placement placement;
	struct placed placed[BK_FLIGHT];
	/* Those of one folio behind each other. */
	struct dirty blocks[BK_FLIGHT];
	/* Those whose data has nowhere to go. They stay under writeback, which keeps the inode. */
	DECLARE_BITMAP(lost, BK_FLIGHT);
};

/* One call of writepages. */
struct writer {
	struct inode *inode;
	struct writeback_control *wbc;
	bool waits;
	struct flight *filling;
	struct list_head flying;
	u32 flying_count;
};

static struct bk_file *file_of(struct inode *inode)
{
	return &bk_inode_of(inode)->file;
}

static bool covers(struct folio *folio, u64 block)
{
	return block - folio->index < folio_nr_pages(folio);
}

/* What a flight has of a block: nothing, its folio, in which it was clean, or its content, which may be lost. */
enum has { HAS_NOTHING, HAS_FOLIO, HAS_LOST, HAS_CONTENT };

static enum has what_of(struct flight *flight, u64 block)
{
	enum has has = HAS_NOTHING;
	u32 at;

	for (at = 0; flight && at < flight->count; at++) {
		if (flight->blocks[at].block == block)
			return test_bit(at, flight->lost) ? HAS_LOST : HAS_CONTENT;
		if (covers(flight->blocks[at].folio, block))
			has = HAS_FOLIO;
	}
	return has;
}

/* Whether others wait for a flight because it has the block in which the file ends; nobody waits for an end between blocks. */
static bool has_end(struct flight *flight, loff_t end)
{
	enum has has = end & (BENTO_BLOCK - 1) ? what_of(flight, end >> BENTO_BLOCK_BITS) : HAS_NOTHING;

	return has == HAS_FOLIO || has == HAS_CONTENT;
}

/*
 * Whether the size on disk may pass its old end: whoever raises the size in memory zeroes from there, or writes over it, in
 * the page cache; until that is on disk, what lies behind the end there is undefined. Where it may not, the block is dirty, or
 * in a flight that is not published: the flight that has its folio raises the size to what was published meanwhile.
 */
static bool end_is_written(struct inode *inode, struct flight *flight)
{
	struct bk_file *f = file_of(inode);
	loff_t end = f->disk_size;
	enum has has = what_of(flight, end >> BENTO_BLOCK_BITS);
	struct folio *folio;
	bool written;

	if (!(end & (BENTO_BLOCK - 1)) || has == HAS_CONTENT)
		return true;
	folio = bento_find_folio(inode->i_mapping, end >> BENTO_BLOCK_BITS);
	if (!folio)
		return true;
	/* Who takes it says so before it is clean, and until it is under writeback: see take(). */
	written = !folio_test_dirty(folio);
	smp_rmb();
	written = written && !atomic_read(&f->taking);
	smp_rmb();
	/* A flight is published before its folios are told. */
	written = written && (!folio_test_writeback(folio) || has == HAS_FOLIO || READ_ONCE(f->end_landed) == end);
	folio_put(folio);
	return written;
}

/* What a flight's data may become, once it is written; `publishing` is held. */
static int publish_all(struct flight *flight)
{
	struct inode *inode = flight->inode;
	struct bk_file *f = file_of(inode);
	loff_t size = min(flight->size, i_size_read(inode)), reached;
	struct bk_call *c = bk_call_for(inode);
	int error = flight->error;
	u64 last = 0;
	u32 at;

	for (at = 0; at < flight->count; at++)
		if (!test_bit(at, flight->lost))
			last = max_t(u64, last, flight->blocks[at].block + 1);
	reached = min_t(u64, last << BENTO_BLOCK_BITS, size);
	if (!error && end_is_written(inode, flight)) {
		bk_hold_size(inode, U64_MAX);
		reached = max(reached, min(f->pending_size, i_size_read(inode)));
	} else if (!error) {
		bk_hold_size(inode, f->disk_size);
		f->pending_size = max(f->pending_size, reached);
		reached = 0;
		/* sync(2) and eviction look after it, if nobody does before. */
		mark_inode_dirty_sync(inode);
	}
	for (at = 0; at < flight->placed_count; at++) {
		struct placed *placed = &flight->placed[at];

		if (error)
			bk_abandon(c, inode, placed->id, placed->blocks, placed->growing);
		else
			error = bk_publish_data(c, inode, placed->id, size, placed->blocks, placed->growing);
		bk_land(f, placed->first, placed->count);
	}
	/* Nobody else raises the size by accident: whoever does has looked after the end himself. */
	bk_hold_size(inode, U64_MAX);
	if (!error && reached > f->disk_size) {
		f->pending_size = max(f->pending_size, reached);
		error = bk_raise_size(c, inode, reached);
	}
	if (!error && has_end(flight, f->disk_size))
		WRITE_ONCE(f->end_landed, f->disk_size);
	bk_call_put(c);
	return error;
}

/* Ends writeback. The last folio keeps the inode, and so the mount: behind it nothing of them is touched. */
static void end_flight(struct flight *flight, int error)
{
	struct bento_mount *m = bk_mount_of(flight->inode);
	struct folio *last = flight->blocks[flight->count - 1].folio;
	u32 at;

	if (error)
		mapping_set_error(flight->inode->i_mapping, error);
	for (at = 0; flight->blocks[at].folio != last; at++)
		if (flight->blocks[at].folio != flight->blocks[at + 1].folio)
			folio_end_writeback(flight->blocks[at].folio);
	mempool_free(flight, m->data.flights);
	if (atomic_dec_and_test(&m->data.flying))
		bk_completed(m);
	folio_end_writeback(last);
}

static void land(struct flight *flight)
{
	struct bk_file *f = file_of(flight->inode);
	int error = flight->error;

	if (flight->publishes) {
		mutex_lock(&f->publishing);
		error = publish_all(flight);
		mutex_unlock(&f->publishing);
		bk_give_room(&bk_mount_of(flight->inode)->room, flight->placed_count);
	}
	end_flight(flight, error);
}

static void land_all(struct work_struct *work)
{
	struct bk_data *data = container_of(work, struct bk_data, landing);
	unsigned int nofs = memalloc_nofs_save();

	for (;;) {
		struct flight *flight;

		spin_lock_irq(&data->landed_lock);
		flight = list_first_entry_or_null(&data->landed, struct flight, link);
		if (flight)
			list_del(&flight->link);
		spin_unlock_irq(&data->landed_lock);
		if (!flight)
			break;
		land(flight);
		cond_resched();
	}
	memalloc_nofs_restore(nofs);
}

/* All of a flight's requests have come back. Also in interrupts. */
static void came_back(struct flight *flight)
{
	struct bento_mount *m = bk_mount_of(flight->inode);
	struct bk_data *data = &m->data;
	unsigned long flags;

	atomic64_inc(&m->written);
	if (flight->waited) {
		complete(&flight->done);
	} else if (!flight->publishes) {
		end_flight(flight, flight->error);
	} else {
		spin_lock_irqsave(&data->landed_lock, flags);
		list_add_tail(&flight->link, &data->landed);
		spin_unlock_irqrestore(&data->landed_lock, flags);
		queue_work(data->work, &data->landing);
	}
}

static void drop(struct flight *flight)
{
	if (atomic_dec_and_test(&flight->left))
		came_back(flight);
}

static void written(struct bio *bio)
{
	struct flight *flight = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(flight->error, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	drop(flight);
}

/* Sends blocks to adjacent ones on disk. */
static void send(struct writer *w, struct flight *flight, u32 at, u32 count, u64 block)
{
	struct bento_mount *m = bk_mount_of(w->inode);

	while (count) {
		u32 now = min_t(u32, count, BIO_MAX_VECS), each;
		struct bio *bio = bio_alloc(m->bdev, now, REQ_OP_WRITE | wbc_to_write_flags(w->wbc), GFP_NOFS);

		bio->bi_iter.bi_sector = block << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
		bio->bi_private = flight;
		bio->bi_end_io = written;
		for (each = at; each < at + now; each++) {
			struct dirty *dirty = &flight->blocks[each];

			bk_bio_add(bio, dirty->folio, BENTO_BLOCK, (dirty->block - dirty->folio->index) << BENTO_BLOCK_BITS);
		}
		atomic_inc(&flight->left);
		submit_bio(bio);
		at += now;
		block += now;
		count -= now;
	}
}

/* Data that has nowhere to go is lost; fsync says so. After a panic it waits for the next version, and fsync says so. */
static void lose(struct flight *flight, u32 at, u32 count, int error)
{
	struct inode *inode = flight->inode;
	bool waits = bk_awaits_takeover(bk_mount_of(inode));
	u64 first = flight->blocks[at].block;

	mapping_set_error(inode->i_mapping, error);
	if (!waits)
		bk_forget_states(inode, first, first + count);
	bitmap_set(flight->lost, at, count);
	for (; waits && count; count--, at++)
		bk_dirty(inode, flight->blocks[at].folio, flight->blocks[at].block, 1);
}

static void send_placed(struct writer *w, struct flight *flight, u32 at, u64 first)
{
	struct bento_placement *p = &flight->placement;
	u32 extent;

	for (extent = 0; extent < p->count; extent++) {
		struct bento_extent *e = &p->extents[extent];

		send(w, flight, at + (e->file - first), e->blocks, e->block);
	}
}

/* Places a run of one state. How many blocks it came to, 0 if they have blocks after all. */
static int place_run(struct writer *w, struct flight *flight, struct bk_call *c, u32 at, u64 count,
		     enum bk_state_of_block state)
{
	struct bento_placement *p = &flight->placement;
	struct inode *inode = w->inode;
	struct bk_file *f = file_of(inode);
	struct bento_mount *m = bk_mount_of(inode);
	u64 first = flight->blocks[at].block, waiting, convert;
	struct placed *placed = &flight->placed[flight->placed_count];
	int error;

	c->budget = state == BK_WAITING ? count : 0;
	error = bk_place(c, inode, first, count, p);
	c->budget = 0;
	if (error)
		return error == -EBUSY ? 0 : error;
	placed->id = c->rust.reply.value;
	placed->first = first;
	placed->count = p->blocks;
	bk_take_off(inode, first, p->blocks, &waiting, &convert);
	placed->blocks = min(c->spent, waiting);
	placed->growing = waiting + convert;
	spin_lock(&f->space_lock);
	f->waiting -= min(waiting, f->waiting);
	f->flying += placed->blocks;
	spin_unlock(&f->space_lock);
	/* Somebody reserved blocks for what had waited: it goes to those. */
	if (waiting > placed->blocks) {
		atomic64_add(waiting - placed->blocks, &m->available[1]);
		atomic64_sub(waiting - placed->blocks, &m->data.promised);
	}
	flight->placed_count++;
	flight->publishes = true;
	return p->blocks;
}

/* A folio that was made dirty as a whole, or was part of such a one, may have blocks that nobody wrote to. */
static bool is_zero(const struct dirty *dirty)
{
	void *data = kmap_local_folio(dirty->folio, (dirty->block - dirty->folio->index) << BENTO_BLOCK_BITS);
	bool zero = !memchr_inv(data, 0, BENTO_BLOCK);

	kunmap_local(data);
	return zero;
}

/* Sends off what lies at the start of a run of adjacent blocks; how many blocks that were. */
static u32 send_some(struct writer *w, struct flight *flight, struct bk_call *c, u32 at, u32 count)
{
	struct inode *inode = w->inode;
	u64 first = flight->blocks[at].block, run;
	enum bk_state_of_block state = bk_state(file_of(inode), first, count, &run);
	struct bk_piece piece;
	int done, attempts;

	for (attempts = 0; attempts < 3; attempts++) {
		if (state == BK_NONE || attempts) {
			done = bk_map(inode, first, run, &piece);
			if (done)
				break;
			run = min(run, piece.blocks);
			if (piece.kind == BENTO_MAP_DATA) {
				if (attempts)
					bk_forget_states(inode, first, first + run);
				send(w, flight, at, run, piece.block);
				return run;
			}
			/* Nobody was promised space for it, and it reads as zeros already. */
			if (state == BK_NONE && is_zero(&flight->blocks[at]))
				return 1;
		}
		done = place_run(w, flight, c, at, run, state);
		if (done > 0) {
			send_placed(w, flight, at, first);
			return done;
		}
		if (done < 0)
			break;
		done = -EIO;
	}
	lose(flight, at, run, done);
	return run;
}

static void land_first(struct writer *w)
{
	struct flight *flight = list_first_entry(&w->flying, struct flight, link);

	list_del(&flight->link);
	w->flying_count--;
	wait_for_completion_io(&flight->done);
	land(flight);
}

/* Every block may need a placement of its own. Ours that fly are landed before others are waited for. */
static void take_room(struct writer *w, u32 placements)
{
	struct bento_mount *m = bk_mount_of(w->inode);

	if (bk_try_room(&m->room, placements))
		return;
	while (w->flying_count)
		land_first(w);
	bk_take_room(&m->room, placements);
}

/* Sends a flight off. */
static void take_off(struct writer *w)
{
	struct flight *flight = w->filling;
	struct bento_mount *m = bk_mount_of(w->inode);
	struct bk_file *f = file_of(w->inode);
	struct blk_plug plug;
	struct bk_call *c;
	loff_t end;
	u32 at = 0;

	w->filling = NULL;
	if (!flight)
		return;
	if (!flight->count) {
		mempool_free(flight, m->data.flights);
		return;
	}
	take_room(w, flight->count);
	atomic_inc(&m->data.flying);
	c = bk_call_for(w->inode);
	blk_start_plug(&plug);
	while (at < flight->count) {
		u32 run = 1;

		while (at + run < flight->count && flight->blocks[at + run].block == flight->blocks[at].block + run)
			run++;
		if (READ_ONCE(m->down) || READ_ONCE(m->panicked)) {
			lose(flight, at, run, -EIO);
			at += run;
		} else {
			at += send_some(w, flight, c, at, run);
		}
	}
	blk_finish_plug(&plug);
	bk_call_put(c);
	bk_give_room(&m->room, flight->count - flight->placed_count);
	end = READ_ONCE(f->disk_size);
	if (has_end(flight, end) || flight->size > end || READ_ONCE(f->pending_size) > end)
		flight->publishes = true;
	if (flight->waited) {
		list_add_tail(&flight->link, &w->flying);
		w->flying_count++;
	}
	drop(flight);
}

/* After this nothing of ours is under writeback that waits for us. */
static void land_ours(struct writer *w)
{
	take_off(w);
	while (w->flying_count)
		land_first(w);
}

static struct flight *new_flight(struct writer *w)
{
	mempool_t *pool = bk_mount_of(w->inode)->data.flights;
	struct flight *flight = mempool_alloc(pool, GFP_NOWAIT | __GFP_NOWARN);

	if (!flight) {
		land_ours(w);
		flight = mempool_alloc(pool, GFP_NOFS);
	}
	INIT_LIST_HEAD(&flight->link);
	flight->inode = w->inode;
	atomic_set(&flight->left, 1);
	flight->error = 0;
	flight->waited = w->waits;
	flight->publishes = false;
	init_completion(&flight->done);
	flight->size = i_size_read(w->inode);
	flight->count = 0;
	flight->placed_count = 0;
	bitmap_zero(flight->lost, BK_FLIGHT);
	return flight;
}

/*
 * Makes a locked folio clean and puts it under writeback; false if it is not dirty. A folio behind the end on disk that is
 * neither for a moment must not look as if it were written; its flight will look at the size again.
 */
static bool take(struct bk_file *f, struct folio *folio)
{
	bool behind = folio_next_index(folio) > READ_ONCE(f->disk_size) >> BENTO_BLOCK_BITS, taken;

	if (!folio_test_dirty(folio))
		return false;
	if (behind) {
		atomic_inc(&f->taking);
		smp_mb__after_atomic();
	}
	taken = folio_clear_dirty_for_io(folio);
	if (taken)
		folio_start_writeback(folio);
	if (behind) {
		smp_mb__before_atomic();
		atomic_dec(&f->taking);
	}
	return taken;
}

/* The dirty blocks of a folio that was just taken, and begins within the file, go into the flight that is being filled. */
static void fill_blocks(struct writer *w, struct folio *folio, loff_t size)
{
	struct flight *flight = w->filling;
	u64 first = folio->index, count = folio_nr_pages(folio), end = bk_blocks(size), at;
	struct bk_file *f = file_of(w->inode);
	u64 dirty = bk_take_dirty(f, first, count);
	u32 before = flight->count;
	u64 last;

	/* Nobody notes anything of a folio of one block; a larger one may be what is left of one that was split. */
	if (!dirty || READ_ONCE(f->unnoted))
		dirty = U64_MAX;
	for (at = 0; at < min(count, end - first); at++)
		if (dirty >> at & 1)
			flight->blocks[flight->count++] = (struct dirty){ .folio = folio, .block = first + at };
	w->wbc->nr_to_write -= flight->count - before;
	if (flight->count == before) {
		/* What is dirty of it lies past the end. */
		folio_end_writeback(folio);
		return;
	}
	last = (flight->blocks[flight->count - 1].block + 1) << BENTO_BLOCK_BITS;
	flight->size = max_t(u64, flight->size, min_t(u64, last, size));
}

static void send_full(struct writer *w)
{
	take_off(w);
	if (w->flying_count >= IN_THE_AIR)
		land_first(w);
}

/* Puts a folio into the flight that is being filled. */
static void fill(struct writer *w, struct folio *folio)
{
	struct address_space *mapping = w->inode->i_mapping;
	struct bk_file *f = file_of(w->inode);
	loff_t at = folio_pos(folio), size, landed;

	/* Before it is locked it may become smaller, but not larger. */
	if (w->filling && w->filling->count + folio_nr_pages(folio) > BK_FLIGHT)
		send_full(w);
	if (!w->filling)
		w->filling = new_flight(w);
	if (!folio_trylock(folio)) {
		land_ours(w);
		w->filling = new_flight(w);
		folio_lock(folio);
	}
	if (folio->mapping == mapping && folio_test_writeback(folio) && w->waits) {
		land_ours(w);
		folio_wait_writeback(folio);
		w->filling = new_flight(w);
	}
	size = i_size_read(w->inode);
	landed = READ_ONCE(f->end_landed);
	if (covers(folio, landed >> BENTO_BLOCK_BITS))
		cmpxchg64(&f->end_landed, landed, 0);
	/* What lies past the end is on its way out. */
	if (folio->mapping != mapping || folio_test_writeback(folio) || at >= size || !take(f, folio)) {
		folio_unlock(folio);
		return;
	}
	if (size - at < folio_size(folio))
		folio_zero_segment(folio, size - at, folio_size(folio));
	fill_blocks(w, folio, size);
	folio_unlock(folio);
	if (w->filling->count == BK_FLIGHT)
		send_full(w);
}

int bk_writepages(struct address_space *mapping, struct writeback_control *wbc)
{
	struct writer w = {
		.inode = mapping->host,
		.wbc = wbc,
		.waits = wbc->sync_mode == WB_SYNC_ALL,
		.flying = LIST_HEAD_INIT(w.flying),
	};
	pgoff_t index = wbc->range_start >> PAGE_SHIFT, end = wbc->range_end >> PAGE_SHIFT;
	xa_mark_t tag = PAGECACHE_TAG_DIRTY;
	unsigned int nofs = memalloc_nofs_save();
	struct folio_batch batch;
	bool enough = false;

	if (bk_awaits_takeover(bk_mount_of(w.inode))) {
		memalloc_nofs_restore(nofs);
		return w.waits ? -EIO : 0;
	}
	if (wbc->range_cyclic) {
		index = mapping->writeback_index;
		end = -1;
	}
	if (w.waits || wbc->tagged_writepages) {
		tag = PAGECACHE_TAG_TOWRITE;
		tag_pages_for_writeback(mapping, index, end);
	}
	folio_batch_init(&batch);
	while (!enough && index <= end && filemap_get_folios_tag(mapping, &index, end, tag, &batch)) {
		u32 at;

		for (at = 0; at < folio_batch_count(&batch) && !enough; at++) {
			fill(&w, batch.folios[at]);
			if (wbc->nr_to_write <= 0 && !w.waits) {
				enough = true;
				index = folio_next_index(batch.folios[at]);
			}
		}
		folio_batch_release(&batch);
		cond_resched();
	}
	if (wbc->range_cyclic)
		mapping->writeback_index = enough ? index : 0;
	land_ours(&w);
	memalloc_nofs_restore(nofs);
	return 0;
}

/* What only those may take who make room. */
static int ask_kept(struct bento_mount *m)
{
	struct bento_totals totals = { .blocks = atomic64_read(&m->totals[0]) };
	struct bk_call *c = bk_call_get(m);
	struct bento_statfs told = {};
	int error;

	c->rust.args.buffer = (u8 *)&totals;
	c->rust.args.statfs = &told;
	error = bk_run(c, BENTO_OP_STATFS, BENTO_KIND_READ);
	bk_call_put(c);
	m->data.kept = told.blocks_free - told.blocks_available;
	return error;
}

int bk_data_init(struct bento_mount *m)
{
	struct bk_data *data = &m->data;

	/* Who turns from reading to writing has it. */
	if (data->work)
		return ask_kept(m);
	INIT_WORK(&data->landing, land_all);
	spin_lock_init(&data->landed_lock);
	INIT_LIST_HEAD(&data->landed);
	mutex_init(&data->flushing);
	data->flights = mempool_create_kmalloc_pool(FLIGHTS, sizeof(struct flight));
	data->work = alloc_workqueue("bento-publish/%s", WQ_MEM_RECLAIM | WQ_UNBOUND, 0, m->name);
	return data->flights && data->work ? ask_kept(m) : -ENOMEM;
}

void bk_data_destroy(struct bento_mount *m)
{
	if (m->data.work)
		destroy_workqueue(m->data.work);
	mempool_destroy(m->data.flights);
}
