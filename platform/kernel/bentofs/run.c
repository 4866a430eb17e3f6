// SPDX-License-Identifier: GPL-2.0-only
/* The loop around an entry, and driving the journal. */
#include <linux/ktime.h>
#include <linux/sched/mm.h>
#include <linux/timekeeping.h>

#include "internal.h"

/* Who waits for the journal looks again after this long: a safety net, not a clock. */
#define RECHECK (HZ / 10)
/* Times that one event may ask for another first. */
#define FIRSTS 1000

/* Calls Rust with a call's own way out of a panic: BK_PANICKED then, with nothing held. */
long bk_guarded(struct bk_call *c, const void *fn, void *fs, void *third)
{
	long result;

	c->panicking = c->formatting = false;
	WRITE_ONCE(c->task, current);
	result = bento_guard(&c->sp, fn, fs, &c->rust, third);
	WRITE_ONCE(c->task, NULL);
	if (unlikely(result == BK_PANICKED)) {
		atomic64_inc(&c->mount->panics);
		c->view_of = 0;
	}
	return result;
}

/* An entry, inside the gate. A panic comes out of here as EIO. */
static int enter(struct bk_call *c, const void *fn, void *third)
{
	struct bento_mount *m = c->mount;
	long result = bk_guarded(c, fn, m->fs, third);

	if (unlikely(result == BK_PANICKED)) {
		WRITE_ONCE(m->panicked, true);
		bk_err(m, "the file system panicked; it answers EIO until another version takes over");
		result = -EIO;
	}
	return result;
}

static int check_alive(struct bento_mount *m, bool changes)
{
	if (READ_ONCE(m->panicked) || (changes && READ_ONCE(m->down)))
		return -EIO;
	return changes && READ_ONCE(m->damaged) ? -EROFS : 0;
}

/* What was changed before damage was found is written all the same. */
static int check_journal(struct bento_mount *m)
{
	return READ_ONCE(m->panicked) || READ_ONCE(m->down) ? -EIO : 0;
}

static void wait_completion(struct bento_mount *m, s64 seen)
{
	wait_event_timeout(m->completed, atomic64_read(&m->completions) != seen, RECHECK);
}

/* Takes log credits, driving the journal if there are too few. Nobody overtakes who waits. */
static int supply(struct bk_call *c, u32 credits)
{
	struct bento_mount *m = c->mount;
	int done = 0;

	bk_give_back(c);
	if (!atomic_read(&m->waiting) && bk_take_credits(c, credits))
		return 0;
	if (!bk_could_ever_fit(m, credits)) {
		bk_err(m, "an operation wants %u log credits, more than the log could ever give", credits);
		return -EOVERFLOW;
	}
	atomic_inc(&m->waiting);
	mutex_lock(&m->line);
	for (;;) {
		s64 seen = atomic64_read(&m->completions);

		done = check_alive(m, true);
		if (done || bk_take_credits(c, credits))
			break;
		done = bk_drive(m, BENTO_EVENT_COMMIT);
		if (done < 0)
			break;
		if (done == BK_WORK)
			continue;
		if (bk_take_credits(c, credits)) {
			done = 0;
			break;
		}
		done = bk_drive(m, BENTO_EVENT_CHECKPOINT);
		if (done < 0)
			break;
		if (done != BK_WORK)
			wait_completion(m, seen);
	}
	mutex_unlock(&m->line);
	atomic_dec(&m->waiting);
	return done < 0 ? done : 0;
}

/*
 * Frees what can be freed without taking anything away: what waits for a batch, then what dirty blocks were promised and
 * will not need once they are written, and what waits for the tail. Frees that are under way may show up between two
 * looks, so each step is taken even if nothing is pending yet. Not under a folio lock.
 */
int bk_find_space(struct bento_mount *m, bool write_back, u32 *searched)
{
	bk_settle(m);
	switch ((*searched)++) {
	case 0:
		return bk_commit(m);
	case 1:
		if (write_back)
			bk_write_back(m);
		return bk_commit(m) ?: bk_checkpoint(m);
	}
	return -ENOSPC;
}

