// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replacing the code under a mount.
 *
 * Everything that can be done before is done before: modules, memory, a grace period. Then the gate closes, the old
 * version says what it knows, the new one takes it over, a pointer and 256 bytes change, and the gate opens. State stays
 * where it is, in the containers. A failure before the change leaves the old version serving.
 *
 * What must not survive the change outside the gate: the operations and the costs of the old version. So who took
 * credits by the old costs compares `upgrades` inside the gate, and takes them anew.
 */
#include <linux/capability.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "internal.h"

/* How long operations may be kept out by one try, and how many tries there are. */
#define TRIES 2000

struct upgrade {
	struct bento_mount *mount;
	struct bk_type *to;
	/* The containers of the change: made before it. */
	struct bk_call *call;
	struct bento_handover handover;
	u8 fs[BENTO_FS_BYTES] __aligned(16);
	struct bento_upgrade_reply reply;
	/* Whoever asked does not want to wait any more. */
	bool given_up;
	int error;
	struct completion ended;
};

static void put_text(u8 *to, size_t room, const char *text)
{
	strscpy((char *)to, text, room);
}

static int refuse(struct upgrade *up, const char *why)
{
	if (!up->reply.refused[0])
		put_text(up->reply.refused, sizeof(up->reply.refused), why);
	return -EBUSY;
}

/* Says why the mount cannot change its code now; s_umount is held. */
static const char *obstacle(struct bento_mount *m)
{
	if (!(m->sb->s_flags & SB_ACTIVE))
		return "the mount is going away";
	if (m->sb->s_writers.frozen != SB_UNFROZEN)
		return "the mount is frozen; thaw it first";
	if (READ_ONCE(m->poisoned))
		return "a change was cut short in its middle; unmount, and mount again";
	if (READ_ONCE(m->down))
		return "the mount was shut down; unmount, and mount again";
	return NULL;
}

/* One question to a version: what it knows does not change while it serves. */
static int ask(struct upgrade *up, const void *fn, void *fs, const char *panicked)
{
	long result = bk_guarded(up->call, fn, fs, &up->handover);

	if (!result)
		return 0;
	if (result == BK_PANICKED)
		return refuse(up, panicked);
	return refuse(up, (const char *)up->handover.reason);
}

/* What the old version knows, as the new one takes it: beside it, so that nothing has changed yet. */
static int hand_over(struct upgrade *up)
{
	struct bento_mount *m = up->mount;
	int error = ask(up, m->type->reg->export, m->fs, "the old version panicked when it was to hand over");

	return error ?: ask(up, up->to->reg->import, up->fs, "the new version panicked when it was to take over");
}

/* The change itself. */
static int replace(struct upgrade *up)
{
	struct bento_mount *m = up->mount;
	int error = hand_over(up);

	if (error)
		return error;
	memcpy(m->fs, up->fs, sizeof(m->fs));
	bk_use_type(m, up->to);
	WRITE_ONCE(m->panicked, false);
	return 0;
}

/* Closes the gate as often as it takes. */
static int swap_code(struct upgrade *up)
{
	struct bento_mount *m = up->mount;
	u64 started = ktime_get_ns();
	int error, tries;

	/*
	 * Once for practice, while all goes on: code that never ran is not in any cache, and who refuses does so without
	 * keeping anybody out.
	 */
	error = hand_over(up);
	if (error)
		return error;
	error = -EBUSY;
	bk_gate_get_ready(&m->gate);
	for (tries = 0; tries < TRIES; tries++) {
		u64 closing, pause;
		bool closed;

		bk_gate_wait_for_quiet(&m->gate);
		closing = ktime_get_ns();
		closed = bk_gate_close(&m->gate, BK_GATE_BUDGET_NS);
		if (closed) {
			error = replace(up);
			bk_gate_open(&m->gate);
		}
		pause = ktime_get_ns() - closing;
		atomic64_inc(&m->pauses[bk_bucket(pause)]);
		if (closed) {
			up->reply.closed_ns = pause;
			break;
		}
		atomic64_inc(&m->refusals);
		if (READ_ONCE(up->given_up)) {
			error = -EINTR;
			break;
		}
		usleep_range(1000, 2000);
	}
	bk_gate_relax(&m->gate);
	up->reply.total_ns = ktime_get_ns() - started;
	up->reply.refusals = tries;
	up->reply.handed_over = up->handover.bytes;
	return tries == TRIES ? refuse(up, "operations did not drain in time, however often it was tried") : error;
}

