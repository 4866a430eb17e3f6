/* SPDX-License-Identifier: GPL-2.0-only */
/* Everything that differs between the supported kernels: 6.1, 6.12, 7.2. */
#ifndef BENTO_COMPAT_H
#define BENTO_COMPAT_H

#include <linux/bio.h>
#include <linux/fs.h>
#include <linux/fileattr.h>
#include <linux/iomap.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/slab.h>
#include <linux/sched/clock.h>
#include <linux/timekeeping.h>
#include <linux/version.h>
#include <linux/xattr.h>
#if __has_include(<linux/filelock.h>)
#include <linux/filelock.h>
#endif
#if __has_include(<linux/folio_batch.h>)
#include <linux/folio_batch.h>
#else
#include <linux/pagevec.h>
#endif

#define BENTO_SINCE(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

/* The name of a symbol namespace became a string. */
#if BENTO_SINCE(6, 13)
#define BENTO_EXPORT(symbol) EXPORT_SYMBOL_NS_GPL(symbol, "BENTO")
#define BENTO_IMPORT() MODULE_IMPORT_NS("BENTO")
#else
#define BENTO_EXPORT(symbol) EXPORT_SYMBOL_NS_GPL(symbol, BENTO)
#define BENTO_IMPORT() MODULE_IMPORT_NS(BENTO)
#endif

/* A clock for short times, which costs little: not the time of day, and not quite the same on all CPUs. */
#ifdef CONFIG_UML
#define bento_clock() ktime_get_mono_fast_ns()
#else
#define bento_clock() local_clock()
#endif

/* How a mount maps owners got a type of its own. */
#if BENTO_SINCE(6, 3)
typedef struct mnt_idmap bento_idmap;
#else
typedef struct user_namespace bento_idmap;
#endif

#if BENTO_SINCE(6, 6)
#define bento_fillattr(idmap, mask, inode, stat) generic_fillattr(idmap, mask, inode, stat)
#else
#define bento_fillattr(idmap, mask, inode, stat) generic_fillattr(idmap, inode, stat)
#endif

/* Times are set through functions. */
#if BENTO_SINCE(6, 7)
#define bento_set_atime(inode, time) inode_set_atime_to_ts(inode, time)
#define bento_set_mtime(inode, time) inode_set_mtime_to_ts(inode, time)
#define bento_set_ctime(inode, time) inode_set_ctime_to_ts(inode, time)
#define bento_get_atime(inode) inode_get_atime(inode)
#define bento_get_mtime(inode) inode_get_mtime(inode)
#define bento_get_ctime(inode) inode_get_ctime(inode)
#else
#define bento_set_atime(inode, time) ((inode)->i_atime = (time))
#define bento_set_mtime(inode, time) ((inode)->i_mtime = (time))
#define bento_set_ctime(inode, time) ((inode)->i_ctime = (time))
#define bento_get_atime(inode) ((inode)->i_atime)
#define bento_get_mtime(inode) ((inode)->i_mtime)
#define bento_get_ctime(inode) ((inode)->i_ctime)
#endif

#if BENTO_SINCE(6, 7)
#define BENTO_XATTR_CONST const
#else
#define BENTO_XATTR_CONST
#endif

#if BENTO_SINCE(6, 5)
#define bento_splice_read filemap_splice_read
#else
#define bento_splice_read generic_file_splice_read
#endif

/* Lists are set through a name, and the VFS handles their attributes itself. */
#if BENTO_SINCE(6, 2)
typedef struct dentry *bento_acl_place;
#define bento_acl_inode(place) d_inode(place)
#define bento_acl_chmod(idmap, dentry, mode) posix_acl_chmod(idmap, dentry, mode)
#define BENTO_ACL_OPS .get_inode_acl = bk_get_acl, .set_acl = bk_set_acl,
#define BENTO_ACL_XATTRS
#else
typedef struct inode *bento_acl_place;
#define bento_acl_inode(place) (place)
#define bento_acl_chmod(idmap, dentry, mode) posix_acl_chmod(idmap, d_inode(dentry), mode)
#define BENTO_ACL_OPS .get_acl = bk_get_acl, .set_acl = bk_set_acl,
#define BENTO_ACL_XATTRS &posix_acl_access_xattr_handler, &posix_acl_default_xattr_handler,
#endif

