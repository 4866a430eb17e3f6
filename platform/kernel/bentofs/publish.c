// SPDX-License-Identifier: GPL-2.0-only
/*
 * What writing asks of the core: places for data, and that it becomes part of its file; and the promises that this settles.
 * Who writes back (writeback.c) and who writes past the page cache (direct.c) both come here.
 */
#include "internal.h"

static struct bk_file *file_of(struct inode *inode)
{
	return &bk_inode_of(inode)->file;
}

static int place_once(struct bk_call *c, struct inode *inode, u64 block, u64 count, struct bento_placement *to)
{
	int error;
	u32 id;

	c->rust.args.ino = inode->i_ino;
	c->rust.args.at = block;
	c->rust.args.length = count;
	c->rust.args.placement = to;
	c->spent = 0;
	id = bk_opening_begin(c);
	error = bk_run(c, BENTO_OP_PLACE, BENTO_KIND_PLACE);
	bk_opening_end(c, id, error);
	return error;
}

/*
 * Chooses blocks for a run of one state. What it cost of what was promised is in `c->spent`; `c->budget` was set by the
 * caller, who settles what is left of it. EBUSY if there is data.
 */
int bk_place(struct bk_call *c, struct inode *inode, u64 block, u64 count, struct bento_placement *to)
{
	int error = place_once(c, inode, block, count, to);
	u64 budget = c->budget;

	if (error != -EBUSY)
		return error;
	/* What a truncate that is not done, or a mount that crashed, left past the end goes first. */
	c->budget = 0;
	error = bk_trim_past_end(c, inode);
	c->budget = budget;
	return error ?: place_once(c, inode, block, count, to);
}

static void end_promise(struct inode *inode, u64 blocks, u64 growing)
{
	struct bk_file *f = file_of(inode);

	spin_lock(&f->space_lock);
	f->flying -= min(blocks, f->flying);
	spin_unlock(&f->space_lock);
	atomic64_sub(blocks, &bk_mount_of(inode)->data.promised);
	bk_break_promise(inode, 0, growing);
}

void bk_abandon(struct bk_call *c, struct inode *inode, u32 id, u64 blocks, u64 growing)
{
	c->rust.args.ino = inode->i_ino;
	c->rust.args.at = id;
	if (bk_run(c, BENTO_OP_ABANDON, BENTO_KIND_PLACE)) {
		/* After a panic. Its blocks stay taken until the next mount; its place in the file does not. */
		bk_err(bk_mount_of(inode), "a placement of inode %llu could not be given back", (u64)inode->i_ino);
		bk_forget_placement(bk_mount_of(inode), id);
	}
	end_promise(inode, blocks, growing);
}

static void learn(struct inode *inode, const struct bento_attr *attr)
{
	file_of(inode)->disk_size = attr->size;
	inode->i_blocks = attr->sectors;
}

/* Makes a placement part of its file, with the nodes that were promised; `publishing` is held. */
int bk_publish_data(struct bk_call *c, struct inode *inode, u32 id, loff_t size, u64 blocks, u64 growing)
{
	struct bento_mount *m = bk_mount_of(inode);
	struct bk_file *f = file_of(inode);
	int error;

	c->rust.args.ino = inode->i_ino;
	c->rust.args.at = id;
	c->rust.args.length = size;
	spin_lock(&f->space_lock);
	c->budget = f->tree_lent = f->tree;
	f->tree = 0;
	spin_unlock(&f->space_lock);
	c->spent = 0;
	c->last_resort = true;
	error = bk_run(c, BENTO_OP_PUBLISH, BENTO_KIND_PUBLISH);
	c->last_resort = false;
	spin_lock(&f->space_lock);
	f->tree += c->budget;
	f->tree_lent = 0;
	spin_unlock(&f->space_lock);
	atomic64_sub(c->spent, &m->data.promised);
	c->budget = 0;
	if (error) {
		bk_abandon(c, inode, id, blocks, growing);
		return error;
	}
	learn(inode, &c->rust.reply.attr);
	end_promise(inode, blocks, growing);
	return 0;
}

/* Looks after what lies behind the end of a file and must not show, step by step. */
int bk_trim_past_end(struct bk_call *c, struct inode *inode)
{
	int error;

	c->rust.args.ino = inode->i_ino;
	do {
		error = bk_run(c, BENTO_OP_TRIM_PAST_END, BENTO_KIND_SETATTR);
	} while (!error && c->rust.reply.kind);
	return error;
}

/* Raises the size on disk; `publishing` is held. */
int bk_raise_size(struct bk_call *c, struct inode *inode, loff_t size)
{
	struct timespec64 mtime = bento_get_mtime(inode), ctime = bento_get_ctime(inode);
	struct bento_set_attr set = {
		.mask = BENTO_SET_SIZE | BENTO_SET_MTIME | BENTO_SET_CTIME,
		.size = size,
		.mtime = { .seconds = mtime.tv_sec, .nanoseconds = mtime.tv_nsec },
		.ctime = { .seconds = ctime.tv_sec, .nanoseconds = ctime.tv_nsec },
	};
	int error;

	if (size <= file_of(inode)->disk_size)
		return 0;
	c->rust.args.ino = inode->i_ino;
	c->rust.args.set = &set;
	error = bk_run(c, BENTO_OP_SETATTR, BENTO_KIND_SETATTR);
	if (error == -EBUSY) {
		/* Something behind the end has to be looked after first. */
		error = bk_trim_past_end(c, inode) ?: bk_run(c, BENTO_OP_SETATTR, BENTO_KIND_SETATTR);
	}
	if (!error)
		learn(inode, &c->rust.reply.attr);
	return error;
}

/* Until further notice the size on disk does not pass `at`, whatever is published; U64_MAX: it may. */
void bk_hold_size(struct inode *inode, u64 at)
{
	struct bk_node *node = bk_inode_of(inode)->node;

	spin_lock(&node->slot_lock);
	node->slot.zero_from = at;
	spin_unlock(&node->slot_lock);
}

/* Whether something was published that the size on disk does not reach yet. */
bool bk_has_pending(struct inode *inode)
{
	struct bk_file *f = file_of(inode);

	return min(READ_ONCE(f->pending_size), i_size_read(inode)) > READ_ONCE(f->disk_size);
}

/* Raises the size to what was published while it could not rise: what kept it from that is written first. */
int bk_raise_pending(struct inode *inode)
{
	struct bk_file *f = file_of(inode);

	for (;;) {
		loff_t end = READ_ONCE(f->disk_size);
		struct bk_call *c;
		int error;

		if (!bk_has_pending(inode))
			return 0;
		error = filemap_write_and_wait_range(inode->i_mapping, round_down(end, BENTO_BLOCK),
						     end | (BENTO_BLOCK - 1));
		if (error)
			return error;
		mutex_lock(&f->publishing);
		if (f->disk_size == end) {
			c = bk_call_for(inode);
			bk_hold_size(inode, U64_MAX);
			error = bk_raise_size(c, inode, min(f->pending_size, i_size_read(inode)));
			bk_call_put(c);
		}
		mutex_unlock(&f->publishing);
		if (error)
			return error;
	}
}
