// SPDX-License-Identifier: GPL-2.0-only
/* Attributes, extended attributes, access control lists and symbolic links. */
#include "internal.h"

/* What chattr(1) set, as statx(2) tells it. */
static void tell_flags(u32 flags, struct kstat *stat)
{
	if (flags & FS_IMMUTABLE_FL)
		stat->attributes |= STATX_ATTR_IMMUTABLE;
	if (flags & FS_APPEND_FL)
		stat->attributes |= STATX_ATTR_APPEND;
	if (flags & FS_NODUMP_FL)
		stat->attributes |= STATX_ATTR_NODUMP;
	stat->attributes_mask |= STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP;
}

int bk_getattr(bento_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	int error = bk_refresh_size(inode);

	if (error)
		return error;
	bento_fillattr(idmap, mask, inode, stat);
	if (mask & STATX_BTIME) {
		stat->btime = bk_time_of(bk_inode_of(inode)->btime);
		stat->result_mask |= STATX_BTIME;
	}
	stat->blksize = BENTO_BLOCK;
	tell_flags(bk_inode_of(inode)->flags, stat);
	if (S_ISREG(inode->i_mode))
		stat->blocks += bk_pending_sectors(inode);
	return 0;
}

static struct bento_time to_time(struct timespec64 time)
{
	return (struct bento_time){ .seconds = time.tv_sec, .nanoseconds = time.tv_nsec };
}

static void asked(bento_idmap *idmap, const struct iattr *attr, struct bento_set_attr *set)
{
	if (attr->ia_valid & ATTR_MODE) {
		set->mask |= BENTO_SET_MODE;
		set->mode = attr->ia_mode;
	}
	if (attr->ia_valid & ATTR_UID) {
		set->mask |= BENTO_SET_UID;
		set->uid = from_kuid(&init_user_ns, from_vfsuid(idmap, &init_user_ns, attr->ia_vfsuid));
	}
	if (attr->ia_valid & ATTR_GID) {
		set->mask |= BENTO_SET_GID;
		set->gid = from_kgid(&init_user_ns, from_vfsgid(idmap, &init_user_ns, attr->ia_vfsgid));
	}
	if (attr->ia_valid & ATTR_ATIME) {
		set->mask |= BENTO_SET_ATIME;
		set->atime = to_time(attr->ia_atime);
	}
	if (attr->ia_valid & ATTR_MTIME) {
		set->mask |= BENTO_SET_MTIME;
		set->mtime = to_time(attr->ia_mtime);
	}
}

/* Changes attributes in one transaction, and takes over what they are then. */
static int change(struct inode *inode, const struct bento_set_attr *set)
{
	struct bk_call *c = bk_call_for(inode);
	int error;

	c->rust.args.set = set;
	error = bk_run(c, BENTO_OP_SETATTR, BENTO_KIND_SETATTR);
	if (!error) {
		if (set->mask & BENTO_SET_ATIME)
			bento_set_atime(inode, bk_time_of(set->atime));
		if (set->mask & BENTO_SET_MTIME)
			bento_set_mtime(inode, bk_time_of(set->mtime));
		bk_refresh(inode, &c->rust.reply.attr);
		error = bk_sync_if(IS_SYNC(inode), c);
	}
	bk_call_put(c);
	return error;
}

int bk_setattr(bento_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	struct bento_set_attr set = {};
	int error = setattr_prepare(idmap, dentry, attr);

	/* Privileges go before the content does. */
	asked(idmap, attr, &set);
	if (!error && set.mask)
		error = change(inode, &set);
	if (!error && attr->ia_valid & ATTR_SIZE)
		error = bk_truncate(inode, attr->ia_size);
	if (!error && attr->ia_valid & ATTR_MODE)
		error = bento_acl_chmod(idmap, dentry, inode->i_mode);
	return error;
}

