// SPDX-License-Identifier: GPL-2.0-only
/* Directories: names. */
#include <linux/security.h>

#include "internal.h"

static void name_first(struct bk_call *c, const struct qstr *name)
{
	c->rust.args.name = name->name;
	c->rust.args.name_bytes = name->len;
}

static struct dentry *lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	s64 seen = atomic64_read(&bk_mount_of(dir)->evictions);
	struct bk_call *c = bk_call_for(dir);
	struct inode *inode;
	int error;

	name_first(c, &dentry->d_name);
	error = bk_run(c, BENTO_OP_LOOKUP, BENTO_KIND_READ);
	if (error)
		inode = error == -ENOENT ? NULL : ERR_PTR(error);
	else
		inode = bk_iget(dir->i_sb, c, seen);
	bk_call_put(c);
	return d_splice_alias(inode, dentry);
}

/* Making: everything about an inode but its number and its times is known before the core is called. */

/* Attributes that a new inode gets in the transaction that makes it: labels of security modules, access control lists. */
#define LABELS 6

struct making {
	unsigned int op, kind;
	const struct qstr *name;
	umode_t mode;
	dev_t device;
	const char *target;
	struct bento_new_xattr labels[LABELS];
	u32 label_count;
};

/* Takes over a name and a value, both allocated. */
static int add_label(struct making *what, const char *name, const void *value, size_t bytes)
{
	if (!name || !value || what->label_count == LABELS) {
		kfree(name);
		kfree(value);
		return what->label_count == LABELS ? -E2BIG : -ENOMEM;
	}
	what->labels[what->label_count++] = (struct bento_new_xattr){
		.name = name,
		.name_bytes = strlen(name),
		.value = value,
		.value_bytes = bytes,
	};
	return 0;
}

static void drop_labels(struct making *what)
{
	while (what->label_count) {
		kfree(what->labels[--what->label_count].name);
		kfree(what->labels[what->label_count].value);
	}
}

static int add_security(struct inode *inode, const struct xattr *xattrs, void *data)
{
	const struct xattr *xattr;
	int error = 0;

	for (xattr = xattrs; xattr->name && !error; xattr++)
		error = add_label(data, kasprintf(GFP_KERNEL, XATTR_SECURITY_PREFIX "%s", xattr->name),
				  kmemdup(xattr->value, xattr->value_len, GFP_KERNEL), xattr->value_len);
	return error;
}

static int add_acl(struct making *what, const char *name, struct posix_acl *acl)
{
	size_t bytes;
	void *value;

	if (!acl)
		return 0;
	value = bento_acl_bytes(acl, &bytes);
	return add_label(what, kstrdup(name, GFP_KERNEL), value, bytes);
}

/* Owner, mode, lists that the directory hands on, labels. */
static int prepare(bento_idmap *idmap, struct inode *inode, struct inode *dir, struct making *what)
{
	struct posix_acl *default_acl, *acl;
	int error;

	inode_init_owner(idmap, inode, dir, what->mode);
	if (S_ISLNK(what->mode)) {
		cache_no_acl(inode);
	} else {
		error = posix_acl_create(dir, &inode->i_mode, &default_acl, &acl);
		if (error)
			return error;
		error = add_acl(what, XATTR_NAME_POSIX_ACL_DEFAULT, default_acl) ?:
			add_acl(what, XATTR_NAME_POSIX_ACL_ACCESS, acl);
		set_cached_acl(inode, ACL_TYPE_DEFAULT, default_acl);
		set_cached_acl(inode, ACL_TYPE_ACCESS, acl);
		posix_acl_release(default_acl);
		posix_acl_release(acl);
		if (error)
			return error;
	}
	error = security_inode_init_security(inode, dir, what->name, add_security, what);
	return error == -EOPNOTSUPP ? 0 : error;
}

