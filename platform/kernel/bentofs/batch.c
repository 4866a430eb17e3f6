// SPDX-License-Identifier: GPL-2.0-only
/* Batches: the running one and those in flight; log credits; freed bits. */
#include "internal.h"

/* Blocks of a list beyond what credits allow: a bug is told, not made worse. */
#define SLACK 256

int bk_batches_init(struct bento_mount *m, const struct bento_mounted *mounted)
{
	unsigned long sixteenth = totalram_pages() / 16;
	int at;

	m->running = mounted->next;
	m->durable = mounted->next ? mounted->next - 1 : 0;
	memcpy(m->journal, mounted->journal, sizeof(m->journal));
	atomic64_set(&m->totals[0], mounted->totals.blocks);
	atomic64_set(&m->totals[1], mounted->totals.inodes);
	atomic64_set(&m->totals[2], mounted->totals.orphans);
	m->log = m->log_free = mounted->log_credits;
	m->batch_limit = mounted->batch_limit;
	m->not_home_most = min_t(unsigned long, sixteenth, mounted->log_credits / 2);
	m->ride_until = min(mounted->log_credits / 8, mounted->batch_limit / 2);
	/* The first flush is never left out: what a former life wrote may be unflushed. */
	atomic64_set(&m->written, 1);
	if (m->read_only)
		return 0;
	/* Who turned from writing to reading has them; who failed to turn to writing may have some. */
	m->list_most = m->batch_limit + SLACK;
	m->list = m->list ?: kvmalloc_array(m->list_most, sizeof(*m->list), GFP_KERNEL);
	for (at = 0; at < BENTO_BATCHES_IN_FLIGHT; at++) {
		struct bk_batch *batch = &m->sealed[at];

		batch->blocks = batch->blocks ?: kvmalloc_array(m->list_most, sizeof(*m->list), GFP_KERNEL);
		if (!batch->blocks)
			return -ENOMEM;
	}
	/* A tag takes 16 bytes or more; header pages come from the list of requests. */
	m->tag_page_count = m->batch_limit / 64 + 4;
	m->tag_pages = m->tag_pages ?: kvcalloc(m->tag_page_count, sizeof(*m->tag_pages), GFP_KERNEL);
	return m->list && m->tag_pages ? 0 : -ENOMEM;
}

void bk_batches_destroy(struct bento_mount *m)
{
	struct bk_frees *frees, *next;
	u32 at, block;

	for (block = 0; block < m->count; block++)
		bk_put(m->list[block]);
	kvfree(m->list);
	for (at = 0; at < BENTO_BATCHES_IN_FLIGHT; at++) {
		for (block = 0; m->sealed[at].used && block < m->sealed[at].count; block++)
			bk_put(m->sealed[at].blocks[block]);
		kvfree(m->sealed[at].blocks);
	}
	bk_homes_destroy(m);
	list_for_each_entry_safe(frees, next, &m->frees, link)
		free_page((unsigned long)frees);
	for (at = 0; m->tag_pages && at < m->tag_page_count; at++)
		if (m->tag_pages[at])
			put_page(m->tag_pages[at]);
	kvfree(m->tag_pages);
}

void bk_completed(struct bento_mount *m)
{
	atomic64_inc(&m->completions);
	wake_up_all(&m->completed);
}

void bk_shut_down(struct bento_mount *m, const char *why)
{
	if (!xchg(&m->down, true))
		bk_err(m, "shut down, since %s: no more changes are taken; reads go on", why);
	bk_completed(m);
}

void bento_shut_down(struct bento_call *call)
{
	bk_shut_down(bk_of(call)->mount, "the journal failed");
}
BENTO_EXPORT(bento_shut_down);

/* Log credits: held ones and blocks of the running batch are one number, so that a merge changes nothing. */

static u32 ceiling(struct bento_mount *m)
{
	u32 away = m->not_home_most > m->not_home ? m->not_home_most - m->not_home : 0;

	return min3(m->log_free, m->batch_limit, away);
}