/* A list in the form that user space has of it, allocated. */
#if BENTO_SINCE(7, 0)
static inline void *bento_acl_bytes(const struct posix_acl *acl, size_t *bytes)
{
	return posix_acl_to_xattr(&init_user_ns, acl, bytes, GFP_KERNEL);
}
#else
static inline void *bento_acl_bytes(const struct posix_acl *acl, size_t *bytes)
{
	void *value = kmalloc(posix_acl_xattr_size(acl->a_count), GFP_KERNEL);

	*bytes = posix_acl_xattr_size(acl->a_count);
	if (value)
		posix_acl_to_xattr(&init_user_ns, acl, value, *bytes);
	return value;
}
#endif

/* What chattr(1) sets got another name. */
#if BENTO_SINCE(6, 17)
typedef struct file_kattr bento_fileattr;
#else
typedef struct fileattr bento_fileattr;
#endif

/* A new directory may be another dentry than was asked for. */
#if BENTO_SINCE(6, 15)
typedef struct dentry *bento_mkdir_result;
#define BENTO_MKDIR(error) ERR_PTR(error)
#else
typedef int bento_mkdir_result;
#define BENTO_MKDIR(error) (error)
#endif

/* A file system is told that its device is gone. */
#if BENTO_SINCE(6, 5)
#define BENTO_SHUTDOWN(function) .shutdown = function,
#else
#define BENTO_SHUTDOWN(function)
#endif

/* The state of an inode is read through a function. */
#if BENTO_SINCE(6, 19)
#define bento_is_new(inode) (inode_state_read_once(inode) & I_NEW)
#else
#define bento_is_new(inode) (READ_ONCE((inode)->i_state) & I_NEW)
#endif

/* A file's folio in the cache: none, or with a reference. */
static inline struct folio *bento_find_folio(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(mapping, index);

	return IS_ERR_OR_NULL(folio) ? NULL : folio;
}

/* The same, made if it is not there, of so many bytes at the most; locked, and stable if the device wants that. */
static inline struct folio *bento_new_folio(struct address_space *mapping, pgoff_t index, size_t bytes)
{
#if BENTO_SINCE(6, 6)
	fgf_t flags = fgf_set_order(bytes);
#else
	int flags = 0;
#endif
	struct folio *folio = __filemap_get_folio(mapping, index, flags | FGP_LOCK | FGP_WRITE | FGP_CREAT | FGP_STABLE,
						  mapping_gfp_mask(mapping));

	return IS_ERR_OR_NULL(folio) ? NULL : folio;
}

/* Folios of several blocks, where their size can be limited: not where the kernel itself makes larger ones of small ones. */
#if BENTO_SINCE(6, 12) && !IS_ENABLED(CONFIG_READ_ONLY_THP_FOR_FS)
#define bento_allow_folios(mapping, order) mapping_set_folio_order_range(mapping, 0, order)
#else
#define bento_allow_folios(mapping, order)
#endif

/* After a write fault all of a folio may be written to, not only the page that it was about. */
#define BENTO_FAULTS_FOLIOS BENTO_SINCE(6, 18)

/* Part of a folio for a request; whether there was room. */
static inline bool bento_bio_add(struct bio *bio, struct folio *folio, size_t bytes, size_t offset)
{
#if BENTO_SINCE(6, 12)
	return bio_add_folio(bio, folio, bytes, offset);
#else
	return bio_add_page(bio, folio_page(folio, 0), bytes, offset) == bytes;
#endif
}

/* write(2) asks for pages, then for folios; and says for which file, then for which request. */
#if BENTO_SINCE(6, 12)
typedef struct folio bento_data_page;
#define bento_page_of(folio) (folio)
#define bento_folio_of(page) (page)
#else
typedef struct page bento_data_page;
#define bento_page_of(folio) (&(folio)->page)
#define bento_folio_of(page) page_folio(page)
#endif
#if BENTO_SINCE(6, 17)
typedef const struct kiocb bento_writer;
#else
typedef struct file bento_writer;
#endif

/* Whether generic_perform_write() moves the file's position differs even among updates of 6.1: it is set, not added to. */
static inline ssize_t bento_perform_write(struct kiocb *iocb, struct iov_iter *from)
{
	loff_t at = iocb->ki_pos;
	ssize_t written = generic_perform_write(iocb, from);

	if (written > 0)
		iocb->ki_pos = at + written;
	return written;
}

#endif
