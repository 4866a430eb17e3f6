// SPDX-License-Identifier: GPL-2.0-only
/* Regular files: where their blocks are, reading, seeking. */
#include <linux/iomap.h>
#include <linux/pagemap.h>

#include "internal.h"

static int map_begin(struct inode *inode, loff_t at, loff_t length, unsigned int flags, struct iomap *map,
		     struct iomap *source)
{
	struct bk_call *c = bk_call_for(inode);
	u64 first = at >> BENTO_BLOCK_BITS;
	int error;

	if (flags & IOMAP_WRITE) {
		bk_call_put(c);
		return -EROFS;
	}
	c->rust.args.at = first;
	c->rust.args.length = ((at + length - 1) >> BENTO_BLOCK_BITS) - first + 1;
	error = bk_run(c, BENTO_OP_MAP, BENTO_KIND_READ);
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

const struct address_space_operations bk_file_aops = {
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

const struct file_operations bk_file_fops = {
	.llseek = seek,
	.read_iter = generic_file_read_iter,
	.mmap = generic_file_readonly_mmap,
	.splice_read = bento_splice_read,
	.open = generic_file_open,
	.unlocked_ioctl = bk_ioctl,
	.compat_ioctl = bk_compat_ioctl,
};

/* Changes the size, under i_rwsem. */
int bk_truncate(struct inode *inode, loff_t size)
{
	return -EOPNOTSUPP;
}

const struct inode_operations bk_file_iops = {
	.setattr = bk_setattr,
	BENTO_ACL_OPS
	.fileattr_get = bk_flags_get,
	.fileattr_set = bk_flags_set,
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};
