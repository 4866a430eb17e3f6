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

static void fill(struct inode *inode, const struct bento_attr *attr)
{
	inode->i_mode = attr->mode;
	i_uid_write(inode, attr->uid);
	i_gid_write(inode, attr->gid);
	set_nlink(inode, attr->nlink);
	i_size_write(inode, attr->size);
	inode->i_blocks = attr->sectors;
	inode->i_generation = attr->generation;
	bento_set_atime(inode, bk_time_of(attr->atime));
	bento_set_mtime(inode, bk_time_of(attr->mtime));
	bento_set_ctime(inode, bk_time_of(attr->ctime));
	bk_inode_of(inode)->btime = attr->btime;
}

/* The inode that an operation of this call has just answered. */
struct inode *bk_iget(struct super_block *sb, const struct bento_attr *attr, struct bk_call *c)
{
	struct inode *inode = iget_locked(sb, attr->ino);

	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!bento_is_new(inode))
		return inode;
	bk_inode_of(inode)->node = bk_node_get(sb->s_fs_info, attr->ino);
	fill(inode, attr);
	switch (attr->mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &bk_file_iops;
		inode->i_fop = &bk_file_fops;
		inode->i_mapping->a_ops = &bk_file_aops;
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
	unlock_new_inode(inode);
	return inode;
}

void bk_inode_evict(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (bk_inode_of(inode)->node)
		bk_node_put(bk_mount_of(inode), bk_inode_of(inode)->node);
	bk_inode_of(inode)->node = NULL;
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
