// SPDX-License-Identifier: GPL-2.0-only
/* One operation: what it holds across its attempts, what an attempt takes, and giving that back. */
#include <linux/cred.h>
#include <linux/math64.h>
#include <linux/sched/mm.h>

#include "internal.h"

static struct bk_call *call_new(struct bento_mount *m)
{
	struct bk_call *c = kvzalloc(sizeof(*c), GFP_KERNEL | __GFP_NOFAIL);

	/* Vmalloc pages in the worst case, but never few: the view of a call is built here. */
	c->rust.scratch = kvmalloc(BENTO_SCRATCH_BYTES, GFP_KERNEL | __GFP_NOFAIL);
	c->mount = m;
	bk_panic_add(c);
	return c;
}

/* Who asks; what a record of provenance says of it. */
static void note_caller(struct bento_caller *caller)
{
	*caller = (struct bento_caller){
		.uid = from_kuid(&init_user_ns, current_fsuid()),
		.gid = from_kgid(&init_user_ns, current_fsgid()),
		.pid = task_tgid_nr(current),
		.start_time = div_u64(current->group_leader->start_boottime, NSEC_PER_SEC / USER_HZ),
	};
	memcpy(caller->command, current->comm, sizeof(caller->command) - 1);
}

struct bk_call *bk_call_get(struct bento_mount *m)
{
	unsigned int nofs = memalloc_nofs_save();
	struct bk_call *c;

	spin_lock(&m->calls_lock);
	c = list_first_entry_or_null(&m->idle_calls, struct bk_call, link);
	if (c) {
		list_del(&c->link);
		m->idle_count--;
	}
	spin_unlock(&m->calls_lock);
	if (!c)
		c = call_new(m);
	memalloc_nofs_restore(nofs);
	note_caller(&c->rust.caller);
	memset(&c->rust.args, 0, sizeof(c->rust.args));
	memset(&c->rust.reply, 0, sizeof(c->rust.reply));
	c->budget = c->spent = 0;
	c->last_resort = false;
	return c;
}

/* A few wait for the next operation with the pages that they have; each has up to BK_RESERVE. */
void bk_call_put(struct bk_call *c)
{
	struct bento_mount *m = c->mount;
	bool kept;

	bk_drop_pins(c, true);
	spin_lock(&m->calls_lock);
	kept = m->idle_count < 4 + 2 * num_online_cpus();
	if (kept) {
		list_add(&c->link, &m->idle_calls);
		m->idle_count++;
	}
	spin_unlock(&m->calls_lock);
	if (!kept)
		bk_call_free(c);
}

void bk_call_free(struct bk_call *c)
{
	bk_panic_remove(c);
	bk_drop_pins(c, true);
	bk_requests_drop(c);
	while (c->reserve_count)
		put_page(c->reserve[--c->reserve_count]);
	kvfree(c->rust.scratch);
	kvfree(c);
}

/* Gets the pages of one attempt ready: those that it takes, those that a merge copies to, and group bitmaps. */
void bk_prepare(struct bk_call *c, struct bento_cost cost)
{
	u32 most = min_t(u32, cost.pages + cost.credits + 18, BK_RESERVE);

	c->rust.wanted_count = 0;
	c->rust.claim_count = 0;
	c->taken_count = 0;
	c->taken_most = min_t(u32, cost.pages, BK_PAGES);
	while (c->reserve_count < most)
		c->reserve[c->reserve_count++] = alloc_page(GFP_NOFS | __GFP_NOFAIL);
}

/* A page of the reserve; its content is undefined. */
struct page *bk_spare(struct bk_call *c)
{
	return c->reserve_count ? c->reserve[--c->reserve_count] : NULL;
}

static void give(struct bk_call *c, struct page *page)
{
	if (!page)
		return;
	if (page_count(page) == 1 && c->reserve_count < BK_RESERVE)
		c->reserve[c->reserve_count++] = page;
	else
		put_page(page);
}

void bk_drop_pins(struct bk_call *c, bool all)
{
	u32 at, kept = 0;

	for (at = 0; at < c->pin_count; at++) {
		struct bk_block *block = c->pins[at];

		if (!all && !block->unseen && !READ_ONCE(block->gone))
			c->pins[kept++] = block;
		else
			bk_put(block);
	}
	c->pin_count = kept;
}

/* The newest batch that changed what the call looked at and is not durable; 0 if all of it is. */
u64 bk_newest_undurable(struct bk_call *c)
{
	u64 newest = 0;
	u32 at;

	for (at = 0; at < c->pin_count; at++)
		newest = max(newest, bento_undurable(&c->rust, &c->pins[at]->rust));
	return newest;
}

