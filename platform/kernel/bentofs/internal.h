/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BentoFS: the state of a mount, in containers that know no format, and the way into Rust.
 *
 * Locking: i_rwsem -> (line for credits) -> driving -> gate -> settling -> rename -> node lock (by number) -> join
 * -> latch -> group | slot | running | frees, which are leaves. Latch, group and slot are spinning locks. Nothing inside
 * the gate waits for I/O.
 */
#ifndef BENTO_INTERNAL_H
#define BENTO_INTERNAL_H

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/fs_parser.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/writeback.h>
#include <linux/xarray.h>

#define BENTO_BLOCK 4096
#define BENTO_BLOCK_BITS 12

#include "bentofs.h"
#include "compat.h"
#include "data.h"
#include "gate.h"

/* The root directory. */
#define BENTO_ROOT 1
/* Pages that one attempt can take, and that a call keeps in reserve. */
#define BK_PAGES 128
#define BK_RESERVE 208
/* Requests that one step of the journal lists: its blocks, its headers, its flushes. */
#define BK_REQUESTS 192
#define BK_LATCHES 2
/* What an entry answers after a panic. */
#define BK_PANICKED (-100117)

enum bk_state { BK_LOADING, BK_READY, BK_FAILED };

/* A durable version that is not home yet. */
struct bk_version {
	struct page *page;
	u64 seq;
	/* The oldest batch whose version of this block this one makes superfluous. */
	u64 oldest;
};

/* A cached block: what readers see, and older versions that are still needed. */
struct bk_block {
	struct bento_block rust;
	atomic_t refs;
	int state;
	/* Left the cache: its number may mean another block. */
	bool gone;
	/* Not in the cache yet: a new block of an attempt that has not merged. */
	bool unseen;
	bool used;
	/* Guards all that follows, but for the home. */
	rwlock_t latch;
	struct page *page;
	/* The last batch that changed the page; 0 if it is home. */
	u64 tag;
	/* The homes hold the page too: it is copied before it changes, and need not be frozen. */
	bool held;
	u32 frozen_count;
	struct {
		u64 seq;
		struct page *page;
	} frozen[BENTO_BATCHES_IN_FLIGHT];
	struct rcu_head rcu;
};

struct bk_home {
	struct bk_block *block;
	struct bk_version waiting;
	/* The version that is on its way; 0 if none is. */
	u64 listed;
};

/* What the platform keeps of an inode by its number: its lock, and its slot while the VFS has it. */
struct bk_node {
	u64 ino;
	atomic_t refs;
	struct rw_semaphore lock;
	/* Guards the slot, and the VFS's copies of what it holds. */
	spinlock_t slot_lock;
	bool has_slot;
	struct bento_slot slot;
	/* Among those whose times only memory knows. Guarded by the mount's dirty_lock; holds a reference. */
	struct list_head dirty;
	struct rcu_head rcu;
};

struct bk_group {
	spinlock_t lock;
	bool loaded;
	u32 hints[2];
	u64 *words;
};

struct bk_batch {
	u64 seq;
	u32 count;
	bool used;
	struct bk_block **blocks;
};

/* A page full of bits that a merge freed. */
struct bk_frees {
	struct list_head link;
	u64 batch;
	u32 count;
	bool logged;
	struct bento_freed freed[];
};
#define BK_FREES ((PAGE_SIZE - sizeof(struct bk_frees)) / sizeof(struct bento_freed))

struct bk_due {
	u64 batch;
	bool homed;
};

/* How many more placements may be opened, and the line of those who wait for that. */
struct bk_room {
	atomic_t left;
	struct mutex line;
	wait_queue_head_t made;
};

/* Blocks chosen for data that is on its way: found by number, and by inode and place in the file. */
struct bk_placement {
	struct rb_node node;
	u32 id;
	struct bento_placement placement;
};

struct bk_type {
	struct list_head link;
	struct module *owner;
	const struct bento_registration *reg;
};