static int run_making(struct inode *inode, struct making *what, struct bk_call *c)
{
	struct bento_args *args = &c->rust.args;

	if (what->name)
		name_first(c, what->name);
	args->mode = inode->i_mode;
	args->uid = i_uid_read(inode);
	args->gid = i_gid_read(inode);
	args->rdev = new_encode_dev(what->device);
	args->buffer = (u8 *)what->target;
	args->buffer_bytes = what->target ? strlen(what->target) : 0;
	args->xattrs = what->labels;
	args->xattr_count = what->label_count;
	return bk_run(c, what->op, what->kind);
}

/* The inode that was made, locked as a new one is; the directory knows of it. */
static struct inode *make(bento_idmap *idmap, struct inode *dir, struct making *what)
{
	struct inode *inode = new_inode(dir->i_sb);
	struct bk_call *c;
	int error;

	if (!inode)
		return ERR_PTR(-ENOMEM);
	error = prepare(idmap, inode, dir, what);
	if (!error) {
		c = bk_call_for(dir);
		error = run_making(inode, what, c) ?: bk_inode_made(inode, c);
		/* Who writes to it need not ask for privileges that it could lose. */
		if (!error && !what->label_count)
			inode_has_no_xattr(inode);
		if (!error && what->name)
			bk_entries_changed(dir, c->rust.now);
		if (!error)
			bk_sync_if(IS_DIRSYNC(dir), c);
		bk_call_put(c);
	}
	drop_labels(what);
	if (!error)
		return inode;
	iput(inode);
	return ERR_PTR(error);
}

static int make_named(bento_idmap *idmap, struct inode *dir, struct dentry *dentry, struct making *what)
{
	struct inode *inode;

	what->name = &dentry->d_name;
	what->kind = BENTO_KIND_CREATE;
	inode = make(idmap, dir, what);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	if (S_ISDIR(what->mode))
		inc_nlink(dir);
	d_instantiate_new(dentry, inode);
	return 0;
}

static int create(bento_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, bool exclusive)
{
	struct making what = { .op = BENTO_OP_CREATE, .mode = mode | S_IFREG };

	return make_named(idmap, dir, dentry, &what);
}

static int mknod(bento_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, dev_t device)
{
	struct making what = { .op = BENTO_OP_CREATE, .mode = mode, .device = device };

	return make_named(idmap, dir, dentry, &what);
}

static bento_mkdir_result mkdir(bento_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode)
{
	struct making what = { .op = BENTO_OP_CREATE, .mode = mode | S_IFDIR };

	return BENTO_MKDIR(make_named(idmap, dir, dentry, &what));
}

static int symlink(bento_idmap *idmap, struct inode *dir, struct dentry *dentry, const char *target)
{
	struct making what = { .op = BENTO_OP_SYMLINK, .mode = S_IFLNK | 0777, .target = target };

	return make_named(idmap, dir, dentry, &what);
}

static int tmpfile(bento_idmap *idmap, struct inode *dir, struct file *file, umode_t mode)
{
	struct making what = { .op = BENTO_OP_TMPFILE, .kind = BENTO_KIND_TMPFILE, .mode = mode };
	struct inode *inode = make(idmap, dir, &what);

	if (IS_ERR(inode))
		return PTR_ERR(inode);
	/* The VFS takes the link away that it never had. */
	set_nlink(inode, 1);
	d_tmpfile(file, inode);
	unlock_new_inode(inode);
	return finish_open_simple(file, 0);
}

/* Changing names. The VFS holds i_rwsem of every inode that is named here. */

static int link(struct dentry *from, struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = d_inode(from);
	struct bk_call *c = bk_call_for(inode);
	int error;

	c->rust.args.other = dir->i_ino;
	name_first(c, &dentry->d_name);
	error = bk_run(c, BENTO_OP_LINK, BENTO_KIND_LINK);
	if (!error) {
		bk_refresh(inode, &c->rust.reply.attr);
		bk_entries_changed(dir, c->rust.now);
		ihold(inode);
		d_instantiate(dentry, inode);
		bk_sync_if(IS_DIRSYNC(dir), c);
	}
	bk_call_put(c);
	return error;
}