void bento_unlatch(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);
	u32 at = --c->latch_count;

	if (c->latches[at].exclusive)
		write_unlock(&c->latches[at].block->latch);
	else
		read_unlock(&c->latches[at].block->latch);
}
BENTO_EXPORT(bento_unlatch);

static void latch(struct bk_call *c, struct bk_block *block, bool exclusive)
{
	if (WARN_ON_ONCE(c->latch_count == BK_LATCHES))
		BUG();
	if (exclusive)
		write_lock(&block->latch);
	else
		read_lock(&block->latch);
	c->latches[c->latch_count].block = block;
	c->latches[c->latch_count++].exclusive = exclusive;
}

const u8 *bento_latch(struct bento_call *call, struct bento_block *block)
{
	latch(bk_of(call), bk_block_of(block), false);
	return page_address(bk_block_of(block)->page);
}
BENTO_EXPORT(bento_latch);

u8 *bento_latch_merge(struct bento_call *call, struct bento_block *rust)
{
	struct bk_call *c = bk_of(call);
	struct bk_block *block = bk_block_of(rust);

	latch(c, block, true);
	bk_enter_batch(c, block);
	return page_address(bk_own_page(c, &block->page));
}
BENTO_EXPORT(bento_latch_merge);

u64 bento_undurable(struct bento_call *call, struct bento_block *block)
{
	u64 tag = READ_ONCE(bk_block_of(block)->tag);

	return tag > READ_ONCE(bk_of(call)->mount->durable) ? tag : 0;
}
BENTO_EXPORT(bento_undurable);

/* Private pages. */

s32 bento_take_page(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);
	struct page *page;

	if (c->taken_count >= c->taken_most)
		return -EOVERFLOW;
	page = bk_spare(c);
	if (!page)
		return -EOVERFLOW;
	c->taken[c->taken_count] = page;
	return c->taken_count++;
}
BENTO_EXPORT(bento_take_page);

u8 *bento_page(struct bento_call *call, u32 page)
{
	struct bk_call *c = bk_of(call);

	BUG_ON(page >= c->taken_count || !c->taken[page]);
	return page_address(c->taken[page]);
}
BENTO_EXPORT(bento_page);

void bento_copy(struct bento_call *call, struct bento_block *block, u32 page)
{
	void *to = bento_page(call, page);

	memcpy(to, bento_latch(call, block), BENTO_BLOCK);
	bento_unlatch(call);
}
BENTO_EXPORT(bento_copy);

void bento_merge_page(struct bento_call *call, struct bento_block *rust, u32 page)
{
	struct bk_call *c = bk_of(call);
	struct bk_block *block = bk_block_of(rust);

	bento_page(call, page);
	latch(c, block, true);
	bk_enter_batch(c, block);
	/* The page that was shown becomes the attempt's; one that somebody still shows goes when he lets go. */
	swap(block->page, c->taken[page]);
	bento_unlatch(call);
	if (page_count(c->taken[page]) > 1) {
		put_page(c->taken[page]);
		c->taken[page] = NULL;
	}
	if (block->unseen)
		bk_publish(c->mount, block);
}
BENTO_EXPORT(bento_merge_page);

/* Inodes by number: locks and slots. */

struct bk_node *bk_node_get(struct bento_mount *m, u64 ino)
{
	struct bk_node *node, *there;

	for (;;) {
		rcu_read_lock();
		node = xa_load(&m->nodes, ino);
		if (node && !atomic_inc_not_zero(&node->refs))
			node = NULL;
		rcu_read_unlock();
		if (node)
			return node;
		node = kzalloc(sizeof(*node), GFP_NOFS | __GFP_NOFAIL);
		node->ino = ino;
		atomic_set(&node->refs, 1);
		init_rwsem(&node->lock);
		spin_lock_init(&node->slot_lock);
		INIT_LIST_HEAD(&node->dirty);
		there = xa_cmpxchg(&m->nodes, ino, NULL, node, GFP_NOFS | __GFP_NOFAIL);
		if (!there)
			return node;
		kfree(node);
		cond_resched();
	}
}

void bk_node_put(struct bento_mount *m, struct bk_node *node)
{
	if (!atomic_dec_and_test(&node->refs))
		return;
	xa_cmpxchg(&m->nodes, node->ino, node, NULL, 0);
	kfree_rcu(node, rcu);
}

static int holds(struct bk_call *c, u64 ino, bool exclusive)
{
	u32 at;

	for (at = 0; at < c->lock_count; at++)
		if (c->locks[at].node->ino == ino && (c->locks[at].exclusive || !exclusive))
			return 1;
	return 0;
}

