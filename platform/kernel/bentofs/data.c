// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page cache of regular files, in folios of one block: where its blocks are, reading, and write(2)'s copy into it.
 *
 * What lies past the end of a file is undefined on disk, and zero in the page cache: whoever reads a folio with the end in
 * it zeroes the rest before anybody sees it.
 */
#include <linux/pagemap.h>
#include <linux/writeback.h>

#include "internal.h"

/* The first block that no file can have, and how far one look goes. */
#define BLOCKS_MOST ((u64)1 << (63 - BENTO_BLOCK_BITS))
#define LOOK_AHEAD ((u64)1 << 18)

static struct bk_file *file_of(struct inode *inode)
{
	return &bk_inode_of(inode)->file;
}

static bool part_of(const struct bk_piece *piece, u64 first, struct bk_piece *to)
{
	u64 offset = first - piece->file;

	if (first < piece->file || offset >= piece->blocks)
		return false;
	to->file = first;
	to->blocks = piece->blocks - offset;
	to->block = piece->block + offset;
	to->kind = piece->kind;
	return true;
}

static bool recall(struct bk_file *f, u64 version, u64 first, struct bk_piece *to)
{
	bool found = false;
	u32 at;

	spin_lock(&f->map_lock);
	for (at = 0; f->map_version == version && at < BK_PIECES && !found; at++)
		found = part_of(&f->pieces[at], first, to);
	spin_unlock(&f->map_lock);
	return found;
}

static void remember(struct bk_file *f, u64 version, const struct bk_piece *piece)
{
	spin_lock(&f->map_lock);
	if (f->map_version != version) {
		memset(f->pieces, 0, sizeof(f->pieces));
		f->map_version = version;
	}
	f->pieces[f->piece_next++ % BK_PIECES] = *piece;
	spin_unlock(&f->map_lock);
}

/*
 * What lies at a block and behind it, without what waits and flies. Right until the map changes: i_rwsem and
 * invalidate_lock keep blocks from being taken away, a folio under writeback keeps its own.
 */
int bk_map(struct inode *inode, u64 first, u64 count, struct bk_piece *to)
{
	struct bk_node *node = bk_inode_of(inode)->node;
	u64 version = READ_ONCE(node->slot.map_version);
	struct bk_call *c;
	int error;

	if (recall(file_of(inode), version, first, to))
		return 0;
	if (first >= BLOCKS_MOST)
		return -EFBIG;
	c = bk_call_for(inode);
	c->rust.args.at = first;
	c->rust.args.length = min(max(count, LOOK_AHEAD), BLOCKS_MOST - first);
	error = bk_run(c, BENTO_OP_MAP, BENTO_KIND_READ);
	if (!error) {
		*to = (struct bk_piece){
			.file = first,
			.blocks = c->rust.reply.length,
			.block = c->rust.reply.value,
			.kind = c->rust.reply.kind,
		};
		/* Whoever changed the map meanwhile changed its version before he let go of the inode. */
		if (READ_ONCE(node->slot.map_version) == version)
			remember(file_of(inode), version, to);
	}
	bk_call_put(c);
	return error;
}

/* Reading. */

static void zero_past_end(struct inode *inode, struct folio *folio)
{
	loff_t size = i_size_read(inode), at = folio_pos(folio);

	if (size < at + BENTO_BLOCK)
		folio_zero_segment(folio, size > at ? size - at : 0, BENTO_BLOCK);
}

static void was_read(struct bio *bio)
{
	struct folio_iter it;

	bio_for_each_folio_all(it, bio) {
		if (!bio->bi_status) {
			zero_past_end(it.folio->mapping->host, it.folio);
			folio_mark_uptodate(it.folio);
		}
		folio_unlock(it.folio);
	}
	bio_put(bio);
}

/* One pass over folios in order: adjacent ones share a request. */
struct reading {
	struct inode *inode;
	struct bio *bio;
	struct bk_piece piece;
	blk_opf_t opf;
};

static void send_reads(struct reading *r)
{
	if (r->bio)
		submit_bio(r->bio);
	r->bio = NULL;
}

/* Reads a locked folio, and unlocks it in the end. `left` is how many may follow. */
static int read_one(struct reading *r, struct folio *folio, u32 left)
{
	struct page *page = folio_page(folio, 0);
	struct inode *inode = r->inode;
	struct bk_piece at;
	sector_t sector;

	if (!part_of(&r->piece, folio->index, &at)) {
		int error = bk_map(inode, folio->index, left, &r->piece);

		if (error) {
			folio_unlock(folio);
			return error;
		}
		at = r->piece;
	}
	if (at.kind != BENTO_MAP_DATA || folio_pos(folio) >= i_size_read(inode)) {
		folio_zero_range(folio, 0, BENTO_BLOCK);
		folio_mark_uptodate(folio);
		folio_unlock(folio);
		return 0;
	}
	sector = at.block << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
	if (r->bio && bio_end_sector(r->bio) == sector && bio_add_page(r->bio, page, BENTO_BLOCK, 0) == BENTO_BLOCK)
		return 0;
	send_reads(r);
	r->bio = bio_alloc(inode->i_sb->s_bdev, clamp_t(u32, left, 1, BIO_MAX_VECS), r->opf, GFP_NOFS);
	r->bio->bi_iter.bi_sector = sector;
	r->bio->bi_end_io = was_read;
	__bio_add_page(r->bio, page, BENTO_BLOCK, 0);
	return 0;
}

