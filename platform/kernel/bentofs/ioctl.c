// SPDX-License-Identifier: GPL-2.0-only
/* Requests beside reading and writing. */
#include <linux/compat.h>
#include <linux/uaccess.h>

#include "internal.h"

#ifndef FS_IOC_SHUTDOWN
#define FS_IOC_SHUTDOWN _IOR('X', 125, __u32)
#define FS_SHUTDOWN_FLAGS_DEFAULT 0
#define FS_SHUTDOWN_FLAGS_LOGFLUSH 1
#define FS_SHUTDOWN_FLAGS_NOLOGFLUSH 2
#endif

static int shut_down(struct super_block *sb, u32 __user *argument)
{
	struct bento_mount *m = sb->s_fs_info;
	int error = 0;
	u32 how;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (get_user(how, argument))
		return -EFAULT;
	switch (how) {
	case FS_SHUTDOWN_FLAGS_DEFAULT:
		down_read(&sb->s_umount);
		error = sync_filesystem(sb);
		up_read(&sb->s_umount);
		break;
	case FS_SHUTDOWN_FLAGS_LOGFLUSH:
		error = m->read_only ? 0 : bk_commit(m);
		break;
	case FS_SHUTDOWN_FLAGS_NOLOGFLUSH:
		break;
	default:
		return -EINVAL;
	}
	bk_shut_down(m, "it was asked to");
	return error;
}

long bk_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct inode *inode = file_inode(file);

	switch (command) {
	case BENTO_UPGRADE:
	case BENTO_STATUS:
		return bk_control(inode->i_sb->s_fs_info, command, (void __user *)argument);
	case FS_IOC_SHUTDOWN:
		return shut_down(inode->i_sb, (u32 __user *)argument);
	case FS_IOC_GETVERSION:
		return put_user(inode->i_generation, (u32 __user *)argument);
	}
	return -ENOTTY;
}

#ifdef CONFIG_COMPAT
long bk_compat_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	if (command == FS_IOC32_GETVERSION)
		command = FS_IOC_GETVERSION;
	return bk_ioctl(file, command, (unsigned long)compat_ptr(argument));
}
#endif