/* Flags of chattr(1): those that the VFS obeys, and one that only programs do. Data in the journal is not one of them. */
#define FLAGS (FS_SYNC_FL | FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_DIRSYNC_FL)

int bk_flags_get(struct dentry *dentry, bento_fileattr *to)
{
	fileattr_fill_flags(to, bk_inode_of(d_inode(dentry))->flags & FLAGS);
	return 0;
}

int bk_flags_set(bento_idmap *idmap, struct dentry *dentry, bento_fileattr *from)
{
	struct inode *inode = d_inode(dentry);
	u32 kept = bk_inode_of(inode)->flags & ~FLAGS;
	struct bento_set_attr set = { .mask = BENTO_SET_FLAGS, .flags = kept | from->flags };

	if (fileattr_has_fsx(from) || from->flags & ~FLAGS)
		return -EOPNOTSUPP;
	if (from->flags & FS_DIRSYNC_FL && !S_ISDIR(inode->i_mode))
		return -ENOTTY;
	return change(inode, &set);
}

/* A target never changes: the VFS takes it from the inode once somebody has asked. */
static const char *get_link(struct dentry *dentry, struct inode *inode, struct delayed_call *done)
{
	char *target = NULL, *there, *buffer;
	struct bk_call *c;
	int error;

	if (!dentry)
		return ERR_PTR(-ECHILD);
	buffer = __getname();
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	c = bk_call_for(inode);
	c->rust.args.buffer = buffer;
	c->rust.args.buffer_bytes = PATH_MAX - 1;
	error = bk_run(c, BENTO_OP_READLINK, BENTO_KIND_READ);
	if (!error) {
		target = kmemdup_nul(buffer, c->rust.reply.value, GFP_KERNEL);
		error = target ? 0 : -ENOMEM;
	}
	bk_call_put(c);
	__putname(buffer);
	if (error)
		return ERR_PTR(error);
	there = cmpxchg(&inode->i_link, NULL, target);
	if (there)
		kfree(target);
	return there ?: target;
}

/* A buffer of the VFS's is kernel memory: the core may fill it. */
static int get_full(struct inode *inode, const char *name, void *buffer, size_t size)
{
	struct bk_call *c = bk_call_for(inode);
	int result;

	c->rust.args.name = name;
	c->rust.args.name_bytes = strlen(name);
	c->rust.args.buffer = buffer;
	c->rust.args.buffer_bytes = buffer ? size : 0;
	result = bk_run(c, BENTO_OP_GETXATTR, BENTO_KIND_READ);
	if (!result)
		result = c->rust.reply.value;
	bk_call_put(c);
	return result;
}

/* Sets an attribute, or removes it if there is no value. */
static int set_full(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
	struct bk_call *c = bk_call_for(inode);
	int error;

	c->rust.args.name = name;
	c->rust.args.name_bytes = strlen(name);
	c->rust.args.buffer = (u8 *)value;
	c->rust.args.buffer_bytes = value ? size : 0;
	c->rust.args.how = flags;
	error = bk_run(c, value ? BENTO_OP_SETXATTR : BENTO_OP_REMOVEXATTR, BENTO_KIND_XATTR);
	if (!error) {
		bk_changed(inode, c->rust.now);
		error = bk_sync_if(IS_SYNC(inode), c);
	}
	bk_call_put(c);
	return error;
}

static int xattr_get(const struct xattr_handler *handler, struct dentry *dentry, struct inode *inode, const char *name,
		     void *buffer, size_t size)
{
	return get_full(inode, xattr_full_name(handler, name), buffer, size);
}

static int xattr_set(const struct xattr_handler *handler, bento_idmap *idmap, struct dentry *dentry,
		     struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
	return set_full(inode, xattr_full_name(handler, name), value, size, flags);
}

