// SPDX-License-Identifier: GPL-2.0-only
/* Services of the kernel, in the form in which Rust calls them. */
#include <linux/bug.h>
#include <linux/init.h>
#include <linux/printk.h>

#include "bentofs.h"

void bento_print(int level, const u8 *text, size_t length)
{
	printk("%c%cBENTO: %.*s\n", KERN_SOH_ASCII, '0' + (level & 7), (int)length, text);
}
BENTO_EXPORT(bento_print);

/* The end of a Rust panic. Rust does not know that this returns to nobody: see its caller. */
void bento_panicked(void)
{
	BUG();
}
BENTO_EXPORT(bento_panicked);

static int __init bentofs_init(void)
{
	return 0;
}

static void __exit bentofs_exit(void)
{
}

module_init(bentofs_init);
module_exit(bentofs_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("BentoFS: the VFS side of Bento's file systems");