bool bk_take_credits(struct bk_call *c, u32 credits)
{
	struct bento_mount *m = c->mount;
	bool taken;

	spin_lock(&m->credit_lock);
	taken = m->in_use + credits <= ceiling(m);
	if (taken)
		m->in_use += credits;
	spin_unlock(&m->credit_lock);
	if (taken)
		c->rust.credits = credits;
	return taken;
}

void bk_give_back(struct bk_call *c)
{
	struct bento_mount *m = c->mount;

	if (!c->rust.credits)
		return;
	spin_lock(&m->credit_lock);
	m->in_use -= c->rust.credits;
	spin_unlock(&m->credit_lock);
	c->rust.credits = 0;
	if (atomic_read(&m->waiting))
		bk_completed(m);
}

bool bk_could_ever_fit(struct bento_mount *m, u32 credits)
{
	return credits <= min3(m->log, m->batch_limit, m->not_home_most);
}

bool bk_wants_checkpoint(struct bento_mount *m)
{
	return m->log - READ_ONCE(m->log_free) > m->log / 4 || READ_ONCE(m->not_home) > m->not_home_most / 2;
}

static void sealed_credits(struct bento_mount *m, u32 blocks)
{
	spin_lock(&m->credit_lock);
	m->log_free -= min(blocks, m->log_free);
	m->not_home += blocks;
	m->in_use -= min(blocks, m->in_use);
	spin_unlock(&m->credit_lock);
}

void bk_came_home(struct bento_mount *m, u32 versions)
{
	spin_lock(&m->credit_lock);
	m->not_home -= min(versions, m->not_home);
	spin_unlock(&m->credit_lock);
}

void bento_release_log(struct bento_call *call, u32 blocks)
{
	struct bento_mount *m = bk_of(call)->mount;

	spin_lock(&m->credit_lock);
	m->log_free = min(m->log_free + blocks, m->log);
	spin_unlock(&m->credit_lock);
	bk_completed(m);
}
BENTO_EXPORT(bento_release_log);

/* The running batch. */

u64 bento_join(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);

	down_read(&c->mount->join);
	c->joined = READ_ONCE(c->mount->running);
	return c->joined;
}
BENTO_EXPORT(bento_join);

void bento_leave(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);

	c->rust.claim_count = 0;
	c->joined = 0;
	up_read(&c->mount->join);
}
BENTO_EXPORT(bento_leave);

void bento_add_totals(struct bento_call *call, const struct bento_totals *change)
{
	struct bento_mount *m = bk_of(call)->mount;

	atomic64_add(change->blocks, &m->totals[0]);
	atomic64_add(change->inodes, &m->totals[1]);
	atomic64_add(change->orphans, &m->totals[2]);
}
BENTO_EXPORT(bento_add_totals);

/* A page that is only ours, with the same content; whoever shows the old one keeps it. */
struct page *bk_own_page(struct bk_call *c, struct page **page)
{
	struct page *copy;

	if (page_count(*page) == 1)
		return *page;
	copy = bk_spare(c);
	if (!copy)
		copy = alloc_page(GFP_ATOMIC | __GFP_HIGH);
	BUG_ON(!copy);
	memcpy(page_address(copy), page_address(*page), BENTO_BLOCK);
	put_page(*page);
	return *page = copy;
}

/* Makes the current version that of the running batch, under the latch. The old one is kept for those who need it. */
void bk_enter_batch(struct bk_call *c, struct bk_block *block)
{
	struct bento_mount *m = c->mount;

	BUG_ON(!c->joined);
	if (block->tag == c->joined)
		return;
	if (block->tag && !block->held) {
		BUG_ON(block->frozen_count == BENTO_BATCHES_IN_FLIGHT);
		get_page(block->page);
		block->frozen[block->frozen_count].seq = block->tag;
		block->frozen[block->frozen_count++].page = block->page;
	}
	block->tag = c->joined;
	block->held = false;
	if (c->rust.credits) {
		c->rust.credits--;
	} else {
		WARN_ONCE(1, "BENTO-fs: an operation outgrew its credits");
		spin_lock(&m->credit_lock);
		m->in_use++;
		spin_unlock(&m->credit_lock);
	}
	atomic_inc(&block->refs);
	spin_lock(&m->running_lock);
	BUG_ON(m->count == m->list_most);
	m->list[m->count++] = block;
	spin_unlock(&m->running_lock);
}

