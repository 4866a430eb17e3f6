// SPDX-License-Identifier: GPL-2.0-only
/* Busy bitmaps of the groups, what could be claimed in all, and open placements. */
#include <linux/bitmap.h>

#include "internal.h"

/* Open placements of a mount, in each way to write. Who writes back takes room for all that he may open, and waits for it with none open. */
#define PLACEMENTS_MOST 8192

int bk_groups_init(struct bento_mount *m, const struct bento_mounted *mounted)
{
	u32 at;

	m->group_count = mounted->groups;
	m->inode_words = DIV_ROUND_UP(mounted->inodes_per_group, 64);
	m->block_words = DIV_ROUND_UP(mounted->blocks_per_group, 64);
	m->orphan_words = DIV_ROUND_UP(mounted->orphan_slots, 64);
	/* A group's bitmaps come from a page that an attempt has in reserve. */
	if ((m->inode_words + m->block_words) * sizeof(u64) > PAGE_SIZE)
		return -EINVAL;
	atomic64_set(&m->available[0], mounted->totals.inodes);
	atomic64_set(&m->available[1], mounted->totals.blocks);
	/* Who turns from reading to writing knows the groups. */
	if (m->groups)
		return 0;
	m->groups = kvcalloc(m->group_count, sizeof(*m->groups), GFP_KERNEL);
	m->orphans.words = kvmalloc_array(m->orphan_words, sizeof(u64), GFP_KERNEL);
	if (!m->groups || !m->orphans.words)
		return -ENOMEM;
	memset(m->orphans.words, 0xff, m->orphan_words * sizeof(u64));
	spin_lock_init(&m->orphans.lock);
	for (at = 0; at < m->group_count; at++)
		spin_lock_init(&m->groups[at].lock);
	return 0;
}

void bk_groups_destroy(struct bento_mount *m)
{
	struct bk_placement *open, *next;
	u32 at;

	rbtree_postorder_for_each_entry_safe(open, next, &m->placements, node)
		kfree(open);
	xa_destroy(&m->placement_ids);
	for (at = 0; m->groups && at < m->group_count; at++)
		if (m->groups[at].words)
			free_page((unsigned long)m->groups[at].words);
	kvfree(m->groups);
	kvfree(m->orphans.words);
}

static struct bk_group *group_of(struct bento_mount *m, u32 no)
{
	if (no == BENTO_ORPHANS)
		return &m->orphans;
	return no < m->group_count ? &m->groups[no] : NULL;
}

static u64 *words_of(struct bento_mount *m, struct bk_group *group, u32 map, u32 *count)
{
	if (group == &m->orphans) {
		*count = map ? m->orphan_words : 0;
		return group->words;
	}
	*count = map ? m->block_words : m->inode_words;
	return map ? group->words + m->inode_words : group->words;
}

s32 bento_group(struct bento_call *call, u32 no, bool fill, struct bento_lent *lent)
{
	struct bk_call *c = bk_of(call);
	struct bento_mount *m = c->mount;
	struct bk_group *group = group_of(m, no);
	u32 count;

	if (!group)
		return -EINVAL;
	spin_lock(&group->lock);
	if (!group->words && fill) {
		struct page *page = bk_spare(c);

		if (!page) {
			spin_unlock(&group->lock);
			return -EOVERFLOW;
		}
		group->words = page_address(page);
		/* Nothing can be claimed of what nobody knows. */
		memset(group->words, 0xff, PAGE_SIZE);
	}
	c->group = group;
	c->group_no = no;
	*lent = (struct bento_lent){ .loaded = &group->loaded, .hints = group->hints };
	if (group->words) {
		lent->inodes = words_of(m, group, 0, &count);
		lent->inode_words = count;
		lent->blocks = words_of(m, group, 1, &count);
		lent->block_words = count;
	}
	return 0;
}
BENTO_EXPORT(bento_group);

void bento_group_end(struct bento_call *call)
{
	struct bk_call *c = bk_of(call);
	struct bk_group *group = c->group;

	c->group = NULL;
	spin_unlock(&group->lock);
}
BENTO_EXPORT(bento_group_end);

