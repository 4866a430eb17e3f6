// SPDX-License-Identifier: GPL-2.0-only
/* /sys/fs/bento: the versions that are loaded, and what is told of each mount. One value a file. */
#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "internal.h"

static struct kset *bento;

struct told {
	struct attribute attribute;
	ssize_t (*show)(struct bento_mount *m, char *to);
};

static const char *state_of(struct bento_mount *m)
{
	if (READ_ONCE(m->poisoned))
		return "poisoned";
	if (READ_ONCE(m->down))
		return "shut-down";
	if (READ_ONCE(m->panicked))
		return "panicked";
	return sb_rdonly(m->sb) ? "read-only" : "read-write";
}

static ssize_t state_show(struct bento_mount *m, char *to)
{
	return sysfs_emit(to, "%s\n", state_of(m));
}

static ssize_t version_show(struct bento_mount *m, char *to)
{
	ssize_t used;

	mutex_lock(&m->upgrading);
	used = sysfs_emit(to, "%s\n", m->version);
	mutex_unlock(&m->upgrading);
	return used;
}

#define NUMBER(name, expression)                                  \
	static ssize_t name##_show(struct bento_mount *m, char *to) \
	{                                                           \
		return sysfs_emit(to, "%llu\n", (u64)(expression)); \
	}

NUMBER(operations, atomic64_read(&m->operations))
NUMBER(restarts, atomic64_read(&m->restarts))
NUMBER(upgrades, atomic64_read(&m->upgraded))
NUMBER(refusals, atomic64_read(&m->refusals))
NUMBER(panics, atomic64_read(&m->panics))
NUMBER(reports, atomic64_read(&m->reports))
NUMBER(blocks, atomic_long_read(&m->cached))
NUMBER(blocks_most, m->cache_most)
NUMBER(fetched, atomic64_read(&m->fetched))
NUMBER(evicted, atomic64_read(&m->evicted))
NUMBER(log_blocks, m->log)
NUMBER(log_free, READ_ONCE(m->log_free))
NUMBER(in_use, READ_ONCE(m->in_use))
NUMBER(not_home, READ_ONCE(m->not_home))
NUMBER(not_home_most, m->not_home_most)
NUMBER(running, READ_ONCE(m->running))
NUMBER(durable, READ_ONCE(m->durable))

/* Lines of a histogram: nanoseconds that all counted in a bucket stay below, and how many there are. */
static ssize_t show_bucket(char *to, ssize_t used, unsigned int bucket, u64 count)
{
	return count ? sysfs_emit_at(to, used, "%llu %llu\n", 1ULL << bucket, count) : 0;
}

static ssize_t held_ns_show(struct bento_mount *m, char *to)
{
	unsigned int bucket;
	ssize_t used = 0;
	int cpu;

	for (bucket = 0; bucket < BK_BUCKETS; bucket++) {
		u64 count = 0;

		for_each_possible_cpu(cpu)
			count += READ_ONCE(per_cpu_ptr(m->gate.passages, cpu)->held[bucket]);
		used += show_bucket(to, used, bucket, count);
	}
	return used;
}

static ssize_t pauses_ns_show(struct bento_mount *m, char *to)
{
	unsigned int bucket;
	ssize_t used = 0;

	for (bucket = 0; bucket < BK_BUCKETS; bucket++)
		used += show_bucket(to, used, bucket, atomic64_read(&m->pauses[bucket]));
	return used;
}

#define TOLD(file) static struct told file = { { .name = #file, .mode = 0444 }, file##_show }
TOLD(state);
TOLD(version);
TOLD(operations);
TOLD(restarts);
TOLD(panics);
TOLD(reports);
TOLD(upgrades);
TOLD(refusals);
TOLD(held_ns);
TOLD(pauses_ns);
TOLD(blocks);
TOLD(blocks_most);
TOLD(fetched);
TOLD(evicted);
TOLD(log_blocks);
TOLD(log_free);
TOLD(in_use);
TOLD(not_home);
TOLD(not_home_most);
TOLD(running);
TOLD(durable);

static struct attribute *mount_files[] = {
	&state.attribute, &version.attribute, &operations.attribute, &restarts.attribute,
	&panics.attribute, &reports.attribute, NULL,
};
static struct attribute *gate_files[] = {
	&upgrades.attribute, &refusals.attribute, &held_ns.attribute, &pauses_ns.attribute, NULL,
};
static struct attribute *cache_files[] = {
	&blocks.attribute, &blocks_most.attribute, &fetched.attribute, &evicted.attribute, NULL,
};
static struct attribute *journal_files[] = {
	&log_blocks.attribute, &log_free.attribute, &in_use.attribute, &not_home.attribute,
	&not_home_most.attribute, &running.attribute, &durable.attribute, NULL,
};

static const struct attribute_group mount_group = { .attrs = mount_files };
static const struct attribute_group gate_group = { .name = "gate", .attrs = gate_files };
static const struct attribute_group cache_group = { .name = "cache", .attrs = cache_files };
static const struct attribute_group journal_group = { .name = "journal", .attrs = journal_files };
static const struct attribute_group *mount_groups[] = {
	&mount_group, &gate_group, &cache_group, &journal_group, NULL,
};

static ssize_t show(struct kobject *kobject, struct attribute *attribute, char *to)
{
	struct bento_mount *m = container_of(kobject, struct bento_mount, kobject);

	return container_of(attribute, struct told, attribute)->show(m, to);
}

static void released(struct kobject *kobject)
{
	complete(&container_of(kobject, struct bento_mount, kobject)->kobject_gone);
}

static const struct sysfs_ops ops = { .show = show };

static struct kobj_type mount_type = {
	.sysfs_ops = &ops,
	.default_groups = mount_groups,
	.release = released,
};

void bk_sysfs_remove(struct bento_mount *m)
{
	kobject_del(&m->kobject);
	kobject_put(&m->kobject);
	/* A reader may still have it open. */
	wait_for_completion(&m->kobject_gone);
}

int bk_sysfs_add(struct bento_mount *m)
{
	int error;

	init_completion(&m->kobject_gone);
	m->kobject.kset = bento;
	error = kobject_init_and_add(&m->kobject, &mount_type, NULL, "%s", m->name);
	if (error) {
		kobject_put(&m->kobject);
		wait_for_completion(&m->kobject_gone);
	}
	return error;
}

static ssize_t versions_show(struct kobject *kobject, struct kobj_attribute *attribute, char *to)
{
	return bk_types_show(to);
}

static struct kobj_attribute versions = __ATTR_RO(versions);

int bk_sysfs_init(void)
{
	int error;

	bento = kset_create_and_add("bento", NULL, fs_kobj);
	if (!bento)
		return -ENOMEM;
	error = sysfs_create_file(&bento->kobj, &versions.attr);
	if (error)
		kset_unregister(bento);
	return error;
}

void bk_sysfs_exit(void)
{
	kset_unregister(bento);
}
