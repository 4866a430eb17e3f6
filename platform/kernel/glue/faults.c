// SPDX-License-Identifier: GPL-2.0-only
/* The parameter through which a test seeds a fault: the name of its place. */
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "register.h"

s32 bento_rust_seed(const u8 *name, size_t bytes);

static int set(const char *text, const struct kernel_param *parameter)
{
	return bento_rust_seed((const u8 *)text, strcspn(text, "\n"));
}

static const struct kernel_param_ops ops = { .set = set };

module_param_cb(fault, &ops, NULL, 0200);
MODULE_PARM_DESC(fault, "The place of the next fault");