s32 bento_claim(struct bento_call *call, u32 map, u64 reserve, u32 start, u32 *length)
{
	struct bk_call *c = bk_of(call);
	struct bento_mount *m = c->mount;
	u32 words, claim = c->rust.claim_count;
	u64 *bits = words_of(m, c->group, map, &words);

	if (claim == BENTO_CLAIMS_MOST || map > 1 || !*length || (u64)start + *length > (u64)words * 64)
		return -EOVERFLOW;
	if (c->group != &m->orphans) {
		u32 own = map ? min_t(u64, c->budget, *length) : 0;
		s64 all = atomic64_read(&m->available[map]), more;

		if (c->last_resort)
			reserve = 0;
		do {
			more = min_t(s64, all - (s64)min_t(u64, reserve, S64_MAX), *length - own);
			more = max_t(s64, more, 0);
			if (own + more == 0)
				return 0;
		} while (more && !atomic64_try_cmpxchg(&m->available[map], &all, all - more));
		*length = own + more;
		c->budget -= own;
		c->spent += own;
	}
	bitmap_set((unsigned long *)bits, start, *length);
	c->rust.claims[claim] = (struct bento_claim){
		.group = c->group_no,
		.map = map,
		.run = { .start = start, .len = *length },
		.change = BENTO_CHANGE_TAKE,
	};
	c->rust.claim_count++;
	return 1;
}
BENTO_EXPORT(bento_claim);

/* Makes bits claimable again; how many. They are not available before the caller says so. */
u32 bk_clear(struct bento_mount *m, u32 no, u32 map, u32 start, u32 length)
{
	struct bk_group *group = group_of(m, no);
	u32 words, bit, cleared = 0;
	unsigned long *bits;
	u64 end;

	if (!group || map > 1)
		return 0;
	spin_lock(&group->lock);
	bits = (unsigned long *)words_of(m, group, map, &words);
	end = min_t(u64, (u64)start + length, (u64)words * 64);
	if (group->words) {
		for (bit = start; bit < end; bit++)
			cleared += __test_and_clear_bit(bit, bits);
	}
	spin_unlock(&group->lock);
	return group == &m->orphans ? 0 : cleared;
}

/* Gives a claim back that did not come to anything: what was promised first. */
void bk_unclaim(struct bk_call *c, const struct bento_claim *claim)
{
	u64 cleared = bk_clear(c->mount, claim->group, claim->map, claim->run.start, claim->run.len);
	u64 own = claim->map ? min(cleared, c->spent) : 0;

	c->spent -= own;
	c->budget += own;
	atomic64_add(cleared - own, &c->mount->available[claim->map & 1]);
}

void bento_unclaim(struct bento_call *call, u32 group, u32 map, u32 start, u32 length)
{
	struct bento_mount *m = bk_of(call)->mount;

	atomic64_add(bk_clear(m, group, map, start, length), &m->available[map & 1]);
}
BENTO_EXPORT(bento_unclaim);

u64 bento_available(struct bento_call *call, u32 map)
{
	struct bk_call *c = bk_of(call);
	u64 all = max_t(s64, atomic64_read(&c->mount->available[map & 1]), 0);

	if (map)
		all += c->budget + (c->last_resort ? c->mount->data.kept : 0);
	return all;
}
BENTO_EXPORT(bento_available);

/* Placements. */

void bk_room_init(struct bk_room *room)
{
	atomic_set(&room->left, PLACEMENTS_MOST);
	mutex_init(&room->line);
	init_waitqueue_head(&room->made);
}

bool bk_try_room(struct bk_room *room, u32 placements)
{
	int left = atomic_read(&room->left);

	do {
		if (left < (int)placements)
			return false;
	} while (!atomic_try_cmpxchg(&room->left, &left, left - placements));
	return true;
}

/* Waits until so many placements may be opened. What is open lands without the caller: he has none open. */
void bk_take_room(struct bk_room *room, u32 placements)
{
	mutex_lock(&room->line);
	wait_event(room->made, bk_try_room(room, placements));
	mutex_unlock(&room->line);
}

void bk_give_room(struct bk_room *room, u32 placements)
{
	atomic_add(placements, &room->left);
	if (wq_has_sleeper(&room->made))
		wake_up_all(&room->made);
}

