#ifndef XPORT_MOUNTS_H
#define XPORT_MOUNTS_H

/*
 * What is mounted where, for `xport mount`, `umount` and `doctor`. A daemon that was killed leaves
 * a mount that answers ENOTCONN, and one that was stopped a mount that answers nothing: so it is
 * asked by a child that can be left behind.
 */

#include <limits.h>
#include <sys/types.h>

#define MOUNT_DEFAULT "/mnt/xport"

enum mount_state {
	MOUNT_NONE,    /* the directory is none, or nothing is mounted there */
	MOUNT_LIVING,  /* xportfs answers, or answers only others */
	MOUNT_STALE,   /* its daemon is gone */
	MOUNT_SILENT,  /* xportfs does not answer */
	MOUNT_FOREIGN, /* another file system */
};

struct mount {
	char path[PATH_MAX]; /* absolute, as the kernel knows it */
	enum mount_state state;
	pid_t daemon; /* of a living one; 0 when it would not say */
};

/* 0, or the errno of a path that leads nowhere even without its last part. */
int mount_find(struct mount *mount, const char *directory);

/* Takes it out of the tree, also when it is in use, stale or silent. 0 or the errno. */
int mount_detach(const struct mount *mount);

#endif
