/* SPDX-License-Identifier: GPL-2.0-only */
/* What the C part of a Rust module needs of BentoFS. */
#ifndef BENTO_REGISTER_H
#define BENTO_REGISTER_H

#include "bentofs.h"
#include "compat.h"

int bento_register(struct module *owner, const struct bento_registration *reg);
void bento_unregister(const struct bento_registration *reg);

/* What a Rust module answers to. */
u32 bento_rust_crc32(const void *block);
const struct bento_registration *bento_rust_registration(void);

#endif
