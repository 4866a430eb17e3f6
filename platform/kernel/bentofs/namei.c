// SPDX-License-Identifier: GPL-2.0-only
/* Directories: names. */
#include "internal.h"

static struct dentry *lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	struct bk_call *c = bk_call_for(dir);
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
		struct bk_call *c = bk_call_for(file_inode(file));
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

const struct file_operations bk_dir_fops = {
	.llseek = generic_file_llseek,
	.read = generic_read_dir,
	.iterate_shared = iterate,
};

const struct inode_operations bk_dir_iops = {
	.lookup = lookup,
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};
