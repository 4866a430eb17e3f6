// SPDX-License-Identifier: GPL-2.0-only
/* Mounting, unmounting, and what is told of a mount. */
#include <linux/delay.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/statfs.h>

#include "internal.h"

#define BENTO_MAGIC 0x42454e54

/* The queue stays: an fsync that goes on may put something there. */
static void stop_background(struct bento_mount *m)
{
	cancel_delayed_work_sync(&m->timer);
	cancel_work_sync(&m->checkpoint);
}

static int start_background(struct bento_mount *m)
{
	m->work = m->work ?: alloc_workqueue("bento/%s", WQ_MEM_RECLAIM | WQ_UNBOUND, 0, m->name);
	if (!m->work)
		return -ENOMEM;
	queue_delayed_work(m->work, &m->timer, m->options.commit_seconds * HZ);
	return 0;
}

static void mount_free(struct bento_mount *m)
{
	struct bk_call *c, *next;
	struct bk_node *node;
	unsigned long ino;

	stop_background(m);
	bk_data_destroy(m);
	if (m->work)
		destroy_workqueue(m->work);
	list_for_each_entry_safe(c, next, &m->idle_calls, link)
		bk_call_free(c);
	bk_batches_destroy(m);
	bk_groups_destroy(m);
	bk_cache_destroy(m);
	xa_for_each(&m->nodes, ino, node) {
		WARN_ONCE(1, "BENTO-fs: inode %llu is still in use", node->ino);
		xa_erase(&m->nodes, ino);
		kfree(node);
	}
	xa_destroy(&m->nodes);
	bk_gate_destroy(&m->gate);
	if (m->type)
		bk_type_put(m->type);
	kvfree(m);
}

static struct bento_mount *mount_new(struct super_block *sb, const struct bk_options *options)
{
	struct bento_mount *m = kvzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	m->sb = sb;
	m->options = *options;
	m->bdev = sb->s_bdev;
	m->read_only = sb_rdonly(sb);
	strscpy(m->name, sb->s_id, sizeof(m->name));
	xa_init(&m->cache);
	xa_init(&m->nodes);
	xa_init(&m->homes);
	xa_init_flags(&m->placement_ids, XA_FLAGS_ALLOC1);
	mutex_init(&m->upgrading);
	mutex_init(&m->alone_lock);
	init_waitqueue_head(&m->alone_ended);
	mutex_init(&m->rename);
	init_rwsem(&m->join);
	mutex_init(&m->settling);
	mutex_init(&m->line);
	mutex_init(&m->driving);
	mutex_init(&m->journal_lock);
	spin_lock_init(&m->placement_lock);
	spin_lock_init(&m->running_lock);
	spin_lock_init(&m->frees_lock);
	spin_lock_init(&m->due_lock);
	spin_lock_init(&m->credit_lock);
	spin_lock_init(&m->calls_lock);
	spin_lock_init(&m->dirty_lock);
	INIT_LIST_HEAD(&m->dirty);
	INIT_LIST_HEAD(&m->frees);
	INIT_LIST_HEAD(&m->idle_calls);
	INIT_DELAYED_WORK(&m->timer, bk_timer);
	INIT_WORK(&m->checkpoint, bk_background_checkpoint);
	init_waitqueue_head(&m->completed);
	bk_room_init(&m->room);
	bk_room_init(&m->direct_room);
	m->cache_most = min_t(unsigned long, totalram_pages() / 8, 1 << (30 - PAGE_SHIFT));
	if (bk_gate_init(&m->gate)) {
		kvfree(m);
		return NULL;
	}
	return m;
}

/* What mount and unmount work with. */
static int mounting_begin(struct bento_mount *m, struct bento_disk *disk, struct bento_mounting *at)
{
	*disk = (struct bento_disk){ .mount = m, .bdev = m->bdev, .page = alloc_page(GFP_KERNEL) };
	*at = (struct bento_mounting){
		.disk = disk,
		.space = kvzalloc(BENTO_SPACE_BYTES, GFP_KERNEL),
		.mounted = kzalloc(sizeof(*at->mounted), GFP_KERNEL),
		.epoch = get_random_u64(),
		.now = { .seconds = ktime_get_real_seconds() },
		.read_only = m->read_only,
	};
	bk_boot_id(at->boot);
	return disk->page && at->space && at->mounted ? 0 : -ENOMEM;
}

static void mounting_end(struct bento_mounting *at)
{
	u32 page;

	for (page = 0; page < BK_WINDOW && at->disk->window[page]; page++)
		__free_page(at->disk->window[page]);
	if (at->disk->page)
		__free_page(at->disk->page);
	kvfree(at->space);
	kfree(at->mounted);
}