/* Whoever makes room, or holds what writing back takes, or may be called by who does, must not wait for it. */
static bool may_write_back(unsigned int kind)
{
	switch (kind) {
	case BENTO_KIND_CREATE:
	case BENTO_KIND_TMPFILE:
	case BENTO_KIND_LINK:
	case BENTO_KIND_RENAME:
	case BENTO_KIND_XATTR:
		return true;
	}
	return false;
}

/* Who must be let go on first may be waiting for the device. */
static void let_others(u32 attempts)
{
	if (attempts > 8)
		schedule_timeout_uninterruptible(attempts > BENTO_RESTARTS ? HZ / 20 : 1);
}

static int wait_for(struct bk_call *c, u32 attempts, u32 *searched, u32 *credits)
{
	if (c->rust.wait != BENTO_WAIT_AGAIN)
		bk_give_back(c);
	switch (c->rust.wait) {
	case BENTO_WAIT_BLOCKS:
		return bk_fetch_wanted(c);
	case BENTO_WAIT_LOG:
		*credits = max(*credits, c->rust.wait_credits);
		return 0;
	case BENTO_WAIT_BATCH:
		return bk_sync(c->mount, c->rust.wait_batch);
	case BENTO_WAIT_SPACE:
		return bk_find_space(c->mount, c->may_write_back, searched);
	case BENTO_WAIT_AGAIN:
		let_others(attempts);
		return 0;
	}
	return -EIO;
}

/*
 * Who was restarted too often runs alone: others wait outside the gate, holding nothing, while it reads blocks and tries
 * again. Not while it waits for the journal or for others who write back: those need the others.
 */
static void begin_alone(struct bk_call *c)
{
	mutex_lock(&c->mount->alone_lock);
	WRITE_ONCE(c->mount->alone, c);
}

static void end_alone(struct bk_call *c)
{
	WRITE_ONCE(c->mount->alone, NULL);
	mutex_unlock(&c->mount->alone_lock);
	wake_up_all(&c->mount->alone_ended);
}

static bool somebody_is_alone(struct bk_call *c)
{
	struct bk_call *alone = READ_ONCE(c->mount->alone);

	return unlikely(alone) && alone != c;
}

static int attempt(struct bk_call *c, unsigned int op, unsigned int kind, u32 credits)
{
	struct bento_mount *m = c->mount;
	u64 upgrades, entered;
	int result;

	for (;;) {
		struct bento_cost cost;

		if (somebody_is_alone(c)) {
			bk_give_back(c);
			wait_event(m->alone_ended, !somebody_is_alone(c));
		}

		/* Pairs with the release in bk_use_type(). */
		upgrades = smp_load_acquire(&m->upgrades);
		cost = m->costs[kind];
		cost.credits = max(cost.credits, credits);
		result = check_alive(m, cost.credits);
		if (!result && c->rust.credits < cost.credits)
			result = supply(c, cost.credits);
		if (result)
			return result;
		bk_prepare(c, cost);
		entered = bk_gate_enter(&m->gate);
		/* Another version may take more. */
		if (likely(m->upgrades == upgrades))
			break;
		bk_gate_leave(&m->gate, entered);
	}
	result = check_alive(m, false);
	if (!result) {
		c->rust.has_view = c->view_of == upgrades + 1;
		c->view_of = upgrades + 1;
		result = enter(c, m->type->reg->ops[op], NULL);
	}
	bk_end_attempt(c);
	bk_gate_leave(&m->gate, entered);
	return result;
}

