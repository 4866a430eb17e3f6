// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regular files, as the VFS sees them.
 *
 * # Crash
 * A size that rises does so behind the data, one that falls in one transaction; freeing what lies behind it goes on in
 * steps. docs/guarantees.md has the whole table.
 */
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/uio.h>
#include <linux/writeback.h>

#include "internal.h"


static struct bk_file *file_of(struct inode *inode)
{
	return &bk_inode_of(inode)->file;
}

void bk_file_init(struct bk_file *f)
{
	memset(f, 0, sizeof(*f));
	spin_lock_init(&f->map_lock);
	spin_lock_init(&f->space_lock);
	mutex_init(&f->publishing);
	xa_init(&f->states);
	f->map_version = U64_MAX;
}

void bk_file_fill(struct inode *inode, const struct bento_attr *attr)
{
	file_of(inode)->disk_size = attr->size;
}

/* After the last folio is gone. */
void bk_file_evict(struct inode *inode)
{
	struct bk_file *f = file_of(inode);

	if (!xa_empty(&f->states))
		bk_forget_range(inode, 0, U64_MAX);
	bk_break_promise(inode, 0, f->growing);
	WARN_ONCE(f->waiting || f->flying || f->growing || f->tree, "BENTO-fs: inode %llu leaves %llu %llu %llu %llu",
		  (u64)inode->i_ino, f->waiting, f->flying, f->growing, f->tree);
}

static int check_alive(struct inode *inode)
{
	struct bento_mount *m = bk_mount_of(inode);

	return READ_ONCE(m->down) || READ_ONCE(m->panicked) ? -EIO : 0;
}

/* Starts writing what has nowhere to go yet: after a rename over a file, or a close of one that was cut to nothing. */
void bk_write_soon(struct inode *inode)
{
	if (S_ISREG(inode->i_mode) && READ_ONCE(file_of(inode)->waiting))
		filemap_flush(inode->i_mapping);
}

static int open(struct inode *inode, struct file *file)
{
	file->f_mode |= FMODE_CAN_ODIRECT;
	return generic_file_open(inode, file);
}

static int release(struct inode *inode, struct file *file)
{
	if (file->f_mode & FMODE_WRITE && READ_ONCE(file_of(inode)->replaced)) {
		WRITE_ONCE(file_of(inode)->replaced, false);
		bk_write_soon(inode);
	}
	return 0;
}

/* Where blocks are, what waits and what flies included. */

int bk_report_begin(struct inode *inode, loff_t at, loff_t length, unsigned int flags, struct iomap *map,
		    struct iomap *source)
{
	u64 first = at >> BENTO_BLOCK_BITS, count = ((at + length - 1) >> BENTO_BLOCK_BITS) - first + 1, run;
	/* In this order: what lands in between is in the map. */
	enum bk_state_of_block state = bk_state(file_of(inode), first, count, &run);
	struct bk_piece piece;
	int error = bk_map(inode, first, run, &piece);

	if (error)
		return error;
	run = min(run, piece.blocks);
	switch (state) {
	case BK_WAITING:
	case BK_FLYING:
		if (piece.kind == BENTO_MAP_HOLE)
			map->type = IOMAP_DELALLOC;
		else
			map->type = piece.kind == BENTO_MAP_DATA ? IOMAP_MAPPED : IOMAP_UNWRITTEN;
		break;
	default:
		map->type = piece.kind == BENTO_MAP_HOLE ? IOMAP_HOLE :
			    piece.kind == BENTO_MAP_DATA ? IOMAP_MAPPED : IOMAP_UNWRITTEN;
	}
	map->bdev = inode->i_sb->s_bdev;
	map->offset = first << BENTO_BLOCK_BITS;
	map->length = run << BENTO_BLOCK_BITS;
	map->addr = piece.kind == BENTO_MAP_HOLE ? IOMAP_NULL_ADDR : piece.block << BENTO_BLOCK_BITS;
	return 0;
}

static const struct iomap_ops report_ops = { .iomap_begin = bk_report_begin };

static loff_t seek(struct file *file, loff_t at, int whence)
{
	struct inode *inode = file_inode(file);

	if (whence != SEEK_HOLE && whence != SEEK_DATA)
		return generic_file_llseek(file, at, whence);
	inode_lock_shared(inode);
	at = whence == SEEK_HOLE ? iomap_seek_hole(inode, at, &report_ops) : iomap_seek_data(inode, at, &report_ops);
	inode_unlock_shared(inode);
	return at < 0 ? at : vfs_setpos(file, at, inode->i_sb->s_maxbytes);
}

