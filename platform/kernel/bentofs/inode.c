// SPDX-License-Identifier: GPL-2.0-only
/* Inodes, directories and files, as the VFS sees them. */
#include <linux/iomap.h>
#include <linux/pagemap.h>

#include "internal.h"

static struct kmem_cache *inodes;

static struct bk_inode *of(struct inode *inode)
{
	return container_of(inode, struct bk_inode, vfs);
}

static struct bento_mount *mount_of(struct inode *inode)
{
	return inode->i_sb->s_fs_info;
}

static struct bk_call *call_for(struct inode *inode)
{
	struct bk_call *c = bk_call_get(mount_of(inode));

	c->rust.args.ino = inode->i_ino;
	return c;
}

static struct timespec64 time_of(struct bento_time time)
{
	return (struct timespec64){ .tv_sec = time.seconds, .tv_nsec = time.nanoseconds };
}

/* Files. */

static int map_begin(struct inode *inode, loff_t at, loff_t length, unsigned int flags, struct iomap *map,
		     struct iomap *source)
{
	struct bk_call *c = call_for(inode);
	u64 first = at >> BENTO_BLOCK_BITS;
	int error;

	if (flags & IOMAP_WRITE) {
		bk_call_put(c);
		return -EROFS;
	}
	c->rust.args.at = first;
	c->rust.args.length = ((at + length - 1) >> BENTO_BLOCK_BITS) - first + 1;
	error = bk_run(c, BENTO_OP_MAP, 0);
	if (!error) {
		struct bento_reply *reply = &c->rust.reply;

		map->bdev = inode->i_sb->s_bdev;
		map->offset = first << BENTO_BLOCK_BITS;
		map->length = reply->length << BENTO_BLOCK_BITS;
		map->addr = reply->value << BENTO_BLOCK_BITS;
		map->type = reply->kind == BENTO_MAP_DATA ? IOMAP_MAPPED : IOMAP_UNWRITTEN;
		if (reply->kind == BENTO_MAP_HOLE) {
			map->type = IOMAP_HOLE;
			map->addr = IOMAP_NULL_ADDR;
		}
	}
	bk_call_put(c);
	return error;
}

static const struct iomap_ops map_ops = {
	.iomap_begin = map_begin,
};

static int read_folio(struct file *file, struct folio *folio)
{
	return bento_read_folio(folio, &map_ops);
}

static void readahead(struct readahead_control *control)
{
	bento_readahead(control, &map_ops);
}

static const struct address_space_operations file_aops = {
	.read_folio = read_folio,
	.readahead = readahead,
	.release_folio = iomap_release_folio,
	.invalidate_folio = iomap_invalidate_folio,
	.is_partially_uptodate = iomap_is_partially_uptodate,
	.migrate_folio = filemap_migrate_folio,
};

static loff_t seek(struct file *file, loff_t at, int whence)
{
	struct inode *inode = file_inode(file);

	if (whence == SEEK_HOLE)
		at = iomap_seek_hole(inode, at, &map_ops);
	else if (whence == SEEK_DATA)
		at = iomap_seek_data(inode, at, &map_ops);
	else
		return generic_file_llseek(file, at, whence);
	return at < 0 ? at : vfs_setpos(file, at, inode->i_sb->s_maxbytes);
}

static const struct file_operations file_fops = {
	.llseek = seek,
	.read_iter = generic_file_read_iter,
	.mmap = generic_file_readonly_mmap,
	.splice_read = bento_splice_read,
	.open = generic_file_open,
};

/* Directories. */

static struct dentry *lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	struct bk_call *c = call_for(dir);
	struct inode *inode;
	int error;

	c->rust.args.name = dentry->d_name.name;
	c->rust.args.name_bytes = dentry->d_name.len;
	error = bk_run(c, BENTO_OP_LOOKUP, 0);
	if (error)
		inode = error == -ENOENT ? NULL : ERR_PTR(error);
	else
		inode = bk_iget(dir->i_sb, &c->rust.reply.attr, c);
	bk_call_put(c);
	return d_splice_alias(inode, dentry);
}

/* The core fills a page, inside the gate; it goes to the user's memory outside. */
static int iterate(struct file *file, struct dir_context *context)
{
	struct page *page = alloc_page(GFP_KERNEL);
	bool full = false, end = false;
	int error = 0;

	if (!page)
		return -ENOMEM;
	while (!full && !end && !error) {
		struct bk_call *c = call_for(file_inode(file));
		u8 *bytes = page_address(page);
		size_t used = 0, at = 0;

		c->rust.args.at = context->pos;
		c->rust.args.buffer = bytes;
		c->rust.args.buffer_bytes = PAGE_SIZE;
		error = bk_run(c, BENTO_OP_READDIR, 2);
		if (!error) {
			used = c->rust.reply.value;
			end = c->rust.reply.kind;
		}
		bk_call_put(c);
		while (at < used && !full) {
			u64 *head = (u64 *)(bytes + at);
			u32 length = head[2] >> 8;

			full = !dir_emit(context, bytes + at + BENTO_ENTRY_HEAD, length, head[1], head[2] & 0xff);
			if (!full)
				context->pos = head[0];
			at += ALIGN(BENTO_ENTRY_HEAD + length, 8);
		}
		/* No entry and no end: one that is larger than a page, which is damage. */
		if (!used && !end && !error)
			error = -EUCLEAN;
	}
	__free_page(page);
	return error;
}

