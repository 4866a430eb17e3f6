// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's log, the way out of a panic, and the module itself. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/uuid.h>

#include "internal.h"

/* Every call there is; only a panic walks it. */
static LIST_HEAD(calls);
static DEFINE_SPINLOCK(calls_lock);

void bento_print(u32 level, const u8 *text, size_t bytes)
{
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 50);

	if (__ratelimit(&limit))
		printk("%c%cBENTO: %.*s\n", KERN_SOH_ASCII, '0' + (level & 7), (int)bytes, text);
}
BENTO_EXPORT(bento_print);

void bk_panic_add(struct bk_call *c)
{
	spin_lock(&calls_lock);
	list_add(&c->all, &calls);
	spin_unlock(&calls_lock);
}

void bk_panic_remove(struct bk_call *c)
{
	spin_lock(&calls_lock);
	list_del(&c->all);
	spin_unlock(&calls_lock);
}

static struct bk_call *call_of_current(void)
{
	struct bk_call *c, *found = NULL;

	spin_lock(&calls_lock);
	list_for_each_entry(c, &calls, all) {
		if (READ_ONCE(c->task) == current && c->sp) {
			found = c;
			break;
		}
	}
	spin_unlock(&calls_lock);
	return found;
}

/* The beginning of one: whether its message may be formatted, which can panic again. */
bool bento_panicking(void)
{
	struct bk_call *c = call_of_current();

	if (!c || c->formatting)
		return false;
	c->formatting = true;
	return true;
}
BENTO_EXPORT(bento_panicking);

/* The end of a Rust panic. Rust does not know that this returns to nobody: see its caller. */
void bento_panicked(void)
{
	struct bk_call *c = call_of_current();

	/* Outside an entry (a mount), or again in the release below: nothing can be given back. */
	if (!c || c->panicking)
		BUG();
	c->panicking = true;
	bk_err(c->mount, "a panic; held: group %d, latches %u, locks %u, batch %llu", !!c->group, c->latch_count,
	       c->lock_count, c->joined);
	bk_release_held(c);
	bento_escape(&c->sp, BK_PANICKED);
}
BENTO_EXPORT(bento_panicked);

/* Inside the gate, so it is only noted. */
void bento_report(struct bento_call *call, u32 what, u64 block, u64 ino)
{
	struct bk_call *c = bk_of(call);

	if (c->damage.what)
		return;
	c->damage.what = what;
	c->damage.block = block;
	c->damage.ino = ino;
}
BENTO_EXPORT(bento_report);

/* The machine's boot id, which the kernel tells nobody but those who read files; zeros if this mount may not. */
void bk_boot_id(u8 to[16])
{
	struct file *file = filp_open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
	char text[UUID_STRING_LEN + 1] = {};
	loff_t at = 0;
	uuid_t id;

	memset(to, 0, sizeof(id));
	if (IS_ERR(file))
		return;
	if (kernel_read(file, text, UUID_STRING_LEN, &at) == UUID_STRING_LEN && !uuid_parse(text, &id))
		export_uuid(to, &id);
	filp_close(file, NULL);
}

static int __init bentofs_init(void)
{
	int error;

	bk_crc_init();
	error = bk_super_init();
	if (error)
		bk_crc_exit();
	return error;
}

static void __exit bentofs_exit(void)
{
	bk_super_exit();
	bk_crc_exit();
}

module_init(bentofs_init);
module_exit(bentofs_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("BentoFS: the VFS side of Bento's file systems");
MODULE_ALIAS_FS("bento");