/* Reading and writing. */

static ssize_t read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	if (iocb->ki_flags & IOCB_DIRECT && iov_iter_count(to)) {
		ssize_t result = bk_direct_read(iocb, to);

		if (result != -ENOTBLK)
			return result;
		iocb->ki_flags &= ~IOCB_DIRECT;
		result = filemap_read(iocb, to, 0);
		iocb->ki_flags |= IOCB_DIRECT;
		return result;
	}
	return filemap_read(iocb, to, 0);
}

static bool end_is_dirty(struct inode *inode)
{
	struct folio *folio = bento_find_folio(inode->i_mapping, i_size_read(inode) >> BENTO_BLOCK_BITS);
	bool dirty = folio && (folio_test_dirty(folio) || folio_test_writeback(folio));

	if (folio)
		folio_put(folio);
	return dirty;
}

/*
 * The size is about to rise past the end by something else than data that follows it: what lies behind the end in its
 * block is zeroed, and that and all before it are on disk before this returns. Under i_rwsem.
 */
int bk_settle_end(struct inode *inode, loff_t to)
{
	struct bk_file *f = file_of(inode);
	loff_t size = i_size_read(inode), block_end = round_up(size, BENTO_BLOCK);
	int error = bk_zero_tail(inode, size, min(to, block_end));

	if (!error && size && (READ_ONCE(f->disk_size) < size || end_is_dirty(inode)))
		error = filemap_write_and_wait_range(inode->i_mapping, round_down(f->disk_size, BENTO_BLOCK),
						     block_end - 1);
	return error ?: bk_raise_pending(inode);
}

static ssize_t write_buffered(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	struct bk_file *f = file_of(inode);
	loff_t size, first;
	ssize_t result;

	inode_lock(inode);
	result = generic_write_checks(iocb, from);
	if (result <= 0)
		goto out;
	result = file_modified(iocb->ki_filp);
	if (result)
		goto out;
	first = iocb->ki_pos;
	size = i_size_read(inode);
	if (first > size) {
		result = bk_zero_tail(inode, size, min_t(loff_t, first, round_up(size, BENTO_BLOCK)));
		if (result)
			goto out;
	}
	f->write_end = first + iov_iter_count(from);
	result = bento_perform_write(iocb, from);
	if (result == -ENOSPC && first / BENTO_BLOCK != (f->write_end - 1) / BENTO_BLOCK) {
		size_t whole = iov_iter_count(from);

		/* A folio was there that wants more space than there is: one block may do with what is left. */
		iov_iter_truncate(from, round_up(first + 1, BENTO_BLOCK) - first);
		result = bento_perform_write(iocb, from);
		iov_iter_reexpand(from, whole - max_t(ssize_t, result, 0));
	}
	/* A larger step may have promised more than came. */
	if (first + max_t(ssize_t, result, 0) < f->write_end)
		bk_release_unused(inode, (first + max_t(ssize_t, result, 0)) >> BENTO_BLOCK_BITS,
				  bk_blocks(f->write_end));
	f->write_end = 0;
out:
	inode_unlock(inode);
	return result;
}

/*
 * Tells a version that records who writes of the first write of an open file, by whoever does it; again after each
 * upgrade, which the mark in the file counts. No lock of the inode is needed: an open file keeps it from being evicted.
 */
int bk_first_write(struct file *file)
{
	struct bento_mount *m = bk_mount_of(file_inode(file));
	void *mark = (void *)(unsigned long)smp_load_acquire(&m->upgrades);
	struct bk_call *c;
	int error;

	if (!READ_ONCE(m->wants_first_write) || READ_ONCE(file->private_data) == mark)
		return 0;
	c = bk_call_for(file_inode(file));
	error = bk_run(c, BENTO_OP_FIRST_WRITE, BENTO_KIND_FIRST_WRITE);
	bk_call_put(c);
	if (!error)
		WRITE_ONCE(file->private_data, mark);
	return error;
}

static ssize_t write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	bool direct = iocb->ki_flags & IOCB_DIRECT;
	ssize_t result = check_alive(file_inode(iocb->ki_filp)) ?: bk_first_write(iocb->ki_filp);

	if (result)
		return result;
	if (direct) {
		result = bk_direct_write(iocb, from);
		if (result != -ENOTBLK)
			return result;
		iocb->ki_flags &= ~IOCB_DIRECT;
	}
	result = write_buffered(iocb, from);
	if (direct)
		iocb->ki_flags |= IOCB_DIRECT;
	if (direct && result > 0) {
		struct address_space *mapping = iocb->ki_filp->f_mapping;
		loff_t first = iocb->ki_pos - result, last = iocb->ki_pos - 1;
		int error = filemap_write_and_wait_range(mapping, first, last);

		if (error)
			return error;
		invalidate_mapping_pages(mapping, first >> PAGE_SHIFT, last >> PAGE_SHIFT);
	}
	return result > 0 ? generic_write_sync(iocb, result) : result;
}

