// SPDX-License-Identifier: GPL-2.0-only
/* The file systems that are there: one for each Rust module. */
#include <linux/sysfs.h>

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
	return reg->mount && reg->unmount && reg->drive && reg->export && reg->import ? 0 : -EINVAL;
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
	list_add(&type->link, &types);
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

/* A version is a name, a space, and a number; either the name or the whole names it. */
static bool is_named(const struct bento_registration *reg, const char *name)
{
	size_t length = strlen(name);

	return length <= reg->version_bytes && !memcmp(reg->version, name, length) &&
	       (length == reg->version_bytes || reg->version[length] == ' ');
}

static struct bk_type *get(const char *name)
{
	struct bk_type *type;

	list_for_each_entry(type, &types, link)
		if ((!name || is_named(type->reg, name)) && try_module_get(type->owner))
			return type;
	return NULL;
}

/* The newest type with a name; without one, the plain file system, or else the newest. */
struct bk_type *bk_type_get(const char *name)
{
	struct bk_type *found;

	mutex_lock(&types_lock);
	found = get(name ?: "bento-fs");
	if (!found && !name)
		found = get(NULL);
	mutex_unlock(&types_lock);
	return found;
}

/* Another type than this one, which is in use; this one only if there is no other. */
struct bk_type *bk_type_get_other(struct bk_type *than)
{
	struct bk_type *type, *found = NULL;

	mutex_lock(&types_lock);
	list_for_each_entry(type, &types, link) {
		if (type != than && try_module_get(type->owner)) {
			found = type;
			break;
		}
	}
	if (!found && try_module_get(than->owner))
		found = than;
	mutex_unlock(&types_lock);
	return found;
}

void bk_type_put(struct bk_type *type)
{
	module_put(type->owner);
}

/* Lets a type serve a mount that nobody is inside of: whatever is asked of it outside the gate is copied. */
void bk_use_type(struct bento_mount *m, struct bk_type *type)
{
	const struct bento_registration *reg = type->reg;

	m->type = type;
	memcpy(m->costs, reg->costs, sizeof(m->costs));
	WRITE_ONCE(m->wants_first_write, reg->wants_first_write);
	scnprintf(m->version, sizeof(m->version), "%.*s", (int)reg->version_bytes, reg->version);
	/* Who sees this number sees the costs. */
	smp_store_release(&m->upgrades, m->upgrades + 1);
}

/* One version a line, the newest first. */
ssize_t bk_types_show(char *to)
{
	struct bk_type *type;
	ssize_t used = 0;

	mutex_lock(&types_lock);
	list_for_each_entry(type, &types, link)
		used += sysfs_emit_at(to, used, "%.*s\n", (int)type->reg->version_bytes, type->reg->version);
	mutex_unlock(&types_lock);
	return used;
}
