// SPDX-License-Identifier: GPL-2.0-only
/* The life of an inode in memory. */
#include "internal.h"

static struct kmem_cache *inodes;

/* A call about an inode. */
struct bk_call *bk_call_for(struct inode *inode)
{
	struct bk_call *c = bk_call_get(bk_mount_of(inode));

	c->rust.args.ino = inode->i_ino;
	return c;
}

/* Slots: made when an inode is instantiated, dropped when it leaves memory. */

/*
 * Gives an inode that this call has just read or made its slot. The blocks are looked at after the slot is there: a
 * merge stamps the slot after it tagged the block, so one of the two sees the other.
 */
static void slot_begin(struct bk_node *node, const struct bento_attr *attr, struct bk_call *c)
{
	u64 undurable;

	spin_lock(&node->slot_lock);
	node->slot = (struct bento_slot){
		.generation = attr->generation,
		.version = attr->version,
		.zero_from = U64_MAX,
	};
	node->has_slot = true;
	spin_unlock(&node->slot_lock);
	undurable = bk_newest_undurable(c);
	spin_lock(&node->slot_lock);
	node->slot.sync_seq = max(node->slot.sync_seq, undurable);
	node->slot.datasync_seq = max(node->slot.datasync_seq, undurable);
	spin_unlock(&node->slot_lock);
}

/* The number may be another inode's by now: its slot stays. */
static void slot_end(struct bk_node *node, u32 generation)
{
	spin_lock(&node->slot_lock);
	if (node->slot.generation == generation)
		node->has_slot = false;
	spin_unlock(&node->slot_lock);
}

static struct bento_time to_time(struct timespec64 time)
{
	return (struct bento_time){ .seconds = time.tv_sec, .nanoseconds = time.tv_nsec };
}

/* The VFS changed times: the slot has them until a transaction, or a flush, writes them. */
void bk_inode_dirty(struct inode *inode, int flags)
{
	struct bento_mount *m = bk_mount_of(inode);
	struct bk_node *node = bk_inode_of(inode)->node;

	if (!node || m->read_only)
		return;
	spin_lock(&node->slot_lock);
	if (node->has_slot && node->slot.generation == inode->i_generation) {
		node->slot.atime = to_time(bento_get_atime(inode));
		node->slot.mtime = to_time(bento_get_mtime(inode));
		node->slot.ctime = to_time(bento_get_ctime(inode));
		/* Further than an operation counts that read the slot before this: its merge must not take these times for written. */
		node->slot.version += 16;
		node->slot.times_dirty = 1;
	}
	spin_unlock(&node->slot_lock);
	spin_lock(&m->dirty_lock);
	if (list_empty(&node->dirty)) {
		atomic_inc(&node->refs);
		list_add_tail(&node->dirty, &m->dirty);
	}
	spin_unlock(&m->dirty_lock);
}

static bool has_times(struct bk_node *node)
{
	return READ_ONCE(node->slot.times_dirty) && READ_ONCE(node->has_slot);
}

static int flush_times(struct bento_mount *m, struct bk_node *node)
{
	struct bk_call *c;
	int error;

	if (!has_times(node))
		return 0;
	c = bk_call_get(m);
	c->rust.args.ino = node->ino;
	error = bk_run(c, BENTO_OP_FLUSH_TIMES, BENTO_KIND_TIMES);
	bk_call_put(c);
	return error == -ESTALE ? 0 : error;
}

/* Writes the times that only memory knows. One inode's failure does not keep the others from being written. */
int bk_flush_all_times(struct bento_mount *m)
{
	struct bk_node *node;
	LIST_HEAD(dirty);
	int result = 0;

	spin_lock(&m->dirty_lock);
	list_splice_init(&m->dirty, &dirty);
	while (!list_empty(&dirty)) {
		int error;

		node = list_first_entry(&dirty, struct bk_node, dirty);
		list_del_init(&node->dirty);
		spin_unlock(&m->dirty_lock);
		error = flush_times(m, node);
		result = result ?: error;
		bk_node_put(m, node);
		cond_resched();
		spin_lock(&m->dirty_lock);
	}
	spin_unlock(&m->dirty_lock);
	return result;
}

/* Makes durable what the core knows of an inode; its data is the caller's business. */
int bk_sync_inode(struct inode *inode, int datasync)
{
	struct bento_mount *m = bk_mount_of(inode);
	struct bk_node *node = bk_inode_of(inode)->node;
	int error = datasync || m->read_only ? 0 : flush_times(m, node);
	u64 batch;

	spin_lock(&node->slot_lock);
	batch = datasync ? node->slot.datasync_seq : node->slot.sync_seq;
	spin_unlock(&node->slot_lock);
	return error ?: bk_sync(m, batch);
}