/* mmap(2). */

/* Promises space to all that a write fault lets be written to. */
static int promise_fault(struct inode *inode, u64 first, u64 count)
{
	s64 promised = bk_promise_write(inode, first, count, first + count);

	if (promised < 0)
		return promised;
	return promised < count ? -ENOSPC : 0;
}

/* Blocks of a folio that lie in the file. */
static u64 blocks_in_file(struct inode *inode, u64 first, u64 count)
{
	u64 blocks = bk_blocks(i_size_read(inode));

	return first < blocks ? min(count, blocks - first) : 0;
}

/* What a write fault lets be written to, as far as it lies in the file: from where, and how many blocks. */
static u64 of_fault(struct inode *inode, struct vm_fault *vmf, struct folio *folio, u64 *first)
{
	u64 count = 1;

	*first = vmf->pgoff;
	if (BENTO_FAULTS_FOLIOS) {
		*first -= folio_page_idx(folio, vmf->page);
		count = folio_nr_pages(folio);
	}
	return blocks_in_file(inode, *first, count);
}

static vm_fault_t page_mkwrite(struct vm_fault *vmf)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct folio *folio = page_folio(vmf->page);
	int error = check_alive(inode);
	vm_fault_t result = VM_FAULT_LOCKED;
	u64 first, count, again;

	if (error)
		return VM_FAULT_SIGBUS;
	sb_start_pagefault(inode->i_sb);
	if (bk_first_write(vmf->vma->vm_file)) {
		sb_end_pagefault(inode->i_sb);
		return VM_FAULT_SIGBUS;
	}
	file_update_time(vmf->vma->vm_file);
	/* Nothing is cut off or punched out between the promise and the lock. */
	filemap_invalidate_lock_shared(inode->i_mapping);
	count = of_fault(inode, vmf, folio, &first);
	error = promise_fault(inode, first, count);
	if (error) {
		result = error == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
		goto out;
	}
	folio_lock(folio);
	/* It may have been taken away, or become smaller; the file may have grown, or end before what is written to. */
	if (folio->mapping != inode->i_mapping || page_folio(vmf->page) != folio ||
	    folio_mkwrite_check_truncate(folio, inode) < 0 || of_fault(inode, vmf, folio, &again) != count ||
	    again != first || vmf->pgoff - first >= count) {
		folio_unlock(folio);
		result = VM_FAULT_NOPAGE;
		goto out;
	}
	bk_dirty(inode, folio, first, count);
	folio_wait_stable(folio);
out:
	filemap_invalidate_unlock_shared(inode->i_mapping);
	/* What was promised for nothing. Not under somebody who writes, and may need the same: then it stays until it is used. */
	if (result != VM_FAULT_LOCKED && inode_trylock(inode)) {
		bk_release_unused(inode, first, first + count);
		inode_unlock(inode);
	}
	sb_end_pagefault(inode->i_sb);
	return result;
}

static const struct vm_operations_struct vm_ops = {
	.fault = filemap_fault,
	.map_pages = filemap_map_pages,
	.page_mkwrite = page_mkwrite,
};

static int map_file(struct file *file, struct vm_area_struct *vma)
{
	file_accessed(file);
	vma->vm_ops = &vm_ops;
	return 0;
}

/* fsync(2). */

/* Data, publish, one commit; the flush of that covers the data. Whoever calls drives all of it. */
int bk_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct inode *inode = file_inode(file);
	struct bento_mount *m = bk_mount_of(inode);
	int error = file_write_and_wait_range(file, start, end);
	s64 mark;

	if (!error)
		error = check_alive(inode);
	if (!error && !m->read_only)
		error = bk_raise_pending(inode);
	if (error || m->read_only)
		return error;
	mark = atomic64_read(&m->written);
	/* The batch may have been on its way when the data was written. */
	return bk_sync_inode(inode, datasync) ?: bk_flush_through(m, mark);
}

/* Changing the size. */

