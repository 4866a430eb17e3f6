/* SPDX-License-Identifier: GPL-2.0-only */
/* Everything that differs between the supported kernels. */
#ifndef BENTO_COMPAT_H
#define BENTO_COMPAT_H

#include <linux/module.h>
#include <linux/version.h>

/* The name of a symbol namespace became a string in 6.13. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define BENTO_EXPORT(symbol) EXPORT_SYMBOL_NS_GPL(symbol, "BENTO")
#define BENTO_IMPORT() MODULE_IMPORT_NS("BENTO")
#else
#define BENTO_EXPORT(symbol) EXPORT_SYMBOL_NS_GPL(symbol, BENTO)
#define BENTO_IMPORT() MODULE_IMPORT_NS(BENTO)
#endif

#endif