int bk_inode_write(struct inode *inode, struct writeback_control *control)
{
	struct bento_mount *m = bk_mount_of(inode);
	int error = 0;

	if (!m->read_only && S_ISREG(inode->i_mode) && bk_has_pending(inode)) {
		/* In the background nobody is waited for: sync(2) and eviction come here again. */
		if (control->sync_mode == WB_SYNC_ALL)
			error = bk_raise_pending(inode);
		if (control->sync_mode != WB_SYNC_ALL || (error && bk_awaits_takeover(m)))
			mark_inode_dirty_sync(inode);
	}
	if (!error && !m->read_only)
		error = flush_times(m, bk_inode_of(inode)->node);
	/* sync(2) commits once, at its end. */
	if (!error && control->sync_mode == WB_SYNC_ALL && !control->for_sync)
		error = bk_sync_inode(inode, 1);
	return error;
}

/* What the VFS keeps of an inode. */

static void take_flags(struct inode *inode, u32 flags)
{
	static const struct { u32 ours, vfs; } pairs[] = {
		{ FS_SYNC_FL, S_SYNC }, { FS_APPEND_FL, S_APPEND }, { FS_IMMUTABLE_FL, S_IMMUTABLE },
		{ FS_NOATIME_FL, S_NOATIME }, { FS_DIRSYNC_FL, S_DIRSYNC },
	};
	u32 at, set = 0, mask = 0;

	for (at = 0; at < ARRAY_SIZE(pairs); at++) {
		mask |= pairs[at].vfs;
		if (flags & pairs[at].ours)
			set |= pairs[at].vfs;
	}
	bk_inode_of(inode)->flags = flags;
	inode_set_flags(inode, set, mask);
}

/* Takes over what an operation under the inode's i_rwsem answered. Times that the VFS sets itself stay, but ctime. */
void bk_refresh(struct inode *inode, const struct bento_attr *attr)
{
	struct bk_node *node = bk_inode_of(inode)->node;

	spin_lock(&node->slot_lock);
	inode->i_mode = attr->mode;
	i_uid_write(inode, attr->uid);
	i_gid_write(inode, attr->gid);
	set_nlink(inode, attr->nlink);
	take_flags(inode, attr->flags);
	bento_set_ctime(inode, bk_time_of(attr->ctime));
	/* The VFS may have dirtied an older ctime while the operation ran. */
	if (node->slot.times_dirty)
		node->slot.ctime = attr->ctime;
	spin_unlock(&node->slot_lock);
	if (!S_ISREG(attr->mode))
		inode->i_blocks = attr->sectors;
}

/* An operation of this time, under the inode's i_rwsem, changed something of an inode and answered nothing about it. */
void bk_changed(struct inode *inode, struct bento_time now)
{
	struct bk_node *node = bk_inode_of(inode)->node;

	spin_lock(&node->slot_lock);
	bento_set_ctime(inode, bk_time_of(now));
	if (node->slot.times_dirty)
		node->slot.ctime = now;
	spin_unlock(&node->slot_lock);
}

/* Entries of a directory changed in an operation of this time. */
void bk_entries_changed(struct inode *dir, struct bento_time now)
{
	struct bk_node *node = bk_inode_of(dir)->node;

	spin_lock(&node->slot_lock);
	bento_set_mtime(dir, bk_time_of(now));
	bento_set_ctime(dir, bk_time_of(now));
	if (node->slot.times_dirty)
		node->slot.mtime = node->slot.ctime = now;
	spin_unlock(&node->slot_lock);
	WRITE_ONCE(bk_inode_of(dir)->stale, true);
}

/* A directory's size and blocks are asked for when somebody wants to know them. */
int bk_refresh_size(struct inode *dir)
{
	struct bk_call *c;
	int error;

	if (!READ_ONCE(bk_inode_of(dir)->stale))
		return 0;
	c = bk_call_for(dir);
	WRITE_ONCE(bk_inode_of(dir)->stale, false);
	error = bk_run(c, BENTO_OP_GETATTR, BENTO_KIND_READ);
	if (!error) {
		struct bk_node *node = bk_inode_of(dir)->node;

		spin_lock(&node->slot_lock);
		/* Somebody who asked later may have answered earlier. */
		if (c->rust.reply.attr.version >= bk_inode_of(dir)->version) {
			bk_inode_of(dir)->version = c->rust.reply.attr.version;
			i_size_write(dir, c->rust.reply.attr.size);
			dir->i_blocks = c->rust.reply.attr.sectors;
		}
		spin_unlock(&node->slot_lock);
	}
	bk_call_put(c);
	return error;
}

static void fill(struct inode *inode, const struct bento_attr *attr)
{
	inode->i_mode = attr->mode;
	i_uid_write(inode, attr->uid);
	i_gid_write(inode, attr->gid);
	set_nlink(inode, attr->nlink);
	take_flags(inode, attr->flags);
	i_size_write(inode, attr->size);
	inode->i_blocks = attr->sectors;
	inode->i_generation = attr->generation;
	bento_set_atime(inode, bk_time_of(attr->atime));
	bento_set_mtime(inode, bk_time_of(attr->mtime));
	bento_set_ctime(inode, bk_time_of(attr->ctime));
	bk_inode_of(inode)->btime = attr->btime;
	bk_file_fill(inode, attr);
	bk_inode_of(inode)->version = attr->version;
}

