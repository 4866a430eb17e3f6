// SPDX-License-Identifier: GPL-2.0-only
/*
 * O_DIRECT, of whole blocks; all else goes through the page cache.
 *
 * Overwrites of blocks that are there run side by side. A write that needs blocks or raises the size has the inode alone:
 * place, write, publish, with the placements of one write(2) in a list.
 */
#include <linux/iomap.h>
#include <linux/pagemap.h>
#include <linux/uio.h>

#include "internal.h"

/* A longer write goes in parts of so many bytes; every other block may need a placement of its own. */
#define PART ((size_t)4 << 20)
#define PLACES (PART >> BENTO_BLOCK_BITS)

struct places {
	struct bk_call *call;
	struct bento_placement placement;
	u32 count;
	struct {
		u32 id, blocks, promised;
		u64 first;
	} place[PLACES];
};

static struct bk_file *file_of(struct inode *inode)
{
	return &bk_inode_of(inode)->file;
}

static void say(struct inode *inode, struct iomap *map, const struct bk_piece *piece, loff_t most)
{
	map->bdev = inode->i_sb->s_bdev;
	map->offset = piece->file << BENTO_BLOCK_BITS;
	map->length = min_t(u64, piece->blocks, most) << BENTO_BLOCK_BITS;
	map->type = piece->kind == BENTO_MAP_DATA ? IOMAP_MAPPED : IOMAP_HOLE;
	map->addr = piece->kind == BENTO_MAP_DATA ? piece->block << BENTO_BLOCK_BITS : IOMAP_NULL_ADDR;
}

static u64 blocks_of(loff_t at, loff_t length)
{
	return ((at + length - 1) >> BENTO_BLOCK_BITS) - (at >> BENTO_BLOCK_BITS) + 1;
}

static int read_begin(struct inode *inode, loff_t at, loff_t length, unsigned int flags, struct iomap *map,
		      struct iomap *source)
{
	u64 count = blocks_of(at, length);
	struct bk_piece piece;
	int error = bk_map(inode, at >> BENTO_BLOCK_BITS, count, &piece);

	if (!error)
		say(inode, map, &piece, count);
	return error;
}

static int overwrite_begin(struct inode *inode, loff_t at, loff_t length, unsigned int flags, struct iomap *map,
			   struct iomap *source)
{
	int error = read_begin(inode, at, length, flags, map, source);

	if (!error && WARN_ON_ONCE(map->type != IOMAP_MAPPED))
		error = -EIO;
	return error;
}

/* Tells the journal that there is something to flush. Also in interrupts. */
static int note_written(struct kiocb *iocb, ssize_t size, int error, unsigned int flags)
{
	atomic64_inc(&bk_mount_of(file_inode(iocb->ki_filp))->written);
	return error;
}

static const struct iomap_dio_ops write_dio_ops = { .end_io = note_written };
static const struct iomap_ops read_ops = { .iomap_begin = read_begin };
static const struct iomap_ops overwrite_ops = { .iomap_begin = overwrite_begin };

/* Chooses blocks for the start of a hole, out of what is promised for them here. */
static int place(struct inode *inode, struct places *p, u64 first, u64 count, bool unwritten)
{
	struct bento_mount *m = bk_mount_of(inode);
	struct bk_file *f = file_of(inode);
	u64 waiting, convert, promised = 0;
	u32 tried = 0;
	int error;

	if (p->count == PLACES)
		return -E2BIG;
	while (!unwritten && (error = bk_promise_open(inode, count))) {
		if (count > 1) {
			count /= 2;
			continue;
		}
		error = bk_find_space(m, true, &tried);
		if (error)
			return error;
	}
	promised = unwritten ? 0 : count;
	p->call->budget = promised;
	error = bk_place(p->call, inode, first, count, &p->placement);
	p->call->budget = 0;
	if (error) {
		bk_break_promise(inode, promised, promised);
		return error;
	}
	/* Faults may have made some of it dirty: what they were promised is not needed. */
	bk_take_off(inode, first, p->placement.blocks, &waiting, &convert);
	bk_break_promise(inode, waiting, waiting + convert);
	count = min_t(u64, p->call->spent, promised);
	bk_break_promise(inode, promised - count, promised - count);
	spin_lock(&f->space_lock);
	f->waiting -= min(count, f->waiting);
	f->flying += count;
	spin_unlock(&f->space_lock);
	p->place[p->count].id = p->call->rust.reply.value;
	p->place[p->count].first = first;
	p->place[p->count].blocks = p->placement.blocks;
	p->place[p->count].promised = count;
	p->count++;
	return 0;
}