/* What a mount was told. */
enum bk_errors { BK_ERRORS_CONTINUE, BK_ERRORS_READ_ONLY, BK_ERRORS_SHUTDOWN };
struct bk_options {
	/* What is done about damage. */
	enum bk_errors errors;
	/* How long a change waits at most before it is on its way to the log. */
	u32 commit_seconds;
	/* Begin with the version that records provenance. */
	bool prov;
};

/* Blocks that are read ahead for who reads one after the other: recovery reads the whole log. */
#define BK_WINDOW 64

struct bento_disk {
	struct bento_mount *mount;
	struct block_device *bdev;
	struct page *page;
	/* Blocks from `at` on; `next` would go on with the last read. */
	struct page *window[BK_WINDOW];
	u64 at, next;
	u32 count;
};

struct bento_mount {
	struct super_block *sb;
	struct block_device *bdev;
	char name[32];
	u64 blocks;
	bool read_only;
	struct bk_options options;

	/* The code that serves, and how often it was changed: only while the gate is closed. */
	struct bk_type *type;
	u64 upgrades;
	/* Whether it is told of the first write of each open file. */
	bool wants_first_write;
	struct bento_cost costs[BENTO_KINDS];
	char version[BENTO_VERSION_BYTES];
	u8 fs[BENTO_FS_BYTES] __aligned(16);
	struct bk_gate gate;
	/* The call that runs alone, since what it reads is gone before it can look at it. */
	struct bk_call *alone;
	struct mutex alone_lock;
	wait_queue_head_t alone_ended;
	/* One upgrade at a time. */
	struct mutex upgrading;
	bool panicked, poisoned, down;
	/* Damage was found: nothing may be changed any more. */
	bool damaged;

	struct xarray cache;
	atomic_long_t cached;
	unsigned long cache_most, cache_hand;
	atomic64_t fetched, evicted;

	struct xarray nodes;
	/* Inodes whose times only memory knows. */
	spinlock_t dirty_lock;
	struct list_head dirty;
	/* Counts inodes that left memory. */
	atomic64_t evictions;
	struct mutex rename;
	u64 tree_version;

	u32 group_count, inode_words, block_words, orphan_words;
	struct bk_group *groups;
	struct bk_group orphans;
	atomic64_t available[2];

	spinlock_t placement_lock;
	struct rb_root placements;
	struct xarray placement_ids;
	/* For flights, and for O_DIRECT: who writes so may have to wait for flights first. */
	struct bk_room room, direct_room;

	/* The running batch. */
	struct rw_semaphore join;
	u64 running;
	spinlock_t running_lock;
	struct bk_block **list;
	u32 count, list_most;
	atomic64_t totals[3];
	u32 ride_until;

	/* Those that are sealed. Guarded by running_lock; only the driver adds and removes. */
	struct bk_batch sealed[BENTO_BATCHES_IN_FLIGHT];
	u64 durable;

	spinlock_t frees_lock;
	struct list_head frees;
	u32 releasing;

	/* What completed batches set in motion, in order; settled outside the gate. */
	struct mutex settling;
	spinlock_t due_lock;
	struct bk_due due[64];
	u32 due_head, due_count;
	struct xarray homes;
	unsigned long home_hand;

	spinlock_t credit_lock;
	u32 log, log_free, batch_limit, not_home_most, not_home, in_use;
	struct mutex line;
	atomic_t waiting;

	struct mutex driving;
	struct bk_call *driver;
	struct mutex journal_lock;
	u8 journal[BENTO_JOURNAL] __aligned(8);
	struct page **tag_pages;
	u32 tag_page_count;
	atomic64_t written;

	wait_queue_head_t completed;
	atomic64_t completions;
	struct workqueue_struct *work;
	struct delayed_work timer;
	struct work_struct checkpoint;

	spinlock_t calls_lock;
	struct list_head idle_calls;
	u32 idle_count;

	struct bk_data data;