static const struct file_operations dir_fops = {
	.llseek = generic_file_llseek,
	.read = generic_read_dir,
	.iterate_shared = iterate,
};

/* Attributes. */

static int getattr(bento_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);

	bento_fillattr(idmap, mask, inode, stat);
	if (mask & STATX_BTIME) {
		stat->btime = time_of(of(inode)->btime);
		stat->result_mask |= STATX_BTIME;
	}
	stat->blksize = BENTO_BLOCK;
	return 0;
}

static const char *get_link(struct dentry *dentry, struct inode *inode, struct delayed_call *done)
{
	struct bk_call *c;
	char *target;
	int error;

	if (!dentry)
		return ERR_PTR(-ECHILD);
	target = kmalloc(PATH_MAX, GFP_KERNEL);
	if (!target)
		return ERR_PTR(-ENOMEM);
	c = call_for(inode);
	c->rust.args.buffer = target;
	c->rust.args.buffer_bytes = PATH_MAX - 1;
	error = bk_run(c, BENTO_OP_READLINK, 0);
	if (!error)
		target[c->rust.reply.value] = 0;
	bk_call_put(c);
	if (error) {
		kfree(target);
		return ERR_PTR(error);
	}
	set_delayed_call(done, kfree_link, target);
	return target;
}

/* A buffer of the VFS's is kernel memory: the core may fill it. */
static int xattr_get(const struct xattr_handler *handler, struct dentry *dentry, struct inode *inode, const char *name,
		     void *buffer, size_t size)
{
	const char *full = xattr_full_name(handler, name);
	struct bk_call *c = call_for(inode);
	int result;

	c->rust.args.name = full;
	c->rust.args.name_bytes = strlen(full);
	c->rust.args.buffer = buffer;
	c->rust.args.buffer_bytes = buffer ? size : 0;
	result = bk_run(c, BENTO_OP_GETXATTR, 0);
	if (!result)
		result = c->rust.reply.value;
	bk_call_put(c);
	return result;
}

static ssize_t listxattr(struct dentry *dentry, char *buffer, size_t size)
{
	struct bk_call *c = call_for(d_inode(dentry));
	ssize_t result;

	c->rust.args.buffer = buffer;
	c->rust.args.buffer_bytes = buffer ? size : 0;
	result = bk_run(c, BENTO_OP_LISTXATTR, 0);
	if (!result)
		result = c->rust.reply.value;
	bk_call_put(c);
	return result;
}

#define HANDLER(variable, text) \
	static const struct xattr_handler variable = { .prefix = text, .get = xattr_get }
HANDLER(user_xattrs, XATTR_USER_PREFIX);
HANDLER(trusted_xattrs, XATTR_TRUSTED_PREFIX);
HANDLER(security_xattrs, XATTR_SECURITY_PREFIX);

const struct xattr_handler *BENTO_XATTR_CONST bk_xattrs[] = {
	&user_xattrs,
	&trusted_xattrs,
	&security_xattrs,
	NULL,
};

static const struct inode_operations file_iops = {
	.getattr = getattr,
	.listxattr = listxattr,
};

static const struct inode_operations dir_iops = {
	.lookup = lookup,
	.getattr = getattr,
	.listxattr = listxattr,
};

static const struct inode_operations link_iops = {
	.get_link = get_link,
	.getattr = getattr,
	.listxattr = listxattr,
};

static void fill(struct inode *inode, const struct bento_attr *attr)
{
	inode->i_mode = attr->mode;
	i_uid_write(inode, attr->uid);
	i_gid_write(inode, attr->gid);
	set_nlink(inode, attr->nlink);
	i_size_write(inode, attr->size);
	inode->i_blocks = attr->sectors;
	inode->i_generation = attr->generation;
	bento_set_atime(inode, time_of(attr->atime));
	bento_set_mtime(inode, time_of(attr->mtime));
	bento_set_ctime(inode, time_of(attr->ctime));
	of(inode)->btime = attr->btime;
}

/* The inode that an operation of this call has just answered. */
struct inode *bk_iget(struct super_block *sb, const struct bento_attr *attr, struct bk_call *c)
{
	struct inode *inode = iget_locked(sb, attr->ino);

	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!bento_is_new(inode))
		return inode;
	of(inode)->node = bk_node_get(sb->s_fs_info, attr->ino);
	fill(inode, attr);
	switch (attr->mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &file_iops;
		inode->i_fop = &file_fops;
		inode->i_mapping->a_ops = &file_aops;
		break;
	case S_IFDIR:
		inode->i_op = &dir_iops;
		inode->i_fop = &dir_fops;
		break;
	case S_IFLNK:
		inode->i_op = &link_iops;
		break;
	default:
		inode->i_op = &file_iops;
		init_special_inode(inode, attr->mode, new_decode_dev(attr->rdev));
	}
	unlock_new_inode(inode);
	return inode;
}

void bk_inode_evict(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (of(inode)->node)
		bk_node_put(mount_of(inode), of(inode)->node);
	of(inode)->node = NULL;
}

struct inode *bk_inode_alloc(struct super_block *sb)
{
	struct bk_inode *inode = alloc_inode_sb(sb, inodes, GFP_KERNEL);

	if (!inode)
		return NULL;
	inode->node = NULL;
	return &inode->vfs;
}

void bk_inode_free(struct inode *inode)
{
	kmem_cache_free(inodes, of(inode));
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