/* The content changed in an operation of this time. */
static void set_times(struct inode *inode, struct bento_time now)
{
	struct bk_node *node = bk_inode_of(inode)->node;

	spin_lock(&node->slot_lock);
	bento_set_mtime(inode, bk_time_of(now));
	bento_set_ctime(inode, bk_time_of(now));
	if (node->slot.times_dirty)
		node->slot.mtime = node->slot.ctime = now;
	spin_unlock(&node->slot_lock);
}

static int set_size(struct inode *inode, loff_t size)
{
	struct bento_set_attr set = { .mask = BENTO_SET_SIZE, .size = size };
	struct bk_call *c = bk_call_for(inode);
	struct bk_file *f = file_of(inode);
	int error = 0;

	mutex_lock(&f->publishing);
	/* A store through a mapping may have brought data behind the new end since: the disk must know, to free it. */
	if (f->disk_size < size && size < f->pending_size)
		error = bk_raise_size(c, inode, f->pending_size);
	c->rust.args.set = &set;
	if (!error)
		error = bk_run(c, BENTO_OP_SETATTR, BENTO_KIND_SETATTR);
	if (error == -EBUSY)
		error = bk_trim_past_end(c, inode) ?: bk_run(c, BENTO_OP_SETATTR, BENTO_KIND_SETATTR);
	if (!error) {
		f->disk_size = c->rust.reply.attr.size;
		f->pending_size = min(f->pending_size, size);
		WRITE_ONCE(f->end_landed, 0);
		inode->i_blocks = c->rust.reply.attr.sectors;
		set_times(inode, c->rust.reply.attr.mtime);
		/* The size is what it is; what lies behind it is freed now, with the next change, or by recovery. */
		if (c->rust.reply.kind && !bk_trim_past_end(c, inode) && !bk_run(c, BENTO_OP_GETATTR, BENTO_KIND_READ))
			inode->i_blocks = c->rust.reply.attr.sectors;
	}
	mutex_unlock(&f->publishing);
	bk_call_put(c);
	return error;
}

/* Sets the size. Under i_rwsem; the caller has asked whether it may be. */
int bk_truncate(struct inode *inode, loff_t size)
{
	struct address_space *mapping = inode->i_mapping;
	struct bk_file *f = file_of(inode);
	loff_t old = i_size_read(inode);
	int error = 0;

	inode_dio_wait(inode);
	/* The disk knows of all that stays: so it knows what to free. */
	if (size > old)
		error = bk_settle_end(inode, size);
	else if (READ_ONCE(f->disk_size) < size || READ_ONCE(f->pending_size) > READ_ONCE(f->disk_size))
		error = filemap_write_and_wait_range(mapping, round_down(f->disk_size, BENTO_BLOCK), max(size, 1LL) - 1) ?:
			bk_raise_pending(inode);
	if (error)
		return error;
	filemap_invalidate_lock(mapping);
	truncate_setsize(inode, size);
	if (size < old)
		bk_forget_range(inode, bk_blocks(size), U64_MAX);
	error = set_size(inode, size);
	if (error && size > old)
		i_size_write(inode, old);
	filemap_invalidate_unlock(mapping);
	if (!error && !size)
		WRITE_ONCE(f->replaced, true);
	return error;
}

/* fallocate(2). */

enum { HOW_RESERVE, HOW_RESERVE_KEEP_SIZE, HOW_PUNCH, HOW_ZERO, HOW_ZERO_KEEP_SIZE };

/* Zeroes the partial blocks at both ends of a range, and takes the whole ones out of the page cache. */
static int clear_range(struct inode *inode, loff_t first, loff_t end)
{
	loff_t whole = round_up(first, BENTO_BLOCK), whole_end = round_down(end, BENTO_BLOCK), size = i_size_read(inode);
	int error;

	if (whole >= whole_end && first / BENTO_BLOCK == (end - 1) / BENTO_BLOCK)
		return first < size ? bk_zero_tail(inode, first, end) : 0;
	error = first < size ? bk_zero_tail(inode, first, whole) : 0;
	if (!error && whole_end < size)
		error = bk_zero_tail(inode, whole_end, end);
	if (error || whole >= whole_end)
		return error;
	truncate_pagecache_range(inode, whole, whole_end - 1);
	bk_forget_range(inode, whole >> BENTO_BLOCK_BITS, whole_end >> BENTO_BLOCK_BITS);
	return 0;
}