ssize_t bk_listxattr(struct dentry *dentry, char *buffer, size_t size)
{
	struct bk_call *c = bk_call_for(d_inode(dentry));
	ssize_t result;

	/* The core lists names of `trusted.` to user 0. */
	c->rust.caller.uid = capable(CAP_SYS_ADMIN) ? 0 : -1;
	c->rust.args.buffer = buffer;
	c->rust.args.buffer_bytes = buffer ? size : 0;
	result = bk_run(c, BENTO_OP_LISTXATTR, BENTO_KIND_READ);
	if (!result)
		result = c->rust.reply.value;
	bk_call_put(c);
	return result;
}

/* Access control lists: stored as attributes, in the form that user space has of them. */

static const char *acl_name(int type)
{
	return type == ACL_TYPE_ACCESS ? XATTR_NAME_POSIX_ACL_ACCESS : XATTR_NAME_POSIX_ACL_DEFAULT;
}

/* The VFS keeps what this answers. */
struct posix_acl *bk_get_acl(struct inode *inode, int type, bool rcu)
{
	struct posix_acl *acl;
	void *value;
	int bytes;

	if (rcu)
		return ERR_PTR(-ECHILD);
	value = kmalloc(BENTO_BLOCK, GFP_KERNEL);
	if (!value)
		return ERR_PTR(-ENOMEM);
	bytes = get_full(inode, acl_name(type), value, BENTO_BLOCK);
	if (bytes == -ENODATA || bytes == -EOPNOTSUPP)
		acl = NULL;
	else
		acl = bytes < 0 ? ERR_PTR(bytes) : posix_acl_from_xattr(&init_user_ns, value, bytes);
	kfree(value);
	return acl;
}

static int store_acl(struct inode *inode, struct posix_acl *acl, int type)
{
	size_t bytes = 0;
	void *value = acl ? bento_acl_bytes(acl, &bytes) : NULL;
	int error;

	if (acl && !value)
		return -ENOMEM;
	error = set_full(inode, acl_name(type), value, bytes, 0);
	kfree(value);
	if (!acl && error == -ENODATA)
		error = 0;
	if (!error)
		set_cached_acl(inode, type, acl);
	return error;
}

static int set_mode(struct inode *inode, umode_t mode)
{
	struct bento_set_attr set = { .mask = BENTO_SET_MODE, .mode = mode };

	return mode == inode->i_mode ? 0 : change(inode, &set);
}

/*
 * The list and the mode are two transactions. What grants less comes first: a mode shows a list's mask where it shows the group's rights,
 * which without the list would be the group's.
 */
int bk_set_acl(bento_idmap *idmap, bento_acl_place place, struct posix_acl *acl, int type)
{
	struct inode *inode = bento_acl_inode(place);
	umode_t mode = inode->i_mode;
	int error = 0;

	if (type == ACL_TYPE_DEFAULT && !S_ISDIR(mode))
		return acl ? -EACCES : 0;
	if (type == ACL_TYPE_ACCESS && acl)
		error = posix_acl_update_mode(idmap, inode, &mode, &acl);
	if (error)
		return error;
	if (acl)
		return store_acl(inode, acl, type) ?: set_mode(inode, mode);
	return set_mode(inode, mode) ?: store_acl(inode, acl, type);
}

#define HANDLER(variable, text) \
	static const struct xattr_handler variable = { .prefix = text, .get = xattr_get, .set = xattr_set }
HANDLER(user_xattrs, XATTR_USER_PREFIX);
HANDLER(trusted_xattrs, XATTR_TRUSTED_PREFIX);
HANDLER(security_xattrs, XATTR_SECURITY_PREFIX);

const struct xattr_handler *BENTO_XATTR_CONST bk_xattrs[] = {
	BENTO_ACL_XATTRS
	&user_xattrs,
	&trusted_xattrs,
	&security_xattrs,
	NULL,
};

const struct inode_operations bk_link_iops = {
	.get_link = get_link,
	.setattr = bk_setattr,
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};

const struct inode_operations bk_special_iops = {
	.setattr = bk_setattr,
	BENTO_ACL_OPS
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};
