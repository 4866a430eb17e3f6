// SPDX-License-Identifier: GPL-2.0-only
/* Carrying out what the journal lists: adjacent writes in one bio, flushes in order. */
#include "internal.h"

struct waiting {
	atomic_t left;
	int error;
	struct completion done;
};

static void ended(struct bio *bio)
{
	struct waiting *waiting = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(waiting->error, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	if (atomic_dec_and_test(&waiting->left))
		complete(&waiting->done);
}

static int wait_all(struct bento_mount *m, struct waiting *waiting)
{
	if (!atomic_dec_and_test(&waiting->left))
		wait_for_completion_io(&waiting->done);
	atomic_set(&waiting->left, 1);
	reinit_completion(&waiting->done);
	atomic64_inc(&m->written);
	return READ_ONCE(waiting->error);
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

static u32 submit_run(struct bento_mount *m, struct bk_call *c, u32 at, struct waiting *waiting)
{
	struct bk_request *first = &c->requests[at];
	u32 run = 1, page;
	struct bio *bio;

	while (at + run < c->request_count && run < BIO_MAX_VECS && first[run].page && first[run].at == first->at + run)
		run++;
	bio = bio_alloc(m->bdev, run, REQ_OP_WRITE | REQ_META | REQ_SYNC, GFP_NOFS | __GFP_NOFAIL);
	bio->bi_iter.bi_sector = first->at << (BENTO_BLOCK_BITS - SECTOR_SHIFT);
	for (page = 0; page < run; page++)
		__bio_add_page(bio, first[page].page, BENTO_BLOCK, 0);
	bio->bi_private = waiting;
	bio->bi_end_io = ended;
	atomic_inc(&waiting->left);
	submit_bio(bio);
	return run;
}

/* A flush waits for the writes before it, and what follows waits for the flush. */
int bk_submit(struct bento_mount *m, struct bk_call *c)
{
	struct waiting waiting = { .left = ATOMIC_INIT(1) };
	struct blk_plug plug;
	int error = 0;
	u32 at = 0;

	init_completion(&waiting.done);
	blk_start_plug(&plug);
	while (at < c->request_count && !error) {
		if (c->requests[at].page) {
			at += submit_run(m, c, at, &waiting);
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
	if (c->request_count) {
		int late = wait_all(m, &waiting);

		error = error ?: late;
	}
	bk_requests_drop(c);
	return error;
}
