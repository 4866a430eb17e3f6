// SPDX-License-Identifier: GPL-2.0-only
/* Carrying out what the journal lists: adjacent writes in one bio, flushes in order, a whole record in one request. */
#include <linux/sort.h>

#include "internal.h"

static void ended(struct bio *bio)
{
	struct bk_waiting *waiting = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(waiting->error, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	if (atomic_dec_and_test(&waiting->left))
		complete(&waiting->done);
}

void bk_waiting_begin(struct bk_waiting *waiting)
{
	atomic_set(&waiting->left, 1);
	waiting->error = 0;
	init_completion(&waiting->done);
}

void bk_send(struct bk_waiting *waiting, struct bio *bio)
{
	bio->bi_private = waiting;
	bio->bi_end_io = ended;
	atomic_inc(&waiting->left);
	submit_bio(bio);
}

/* Waits for all that was sent; an error that one of it met. More may be sent then. */
int bk_wait(struct bk_waiting *waiting)
{
	if (!atomic_dec_and_test(&waiting->left))
		wait_for_completion_io(&waiting->done);
	atomic_set(&waiting->left, 1);
	reinit_completion(&waiting->done);
	return READ_ONCE(waiting->error);
}

static int wait_all(struct bento_mount *m, struct bk_waiting *waiting)
{
	int error = bk_wait(waiting);

	atomic64_inc(&m->written);
	return error;
}

static int flush_alone(struct bento_mount *m)
{
	s64 covers = atomic64_read(&m->written);
	int error = blkdev_issue_flush(m->bdev);

	if (!error)
		atomic64_set(&m->data.flushed, covers);
	return error;
}

int bk_flush(struct bento_mount *m)
{
	int error;

	mutex_lock(&m->data.flushing);
	error = flush_alone(m);
	mutex_unlock(&m->data.flushing);
	return error;
}

/*
 * Flushes what had completed when `written` was `mark`, if no flush that has returned did. After a failure nobody knows
 * what is on the medium, so the mount takes no more changes.
 */
int bk_flush_through(struct bento_mount *m, s64 mark)
{
	int error = 0;

	if (atomic64_read(&m->data.flushed) >= mark)
		return 0;
	mutex_lock(&m->data.flushing);
	if (atomic64_read(&m->data.flushed) < mark)
		error = flush_alone(m);
	mutex_unlock(&m->data.flushing);
	if (error)
		bk_shut_down(m, "a flush failed");
	return error;
}

void bk_list_request(struct bk_call *c, u64 at, struct page *page)
{
	BUG_ON(c->request_count == BK_REQUESTS);
	c->requests[c->request_count].at = at;
	c->requests[c->request_count++].page = page;
}

void bk_requests_drop(struct bk_call *c)
{
	while (c->request_count) {
		struct page *page = c->requests[--c->request_count].page;

		if (page)
			put_page(page);
	}
}

static int by_place(const void *a, const void *b)
{
	u64 left = ((const struct bk_request *)a)->at, right = ((const struct bk_request *)b)->at;

	return left < right ? -1 : left > right;
}

/* Between two flushes order is free: what lies side by side on the device shall be side by side in the list. */
static void arrange(struct bk_call *c)
{
	u32 first = 0, at;

	for (at = 0; at <= c->request_count; at++) {
		if (at < c->request_count && c->requests[at].page)
			continue;
		if (at - first > 1)
			sort(&c->requests[first], at - first, sizeof(c->requests[0]), by_place, NULL);
		first = at + 1;
	}
}

static u32 run_at(struct bk_call *c, u32 at)
{
	struct bk_request *first = &c->requests[at];
	u32 run = 1;

	while (at + run < c->request_count && run < BIO_MAX_VECS && first[run].page && first[run].at == first->at + run)
		run++;
	return run;
}

static u32 submit_run(struct bento_mount *m, struct bk_call *c, u32 at, blk_opf_t flags,
		      struct bk_waiting *waiting)
{
	struct bk_request *first = &c->requests[at];
	u32 run = run_at(c, at), page;
	struct bio *bio;

	bio = bio_alloc(m->bdev, run, REQ_OP_WRITE | REQ_META | REQ_SYNC | flags, GFP_NOFS | __GFP_NOFAIL);
	bio->bi_iter.bi_sector = first->at << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
	for (page = 0; page < run; page++)
		__bio_add_page(bio, first[page].page, BENTO_BLOCK, 0);
	bk_send(waiting, bio);
	return run;
}

/*
 * Whether a list is one run of blocks with a flush behind it, and nothing that this flush would have to cover too: either
 * a flush comes first, or all that was written before has been flushed. A record of the log mostly is.
 */
static bool is_one_request(struct bento_mount *m, struct bk_call *c, bool *flush_first)
{
	u32 count = c->request_count, first;

	*flush_first = count && !c->requests[0].page;
	first = *flush_first;
	return count > first + 1 && c->requests[first].page && !c->requests[count - 1].page &&
	       first + run_at(c, first) == count - 1 &&
	       (*flush_first || atomic64_read(&m->data.flushed) >= atomic64_read(&m->written));
}

/* One request does all: flushes what was written before, writes, and is durable when it comes back. */
static int submit_one(struct bento_mount *m, struct bk_call *c, bool flush_first)
{
	struct bk_waiting waiting;
	s64 covers;
	int error;

	bk_waiting_begin(&waiting);
	mutex_lock(&m->data.flushing);
	covers = atomic64_read(&m->written);
	submit_run(m, c, flush_first, REQ_FUA | (flush_first ? REQ_PREFLUSH : 0), &waiting);
	error = bk_wait(&waiting);
	if (flush_first && !error)
		atomic64_set(&m->data.flushed, covers);
	mutex_unlock(&m->data.flushing);
	return error;
}

/* A flush waits for the writes before it, and what follows waits for the flush. */
static int submit_all(struct bento_mount *m, struct bk_call *c)
{
	struct bk_waiting waiting;
	struct blk_plug plug;
	int error = 0, late;
	u32 at = 0;

	bk_waiting_begin(&waiting);
	blk_start_plug(&plug);
	while (at < c->request_count && !error) {
		if (c->requests[at].page) {
			at += submit_run(m, c, at, 0, &waiting);
			continue;
		}
		blk_finish_plug(&plug);
		error = wait_all(m, &waiting);
		if (!error)
			error = bk_flush(m);
		blk_start_plug(&plug);
		at++;
	}
	blk_finish_plug(&plug);
	late = wait_all(m, &waiting);
	return error ?: late;
}

/* Carries out what a call lists. */
int bk_submit(struct bento_mount *m, struct bk_call *c)
{
	bool flush_first;
	int error = 0;

	arrange(c);
	if (is_one_request(m, c, &flush_first))
		error = submit_one(m, c, flush_first);
	else if (c->request_count)
		error = submit_all(m, c);
	bk_requests_drop(c);
	return error;
}