static int read_folio(struct file *file, struct folio *folio)
{
	struct reading r = { .inode = folio->mapping->host, .opf = REQ_OP_READ };
	int error = read_one(&r, folio, 1);

	send_reads(&r);
	return error;
}

static void readahead(struct readahead_control *control)
{
	struct reading r = { .inode = control->mapping->host, .opf = REQ_OP_READ | REQ_RAHEAD };
	u32 left = readahead_count(control);
	struct folio *folio;

	while ((folio = readahead_folio(control)))
		read_one(&r, folio, left--);
	send_reads(&r);
}

/* Brings a locked folio's content in, and leaves it locked. */
static int read_locked(struct inode *inode, struct folio *folio)
{
	struct bk_piece piece = { .kind = BENTO_MAP_HOLE };
	int error = 0;

	if (folio_pos(folio) < i_size_read(inode))
		error = bk_map(inode, folio->index, 1, &piece);
	if (error)
		return error;
	if (piece.kind == BENTO_MAP_DATA) {
		error = bk_io(inode->i_sb->s_bdev, piece.block, folio_page(folio, 0), REQ_OP_READ);
		if (error)
			return error;
		zero_past_end(inode, folio);
	} else {
		folio_zero_range(folio, 0, BENTO_BLOCK);
	}
	folio_mark_uptodate(folio);
	return 0;
}

/* write(2): space is promised before the folio is locked. */

static int write_begin(bento_writer *writer, struct address_space *mapping, loff_t pos, unsigned int length,
		       bento_data_page **page, void **data)
{
	struct inode *inode = mapping->host;
	u64 block = pos >> BENTO_BLOCK_BITS;
	u64 end = max_t(u64, block + 1, DIV_ROUND_UP(file_of(inode)->write_end, BENTO_BLOCK));
	struct folio *folio;
	int error = bk_promise_write(inode, block, end);

	if (error)
		return error;
	folio = bento_new_folio(mapping, block);
	if (!folio)
		return -ENOMEM;
	if (!folio_test_uptodate(folio) && length < BENTO_BLOCK)
		error = read_locked(inode, folio);
	if (error) {
		folio_unlock(folio);
		folio_put(folio);
		return error;
	}
	*page = bento_page_of(folio);
	return 0;
}

static int write_end(bento_writer *writer, struct address_space *mapping, loff_t pos, unsigned int length,
		     unsigned int copied, bento_data_page *page, void *data)
{
	struct folio *folio = bento_folio_of(page);
	struct inode *inode = mapping->host;

	/* A whole block was to come, and did not: nobody knows the rest. */
	if (copied < length && !folio_test_uptodate(folio))
		copied = 0;
	if (copied) {
		folio_mark_uptodate(folio);
		folio_mark_dirty(folio);
		if (pos + copied > i_size_read(inode))
			i_size_write(inode, pos + copied);
	}
	folio_unlock(folio);
	folio_put(folio);
	return copied;
}

/* Zeroes a part of one block in the page cache, if there is anything but zeros, so that it is written. */
int bk_zero_tail(struct inode *inode, loff_t from, loff_t to)
{
	struct address_space *mapping = inode->i_mapping;
	u64 block = from >> BENTO_BLOCK_BITS, run;
	enum bk_state_of_block state;
	struct bk_piece piece;
	struct folio *folio;
	int error;

	if (from >= to)
		return 0;
	/* In this order: what lands in between is in the map. */
	state = bk_state(file_of(inode), block, 1, &run);
	error = bk_map(inode, block, 1, &piece);
	if (error)
		return error;
	if (piece.kind == BENTO_MAP_DATA || state != BK_NONE) {
		folio = bento_new_folio(mapping, block);
		if (!folio)
			return -ENOMEM;
		if (!folio_test_uptodate(folio))
			error = read_locked(inode, folio);
		if (!error) {
			folio_zero_segment(folio, offset_in_folio(folio, from), to - folio_pos(folio));
			folio_mark_dirty(folio);
		}
		folio_unlock(folio);
		folio_put(folio);
	}
	return error;
}

const struct address_space_operations bk_file_aops = {
	.read_folio = read_folio,
	.readahead = readahead,
	.write_begin = write_begin,
	.write_end = write_end,
	.writepages = bk_writepages,
	.dirty_folio = filemap_dirty_folio,
	.migrate_folio = filemap_migrate_folio,
};