u32 bento_seal(struct bento_call *call, struct bento_sealed_batch *to)
{
	struct bento_mount *m = bk_of(call)->mount;
	u32 waiting = READ_ONCE(m->count), flying = 0, at;
	struct bk_batch *batch = NULL;

	if (READ_ONCE(m->poisoned))
		return BENTO_SEAL_POISONED;
	if (!waiting)
		return BENTO_SEAL_EMPTY;
	for (at = 0; at < BENTO_BATCHES_IN_FLIGHT; at++) {
		if (READ_ONCE(m->sealed[at].used))
			flying++;
		else
			batch = &m->sealed[at];
	}
	/* While a batch is on its way the next waits until it is worth it, so that many callers share it. */
	if (!batch || (flying && waiting < m->ride_until))
		return BENTO_SEAL_TOO_MANY;
	down_write(&m->join);
	if (READ_ONCE(m->poisoned)) {
		up_write(&m->join);
		return BENTO_SEAL_POISONED;
	}
	swap(batch->blocks, m->list);
	batch->count = m->count;
	batch->seq = m->running;
	m->count = 0;
	WRITE_ONCE(m->running, m->running + 1);
	to->totals.blocks = atomic64_read(&m->totals[0]);
	to->totals.inodes = atomic64_read(&m->totals[1]);
	to->totals.orphans = atomic64_read(&m->totals[2]);
	up_write(&m->join);
	smp_store_release(&batch->used, true);
	sealed_credits(m, batch->count);
	to->batch = batch->seq;
	to->blocks = batch->count;
	return BENTO_SEAL_BATCH;
}
BENTO_EXPORT(bento_seal);

static struct bk_block *sealed_block(struct bento_mount *m, u64 seq, u32 index)
{
	u32 at;

	for (at = 0; at < BENTO_BATCHES_IN_FLIGHT; at++) {
		struct bk_batch *batch = &m->sealed[at];

		if (batch->used && batch->seq == seq)
			return index < batch->count ? batch->blocks[index] : NULL;
	}
	return NULL;
}

/* The version of a sealed batch, under the latch. */
static struct page **version_of(struct bk_block *block, u64 seq)
{
	u32 at;

	if (block->tag == seq)
		return &block->page;
	for (at = 0; at < block->frozen_count; at++)
		if (block->frozen[at].seq == seq)
			return &block->frozen[at].page;
	return NULL;
}

u8 *bento_sealed(struct bento_call *call, u64 seq, u32 index, u64 *no)
{
	struct bk_call *c = bk_of(call);
	struct bk_block *block = sealed_block(c->mount, seq, index);
	struct page **page;

	if (!block)
		return NULL;
	write_lock(&block->latch);
	page = version_of(block, seq);
	if (!page) {
		write_unlock(&block->latch);
		return NULL;
	}
	c->latches[c->latch_count].block = block;
	c->latches[c->latch_count++].exclusive = true;
	*no = block->rust.no;
	return page_address(bk_own_page(c, page));
}
BENTO_EXPORT(bento_sealed);

void bento_write_sealed(struct bento_call *call, u64 seq, u32 index, u64 at, bool escape)
{
	struct bk_call *c = bk_of(call);
	u8 *bytes;
	u64 no;

	bytes = bento_sealed(call, seq, index, &no);
	if (!bytes)
		return;
	if (escape) {
		struct page *copy = bk_spare(c);

		BUG_ON(!copy);
		memcpy(page_address(copy), bytes, BENTO_BLOCK);
		memset(page_address(copy), 0, 8);
		bk_list_request(c, at, copy);
	} else {
		get_page(virt_to_page(bytes));
		bk_list_request(c, at, virt_to_page(bytes));
	}
	bento_unlatch(call);
}
BENTO_EXPORT(bento_write_sealed);