/* Runs one operation to its end; its kind says what it takes. */
int bk_run(struct bk_call *c, unsigned int op, unsigned int kind)
{
	struct bento_mount *m = c->mount;
	u32 attempts = 0, searched = 0, credits = 0;
	unsigned int nofs = memalloc_nofs_save();
	struct timespec64 now;
	bool alone = false;
	int result;

	bk_drop_pins(c, true);
	memset(c->rust.cursor, 0, sizeof(c->rust.cursor));
	c->rust.progressed = 0;
	c->may_write_back = may_write_back(kind);
	/* As the VFS's own times, or a write might seem older than the file. */
	ktime_get_coarse_real_ts64(&now);
	c->rust.now = (struct bento_time){ .seconds = now.tv_sec, .nanoseconds = now.tv_nsec };
	atomic64_inc(&m->operations);
	for (;;) {
		result = attempt(c, op, kind, credits);
		if (result != 1)
			break;
		if (c->rust.progressed) {
			c->rust.progressed = 0;
			attempts = 0;
			bk_drop_pins(c, true);
		}
		atomic64_inc(&m->restarts);
		if (++attempts > 2 * BENTO_RESTARTS) {
			bk_err(m, "operation %u was restarted %u times and still lacks %u", op, attempts, c->rust.wait);
			result = -EIO;
			break;
		}
		if (alone && c->rust.wait != BENTO_WAIT_BLOCKS) {
			end_alone(c);
			alone = false;
		}
		result = wait_for(c, attempts, &searched, &credits);
		if (result)
			break;
		if (!alone && attempts >= BENTO_RESTARTS) {
			begin_alone(c);
			alone = true;
		}
	}
	if (alone)
		end_alone(c);
	bk_tell_damage(c);
	/* Pins stay until the call is put or runs again: see bk_newest_undurable(). */
	bk_give_back(c);
	memalloc_nofs_restore(nofs);
	return result;
}

/* Says what damage a call met, and does about it what the mount was told. Outside the gate. */
void bk_tell_damage(struct bk_call *c)
{
	struct bento_mount *m = c->mount;
	struct bk_call *asks;
	char text[80] = {};

	if (likely(!c->damage.what))
		return;
	asks = bk_call_get(m);
	asks->rust.args.how = c->damage.what;
	asks->rust.args.buffer = text;
	asks->rust.args.buffer_bytes = sizeof(text) - 1;
	bk_run(asks, BENTO_OP_DESCRIBE, BENTO_KIND_READ);
	bk_call_put(asks);
	if (atomic64_inc_return(&m->reports) <= 64)
		bk_err(m, "%s (problem %u) in block %llu, inode %llu", text, c->damage.what, c->damage.block,
		       c->damage.ino);
	c->damage.what = 0;
	if (m->options.errors == BK_ERRORS_SHUTDOWN) {
		bk_shut_down(m, "damage was found");
	} else if (m->options.errors == BK_ERRORS_READ_ONLY && !m->read_only && !xchg(&m->damaged, true)) {
		bk_err(m, "read-only from now on: unmount, and run fsck.bento");
		m->sb->s_flags |= SB_RDONLY;
	}
}

/* One call of the file system's `drive`; what it lists is moved to `c`. */
static int step(struct bento_mount *m, struct bk_call *c, struct bento_event *event)
{
	u64 entered;
	int result;

	mutex_lock(&m->driving);
	bk_settle(m);
	bk_prepare(c, (struct bento_cost){ .credits = BK_RESERVE });
	entered = bk_gate_enter(&m->gate);
	result = check_journal(m);
	if (!result) {
		result = enter(c, m->type->reg->drive, event);
		/* The journal's state may be half changed. */
		if (result)
			bk_shut_down(m, "the journal failed");
		bk_end_attempt(c);
	}
	bk_gate_leave(&m->gate, entered);
	mutex_unlock(&m->driving);
	bk_tell_damage(c);
	return result;
}

/* Drives an event to its end: carries out what is listed, and delivers the completion. */
static int drive(struct bento_mount *m, struct bento_event event, int depth)
{
	struct bk_call *c = bk_call_get(m);
	int firsts = 0, driven = BK_NOTHING;

	for (;;) {
		struct bento_event asked = event;
		int error = step(m, c, &event);

		if (error) {
			/* What was listed before a panic is not to be written with somebody else's list. */
			bk_requests_drop(c);
			driven = error;
			break;
		}
		if (c->request_count) {
			driven = BK_WORK;
			error = bk_submit(m, c);
		}
		event.result = 0;
		if (event.then == BENTO_THEN_DELIVER) {
			driven = BK_WORK;
			event.result = error;
			continue;
		}
		if (!error && event.then == BENTO_THEN_AGAIN) {
			driven = BK_WORK;
			continue;
		}
		if (!error && event.then == BENTO_THEN_FIRST) {
			int other = depth < 4 && firsts++ < FIRSTS ? drive(m, event, depth + 1) : BK_LATER;

			if (other == BK_WORK) {
				event = asked;
				continue;
			}
			driven = other < 0 ? other : BK_LATER;
			break;
		}
		if (!error && event.then == BENTO_THEN_IDLE) {
			bk_settle(m);
			break;
		}
		if (!error && event.then == BENTO_THEN_IN_FLIGHT) {
			driven = BK_LATER;
			break;
		}
		/* Part of a record failed, or the file system gave up: nothing after it may become durable. */
		bk_shut_down(m, "the journal failed");
		driven = -EIO;
		break;
	}
	bk_call_put(c);
	return driven;
}