	struct kobject kobject;
	struct completion kobject_gone;

	atomic64_t restarts, operations, reports, panics, upgraded, refusals;
	/* How long upgrades kept operations out. */
	atomic64_t pauses[BK_BUCKETS];
};

/* Requests that are waited for together: io.c. */
struct bk_waiting {
	atomic_t left;
	int error;
	struct completion done;
};

struct bk_request {
	u64 at;
	/* None: a flush. */
	struct page *page;
};

/* One operation: Rust's part first. What an attempt takes is noted here before it is handed out. */
struct bk_call {
	struct bento_call rust;
	struct bento_mount *mount;
	struct list_head link, all;
	/* One more than the upgrades before the attempt that left its view in the scratch bytes; 0 if none did. */
	u64 view_of;

	/* The way out of a panic. */
	void *sp;
	struct task_struct *task;
	bool panicking, formatting;

	/* Damage that this call met first, told once it is outside the gate. */
	struct {
		u32 what;
		u64 block, ino;
	} damage;

	u32 pin_count;
	struct bk_block *pins[BENTO_PINS_MOST];
	/* Those that this call is reading. */
	struct bk_block *fetching[BENTO_WANTED_MOST];

	struct {
		struct bk_block *block;
		bool exclusive;
	} latches[BK_LATCHES];
	u32 latch_count;
	struct bk_group *group;
	u32 group_no;
	struct bk_node *slot;
	struct {
		struct bk_node *node;
		bool exclusive;
	} locks[BENTO_LOCKS_MOST];
	u32 lock_count;
	bool rename, journal;
	u64 joined;

	/* Blocks that are promised to this call alone, and those of them that it has claimed; it may not fail for space. */
	u64 budget, spent;
	bool last_resort;
	/* What becomes a placement in this call. */
	struct bk_placement *opening;
	/* Others' dirty blocks may be written for it, which gives back what they were promised and do not need. */
	bool may_write_back;

	u32 reserve_count, taken_count, taken_most;
	struct page *reserve[BK_RESERVE];
	struct page *taken[BK_PAGES];

	u32 request_count;
	struct bk_request requests[BK_REQUESTS];
};

static inline struct bk_call *bk_of(struct bento_call *call)
{
	return container_of(call, struct bk_call, rust);
}

static inline struct bk_block *bk_block_of(struct bento_block *block)
{
	return container_of(block, struct bk_block, rust);
}

/* After a panic that another version can take over from: nothing is lost yet. */
static inline bool bk_awaits_takeover(struct bento_mount *m)
{
	return READ_ONCE(m->panicked) && !READ_ONCE(m->down);
}

#define bk_err(m, fmt, ...) pr_err("BENTO-fs (%s): " fmt "\n", (m)->name, ##__VA_ARGS__)
#define bk_info(m, fmt, ...) pr_info("BENTO-fs (%s): " fmt "\n", (m)->name, ##__VA_ARGS__)

/* guard.S */
long bento_guard(void **sp, const void *fn, const void *fs, void *call, void *third);
void bento_escape(void **sp, long value);

/* crc.c */
void bk_crc_init(void);
void bk_crc_exit(void);

/* services.c */
void bk_boot_id(u8 to[16]);
void bk_panic_add(struct bk_call *c);
void bk_panic_remove(struct bk_call *c);

/* cache.c */
int bk_fetch_wanted(struct bk_call *c);
struct bk_block *bk_block_new(u64 no);
void bk_put(struct bk_block *block);
void bk_publish(struct bento_mount *m, struct bk_block *block);
void bk_drop_run(struct bento_mount *m, u64 start, u32 count);
int bk_overlay(struct bento_mount *m, u64 no, const void *from);
unsigned long bk_cache_shrink(struct bento_mount *m, unsigned long most);
void bk_cache_destroy(struct bento_mount *m);
int bk_io(struct block_device *bdev, u64 no, struct page *page, u64 count, blk_opf_t opf);
int bk_flush(struct bento_mount *m);
int bk_flush_through(struct bento_mount *m, s64 mark);