/* Gets ready what an entry may turn into a placement; outside the gate, since memory may have to be waited for. */
u32 bk_opening_begin(struct bk_call *c)
{
	struct bk_placement *open = kmalloc(sizeof(*open), GFP_NOFS | __GFP_NOFAIL);

	/* Only the number is taken by now. */
	if (xa_alloc(&c->mount->placement_ids, &open->id, NULL, XA_LIMIT(1, S32_MAX), GFP_NOFS | __GFP_NOFAIL)) {
		kfree(open);
		open = NULL;
	}
	c->opening = open;
	return open ? open->id : 0;
}

/* A panic may have come right behind the opening. */
void bk_opening_end(struct bk_call *c, u32 id, int error)
{
	if (c->opening) {
		xa_erase(&c->mount->placement_ids, id);
		kfree(c->opening);
		c->opening = NULL;
	} else if (error) {
		bk_forget_placement(c->mount, id);
	}
}

/* Where a place of a file lies to the left and to the right of a placement. */
static int compare(u64 ino, u64 file, const struct bento_placement *p)
{
	if (ino != p->ino)
		return ino < p->ino ? -1 : 1;
	return file < p->file ? -1 : file > p->file;
}

static struct bk_placement *placement_at(struct rb_node *node)
{
	return rb_entry_safe(node, struct bk_placement, node);
}

static bool is_left(struct rb_node *one, const struct rb_node *other)
{
	struct bento_placement *p = &rb_entry(one, struct bk_placement, node)->placement;

	return compare(p->ino, p->file, &rb_entry(other, struct bk_placement, node)->placement) < 0;
}

s32 bento_add_placement(struct bento_call *call, const struct bento_placement *placement)
{
	struct bk_call *c = bk_of(call);
	struct bento_mount *m = c->mount;
	struct bk_placement *open = c->opening;
	u32 at, kept = 0;

	if (!open)
		return -EOVERFLOW;
	c->opening = NULL;
	open->placement = *placement;
	spin_lock(&m->placement_lock);
	/* Nothing is allocated: the number is there. */
	xa_store(&m->placement_ids, open->id, open, GFP_NOWAIT);
	rb_add(&open->node, &m->placements, is_left);
	spin_unlock(&m->placement_lock);
	/* Its busy bits outlive the attempt. */
	for (at = 0; at < c->rust.claim_count; at++)
		if (c->rust.claims[at].change != BENTO_CHANGE_TAKE)
			c->rust.claims[kept++] = c->rust.claims[at];
	c->rust.claim_count = kept;
	return open->id;
}
BENTO_EXPORT(bento_add_placement);

bool bento_placement(struct bento_call *call, u32 id, struct bento_placement *to)
{
	struct bento_mount *m = bk_of(call)->mount;
	struct bk_placement *open;

	spin_lock(&m->placement_lock);
	open = xa_load(&m->placement_ids, id);
	if (open)
		*to = open->placement;
	spin_unlock(&m->placement_lock);
	return open;
}
BENTO_EXPORT(bento_placement);

/* The first in the range; those of one inode do not overlap. */
u32 bento_placement_in(struct bento_call *call, u64 ino, const struct bento_extent *range)
{
	struct bento_mount *m = bk_of(call)->mount;
	struct rb_node *node;
	struct bk_placement *open, *found = NULL;
	u32 id = 0;

	spin_lock(&m->placement_lock);
	for (node = m->placements.rb_node; node;) {
		open = placement_at(node);
		if (compare(ino, range->file, &open->placement) < 0 ||
		    (ino == open->placement.ino && range->file < open->placement.file + open->placement.blocks)) {
			found = open;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	if (found && found->placement.ino == ino && found->placement.file < range->file + range->blocks)
		id = found->id;
	spin_unlock(&m->placement_lock);
	return id;
}
BENTO_EXPORT(bento_placement_in);

void bk_forget_placement(struct bento_mount *m, u32 id)
{
	struct bk_placement *open;

	spin_lock(&m->placement_lock);
	open = xa_erase(&m->placement_ids, id);
	if (open)
		rb_erase(&open->node, &m->placements);
	spin_unlock(&m->placement_lock);
	kfree(open);
}

void bento_end_placement(struct bento_call *call, u32 id)
{
	bk_forget_placement(bk_of(call)->mount, id);
}
BENTO_EXPORT(bento_end_placement);
