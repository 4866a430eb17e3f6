// SPDX-License-Identifier: GPL-2.0-only
/* Mounting, unmounting, and what is told of a mount. */
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/statfs.h>

#include "internal.h"

#define BENTO_MAGIC 0x42454e54

static void mount_free(struct bento_mount *m)
{
	struct bk_call *c, *next;
	struct bk_node *node;
	unsigned long ino;

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

static struct bento_mount *mount_new(struct super_block *sb)
{
	struct bento_mount *m = kvzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	m->sb = sb;
	m->bdev = sb->s_bdev;
	m->read_only = sb_rdonly(sb);
	strscpy(m->name, sb->s_id, sizeof(m->name));
	xa_init(&m->cache);
	xa_init(&m->nodes);
	xa_init(&m->homes);
	xa_init_flags(&m->placement_ids, XA_FLAGS_ALLOC1);
	mutex_init(&m->rename);
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
	INIT_LIST_HEAD(&m->placements);
	INIT_LIST_HEAD(&m->frees);
	INIT_LIST_HEAD(&m->idle_calls);
	INIT_DELAYED_WORK(&m->timer, bk_timer);
	init_waitqueue_head(&m->completed);
	m->cache_most = min_t(unsigned long, totalram_pages() / 8, 1 << (30 - PAGE_SHIFT));
	if (bk_gate_init(&m->gate)) {
		kvfree(m);
		return NULL;
	}
	return m;
}

/* Recovery, and what the containers start with. Outside every gate; nobody else knows the mount yet. */
static int bring_up(struct bento_mount *m)
{
	struct bento_mounted *mounted = kzalloc(sizeof(*mounted), GFP_KERNEL);
	struct bento_disk disk = { .mount = m, .bdev = m->bdev, .page = alloc_page(GFP_KERNEL) };
	struct bento_mounting at = {
		.disk = &disk,
		.space = kvzalloc(BENTO_SPACE_BYTES, GFP_KERNEL),
		.fs = m->fs,
		.mounted = mounted,
		.epoch = get_random_u64(),
		.now = { .seconds = ktime_get_real_seconds() },
		.read_only = m->read_only,
	};
	int (*mount)(struct bento_mounting *at) = m->type->reg->mount;
	int error = -ENOMEM;

	if (mounted && disk.page && at.space)
		error = mount(&at);
	if (!error) {
		m->blocks = at.blocks;
		memcpy(&m->sb->s_uuid, at.uuid, sizeof(at.uuid));
		error = bk_groups_init(m, mounted) ?: bk_batches_init(m, mounted);
	}
	if (!error && mounted->replayed)
		bk_info(m, "recovered: %u batches were in the log", mounted->replayed);
	if (disk.page)
		__free_page(disk.page);
	kvfree(at.space);
	kfree(mounted);
	return error;
}

static struct inode *root(struct super_block *sb)
{
	struct bk_call *c = bk_call_get(sb->s_fs_info);
	struct inode *inode;
	int error;

	c->rust.args.ino = 1;
	error = bk_run(c, BENTO_OP_GETATTR, 0);
	inode = error ? ERR_PTR(error) : bk_iget(sb, &c->rust.reply.attr, c);
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
	struct bento_statfs told = {};
	int error;

	c->rust.args.buffer = (u8 *)&totals;
	c->rust.args.statfs = &told;
	error = bk_run(c, BENTO_OP_STATFS, 0);
	bk_call_put(c);
	to->f_type = BENTO_MAGIC;
	to->f_bsize = BENTO_BLOCK;
	to->f_blocks = told.blocks;
	to->f_bfree = told.blocks_free;
	to->f_bavail = told.blocks_available;
	to->f_files = told.inodes;
	to->f_ffree = told.inodes_free;
	to->f_namelen = told.name_max;
	to->f_fsid = u64_to_fsid(told.id);
	return error;
}

static int show_options(struct seq_file *seq, struct dentry *root)
{
	struct bento_mount *m = root->d_sb->s_fs_info;

	if (READ_ONCE(m->panicked) || READ_ONCE(m->down))
		seq_puts(seq, ",shutdown");
	return 0;
}

static void put_super(struct super_block *sb)
{
	struct bento_mount *m = sb->s_fs_info;

	/* Inodes are gone; their slots were dropped with them. */
	mount_free(m);
	sb->s_fs_info = NULL;
}

static const struct super_operations super_ops = {
	.alloc_inode = bk_inode_alloc,
	.free_inode = bk_inode_free,
	.evict_inode = bk_inode_evict,
	.put_super = put_super,
	.statfs = put_statfs,
	.show_options = show_options,
};

static int fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct bento_mount *m;
	struct inode *inode;
	int error;

	if (!sb_rdonly(sb)) {
		errorf(fc, "BENTO-fs: this version mounts read-only: use -o ro");
		return -EROFS;
	}
	if (!sb_set_blocksize(sb, BENTO_BLOCK)) {
		errorf(fc, "BENTO-fs: the device cannot do blocks of 4096 bytes");
		return -EINVAL;
	}
	m = mount_new(sb);
	if (!m)
		return -ENOMEM;
	m->type = bk_type_get(NULL);
	if (!m->type && !request_module("bento_fs"))
		m->type = bk_type_get(NULL);
	if (!m->type) {
		errorf(fc, "BENTO-fs: no file system is registered; load bento_fs");
		error = -ENODEV;
		goto fail;
	}
	error = bring_up(m);
	if (error)
		goto fail;
	sb->s_fs_info = m;
	sb->s_magic = BENTO_MAGIC;
	sb->s_op = &super_ops;
	sb->s_xattr = bk_xattrs;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_time_gran = 1;
	sb->s_time_min = S64_MIN;
	sb->s_time_max = S64_MAX;
	inode = root(sb);
	if (IS_ERR(inode)) {
		error = PTR_ERR(inode);
		goto fail;
	}
	sb->s_root = d_make_root(inode);
	if (!sb->s_root) {
		error = -ENOMEM;
		goto fail;
	}
	return 0;
fail:
	sb->s_fs_info = NULL;
	mount_free(m);
	return error;
}

static const struct fs_parameter_spec parameters[] = {
	{}
};

static int parse(struct fs_context *fc, struct fs_parameter *parameter)
{
	struct fs_parse_result result;
	int option = fs_parse(fc, parameters, parameter, &result);

	return option < 0 ? option : 0;
}

static int get_tree(struct fs_context *fc)
{
	return get_tree_bdev(fc, fill_super);
}

static int reconfigure(struct fs_context *fc)
{
	if (!(fc->sb_flags & SB_RDONLY)) {
		errorf(fc, "BENTO-fs: this version mounts read-only");
		return -EROFS;
	}
	return 0;
}

static const struct fs_context_operations context_ops = {
	.parse_param = parse,
	.get_tree = get_tree,
	.reconfigure = reconfigure,
};

static int init_context(struct fs_context *fc)
{
	fc->ops = &context_ops;
	return 0;
}

static struct file_system_type fs_type = {
	.owner = THIS_MODULE,
	.name = "bento",
	.init_fs_context = init_context,
	.parameters = parameters,
	.kill_sb = kill_block_super,
	.fs_flags = FS_REQUIRES_DEV,
};

int bk_super_init(void)
{
	int error = bk_inodes_init();

	if (error)
		return error;
	error = register_filesystem(&fs_type);
	if (error)
		bk_inodes_exit();
	return error;
}

void bk_super_exit(void)
{
	unregister_filesystem(&fs_type);
	bk_inodes_exit();
}