/* Calls what is no entry. A panic in it is an error like one of the device. */
static int call_outside(struct bento_mount *m, const void *fn, void *fs, struct bento_mounting *at)
{
	struct bk_call *c = bk_call_get(m);
	long result = bk_guarded(c, fn, fs, at);

	bk_call_put(c);
	return result == BK_PANICKED ? -EIO : result;
}

/* Recovery, and what the containers start with. What the code knows of the volume goes to `fs`. Outside every gate. */
static int bring_up(struct bento_mount *m, void *fs)
{
	struct bento_mounting at;
	struct bento_disk disk;
	int error = mounting_begin(m, &disk, &at);

	if (!error)
		error = call_outside(m, m->type->reg->mount, fs, &at);
	if (!error) {
		m->blocks = at.blocks;
		memcpy(&m->sb->s_uuid, at.uuid, sizeof(at.uuid));
		error = bk_groups_init(m, at.mounted) ?: bk_batches_init(m, at.mounted);
	}
	if (!error && at.mounted->replayed)
		bk_info(m, "recovered: %u batches were in the log", at.mounted->replayed);
	mounting_end(&at);
	return error;
}

/* Takes away what a crash left without a name. One damaged inode must not keep the volume from being used. */
static int evict_orphans(struct bento_mount *m)
{
	struct bk_call *c = bk_call_get(m);
	u64 slot = 0, ino, evicted = 0;
	int error;

	for (;;) {
		c->rust.args.at = slot;
		c->rust.reply.kind = 0;
		error = bk_run(c, BENTO_OP_ORPHAN, BENTO_KIND_READ);
		if (error || !c->rust.reply.kind)
			break;
		ino = c->rust.reply.value;
		slot = c->rust.reply.length;
		error = bk_evict(c, ino);
		if (!error)
			evicted++;
		else if (READ_ONCE(m->down) || READ_ONCE(m->panicked))
			break;
	}
	bk_call_put(c);
	if (evicted)
		bk_info(m, "taken away: %llu inodes without a name", evicted);
	return error;
}

static int write_all_home(struct bento_mount *m)
{
	int error;

	do {
		error = bk_commit(m) ?: bk_checkpoint(m);
	} while (!error && READ_ONCE(m->count));
	return error;
}

/* Writes everything home: whether the log is empty then. Nobody changes anything any more. */
static bool bring_home(struct bento_mount *m)
{
	struct bk_call *c;
	int error = bk_flush_all_times(m), late = write_all_home(m);

	if (!late) {
		bk_summarise(m);
		late = write_all_home(m);
	}
	error = late ?: bk_flush(m) ?: error;
	if (!error) {
		c = bk_call_get(m);
		error = bk_run(c, BENTO_OP_IS_CLEAN, BENTO_KIND_READ) ?: c->rust.reply.kind ? 0 : -EBUSY;
		bk_call_put(c);
	}
	return !error;
}

/* Ends writing: everything comes home, and the superblock says so. After an error the next mount looks into the log. */
static void leave_clean(struct bento_mount *m)
{
	struct bento_mounting at;
	struct bento_disk disk;
	int error = -EIO;

	stop_background(m);
	if (READ_ONCE(m->damaged)) {
		/* What was changed before is worth keeping; but the volume is not clean. */
		bring_home(m);
		return;
	}
	if (bring_home(m)) {
		error = mounting_begin(m, &disk, &at) ?: call_outside(m, m->type->reg->unmount, m->fs, &at);
		mounting_end(&at);
	}
	if (error)
		bk_err(m, "not everything could be written home: the next mount recovers");
}

/* Gives the code what it is to know of the volume from now on, while nobody is in it. */
static void replace_fs(struct bento_mount *m, const void *fs)
{
	bk_gate_get_ready(&m->gate);
	while (!bk_gate_close(&m->gate, BK_GATE_BUDGET_NS))
		usleep_range(1000, 2000);
	memcpy(m->fs, fs, sizeof(m->fs));
	bk_gate_open(&m->gate);
	bk_gate_relax(&m->gate);
}

/*
 * From reading to writing: recovery for real. What is cached stays right, since recovery brings home what was laid over
 * it. Nobody changes anything yet.
 */
