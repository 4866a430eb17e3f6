// SPDX-License-Identifier: GPL-2.0-only
/* The file systems that are there: one for each Rust module. */
#include "internal.h"
#include "register.h"

static LIST_HEAD(types);
static DEFINE_MUTEX(types_lock);

static int check(const struct bento_registration *reg)
{
	int at;

	if (!reg || reg->fingerprint != BENTO_FINGERPRINT) {
		pr_err("BENTO: a module of another build (%#llx, not %#llx) is refused\n", reg ? reg->fingerprint : 0,
		       BENTO_FINGERPRINT);
		return -EINVAL;
	}
	if (reg->scratch_bytes > BENTO_SCRATCH_BYTES || reg->fs_bytes > BENTO_FS_BYTES ||
	    reg->space_bytes + BENTO_BLOCK > BENTO_SPACE_BYTES)
		return -EINVAL;
	for (at = 0; at < BENTO_OP_COUNT; at++)
		if (!reg->ops[at])
			return -EINVAL;
	return reg->mount && reg->unmount && reg->drive ? 0 : -EINVAL;
}

int bento_register(struct module *owner, const struct bento_registration *reg)
{
	struct bk_type *type;
	int error = check(reg);

	if (error)
		return error;
	type = kzalloc(sizeof(*type), GFP_KERNEL);
	if (!type)
		return -ENOMEM;
	type->owner = owner;
	type->reg = reg;
	mutex_lock(&types_lock);
	list_add_tail(&type->link, &types);
	mutex_unlock(&types_lock);
	pr_info("BENTO: %.*s is ready\n", (int)reg->version_bytes, reg->version);
	return 0;
}
BENTO_EXPORT(bento_register);

/* A module that is being removed has no mounts: each holds a reference to it. */
void bento_unregister(const struct bento_registration *reg)
{
	struct bk_type *type, *next;

	mutex_lock(&types_lock);
	list_for_each_entry_safe(type, next, &types, link) {
		if (type->reg == reg) {
			list_del(&type->link);
			kfree(type);
		}
	}
	mutex_unlock(&types_lock);
}
BENTO_EXPORT(bento_unregister);

/* The type whose version begins with a name; without one, the first. */
struct bk_type *bk_type_get(const char *name)
{
	struct bk_type *type, *found = NULL;

	mutex_lock(&types_lock);
	list_for_each_entry(type, &types, link) {
		const struct bento_registration *reg = type->reg;

		if (name && (strlen(name) > reg->version_bytes || memcmp(name, reg->version, strlen(name))))
			continue;
		if (try_module_get(type->owner)) {
			found = type;
			break;
		}
	}
	mutex_unlock(&types_lock);
	return found;
}

void bk_type_put(struct bk_type *type)
{
	module_put(type->owner);
}