static int allocate_steps(struct inode *inode, u32 how, u64 at, u64 end)
{
	struct bk_call *c = bk_call_for(inode);
	struct bk_file *f = file_of(inode);
	u32 tried = 0;
	int error = 0;

	mutex_lock(&f->publishing);
	while (at < end && !error) {
		c->rust.args.how = how;
		c->rust.args.at = at;
		c->rust.args.length = end - at;
		error = bk_run(c, BENTO_OP_FALLOCATE, BENTO_KIND_ALLOCATE);
		if (error == -EBUSY) {
			error = bk_trim_past_end(c, inode);
		} else if (error == -ENOSPC) {
			/* Others' data is written back then, which may wait for ours to be published. */
			mutex_unlock(&f->publishing);
			error = bk_find_space(bk_mount_of(inode), true, &tried);
			mutex_lock(&f->publishing);
		} else if (!error && c->rust.reply.value <= at) {
			error = -EIO;
		} else if (!error) {
			at = c->rust.reply.value;
			tried = 0;
		}
		if (!error && fatal_signal_pending(current) && at < end)
			error = -EINTR;
	}
	if (!bk_run(c, BENTO_OP_GETATTR, BENTO_KIND_READ)) {
		inode->i_blocks = c->rust.reply.attr.sectors;
		f->disk_size = c->rust.reply.attr.size;
		set_times(inode, c->rust.reply.attr.mtime);
	}
	mutex_unlock(&f->publishing);
	bk_call_put(c);
	return error;
}

static long allocate_range(struct file *file, u32 how, loff_t first, loff_t end)
{
	struct inode *inode = file_inode(file);
	struct address_space *mapping = inode->i_mapping;
	bool grows = (how == HOW_RESERVE || how == HOW_ZERO) && end > i_size_read(inode);
	int error = 0;

	if (grows)
		error = inode_newsize_ok(inode, end);
	if (!error)
		error = file_modified(file);
	if (error)
		return error;
	inode_dio_wait(inode);
	if (grows)
		error = bk_settle_end(inode, end);
	/* Data that brings the size must not be taken out of the page cache before it did, nor the size pass its end. */
	if (!error && READ_ONCE(file_of(inode)->disk_size) < min(end, i_size_read(inode)))
		error = filemap_write_and_wait_range(mapping, round_down(file_of(inode)->disk_size, BENTO_BLOCK),
						     round_up(end, BENTO_BLOCK) - 1) ?:
			bk_raise_pending(inode);
	if (error)
		return error;
	filemap_invalidate_lock(mapping);
	if (how != HOW_RESERVE && how != HOW_RESERVE_KEEP_SIZE)
		error = clear_range(inode, first, end);
	/*
	 * Nothing of the range waits or flies when blocks are reserved for it: that is for who has the data. Nor is anything of a
	 * folio that lies in it in part on its way to blocks that are given away.
	 */
	if (!error)
		error = filemap_write_and_wait_range(mapping, round_down(first, BENTO_BLOCK),
						     round_up(end, BENTO_BLOCK) - 1);
	if (!error)
		error = allocate_steps(inode, how, first, end);
	if (!error && grows)
		i_size_write(inode, end);
	filemap_invalidate_unlock(mapping);
	if (!error && file->f_flags & O_DSYNC)
		error = bk_fsync(file, first, end - 1, !(file->f_flags & __O_SYNC));
	return error;
}

static long fallocate(struct file *file, int mode, loff_t at, loff_t length)
{
	struct inode *inode = file_inode(file);
	long error = check_alive(inode);
	u32 how;

	switch (mode) {
	case 0:
		how = HOW_RESERVE;
		break;
	case FALLOC_FL_KEEP_SIZE:
		how = HOW_RESERVE_KEEP_SIZE;
		break;
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
		how = HOW_PUNCH;
		break;
	case FALLOC_FL_ZERO_RANGE:
		how = HOW_ZERO;
		break;
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		how = HOW_ZERO_KEEP_SIZE;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (error)
		return error;
	inode_lock(inode);
	error = allocate_range(file, how, at, at + length);
	inode_unlock(inode);
	return error;
}

const struct file_operations bk_file_fops = {
	.owner = THIS_MODULE,
	.llseek = seek,
	.read_iter = read_iter,
	.write_iter = write_iter,
	.mmap = map_file,
	.open = open,
	.release = release,
	.fsync = bk_fsync,
	.setlease = generic_setlease,
	.splice_read = bento_splice_read,
	.splice_write = iter_file_splice_write,
	.fallocate = fallocate,
	.unlocked_ioctl = bk_ioctl,
	.compat_ioctl = bk_compat_ioctl,
};

const struct inode_operations bk_file_iops = {
	.setattr = bk_setattr,
	BENTO_ACL_OPS
	.fileattr_get = bk_flags_get,
	.fileattr_set = bk_flags_set,
	.getattr = bk_getattr,
	.listxattr = bk_listxattr,
};