static int start_writing(struct bento_mount *m)
{
	void *fs = kzalloc(sizeof(m->fs), GFP_KERNEL);
	int error = -ENOMEM;

	if (fs && bdev_read_only(m->bdev))
		error = -EROFS;
	else if (fs) {
		m->read_only = false;
		error = bring_up(m, fs);
	}
	if (!error) {
		replace_fs(m, fs);
		error = evict_orphans(m) ?: start_background(m);
	}
	kfree(fs);
	if (error)
		m->read_only = true;
	return error;
}

static struct inode *root(struct super_block *sb)
{
	struct bk_call *c = bk_call_get(sb->s_fs_info);
	struct inode *inode;
	int error;

	c->rust.args.ino = BENTO_ROOT;
	error = bk_run(c, BENTO_OP_GETATTR, BENTO_KIND_READ);
	inode = error ? ERR_PTR(error) : bk_iget(sb, c, 0);
	bk_call_put(c);
	return inode;
}

static int put_statfs(struct dentry *dentry, struct kstatfs *to)
{
	struct bento_mount *m = dentry->d_sb->s_fs_info;
	struct bento_totals totals = {
		.blocks = atomic64_read(&m->totals[0]),
		.inodes = atomic64_read(&m->totals[1]),
		.orphans = atomic64_read(&m->totals[2]),
	};
	struct bk_call *c = bk_call_get(m);
	u64 promised = max_t(s64, atomic64_read(&m->data.promised), 0);
	struct bento_statfs told = {};
	int error;

	c->rust.args.buffer = (u8 *)&totals;
	c->rust.args.statfs = &told;
	error = bk_run(c, BENTO_OP_STATFS, BENTO_KIND_READ);
	bk_call_put(c);
	to->f_type = BENTO_MAGIC;
	to->f_bsize = BENTO_BLOCK;
	to->f_blocks = told.blocks;
	to->f_bfree = told.blocks_free - min(told.blocks_free, promised);
	to->f_bavail = told.blocks_available - min(told.blocks_available, promised);
	to->f_files = told.inodes;
	to->f_ffree = told.inodes_free;
	to->f_namelen = told.name_max;
	to->f_fsid = u64_to_fsid(told.id);
	return error;
}

static int show_options(struct seq_file *seq, struct dentry *root)
{
	struct bento_mount *m = root->d_sb->s_fs_info;

	bk_options_show(seq, m);
	if (READ_ONCE(m->panicked) || READ_ONCE(m->down))
		seq_puts(seq, ",shutdown");
	return 0;
}

static void put_super(struct super_block *sb)
{
	struct bento_mount *m = sb->s_fs_info;

	bk_sysfs_remove(m);
	/* Inodes are gone; their slots were dropped with them. */
	if (!m->read_only)
		leave_clean(m);
	mount_free(m);
	sb->s_fs_info = NULL;
}

static int sync_fs(struct super_block *sb, int wait)
{
	struct bento_mount *m = sb->s_fs_info;
	s64 mark = atomic64_read(&m->written);
	int error;

	if (m->read_only || !wait)
		return 0;
	error = bk_flush_all_times(m);
	/* Data may have been written in place, which no batch knows of. */
	return bk_commit(m) ?: bk_flush_through(m, mark) ?: error;
}

/* Nothing is written while it is frozen: all changes wait, so the timer finds none. */
static int freeze_fs(struct super_block *sb)
{
	struct bento_mount *m = sb->s_fs_info;

	return m->read_only || bring_home(m) ? 0 : -EIO;
}

static int unfreeze_fs(struct super_block *sb)
{
	return 0;
}

/* The device is gone; not every kernel says so. */
static void __maybe_unused shut_down(struct super_block *sb)
{
	bk_shut_down(sb->s_fs_info, "the device is gone");
}

static long count_cached(struct super_block *sb, struct shrink_control *control)
{
	struct bento_mount *m = sb->s_fs_info;

	return atomic_long_read(&m->cached);
}

static long free_cached(struct super_block *sb, struct shrink_control *control)
{
	return bk_cache_shrink(sb->s_fs_info, control->nr_to_scan);
}

static const struct super_operations super_ops = {
	BENTO_SHUTDOWN(shut_down)
	.freeze_fs = freeze_fs,
	.unfreeze_fs = unfreeze_fs,
	.nr_cached_objects = count_cached,
	.free_cached_objects = free_cached,
	.alloc_inode = bk_inode_alloc,
	.free_inode = bk_inode_free,
	.dirty_inode = bk_inode_dirty,
	.write_inode = bk_inode_write,
	.evict_inode = bk_inode_evict,
	.sync_fs = sync_fs,
	.put_super = put_super,
	.statfs = put_statfs,
	.show_options = show_options,
};