u8 *bento_tag_page(struct bento_call *call, u32 index)
{
	struct bk_call *c = bk_of(call);
	struct page **page;

	BUG_ON(index >= c->mount->tag_page_count);
	page = &c->mount->tag_pages[index];
	if (!*page)
		*page = bk_spare(c);
	BUG_ON(!*page);
	return page_address(bk_own_page(c, page));
}
BENTO_EXPORT(bento_tag_page);

void bento_write_tag_page(struct bento_call *call, u32 index, u64 at)
{
	struct bk_call *c = bk_of(call);

	BUG_ON(index >= c->mount->tag_page_count || !c->mount->tag_pages[index]);
	get_page(c->mount->tag_pages[index]);
	bk_list_request(c, at, c->mount->tag_pages[index]);
}
BENTO_EXPORT(bento_write_tag_page);

u8 *bento_io_fill(struct bento_call *call, u64 at)
{
	struct bk_call *c = bk_of(call);
	struct page *page = bk_spare(c);

	BUG_ON(!page);
	bk_list_request(c, at, page);
	return page_address(page);
}
BENTO_EXPORT(bento_io_fill);

void bento_io_flush(struct bento_call *call)
{
	bk_list_request(bk_of(call), 0, NULL);
}
BENTO_EXPORT(bento_io_flush);

bool bento_needs_flush(struct bento_call *call)
{
	struct bento_mount *m = bk_of(call)->mount;

	return atomic64_read(&m->written) > atomic64_read(&m->data.flushed);
}
BENTO_EXPORT(bento_needs_flush);

u8 *bento_journal(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);

	mutex_lock(&c->mount->journal_lock);
	c->journal = true;
	return c->mount->journal;
}
BENTO_EXPORT(bento_journal);

void bento_journal_end(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);

	c->journal = false;
	mutex_unlock(&c->mount->journal_lock);
}
BENTO_EXPORT(bento_journal_end);

/* Freed bits. */

void bento_free_after(struct bento_call *call, u64 batch, const struct bento_freed *freed)
{
	struct bk_call *c = bk_of(call);
	struct bento_mount *m = c->mount;
	struct bk_frees *frees, *found = NULL;

	spin_lock(&m->frees_lock);
	list_for_each_entry(frees, &m->frees, link) {
		if (frees->batch == batch && frees->logged == freed->logged && frees->count < BK_FREES) {
			found = frees;
			break;
		}
	}
	if (!found) {
		struct page *page = bk_spare(c);

		BUG_ON(!page);
		found = page_address(page);
		found->batch = batch;
		found->logged = freed->logged;
		found->count = 0;
		list_add(&found->link, &m->frees);
	}
	found->freed[found->count++] = *freed;
	spin_unlock(&m->frees_lock);
}
BENTO_EXPORT(bento_free_after);

bool bento_has_pending_frees(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);
	struct bento_mount *m = c->mount;

	if (c->may_write_back && atomic64_read(&m->data.promised))
		return true;
	return !list_empty(&m->frees) || READ_ONCE(m->releasing);
}
BENTO_EXPORT(bento_has_pending_frees);

/* Makes claimable what batches up to one freed: what was never logged, or what was. */
void bk_release_frees(struct bento_mount *m, u64 through, bool logged)
{
	struct bk_frees *frees, *next;
	LIST_HEAD(due);
	u32 at;

	spin_lock(&m->frees_lock);
	list_for_each_entry_safe(frees, next, &m->frees, link) {
		if (frees->batch <= through && frees->logged == logged) {
			list_move(&frees->link, &due);
			m->releasing++;
		}
	}
	spin_unlock(&m->frees_lock);
	list_for_each_entry_safe(frees, next, &due, link) {
		for (at = 0; at < frees->count; at++) {
			struct bento_freed *freed = &frees->freed[at];

			/* Cached blocks leave before the bits can be taken. */
			if (freed->block)
				bk_drop_run(m, freed->block, freed->run.len);
			atomic64_add(bk_clear(m, freed->group, freed->map, freed->run.start, freed->run.len),
				     &m->available[freed->map & 1]);
		}
		free_page((unsigned long)frees);
		spin_lock(&m->frees_lock);
		m->releasing--;
		spin_unlock(&m->frees_lock);
	}
}