/* An inode that nobody else sees yet becomes what an operation of this call answered. */
static void begin(struct inode *inode, const struct bento_attr *attr, struct bk_call *c)
{
	struct bk_node *node = bk_node_get(bk_mount_of(inode), attr->ino);

	fill(inode, attr);
	slot_begin(node, attr, c);
	bk_inode_of(inode)->node = node;
	switch (attr->mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &bk_file_iops;
		inode->i_fop = &bk_file_fops;
		inode->i_mapping->a_ops = &bk_file_aops;
		bento_allow_folios(inode->i_mapping, BK_FOLIO_ORDER);
		break;
	case S_IFDIR:
		inode->i_op = &bk_dir_iops;
		inode->i_fop = &bk_dir_fops;
		break;
	case S_IFLNK:
		inode->i_op = &bk_link_iops;
		break;
	default:
		inode->i_op = &bk_special_iops;
		init_special_inode(inode, attr->mode, new_decode_dev(attr->rdev));
	}
}

/*
 * The inode that an operation of this call has just answered. `seen` is bk_evictions() of before the operation: whoever
 * changed the inode since had it in memory, so it is in memory still, or it was evicted meanwhile.
 */
struct inode *bk_iget(struct super_block *sb, struct bk_call *c, s64 seen)
{
	struct bento_mount *m = sb->s_fs_info;
	struct bento_attr *attr = &c->rust.reply.attr;
	struct inode *inode = iget_locked(sb, attr->ino);
	int error = 0;

	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!bento_is_new(inode))
		return inode;
	if (atomic64_read(&m->evictions) != seen) {
		c->rust.args.ino = attr->ino;
		error = bk_run(c, BENTO_OP_GETATTR, BENTO_KIND_READ);
	}
	if (error) {
		iget_failed(inode);
		return ERR_PTR(error == -ESTALE ? -ENOENT : error);
	}
	begin(inode, attr, c);
	unlock_new_inode(inode);
	return inode;
}

/* A new inode that an operation of this call has just made gets its number. It stays locked: see unlock_new_inode(). */
int bk_inode_made(struct inode *inode, struct bk_call *c)
{
	inode->i_ino = c->rust.reply.attr.ino;
	begin(inode, &c->rust.reply.attr, c);
	/* A number in use was given out. */
	return insert_inode_locked(inode) ? -EUCLEAN : 0;
}

/* Takes away an inode that nobody uses and nothing names, step by step. Where it fails the next mount goes on. */
int bk_evict(struct bk_call *c, u64 ino)
{
	struct bento_mount *m = c->mount;
	int error;

	c->rust.args.ino = ino;
	do {
		error = bk_run(c, BENTO_OP_EVICT, BENTO_KIND_EVICT);
		cond_resched();
	} while (!error && c->rust.reply.kind);
	if (error == -ESTALE)
		error = 0;
	if (error && !READ_ONCE(m->down))
		bk_err(m, "inode %llu, which has no name, could not be taken away: %d", ino, error);
	return error;
}

static void take_away(struct inode *inode)
{
	struct bk_call *c = bk_call_get(bk_mount_of(inode));

	bk_evict(c, inode->i_ino);
	bk_call_put(c);
}

void bk_inode_evict(struct inode *inode)
{
	struct bento_mount *m = bk_mount_of(inode);
	struct bk_node *node = bk_inode_of(inode)->node;

	truncate_inode_pages_final(&inode->i_data);
	if (node)
		bk_file_evict(inode);
	/*
	 * The shrinker comes here with s_umount held, which thawing needs: it must not wait for that. It finds inodes that have
	 * a name, and while the mount is frozen no times are dirty: freezing wrote them, and nobody may change any.
	 */
	if (node && !m->read_only && (!inode->i_nlink || has_times(node))) {
		sb_start_intwrite(inode->i_sb);
		if (inode->i_nlink)
			flush_times(m, node);
		else
			take_away(inode);
		sb_end_intwrite(inode->i_sb);
	}
	clear_inode(inode);
	if (!node)
		return;
	atomic64_inc(&m->evictions);
	slot_end(node, inode->i_generation);
	bk_node_put(m, node);
	bk_inode_of(inode)->node = NULL;
}

struct inode *bk_inode_alloc(struct super_block *sb)
{
	struct bk_inode *inode = alloc_inode_sb(sb, inodes, GFP_KERNEL);

	if (!inode)
		return NULL;
	inode->node = NULL;
	inode->stale = false;
	bk_file_init(&inode->file);
	return &inode->vfs;
}

void bk_inode_free(struct inode *inode)
{
	if (inode->i_op == &bk_link_iops)
		kfree(inode->i_link);
	kmem_cache_free(inodes, bk_inode_of(inode));
}

static void init_once(void *object)
{
	inode_init_once(&((struct bk_inode *)object)->vfs);
}

int bk_inodes_init(void)
{
	inodes = kmem_cache_create("bento_inode", sizeof(struct bk_inode), 0, SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
				   init_once);
	return inodes ? 0 : -ENOMEM;
}

void bk_inodes_exit(void)
{
	/* Inodes are freed after a grace period. */
	rcu_barrier();
	kmem_cache_destroy(inodes);
}