/* The version that a mount begins with, from a module that is loaded if need be. */
static struct bk_type *first_type(struct fs_context *fc, const struct bk_options *options)
{
	const char *name = options->prov ? "bento-prov" : NULL, *module = options->prov ? "bento_prov" : "bento_fs";
	struct bk_type *type = bk_type_get(name);

	if (!type && !request_module("%s", module))
		type = bk_type_get(name);
	if (!type)
		errorf(fc, "BENTO-fs: no such file system is registered; load %s", module);
	return type;
}

static int fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct bento_mount *m;
	struct bk_type *type;
	struct inode *inode;
	int error;

	if (!sb_set_blocksize(sb, BENTO_BLOCK)) {
		errorf(fc, "BENTO-fs: the device cannot do blocks of 4096 bytes");
		return -EINVAL;
	}
	m = mount_new(sb, fc->fs_private);
	if (!m)
		return -ENOMEM;
	type = first_type(fc, &m->options);
	if (!type) {
		error = -ENODEV;
		goto fail;
	}
	bk_use_type(m, type);
	error = bring_up(m, m->fs) ?: bk_data_init(m);
	if (error)
		goto fail;
	sb->s_fs_info = m;
	sb->s_magic = BENTO_MAGIC;
	sb->s_op = &super_ops;
	sb->s_xattr = bk_xattrs;
	sb->s_export_op = &bk_export;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	if (IS_ENABLED(CONFIG_FS_POSIX_ACL))
		sb->s_flags |= SB_POSIXACL;
	sb->s_time_gran = 1;
	sb->s_time_min = S64_MIN;
	sb->s_time_max = S64_MAX;
	if (!m->read_only)
		error = evict_orphans(m) ?: start_background(m);
	if (error)
		goto fail;
	inode = root(sb);
	if (IS_ERR(inode)) {
		error = PTR_ERR(inode);
		goto fail;
	}
	error = bk_sysfs_add(m);
	if (error) {
		iput(inode);
		goto fail;
	}
	sb->s_root = d_make_root(inode);
	if (!sb->s_root) {
		bk_sysfs_remove(m);
		error = -ENOMEM;
		goto fail;
	}
	return 0;
fail:
	sb->s_fs_info = NULL;
	mount_free(m);
	return error;
}

static int get_tree(struct fs_context *fc)
{
	return get_tree_bdev(fc, fill_super);
}

static int reconfigure(struct fs_context *fc)
{
	struct super_block *sb = fc->root->d_sb;
	struct bento_mount *m = sb->s_fs_info;
	bool read_only = fc->sb_flags & SB_RDONLY;
	int error = sync_filesystem(sb);

	if (!read_only && (READ_ONCE(m->damaged) || READ_ONCE(m->down) || READ_ONCE(m->panicked))) {
		errorf(fc, "BENTO-fs: this mount stopped writing; unmount it, run fsck.bento, and mount it again");
		return -EROFS;
	}
	m->options = *(struct bk_options *)fc->fs_private;
	if (read_only == m->read_only || error)
		return error;
	if (!read_only)
		return start_writing(m);
	leave_clean(m);
	m->read_only = true;
	return 0;
}

static void free_context(struct fs_context *fc)
{
	kfree(fc->fs_private);
}

static const struct fs_context_operations context_ops = {
	.parse_param = bk_option,
	.get_tree = get_tree,
	.reconfigure = reconfigure,
	.free = free_context,
};

static int init_context(struct fs_context *fc)
{
	bool again = fc->purpose == FS_CONTEXT_FOR_RECONFIGURE;

	fc->fs_private = bk_options_new(again ? fc->root->d_sb->s_fs_info : NULL);
	fc->ops = &context_ops;
	return fc->fs_private ? 0 : -ENOMEM;
}

static struct file_system_type fs_type = {
	.owner = THIS_MODULE,
	.name = "bento",
	.init_fs_context = init_context,
	.parameters = bk_parameters,
	.kill_sb = kill_block_super,
	.fs_flags = FS_REQUIRES_DEV | FS_ALLOW_IDMAP,
};

int bk_super_init(void)
{
	int error = bk_inodes_init();

	if (error)
		return error;
	error = bk_sysfs_init();
	if (error)
		goto fail;
	error = register_filesystem(&fs_type);
	if (!error)
		return 0;
	bk_sysfs_exit();
fail:
	bk_inodes_exit();
	return error;
}

void bk_super_exit(void)
{
	unregister_filesystem(&fs_type);
	bk_sysfs_exit();
	bk_inodes_exit();
}
