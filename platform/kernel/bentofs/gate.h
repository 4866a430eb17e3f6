/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate around every entry: passing it costs one counter of the CPU's own; an upgrade closes it.
 *
 * Closing has two phases. First `slow` is set and a grace period passes, while nobody waits: then everybody who passes
 * uses a full barrier. Then `closed` is set, and the counters are summed until nobody is inside.
 */
#ifndef BENTO_GATE_H
#define BENTO_GATE_H

#include <linux/atomic.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/wait.h>

#include "compat.h"

/* How long those outside wait for those inside, at a time. */
#define BK_GATE_BUDGET_NS (300 * NSEC_PER_USEC)
/* Bucket n counts what took less than 2^n ns, and not less than half of it; the last one, all that took longer. */
#define BK_BUCKETS 32

struct bk_passage {
	/* Of one CPU: who enters on one and leaves on another makes two of them wrong, and their sum right. */
	unsigned int inside;
	unsigned long held[BK_BUCKETS];
};

struct bk_gate {
	struct bk_passage __percpu *passages;
	/* Whether somebody closes: until then, entering costs no fence. */
	int slow;
	atomic_t closed;
	wait_queue_head_t opened;
};

int bk_gate_init(struct bk_gate *gate);
void bk_gate_destroy(struct bk_gate *gate);
void bk_gate_wait(struct bk_gate *gate);
void bk_gate_get_ready(struct bk_gate *gate);
void bk_gate_wait_for_quiet(struct bk_gate *gate);
bool bk_gate_close(struct bk_gate *gate, u64 budget_ns);
void bk_gate_open(struct bk_gate *gate);
void bk_gate_relax(struct bk_gate *gate);

static inline unsigned int bk_bucket(s64 ns)
{
	return ns > 0 ? min_t(unsigned int, fls64(ns), BK_BUCKETS - 1) : 0;
}

/* Passes, waiting while the gate is closed; answers when. The caller holds nothing that those inside could need. */
static inline u64 bk_gate_enter(struct bk_gate *gate)
{
	for (;;) {
		preempt_disable();
		this_cpu_inc(gate->passages->inside);
		/* Pairs with the release in bk_gate_relax(): who sees the gate undisturbed sees the new code. */
		if (likely(!smp_load_acquire(&gate->slow)))
			break;
		smp_mb();
		if (!atomic_read_acquire(&gate->closed))
			break;
		this_cpu_dec(gate->passages->inside);
		preempt_enable();
		bk_gate_wait(gate);
	}
	preempt_enable();
	return bento_clock();
}

static inline void bk_gate_leave(struct bk_gate *gate, u64 entered)
{
	unsigned int bucket = bk_bucket(bento_clock() - entered);

	preempt_disable();
	this_cpu_inc(gate->passages->held[bucket]);
	if (unlikely(READ_ONCE(gate->slow)))
		smp_mb();
	this_cpu_dec(gate->passages->inside);
	preempt_enable();
}

#endif
