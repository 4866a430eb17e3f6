// SPDX-License-Identifier: GPL-2.0-only
/* Attributes, extended attributes and symbolic links. */
#include "internal.h"

int bk_getattr(bento_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);

	bento_fillattr(idmap, mask, inode, stat);
	if (mask & STATX_BTIME) {
		stat->btime = bk_time_of(bk_inode_of(inode)->btime);
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
	c = bk_call_for(inode);
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
	struct bk_call *c = bk_call_for(inode);
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

ssize_t bk_listxattr(struct dentry *dentry, char *buffer, size_t size)
{
	struct bk_call *c = bk_call_for(d_inode(dentry));
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

const struct inode_operations bk_link_iops = {
	.get_link = get_link,
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};

const struct inode_operations bk_special_iops = {
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};