int bk_drive(struct bento_mount *m, u32 event)
{
	unsigned int nofs = memalloc_nofs_save();
	int driven = drive(m, (struct bento_event){ .event = event }, 0);

	memalloc_nofs_restore(nofs);
	return driven;
}

/* Makes a batch durable, and with it all before. Whoever asks drives; who finds the batch on its way waits. */
int bk_sync(struct bento_mount *m, u64 batch)
{
	while (READ_ONCE(m->durable) < batch) {
		s64 seen = atomic64_read(&m->completions);
		int driven = BK_LATER;

		if (READ_ONCE(m->down) || READ_ONCE(m->panicked))
			return -EIO;
		if (READ_ONCE(m->durable) >= batch)
			break;
		if (batch >= READ_ONCE(m->running))
			driven = bk_drive(m, BENTO_EVENT_COMMIT);
		if (driven < 0)
			return driven;
		if (driven == BK_LATER)
			wait_completion(m, seen);
		/* Nobody changed a block in the running batch: all before it must be durable. */
		if (driven == BK_NOTHING && batch >= READ_ONCE(m->running))
			batch = READ_ONCE(m->running) - 1;
	}
	if (bk_wants_checkpoint(m) && m->work)
		queue_work(m->work, &m->checkpoint);
	return 0;
}

/* Makes what a call did durable, if that is asked for. After an error the mount is shut down, but it is done. */
int bk_sync_if(bool wanted, struct bk_call *c)
{
	return wanted ? bk_sync(c->mount, c->rust.reply.batch) : 0;
}

int bk_commit(struct bento_mount *m)
{
	return bk_sync(m, READ_ONCE(m->running));
}

int bk_checkpoint(struct bento_mount *m)
{
	for (;;) {
		s64 seen = atomic64_read(&m->completions);
		int driven = bk_drive(m, BENTO_EVENT_CHECKPOINT);

		if (driven < 0)
			return driven;
		if (driven != BK_LATER)
			return 0;
		wait_completion(m, seen);
	}
}

/* Brings the group summary up to date, in the next batch. It is advice: that it cannot be written is no error. */
void bk_summarise(struct bento_mount *m)
{
	struct bk_call *c = bk_call_get(m);
	u64 group = 0;

	do {
		c->rust.args.at = group;
		if (bk_run(c, BENTO_OP_SUMMARISE, BENTO_KIND_SUMMARISE))
			break;
		group = c->rust.reply.value;
		cond_resched();
	} while (c->rust.reply.kind);
	bk_call_put(c);
}

/* A checkpoint; what was freed before is known to be free by then, so the summary comes behind it. */
static void write_home(struct bento_mount *m)
{
	if (!bk_checkpoint(m))
		bk_summarise(m);
}

/* Commits what nobody asked for, and keeps the log from filling up. */
void bk_timer(struct work_struct *work)
{
	struct bento_mount *m = container_of(to_delayed_work(work), struct bento_mount, timer);

	if (READ_ONCE(m->down))
		return;
	/* After a panic another version may take over, and go on with this. */
	if (!READ_ONCE(m->panicked)) {
		/* An inode whose times cannot be written must not keep everything else from being committed. */
		bk_flush_all_times(m);
		bk_commit(m);
		if (bk_wants_checkpoint(m))
			write_home(m);
	}
	queue_delayed_work(m->work, &m->timer, m->options.commit_seconds * HZ);
}

void bk_background_checkpoint(struct work_struct *work)
{
	struct bento_mount *m = container_of(work, struct bento_mount, checkpoint);

	if (!check_journal(m) && bk_wants_checkpoint(m))
		write_home(m);
}
