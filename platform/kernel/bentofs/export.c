// SPDX-License-Identifier: GPL-2.0-only
/* File handles: for name_to_handle_at(2), overlayfs, and NFS. */
#include <linux/exportfs.h>

#include "internal.h"

/* Types of handles: an inode, or with its directory. */
#define HANDLE 0x81
#define HANDLE_WITH_DIR 0x82
/* Words of an inode in a handle: number, high and low; generation. */
#define WORDS 3
/* Below are the volume's own, but for the root. */
#define FIRST_FREE 16

static int put_handle(struct inode *inode, u32 *to, int *words, struct inode *dir)
{
	int needs = dir ? 2 * WORDS : WORDS;
	bool fits = *words >= needs;

	*words = needs;
	if (!fits)
		return FILEID_INVALID;
	to[0] = upper_32_bits((u64)inode->i_ino);
	to[1] = lower_32_bits((u64)inode->i_ino);
	to[2] = inode->i_generation;
	if (dir) {
		to[3] = upper_32_bits((u64)dir->i_ino);
		to[4] = lower_32_bits((u64)dir->i_ino);
		to[5] = dir->i_generation;
	}
	return dir ? HANDLE_WITH_DIR : HANDLE;
}

static struct dentry *find(struct super_block *sb, const u32 *from)
{
	struct bento_mount *m = sb->s_fs_info;
	u64 ino = (u64)from[0] << 32 | from[1];
	s64 seen = atomic64_read(&m->evictions);
	struct inode *inode;
	struct bk_call *c;
	int error;

	if (ino < FIRST_FREE && ino != BENTO_ROOT)
		return ERR_PTR(-ESTALE);
	c = bk_call_get(m);
	c->rust.args.ino = ino;
	error = bk_run(c, BENTO_OP_GETATTR, BENTO_KIND_READ);
	if (!error && c->rust.reply.attr.generation != from[2])
		error = -ESTALE;
	inode = error ? ERR_PTR(error) : bk_iget(sb, c, seen);
	bk_call_put(c);
	/* One that has no name is there for as long as somebody else has it open. */
	if (!IS_ERR(inode) && !inode->i_nlink && atomic_read(&inode->i_count) == 1) {
		iput(inode);
		inode = ERR_PTR(-ESTALE);
	}
	return d_obtain_alias(inode);
}

static struct dentry *inode_of(struct super_block *sb, struct fid *fid, int words, int type)
{
	bool is_ours = type == HANDLE || type == HANDLE_WITH_DIR;

	return is_ours && words >= WORDS ? find(sb, fid->raw) : NULL;
}

static struct dentry *dir_of(struct super_block *sb, struct fid *fid, int words, int type)
{
	return type == HANDLE_WITH_DIR && words >= 2 * WORDS ? find(sb, fid->raw + WORDS) : NULL;
}

static struct dentry *parent_of(struct dentry *child)
{
	struct inode *dir = d_inode(child);
	s64 seen = atomic64_read(&bk_mount_of(dir)->evictions);
	struct bk_call *c = bk_call_for(dir);
	int error = bk_run(c, BENTO_OP_PARENT, BENTO_KIND_READ);
	struct inode *parent = error ? ERR_PTR(error) : bk_iget(dir->i_sb, c, seen);

	bk_call_put(c);
	return d_obtain_alias(parent);
}

const struct export_operations bk_export = {
	.encode_fh = put_handle,
	.fh_to_dentry = inode_of,
	.fh_to_parent = dir_of,
	.get_parent = parent_of,
};
