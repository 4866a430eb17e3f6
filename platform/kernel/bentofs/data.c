// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page cache of regular files: where its blocks are, reading, and write(2)'s copy into it. A folio has one block or, on
 * newer kernels, several, up to BK_FOLIO_ORDER.
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

	if (size <= at || size - at < folio_size(folio))
		folio_zero_segment(folio, size > at ? size - at : 0, folio_size(folio));
}

static void end_read(struct folio *folio, bool failed)
{
	if (!failed) {
		zero_past_end(folio->mapping->host, folio);
		folio_mark_uptodate(folio);
	}
	folio_unlock(folio);
}

static void was_read(struct bio *bio)
{
	struct folio_iter it;

	bio_for_each_folio_all(it, bio)
		end_read(it.folio, bio->bi_status);
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

/* What lies at a block of a folio and behind it; past the end of the file nothing does. */
static int piece_at(struct reading *r, u64 block, u64 count, struct bk_piece *at)
{
	u64 blocks = bk_blocks(i_size_read(r->inode));
	int error;

	if (block >= blocks) {
		*at = (struct bk_piece){ .file = block, .blocks = count, .kind = BENTO_MAP_HOLE };
		return 0;
	}
	if (!part_of(&r->piece, block, at)) {
		error = bk_map(r->inode, block, count, &r->piece);
		if (error)
			return error;
		*at = r->piece;
	}
	at->blocks = min(at->blocks, blocks - block);
	return 0;
}

static sector_t sector_of(u64 block)
{
	return block << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
}

/* A folio whose blocks do not lie side by side, or not all on disk: a request of its own for each piece. */
struct parts {
	struct folio *folio;
	atomic_t left;
	bool failed;
};

static void part_done(struct parts *parts)
{
	if (!atomic_dec_and_test(&parts->left))
		return;
	end_read(parts->folio, READ_ONCE(parts->failed));
	kfree(parts);
}

static void part_was_read(struct bio *bio)
{
	struct parts *parts = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(parts->failed, true);
	bio_put(bio);
	part_done(parts);
}

static int read_parts(struct reading *r, struct folio *folio)
{
	struct parts *parts = kmalloc(sizeof(*parts), GFP_NOFS | __GFP_NOFAIL);
	u64 first = folio->index, end = first + folio_nr_pages(folio), block;
	struct bk_piece at;
	struct bio *bio;
	int error = 0;

	*parts = (struct parts){ .folio = folio, .left = ATOMIC_INIT(1) };
	for (block = first; block < end; block += at.blocks) {
		size_t offset = (block - first) << BENTO_BLOCK_BITS;

		error = piece_at(r, block, end - block, &at);
		if (error) {
			WRITE_ONCE(parts->failed, true);
			break;
		}
		at.blocks = min(at.blocks, end - block);
		if (at.kind != BENTO_MAP_DATA) {
			folio_zero_range(folio, offset, at.blocks << BENTO_BLOCK_BITS);
			continue;
		}
		bio = bio_alloc(r->inode->i_sb->s_bdev, 1, r->opf, GFP_NOFS);
		bio->bi_iter.bi_sector = sector_of(at.block);
		bio->bi_private = parts;
		bio->bi_end_io = part_was_read;
		bk_bio_add(bio, folio, at.blocks << BENTO_BLOCK_BITS, offset);
		atomic_inc(&parts->left);
		submit_bio(bio);
	}
	part_done(parts);
	return error;
}

/* Reads a locked folio, and unlocks it in the end. `left` is how many blocks may follow. */
static int read_one(struct reading *r, struct folio *folio, u32 left)
{
	u64 blocks = folio_nr_pages(folio);
	struct bk_piece at;
	int error = piece_at(r, folio->index, left, &at);

	if (error) {
		folio_unlock(folio);
		return error;
	}
	if (at.kind != BENTO_MAP_DATA && at.blocks >= blocks) {
		folio_zero_range(folio, 0, folio_size(folio));
		folio_mark_uptodate(folio);
		folio_unlock(folio);
		return 0;
	}
	if (at.blocks < blocks) {
		send_reads(r);
		return read_parts(r, folio);
	}
	if (r->bio && bio_end_sector(r->bio) == sector_of(at.block) &&
	    bento_bio_add(r->bio, folio, folio_size(folio), 0))
		return 0;
	send_reads(r);
	r->bio = bio_alloc(r->inode->i_sb->s_bdev, clamp_t(u32, left, 1, BIO_MAX_VECS), r->opf, GFP_NOFS);
	r->bio->bi_iter.bi_sector = sector_of(at.block);
	r->bio->bi_end_io = was_read;
	bk_bio_add(r->bio, folio, folio_size(folio), 0);
	return 0;
}

static int read_folio(struct file *file, struct folio *folio)
{
	struct reading r = { .inode = folio->mapping->host, .opf = REQ_OP_READ };
	int error = read_one(&r, folio, folio_nr_pages(folio));

	send_reads(&r);
	return error;
}

static void readahead(struct readahead_control *control)
{
	struct reading r = { .inode = control->mapping->host, .opf = REQ_OP_READ | REQ_RAHEAD };
	u32 left = readahead_count(control);
	struct folio *folio;

	while ((folio = readahead_folio(control))) {
		u32 blocks = folio_nr_pages(folio);

		read_one(&r, folio, left);
		left -= blocks;
	}
	send_reads(&r);
}

/* Brings a locked folio's content in, and leaves it locked. */
static int read_locked(struct inode *inode, struct folio *folio)
{
	struct reading r = { .inode = inode, .opf = REQ_OP_READ };
	u64 first = folio->index, end = first + folio_nr_pages(folio), block;
	struct bk_piece at;

	for (block = first; block < end; block += at.blocks) {
		size_t offset = (block - first) << BENTO_BLOCK_BITS;
		int error = piece_at(&r, block, end - block, &at);

		if (error)
			return error;
		at.blocks = min(at.blocks, end - block);
		if (at.kind != BENTO_MAP_DATA)
			folio_zero_range(folio, offset, at.blocks << BENTO_BLOCK_BITS);
		else
			error = bk_io(inode->i_sb->s_bdev, at.block, folio_page(folio, block - first), at.blocks, REQ_OP_READ);
		if (error)
			return error;
	}
	zero_past_end(inode, folio);
	folio_mark_uptodate(folio);
	return 0;
}

/* write(2): space is promised before the folio is locked. */

static int write_begin(bento_writer *writer, struct address_space *mapping, loff_t pos, unsigned int length,
		       bento_data_page **page, void **data)
{
	struct inode *inode = mapping->host;
	u64 block = pos >> BENTO_BLOCK_BITS, end = (u64)pos + length, count = bk_blocks(end) - block, folio_end;
	s64 promised = bk_promise_write(inode, block, count, bk_blocks(file_of(inode)->write_end));
	struct folio *folio;
	int error = 0;

	if (promised < 0)
		return promised;
	folio = bento_new_folio(mapping, block, promised << BENTO_BLOCK_BITS);
	if (!folio)
		return -ENOMEM;
	folio_end = (u64)folio_pos(folio) + folio_size(folio);
	/* It was there, and more of it would be written than there is space for: see write_buffered(). */
	if (min_t(u64, block + count, folio_end >> BENTO_BLOCK_BITS) > block + promised)
		error = -ENOSPC;
	else if (!folio_test_uptodate(folio) && (pos > folio_pos(folio) || end < folio_end))
		error = read_locked(inode, folio);
	if (error) {
		folio_unlock(folio);
		folio_put(folio);
		return error;
	}
	*page = bento_page_of(folio);
	return 0;
}

/*
 * Makes blocks of a locked folio dirty. A device may be writing to others, which were noted when it was allowed to, and may have
 * been written since; when it is done, whoever asked it to says nothing if the folio is dirty.
 */
void bk_dirty(struct inode *inode, struct folio *folio, u64 first, u64 count)
{
	if (folio_test_large(folio)) {
		if (folio_maybe_dma_pinned(folio)) {
			first = folio->index;
			count = folio_nr_pages(folio);
		}
		bk_note_dirty(file_of(inode), first, count, GFP_NOFS | __GFP_NOFAIL);
	}
	filemap_dirty_folio(inode->i_mapping, folio);
}

/* Somebody makes a folio dirty, and does not say which blocks of it. Also where nobody may sleep. */
static bool dirty_folio(struct address_space *mapping, struct folio *folio)
{
	struct bk_file *f = file_of(mapping->host);

	if (folio_test_large(folio) &&
	    bk_note_dirty(f, folio->index, folio_nr_pages(folio), GFP_ATOMIC | __GFP_NOWARN))
		WRITE_ONCE(f->unnoted, true);
	return filemap_dirty_folio(mapping, folio);
}

static int write_end(bento_writer *writer, struct address_space *mapping, loff_t pos, unsigned int length,
		     unsigned int copied, bento_data_page *page, void *data)
{
	struct folio *folio = bento_folio_of(page);
	struct inode *inode = mapping->host;
	u64 block = pos >> BENTO_BLOCK_BITS;

	/* A whole folio was to come, and did not: nobody knows the rest. */
	if (copied < length && !folio_test_uptodate(folio))
		copied = 0;
	if (copied) {
		folio_mark_uptodate(folio);
		bk_dirty(inode, folio, block, bk_blocks((u64)pos + copied) - block);
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
		folio = bento_new_folio(mapping, block, BENTO_BLOCK);
		if (!folio)
			return -ENOMEM;
		if (!folio_test_uptodate(folio))
			error = read_locked(inode, folio);
		if (!error) {
			folio_zero_segment(folio, offset_in_folio(folio, from), to - folio_pos(folio));
			bk_dirty(inode, folio, block, 1);
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
	.dirty_folio = dirty_folio,
	.migrate_folio = filemap_migrate_folio,
};
