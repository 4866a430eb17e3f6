// SPDX-License-Identifier: GPL-2.0-only
/*
 * Homes: the newest durable version of each block until it is written to its place, and what a completed batch or
 * checkpoint sets in motion. That can be long: inside the gate it is only noted, bk_settle() does it outside.
 */
#include "internal.h"

/* Homes whose version is on its way. */
#define BK_LISTED XA_MARK_0

void bk_homes_destroy(struct bento_mount *m)
{
	struct bk_home *home;
	unsigned long no;

	xa_for_each(&m->homes, no, home) {
		if (home->waiting.page)
			put_page(home->waiting.page);
		bk_put(home->block);
		kfree(home);
	}
	xa_destroy(&m->homes);
}

static void add_home(struct bento_mount *m, struct bk_block *block, struct page *page, u64 seq)
{
	struct bk_home *home = xa_load(&m->homes, block->rust.no);

	if (!home) {
		home = kzalloc(sizeof(*home), GFP_NOFS | __GFP_NOFAIL);
		xa_store(&m->homes, block->rust.no, home, GFP_NOFS | __GFP_NOFAIL);
	} else {
		/* A block that was freed and made anew is another object in the cache. */
		bk_put(home->block);
	}
	home->block = block;
	if (home->waiting.page) {
		put_page(home->waiting.page);
		bk_came_home(m, 1);
	} else {
		home->waiting.oldest = seq;
	}
	home->waiting.page = page;
	home->waiting.seq = seq;
}

/* Takes the version of a batch that became durable. */
static struct page *install(struct bk_block *block, u64 seq)
{
	struct page *page = NULL;
	u32 at;

	write_lock(&block->latch);
	if (block->tag == seq) {
		block->held = true;
		page = block->page;
		get_page(page);
	}
	for (at = 0; !page && at < block->frozen_count; at++) {
		if (block->frozen[at].seq != seq)
			continue;
		page = block->frozen[at].page;
		block->frozen[at] = block->frozen[--block->frozen_count];
	}
	write_unlock(&block->latch);
	return page;
}

static void settle_durable(struct bento_mount *m, u64 through)
{
	u32 at, block;

	for (;;) {
		struct bk_batch *oldest = NULL;

		for (at = 0; at < BENTO_BATCHES_IN_FLIGHT; at++) {
			struct bk_batch *batch = &m->sealed[at];

			if (smp_load_acquire(&batch->used) && batch->seq <= through &&
			    (!oldest || batch->seq < oldest->seq))
				oldest = batch;
		}
		if (!oldest)
			break;
		for (block = 0; block < oldest->count; block++) {
			struct page *page = install(oldest->blocks[block], oldest->seq);

			if (WARN_ON_ONCE(!page))
				bk_put(oldest->blocks[block]);
			else
				add_home(m, oldest->blocks[block], page, oldest->seq);
			cond_resched();
		}
		smp_store_release(&oldest->used, false);
	}
	bk_release_frees(m, through, false);
}

static void settle_homed(struct bento_mount *m, u64 through)
{
	struct bk_home *home;
	unsigned long no;
	u32 count = 0;

	xa_for_each_marked(&m->homes, no, home, BK_LISTED) {
		write_lock(&home->block->latch);
		if (home->block->tag == home->listed) {
			home->block->tag = 0;
			home->block->held = false;
		}
		write_unlock(&home->block->latch);
		home->listed = 0;
		xa_clear_mark(&m->homes, no, BK_LISTED);
		count++;
		if (!home->waiting.page) {
			xa_erase(&m->homes, no);
			bk_put(home->block);
			kfree(home);
		}
		cond_resched();
	}
	bk_came_home(m, count);
	m->home_hand = 0;
	bk_release_frees(m, through, true);
}

/* Does what completed batches set in motion. Long; called outside every gate. */
void bk_settle(struct bento_mount *m)
{
	if (!READ_ONCE(m->due_count))
		return;
	mutex_lock(&m->settling);
	for (;;) {
		struct bk_due due;
		bool is_one;

		spin_lock(&m->due_lock);
		is_one = m->due_count;
		due = m->due[m->due_head];
		spin_unlock(&m->due_lock);
		if (!is_one)
			break;
		if (due.homed)
			settle_homed(m, due.batch);
		else
			settle_durable(m, due.batch);
		spin_lock(&m->due_lock);
		m->due_head = (m->due_head + 1) % ARRAY_SIZE(m->due);
		m->due_count--;
		spin_unlock(&m->due_lock);
	}
	mutex_unlock(&m->settling);
	bk_completed(m);
}

static void note_due(struct bento_mount *m, u64 batch, bool homed)
{
	spin_lock(&m->due_lock);
	/* Settled before every step of the driver, which notes at most two. */
	BUG_ON(m->due_count == ARRAY_SIZE(m->due));
	m->due[(m->due_head + m->due_count++) % ARRAY_SIZE(m->due)] = (struct bk_due){ batch, homed };
	spin_unlock(&m->due_lock);
}

void bento_set_durable(struct bento_call *call, u64 batch)
{
	struct bento_mount *m = bk_of(call)->mount;

	note_due(m, batch, false);
	if (batch > m->durable)
		WRITE_ONCE(m->durable, batch);
	bk_completed(m);
}
BENTO_EXPORT(bento_set_durable);

void bento_set_homed(struct bento_call *call, u64 through)
{
	note_due(bk_of(call)->mount, through, true);
}
BENTO_EXPORT(bento_set_homed);

static u32 list_homes(struct bk_call *c, u64 through, u32 at_most)
{
	struct bento_mount *m = c->mount;
	struct bk_home *home;
	unsigned long no;
	u32 count = 0;

	xa_for_each_start(&m->homes, no, home, m->home_hand) {
		if (count == at_most || c->request_count + 2 >= BK_REQUESTS)
			break;
		m->home_hand = no + 1;
		if (home->listed || !home->waiting.page || home->waiting.oldest > through)
			continue;
		home->listed = home->waiting.seq;
		xa_set_mark(&m->homes, no, BK_LISTED);
		bk_list_request(c, no, home->waiting.page);
		home->waiting.page = NULL;
		count++;
	}
	return count;
}

u32 bento_write_homes(struct bento_call *call, u64 through, u32 at_most)
{
	struct bk_call *c = bk_of(call);
	struct bento_mount *m = c->mount;
	unsigned long started;
	u32 count;

	bk_settle(m);
	/* Whoever settles meanwhile changes the same homes. */
	mutex_lock(&m->settling);
	started = m->home_hand;
	count = list_homes(c, through, at_most);
	/* Versions may have come in behind the hand: nothing is left only if a whole round finds nothing. */
	if (!count && started) {
		m->home_hand = 0;
		count = list_homes(c, through, at_most);
	}
	mutex_unlock(&m->settling);
	return count;
}
BENTO_EXPORT(bento_write_homes);
