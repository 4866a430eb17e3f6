// SPDX-License-Identifier: GPL-2.0-only
/* Closing the gate, and opening it. */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "gate.h"

/* Looks at the counters before the closer sleeps: those inside may need its CPU. */
#define SPINS 8
/* Looks for a quiet moment before the gate closes all the same. */
#define LOOKS 100

int bk_gate_init(struct bk_gate *gate)
{
	gate->passages = alloc_percpu(struct bk_passage);
	init_waitqueue_head(&gate->opened);
	return gate->passages ? 0 : -ENOMEM;
}

void bk_gate_destroy(struct bk_gate *gate)
{
	free_percpu(gate->passages);
}

void bk_gate_wait(struct bk_gate *gate)
{
	wait_event(gate->opened, !atomic_read(&gate->closed));
}

/* Makes closing possible. Nobody waits for this grace period but the caller. */
void bk_gate_get_ready(struct bk_gate *gate)
{
	WRITE_ONCE(gate->slow, 1);
	synchronize_rcu();
}

void bk_gate_relax(struct bk_gate *gate)
{
	smp_store_release(&gate->slow, 0);
}

/* Whoever entered before is seen; one who leaves meanwhile may be seen or not. So none means none. */
static bool is_empty(struct bk_gate *gate)
{
	unsigned int inside = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		inside += READ_ONCE(per_cpu_ptr(gate->passages, cpu)->inside);
	smp_mb();
	return !inside;
}

/*
 * Waits for a moment without anybody inside, but not for long: who was cut off inside, or sleeps there on a lock, may take
 * longer than others can be kept out, and without him closing takes no time.
 */
void bk_gate_wait_for_quiet(struct bk_gate *gate)
{
	int looks;

	for (looks = 0; looks < LOOKS && !is_empty(gate); looks++)
		usleep_range(20, 60);
}

/* Keeps others out until nobody is inside; opens again, and answers false, if that takes longer than the budget. */
bool bk_gate_close(struct bk_gate *gate, u64 budget_ns)
{
	u64 end = ktime_get_ns() + budget_ns;
	int spins = 0;

	atomic_set(&gate->closed, 1);
	smp_mb();
	while (!is_empty(gate)) {
		if (ktime_get_ns() > end) {
			bk_gate_open(gate);
			return false;
		}
		if (spins++ < SPINS)
			cpu_relax();
		else
			usleep_range(5, 15);
	}
	return true;
}

void bk_gate_open(struct bk_gate *gate)
{
	atomic_set_release(&gate->closed, 0);
	wake_up_all(&gate->opened);
}