static int place_begin(struct inode *inode, loff_t at, loff_t length, unsigned int flags, struct iomap *map,
		       struct iomap *source)
{
	struct places *p = container_of(map, struct iomap_iter, iomap)->private;
	u64 first = at >> BENTO_BLOCK_BITS, count = blocks_of(at, length);
	struct bk_piece piece;
	u32 extent, attempts = 0;
	int error;

	/* A placement is longer than one of its extents. */
	for (extent = 0; p->count && extent < p->placement.count; extent++) {
		struct bento_extent *e = &p->placement.extents[extent];

		if (first < e->file || first - e->file >= e->blocks)
			continue;
		piece = (struct bk_piece){ first, e->blocks - (first - e->file), e->block + (first - e->file),
					   BENTO_MAP_DATA };
		say(inode, map, &piece, count);
		return 0;
	}
	do {
		error = bk_map(inode, first, count, &piece);
		if (error)
			return error;
		if (piece.kind == BENTO_MAP_DATA) {
			say(inode, map, &piece, count);
			return 0;
		}
		error = place(inode, p, first, min(count, piece.blocks), piece.kind == BENTO_MAP_UNWRITTEN);
		/* A store through a mapping may be published in between: then there is data. */
	} while (error == -EBUSY && ++attempts < 3);
	if (error)
		return error == -EBUSY ? -EIO : error;
	piece = (struct bk_piece){ first, p->placement.extents[0].blocks, p->placement.extents[0].block, BENTO_MAP_DATA };
	say(inode, map, &piece, count);
	return 0;
}

static const struct iomap_ops place_ops = { .iomap_begin = place_begin };

/* Whether every block of the range has data, and the size stays. Under i_rwsem. */
static bool is_overwrite(struct inode *inode, loff_t at, size_t length)
{
	u64 first = at >> BENTO_BLOCK_BITS, end = (at + length) >> BENTO_BLOCK_BITS;
	struct bk_piece piece;

	if (at + length > i_size_read(inode) || at + length > READ_ONCE(file_of(inode)->disk_size))
		return false;
	while (first < end) {
		if (bk_map(inode, first, end - first, &piece) || piece.kind != BENTO_MAP_DATA)
			return false;
		first += piece.blocks;
	}
	return true;
}

/* Makes what was written part of the file; what was not written whole is given back. */
static int publish(struct inode *inode, struct places *p, loff_t at, ssize_t written)
{
	struct bk_file *f = file_of(inode);
	loff_t end = at + max_t(ssize_t, written, 0), size = max(end, i_size_read(inode));
	int error = 0;
	u32 each;

	mutex_lock(&f->publishing);
	for (each = 0; each < p->count; each++) {
		u64 last = (p->place[each].first + p->place[each].blocks) << BENTO_BLOCK_BITS;
		u32 id = p->place[each].id;

		if (error || last > end) {
			bk_abandon(p->call, inode, id, p->place[each].promised, p->place[each].promised);
			error = error ?: written < 0 ? written : -EIO;
		} else {
			error = bk_publish_data(p->call, inode, id, size, p->place[each].promised, p->place[each].promised);
		}
		bk_land(f, p->place[each].first, p->place[each].blocks);
	}
	if (!error && written > 0 && end > i_size_read(inode)) {
		error = bk_raise_size(p->call, inode, end);
		if (!error)
			i_size_write(inode, end);
	}
	mutex_unlock(&f->publishing);
	return error;
}