/* call.c */
struct bk_call *bk_call_get(struct bento_mount *m);
void bk_call_put(struct bk_call *c);
void bk_call_free(struct bk_call *c);
void bk_prepare(struct bk_call *c, struct bento_cost cost);
void bk_end_attempt(struct bk_call *c);
void bk_release_held(struct bk_call *c);
void bk_drop_pins(struct bk_call *c, bool all);
u64 bk_newest_undurable(struct bk_call *c);
struct page *bk_spare(struct bk_call *c);
struct bk_node *bk_node_get(struct bento_mount *m, u64 ino);
void bk_node_put(struct bento_mount *m, struct bk_node *node);

/* space.c */
int bk_groups_init(struct bento_mount *m, const struct bento_mounted *mounted);
void bk_groups_destroy(struct bento_mount *m);
u32 bk_clear(struct bento_mount *m, u32 group, u32 map, u32 start, u32 length);
void bk_unclaim(struct bk_call *c, const struct bento_claim *claim);
void bk_room_init(struct bk_room *room);
bool bk_try_room(struct bk_room *room, u32 placements);
void bk_take_room(struct bk_room *room, u32 placements);
void bk_give_room(struct bk_room *room, u32 placements);
u32 bk_opening_begin(struct bk_call *c);
void bk_opening_end(struct bk_call *c, u32 id, int error);
void bk_forget_placement(struct bento_mount *m, u32 id);

/* batch.c */
int bk_batches_init(struct bento_mount *m, const struct bento_mounted *mounted);
void bk_batches_destroy(struct bento_mount *m);
bool bk_take_credits(struct bk_call *c, u32 credits);
void bk_give_back(struct bk_call *c);
bool bk_could_ever_fit(struct bento_mount *m, u32 credits);
void bk_spend(struct bk_call *c);
void bk_completed(struct bento_mount *m);
void bk_shut_down(struct bento_mount *m, const char *why);
bool bk_wants_checkpoint(struct bento_mount *m);
void bk_enter_batch(struct bk_call *c, struct bk_block *block);
struct page *bk_own_page(struct bk_call *c, struct page **page);
void bk_came_home(struct bento_mount *m, u32 versions);
void bk_release_frees(struct bento_mount *m, u64 through, bool logged);

/* homes.c */
void bk_homes_destroy(struct bento_mount *m);
void bk_settle(struct bento_mount *m);

/* io.c */
void bk_list_request(struct bk_call *c, u64 at, struct page *page);
void bk_waiting_begin(struct bk_waiting *waiting);
void bk_send(struct bk_waiting *waiting, struct bio *bio);
int bk_wait(struct bk_waiting *waiting);
int bk_submit(struct bento_mount *m, struct bk_call *c);
void bk_requests_drop(struct bk_call *c);

/* run.c */
enum { BK_NOTHING, BK_WORK, BK_LATER };
void bk_tell_damage(struct bk_call *c);
long bk_guarded(struct bk_call *c, const void *fn, void *fs, void *third);
int bk_run(struct bk_call *c, unsigned int op, unsigned int kind);
int bk_find_space(struct bento_mount *m, bool write_back, u32 *searched);
int bk_drive(struct bento_mount *m, u32 event);
int bk_sync(struct bento_mount *m, u64 batch);
int bk_sync_if(bool wanted, struct bk_call *c);
int bk_commit(struct bento_mount *m);
int bk_checkpoint(struct bento_mount *m);
void bk_summarise(struct bento_mount *m);
void bk_timer(struct work_struct *work);
void bk_background_checkpoint(struct work_struct *work);

/* register.c */
struct bk_type *bk_type_get(const char *name);
struct bk_type *bk_type_get_other(struct bk_type *than);
void bk_use_type(struct bento_mount *m, struct bk_type *type);
ssize_t bk_types_show(char *to);
void bk_type_put(struct bk_type *type);