s32 bento_lock(struct bento_call *call, u64 ino, bool exclusive)
{
	struct bk_call *c = bk_of(call);
	struct bk_node *node;

	if (holds(c, ino, exclusive))
		return 0;
	if (c->lock_count == BENTO_LOCKS_MOST)
		return -EOVERFLOW;
	node = bk_node_get(c->mount, ino);
	/* The core keeps the order of numbers; lockdep sees places in it. */
	if (exclusive)
		down_write_nested(&node->lock, c->lock_count);
	else
		down_read_nested(&node->lock, c->lock_count);
	c->locks[c->lock_count].node = node;
	c->locks[c->lock_count++].exclusive = exclusive;
	return 0;
}
BENTO_EXPORT(bento_lock);

s32 bento_try_lock(struct bento_call *call, u64 ino, bool exclusive)
{
	struct bk_call *c = bk_of(call);
	struct bk_node *node;

	if (holds(c, ino, exclusive))
		return 1;
	if (c->lock_count == BENTO_LOCKS_MOST)
		return -EOVERFLOW;
	node = bk_node_get(c->mount, ino);
	if (!(exclusive ? down_write_trylock(&node->lock) : down_read_trylock(&node->lock))) {
		bk_node_put(c->mount, node);
		return 0;
	}
	c->locks[c->lock_count].node = node;
	c->locks[c->lock_count++].exclusive = exclusive;
	return 1;
}
BENTO_EXPORT(bento_try_lock);

void bento_unlock_all(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);

	while (c->lock_count) {
		struct bk_node *node = c->locks[--c->lock_count].node;

		if (c->locks[c->lock_count].exclusive)
			up_write(&node->lock);
		else
			up_read(&node->lock);
		bk_node_put(c->mount, node);
	}
}
BENTO_EXPORT(bento_unlock_all);

void bento_lock_rename(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);

	if (!c->rename)
		mutex_lock(&c->mount->rename);
	c->rename = true;
}
BENTO_EXPORT(bento_lock_rename);

u64 bento_tree_version(struct bento_call *call)
{
	return READ_ONCE(bk_of(call)->mount->tree_version);
}
BENTO_EXPORT(bento_tree_version);

void bento_raise_tree_version(struct bento_call *call)
{
	struct bento_mount *m = bk_of(call)->mount;

	WRITE_ONCE(m->tree_version, m->tree_version + 1);
}
BENTO_EXPORT(bento_raise_tree_version);

struct bento_slot *bento_slot(struct bento_call *call, u64 ino)
{
	struct bk_call *c = bk_of(call);
	struct bk_node *node;

	rcu_read_lock();
	node = xa_load(&c->mount->nodes, ino);
	if (node && !atomic_inc_not_zero(&node->refs))
		node = NULL;
	rcu_read_unlock();
	if (!node)
		return NULL;
	spin_lock(&node->slot_lock);
	if (!node->has_slot) {
		spin_unlock(&node->slot_lock);
		bk_node_put(c->mount, node);
		return NULL;
	}
	c->slot = node;
	return &node->slot;
}
BENTO_EXPORT(bento_slot);

void bento_slot_end(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);
	struct bk_node *node = c->slot;

	c->slot = NULL;
	spin_unlock(&node->slot_lock);
	bk_node_put(c->mount, node);
}
BENTO_EXPORT(bento_slot_end);

/* Releases what must not be held outside an attempt; also in the core's stead, after a panic. */
void bk_release_held(struct bk_call *c)
{
	if (c->group)
		bento_group_end(&c->rust);
	if (c->slot)
		bento_slot_end(&c->rust);
	while (c->latch_count)
		bento_unlatch(&c->rust);
	if (c->joined) {
		/* Half an operation is in the batch: it must never reach the log. */
		bk_err(c->mount, "an operation ended in the middle of its merge: the batch is never written");
		WRITE_ONCE(c->mount->poisoned, true);
		up_read(&c->mount->join);
		c->joined = 0;
		bk_shut_down(c->mount, "a batch is half merged");
	}
	if (c->journal)
		bento_journal_end(&c->rust);
	bento_unlock_all(&c->rust);
	if (c->rename)
		mutex_unlock(&c->mount->rename);
	c->rename = false;
}

/* Ends an attempt, however it ended. */
void bk_end_attempt(struct bk_call *c)
{
	u32 at;

	bk_release_held(c);
	for (at = 0; at < c->rust.claim_count; at++) {
		struct bento_claim *claim = &c->rust.claims[at];

		if (claim->change == BENTO_CHANGE_TAKE)
			bk_unclaim(c, claim);
	}
	c->rust.claim_count = 0;
	while (c->taken_count)
		give(c, c->taken[--c->taken_count]);
	bk_drop_pins(c, false);
}