static ssize_t write_part(struct kiocb *iocb, struct iov_iter *from, struct places *p)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	struct address_space *mapping = inode->i_mapping;
	struct bento_mount *m = bk_mount_of(inode);
	u32 room = blocks_of(iocb->ki_pos, iov_iter_count(from));
	loff_t at = iocb->ki_pos;
	ssize_t written;
	int error;

	p->count = 0;
	p->placement.count = 0;
	bk_take_room(&m->direct_room, room);
	written = iomap_dio_rw(iocb, from, &place_ops, &write_dio_ops, IOMAP_DIO_FORCE_WAIT, p, 0);
	error = publish(inode, p, at, written);
	bk_give_room(&m->direct_room, room);
	/* Somebody may have read the hole meanwhile. */
	if (written > 0 && mapping->nrpages)
		invalidate_inode_pages2_range(mapping, at >> PAGE_SHIFT, (at + written - 1) >> PAGE_SHIFT);
	if (!error)
		return written;
	iocb->ki_pos = at;
	return error;
}

/* With the inode alone. */
static ssize_t write_placing(struct kiocb *iocb, struct iov_iter *from)
{
	struct places *p = kvmalloc(sizeof(*p), GFP_KERNEL);
	int sync = iocb->ki_flags & (IOCB_DSYNC | IOCB_SYNC);
	size_t left = iov_iter_count(from);
	ssize_t result = 0, written = 0;

	if (!p)
		return -ENOMEM;
	p->call = bk_call_for(file_inode(iocb->ki_filp));
	/* It is durable when it is published, not when it is written. */
	iocb->ki_flags &= ~sync;
	while (left) {
		size_t part = min(left, PART);

		iov_iter_truncate(from, part);
		result = write_part(iocb, from, p);
		if (result <= 0)
			break;
		left -= result;
		written += result;
		if (result < part)
			break;
		iov_iter_reexpand(from, left);
	}
	iocb->ki_flags |= sync;
	bk_call_put(p->call);
	kvfree(p);
	return written ?: result;
}

static bool is_aligned(struct kiocb *iocb, struct iov_iter *iter, unsigned int unit)
{
	unsigned int memory = bdev_logical_block_size(file_inode(iocb->ki_filp)->i_sb->s_bdev);

	return !((iocb->ki_pos | iov_iter_count(iter)) & (unit - 1)) && !(iov_iter_alignment(iter) & (memory - 1));
}

ssize_t bk_direct_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t result;

	if (!is_aligned(iocb, to, bdev_logical_block_size(inode->i_sb->s_bdev)))
		return -ENOTBLK;
	inode_lock_shared(inode);
	result = iomap_dio_rw(iocb, to, &read_ops, NULL, 0, NULL, 0);
	inode_unlock_shared(inode);
	file_accessed(iocb->ki_filp);
	return result;
}

/* -ENOTBLK: not for here. */
ssize_t bk_direct_write(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	bool alone = false;
	ssize_t result;
	loff_t end;

	if (!is_aligned(iocb, from, BENTO_BLOCK))
		return -ENOTBLK;
	inode_lock_shared(inode);
	if (iocb->ki_flags & IOCB_APPEND || !IS_NOSEC(inode) ||
	    !is_overwrite(inode, iocb->ki_pos, iov_iter_count(from))) {
		inode_unlock_shared(inode);
		inode_lock(inode);
		alone = true;
	}
	result = generic_write_checks(iocb, from);
	if (result <= 0)
		goto out;
	/* It may be for another place now. */
	if (!is_aligned(iocb, from, BENTO_BLOCK)) {
		result = -ENOTBLK;
		goto out;
	}
	result = file_modified(iocb->ki_filp);
	if (result)
		goto out;
	if (!alone) {
		result = iomap_dio_rw(iocb, from, &overwrite_ops, &write_dio_ops, 0, NULL, 0);
		goto out;
	}
	end = min(i_size_read(inode), READ_ONCE(file_of(inode)->disk_size));
	if (iocb->ki_pos + iov_iter_count(from) > end) {
		result = bk_settle_end(inode, iocb->ki_pos);
		if (result)
			goto out;
	}
	result = write_placing(iocb, from);
out:
	if (alone)
		inode_unlock(inode);
	else
		inode_unlock_shared(inode);
	if (result > 0 && alone)
		result = generic_write_sync(iocb, result);
	return result;
}
