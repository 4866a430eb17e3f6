/* SPDX-License-Identifier: GPL-2.0-only */
/* What C and Rust call of each other. */
#ifndef BENTOFS_H
#define BENTOFS_H

#include <linux/types.h>

#include "compat.h"

/* The kernel's services, for Rust. */
void bento_print(int level, const u8 *text, size_t length);
void bento_panicked(void);

/* What a Rust module answers to. */
u32 bento_rust_crc32(const void *block);

#endif
