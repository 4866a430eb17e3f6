// SPDX-License-Identifier: GPL-2.0-only
/* The C part of a module in Rust: loading and unloading. */
#include <linux/crc32.h>
#include <linux/init.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "register.h"

#define BLOCK 4096

/* The checksum in every block must be the same from both sides: refuse to load where it is not. */
static int __init glue_init(void)
{
	u8 *block = kmalloc(BLOCK, GFP_KERNEL);
	u32 ours, kernels;
	size_t i;

	if (!block)
		return -ENOMEM;
	for (i = 0; i < BLOCK; i++)
		block[i] = i * 37 + (i >> 8);
	ours = bento_rust_crc32(block);
	kernels = ~crc32_le(~0, block, BLOCK);
	kfree(block);
	if (ours != kernels) {
		pr_err("BENTO: checksum %08x differs from the kernel's %08x\n", ours, kernels);
		return -EINVAL;
	}
	return bento_register(THIS_MODULE, bento_rust_registration());
}

static void __exit glue_exit(void)
{
	bento_unregister(bento_rust_registration());
}

module_init(glue_init);
module_exit(glue_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A Bento file system");
BENTO_IMPORT();
