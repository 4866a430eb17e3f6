// SPDX-License-Identifier: GPL-2.0-only
/* The C part of a module in Rust: loading and unloading. */
#include <linux/crc32.h>
#include <linux/init.h>
#include <linux/printk.h>

#include "bentofs.h"

/* The checksum in every block must be the same from both sides: refuse to load where it is not. */
static int __init glue_init(void)
{
	u8 data[64];
	u32 ours, kernels;
	size_t i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = i * 37 + 11;
	ours = bento_rust_crc32(data, sizeof(data));
	kernels = ~crc32_le(~0, data, sizeof(data));
	if (ours != kernels) {
		pr_err("BENTO: checksum %08x differs from the kernel's %08x\n", ours, kernels);
		return -EINVAL;
	}
	pr_info("BENTO: checksum %08x agrees with the kernel's\n", ours);
	return 0;
}

static void __exit glue_exit(void)
{
}

module_init(glue_init);
module_exit(glue_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A Bento file system");
BENTO_IMPORT();