static int closer(void *data)
{
	struct upgrade *up = data;

	up->error = swap_code(up);
	kthread_complete_and_exit(&up->ended, 0);
}

/*
 * The gate is closed by a thread that runs before all others: it sleeps so that those inside can leave, and whoever else
 * wants the CPU then would keep everybody out for as long as the scheduler lets him.
 */
static int swap_ahead_of_others(struct upgrade *up)
{
	struct task_struct *thread = kthread_create(closer, up, "bento-upgrade");

	if (IS_ERR(thread))
		return PTR_ERR(thread);
	sched_set_fifo(thread);
	wake_up_process(thread);
	if (wait_for_completion_interruptible(&up->ended)) {
		WRITE_ONCE(up->given_up, true);
		wait_for_completion(&up->ended);
	}
	return up->error;
}

/* With s_umount held shared: no freezing, no remount, no unmount meanwhile. */
static int upgrade_locked(struct upgrade *up, const char *name)
{
	struct bento_mount *m = up->mount;
	struct bk_type *old = m->type;
	const char *why = obstacle(m);
	int error;

	if (why)
		return refuse(up, why);
	up->to = *name ? bk_type_get(name) : bk_type_get_other(old);
	if (!up->to)
		return -ENOENT;
	error = swap_ahead_of_others(up);
	if (error) {
		bk_type_put(up->to);
		return error;
	}
	atomic64_inc(&m->upgraded);
	bk_info(m, "%s serves now; operations were kept out for %llu us", m->version, up->reply.closed_ns / 1000);
	/* Nobody has a pointer into it: its module can go at once. */
	bk_type_put(old);
	return 0;
}

/* Has the module of a version loaded that is not there yet; whether that worked is seen later. */
static void want_type(const char *name)
{
	struct bk_type *type = *name ? bk_type_get(name) : NULL;

	if (type)
		bk_type_put(type);
	else if (!strncmp(name, "bento-", strlen("bento-")))
		request_module("%s", name);
}

static int upgrade(struct bento_mount *m, void __user *at)
{
	struct upgrade *up;
	char name[BENTO_VERSION_BYTES];
	int error;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(name, at, sizeof(name)))
		return -EFAULT;
	if (strnlen(name, sizeof(name)) == sizeof(name))
		return -ENOENT;
	want_type(name);
	up = kzalloc(sizeof(*up), GFP_KERNEL);
	if (!up)
		return -ENOMEM;
	init_completion(&up->ended);
	up->mount = m;
	up->call = bk_call_get(m);
	up->handover.envelope = kvzalloc(BENTO_ENVELOPE, GFP_KERNEL);
	error = up->handover.envelope ? 0 : -ENOMEM;
	if (!error) {
		down_read(&m->sb->s_umount);
		mutex_lock(&m->upgrading);
		error = upgrade_locked(up, name);
		put_text(up->reply.version, sizeof(up->reply.version), m->version);
		mutex_unlock(&m->upgrading);
		up_read(&m->sb->s_umount);
	}
	if (up->reply.refused[0]) {
		bk_err(m, "an upgrade was refused: %s", (const char *)up->reply.refused);
		error = 0;
	}
	if (!error && copy_to_user(at, &up->reply, sizeof(up->reply)))
		error = -EFAULT;
	kvfree(up->handover.envelope);
	bk_call_put(up->call);
	kfree(up);
	return error;
}

static int status(struct bento_mount *m, void __user *at)
{
	struct bento_status told = { .read_only = m->read_only };

	mutex_lock(&m->upgrading);
	put_text(told.version, sizeof(told.version), m->version);
	mutex_unlock(&m->upgrading);
	return copy_to_user(at, &told, sizeof(told)) ? -EFAULT : 0;
}

/* The requests that a host in userspace answers too. */
long bk_control(struct bento_mount *m, unsigned int command, void __user *at)
{
	return command == BENTO_UPGRADE ? upgrade(m, at) : status(m, at);
}