/* inode.c */
struct bk_inode {
	struct inode vfs;
	struct bk_node *node;
	struct bento_time btime;
	/* FS_*_FL of chattr(1). */
	u32 flags;
	struct bk_file file;
	/* A directory's size and blocks are older than its entries; and the version that they are of. */
	bool stale;
	u64 version;
};

static inline struct bk_inode *bk_inode_of(struct inode *inode)
{
	return container_of(inode, struct bk_inode, vfs);
}

static inline struct bento_mount *bk_mount_of(struct inode *inode)
{
	return inode->i_sb->s_fs_info;
}

static inline struct timespec64 bk_time_of(struct bento_time time)
{
	return (struct timespec64){ .tv_sec = time.seconds, .tv_nsec = time.nanoseconds };
}

struct bk_call *bk_call_for(struct inode *inode);
int bk_inodes_init(void);
void bk_inodes_exit(void);
struct inode *bk_inode_alloc(struct super_block *sb);
void bk_inode_free(struct inode *inode);
void bk_inode_evict(struct inode *inode);
struct inode *bk_iget(struct super_block *sb, struct bk_call *c, s64 seen);
int bk_inode_made(struct inode *inode, struct bk_call *c);
void bk_inode_dirty(struct inode *inode, int flags);
int bk_inode_write(struct inode *inode, struct writeback_control *control);
void bk_refresh(struct inode *inode, const struct bento_attr *attr);
void bk_changed(struct inode *inode, struct bento_time now);
void bk_entries_changed(struct inode *dir, struct bento_time now);
int bk_refresh_size(struct inode *dir);
int bk_evict(struct bk_call *c, u64 ino);
int bk_flush_all_times(struct bento_mount *m);
int bk_sync_inode(struct inode *inode, int datasync);

/* namei.c */
extern const struct inode_operations bk_dir_iops;
extern const struct file_operations bk_dir_fops;

/* attr.c */
int bk_getattr(bento_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask, unsigned int flags);
int bk_flags_get(struct dentry *dentry, bento_fileattr *to);
int bk_flags_set(bento_idmap *idmap, struct dentry *dentry, bento_fileattr *from);
int bk_setattr(bento_idmap *idmap, struct dentry *dentry, struct iattr *attr);
struct posix_acl *bk_get_acl(struct inode *inode, int type, bool rcu);
int bk_set_acl(bento_idmap *idmap, bento_acl_place place, struct posix_acl *acl, int type);
ssize_t bk_listxattr(struct dentry *dentry, char *buffer, size_t size);
extern const struct inode_operations bk_link_iops;
extern const struct inode_operations bk_special_iops;
extern const struct xattr_handler *BENTO_XATTR_CONST bk_xattrs[];

/* file.c */
int bk_first_write(struct file *file);
extern const struct inode_operations bk_file_iops;

/* options.c */
extern const struct fs_parameter_spec bk_parameters[];
int bk_option(struct fs_context *fc, struct fs_parameter *parameter);
void bk_options_show(struct seq_file *seq, const struct bento_mount *m);
struct bk_options *bk_options_new(const struct bento_mount *m);

/* export.c */
extern const struct export_operations bk_export;

/* ioctl.c */
long bk_ioctl(struct file *file, unsigned int command, unsigned long argument);
#ifdef CONFIG_COMPAT
long bk_compat_ioctl(struct file *file, unsigned int command, unsigned long argument);
#else
#define bk_compat_ioctl NULL
#endif
/* upgrade.c */
long bk_control(struct bento_mount *m, unsigned int command, void __user *at);

/* sysfs.c */
int bk_sysfs_init(void);
void bk_sysfs_exit(void);
int bk_sysfs_add(struct bento_mount *m);
void bk_sysfs_remove(struct bento_mount *m);

/* super.c */
int bk_super_init(void);
void bk_super_exit(void);

#endif