static int remove(struct inode *dir, struct dentry *dentry, unsigned int op)
{
	struct bk_call *c = bk_call_for(dir);
	int error;

	name_first(c, &dentry->d_name);
	error = bk_run(c, op, BENTO_KIND_UNLINK);
	if (!error) {
		bk_refresh(d_inode(dentry), &c->rust.reply.attr);
		bk_entries_changed(dir, c->rust.now);
		bk_sync_if(IS_DIRSYNC(dir), c);
	}
	bk_call_put(c);
	return error;
}

static int unlink(struct inode *dir, struct dentry *dentry)
{
	return remove(dir, dentry, BENTO_OP_UNLINK);
}

static int rmdir(struct inode *dir, struct dentry *dentry)
{
	int error = remove(dir, dentry, BENTO_OP_RMDIR);

	if (!error)
		drop_nlink(dir);
	return error;
}

/* How many directories a directory holds changed by the move of one in, out, or over another. */
static void count_moved(struct inode *from, struct inode *to, struct inode *moved, struct inode *target, bool exchange)
{
	bool in = S_ISDIR(moved->i_mode), out = target && S_ISDIR(target->i_mode);

	if (exchange && from != to && in != out) {
		drop_nlink(in ? from : to);
		inc_nlink(in ? to : from);
	} else if (!exchange && in) {
		drop_nlink(from);
		if (!out)
			inc_nlink(to);
	}
}

static int rename(bento_idmap *idmap, struct inode *from, struct dentry *old, struct inode *to, struct dentry *new,
		  unsigned int flags)
{
	struct inode *moved = d_inode(old), *target = d_inode(new);
	struct bk_call *c;
	int error;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	c = bk_call_for(from);
	name_first(c, &old->d_name);
	c->rust.args.other = to->i_ino;
	c->rust.args.other_name = new->d_name.name;
	c->rust.args.other_name_bytes = new->d_name.len;
	/* Who wants no replacement and a whiteout has no target: the VFS looked. */
	c->rust.args.how = flags & RENAME_WHITEOUT ? RENAME_WHITEOUT : flags;
	error = bk_run(c, BENTO_OP_RENAME, BENTO_KIND_RENAME);
	if (!error) {
		count_moved(from, to, moved, target, flags & RENAME_EXCHANGE);
		bk_changed(moved, c->rust.now);
		if (target && c->rust.reply.has_attr)
			bk_refresh(target, &c->rust.reply.attr);
		else if (target)
			bk_changed(target, c->rust.now);
		bk_entries_changed(from, c->rust.now);
		bk_entries_changed(to, c->rust.now);
		bk_sync_if(IS_DIRSYNC(from) || IS_DIRSYNC(to), c);
	}
	bk_call_put(c);
	/* Who replaces a file wants the new content there soon: a crash would show neither the old nor the new. */
	if (!error && target)
		bk_write_soon(moved);
	return error;
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
		struct bk_call *c = bk_call_for(file_inode(file));
		u8 *bytes = page_address(page);
		size_t used = 0, at = 0;

		c->rust.args.at = context->pos;
		c->rust.args.buffer = bytes;
		c->rust.args.buffer_bytes = PAGE_SIZE;
		error = bk_run(c, BENTO_OP_READDIR, BENTO_KIND_READDIR);
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

static int sync_dir(struct file *file, loff_t start, loff_t end, int datasync)
{
	return bk_sync_inode(file_inode(file), datasync);
}

const struct file_operations bk_dir_fops = {
	.llseek = generic_file_llseek,
	.read = generic_read_dir,
	.iterate_shared = iterate,
	.fsync = sync_dir,
	.setlease = generic_setlease,
	.unlocked_ioctl = bk_ioctl,
	.compat_ioctl = bk_compat_ioctl,
};

const struct inode_operations bk_dir_iops = {
	.lookup = lookup,
	.create = create,
	.mknod = mknod,
	.mkdir = mkdir,
	.symlink = symlink,
	.tmpfile = tmpfile,
	.link = link,
	.unlink = unlink,
	.rmdir = rmdir,
	.rename = rename,
	BENTO_ACL_OPS
	.fileattr_get = bk_flags_get,
	.fileattr_set = bk_flags_set,
	.setattr = bk_setattr,
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};
