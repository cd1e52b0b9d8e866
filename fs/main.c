/*
 * xportfs: takes the kernel's requests and answers them, see tree.h. It is started by `xport mount`
 * and ends by a signal or when it is unmounted.
 */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "xportfs.h"

/* To the kernel there is nothing but ENOENT, EIO and the likes. */
static void reply_error(fuse_req_t request, int error)
{
	fuse_reply_err(request, error == EBADMSG || error == EPERM ? EIO : error);
}

/* ---- Names and attributes ------------------------------------------------------------------ */

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	int error = look_up(parent, name, &entry);

	if (error != 0)
		reply_error(request, error);
	else
		fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	struct stat attributes;
	int error = get_attributes(inode, &attributes);

	(void)info;
	if (error != 0)
		reply_error(request, error);
	else
		fuse_reply_attr(request, &attributes, seconds_valid(&attributes));
}

static void on_statfs(fuse_req_t request, fuse_ino_t inode)
{
	struct statvfs status = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_namemax = STAT_FILE_NAME - 1,
		.f_flag = ST_RDONLY | ST_NOSUID,
	};

	(void)inode;
	fuse_reply_statfs(request, &status);
}

/* ---- Directories --------------------------------------------------------------------------- */

static void on_opendir(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	struct directory *directory = calloc(1, sizeof(*directory));

	(void)inode;
	if (directory == NULL) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	info->fh = (uintptr_t)directory;
	if (fuse_reply_open(request, info) != 0)
		free(directory); /* nobody will close it */
}

static void on_releasedir(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	struct directory *directory = (void *)(uintptr_t)info->fh;

	(void)inode;
	free(directory->entries);
	free(directory);
	fuse_reply_err(request, 0);
}

/* Adds one entry if there is room; returns the bytes it takes, more than `room` if there is not. */
static size_t add_to_reply(fuse_req_t request, char *buffer, size_t room,
			   const struct directory_entry *entry, off_t next, bool plus)
{
	struct fuse_entry_param param = {.ino = entry->inode};

	if (get_attributes(entry->inode, &param.attr) != 0)
		return 0; /* gone meanwhile */
	param.attr_timeout = seconds_valid(&param.attr);
	if (plus)
		return fuse_add_direntry_plus(request, buffer, room, entry->name, &param, next);
	return fuse_add_direntry(request, buffer, room, entry->name, &param.attr, next);
}

/* "." and ".." are the kernel's business. */
static void read_directory(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
			   struct fuse_file_info *info, bool plus)
{
	struct directory *directory = (void *)(uintptr_t)info->fh;
	int error = offset == 0 ? list_directory(inode, directory) : 0;
	char *buffer = error == 0 ? malloc(size) : NULL;
	size_t used = 0;

	if (buffer == NULL) {
		reply_error(request, error != 0 ? error : ENOMEM);
		return;
	}
	for (size_t i = (size_t)offset; i < directory->count; i++) {
		size_t bytes = add_to_reply(request, buffer + used, size - used,
					    &directory->entries[i], (off_t)i + 1, plus);

		if (bytes > size - used)
			break;
		used += bytes;
	}
	fuse_reply_buf(request, buffer, used);
	free(buffer);
}

static void on_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
		       struct fuse_file_info *info)
{
	read_directory(request, inode, size, offset, info, false);
}

static void on_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
			   struct fuse_file_info *info)
{
	read_directory(request, inode, size, offset, info, true);
}

/* ---- Files --------------------------------------------------------------------------------- */

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	struct file *file;
	int error = (info->flags & O_ACCMODE) != O_RDONLY ? EACCES : open_file(inode, &file);

	if (error != 0) {
		reply_error(request, error);
		return;
	}
	info->fh = (uintptr_t)file;
	info->direct_io = 1; /* a size of 0 means nothing then */
	if (fuse_reply_open(request, info) != 0)
		close_file(file);
}

static void on_release(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	(void)inode;
	close_file((void *)(uintptr_t)info->fh);
	fuse_reply_err(request, 0);
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
		    struct fuse_file_info *info)
{
	const char *bytes;
	size_t count;
	int error = read_file((void *)(uintptr_t)info->fh, offset, size, &bytes, &count);

	(void)inode;
	if (error != 0)
		reply_error(request, error);
	else
		fuse_reply_buf(request, bytes, count);
}

static void on_ioctl(fuse_req_t request, fuse_ino_t inode, unsigned command, void *argument,
		     struct fuse_file_info *info, unsigned flags, const void *in, size_t in_bytes,
		     size_t out_bytes)
{
	uint32_t process = (uint32_t)getpid();

	(void)inode, (void)argument, (void)info, (void)flags, (void)in, (void)in_bytes;
	if (command != XPORTFS_PROCESS || out_bytes < sizeof(process))
		fuse_reply_err(request, ENOTTY);
	else
		fuse_reply_ioctl(request, 0, &process, sizeof(process));
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = on_lookup,
	.getattr = on_getattr,
	.statfs = on_statfs,
	.opendir = on_opendir,
	.readdir = on_readdir,
	.readdirplus = on_readdirplus,
	.releasedir = on_releasedir,
	.open = on_open,
	.read = on_read,
	.release = on_release,
	.ioctl = on_ioctl,
};

/* ---- Running ------------------------------------------------------------------------------- */

/* Every mapped segment and every open file of a process that is gone has a descriptor. */
static void allow_many_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* What went wrong was said by libfuse or its helper. */
static int serve(const char *mountpoint, bool foreground, bool allow_other)
{
	char options[160];
	char *words[] = {"xportfs", "-o", options, NULL};
	struct fuse_args arguments = {.argc = 3, .argv = words};
	struct fuse_session *session;
	int status = 1;

	snprintf(options, sizeof(options),
		 "ro,nosuid,nodev,noexec,default_permissions,fsname=xport,subtype=xport%s",
		 allow_other ? ",allow_other" : "");
	session = fuse_session_new(&arguments, &operations, sizeof(operations), NULL);
	if (session == NULL)
		return 1;
	if (fuse_set_signal_handlers(session) == 0) {
		if (fuse_session_mount(session, mountpoint) == 0) {
			if (fuse_daemonize(foreground) == 0)
				status = fuse_session_loop(session) < 0;
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	fuse_session_destroy(session);
	fuse_opt_free_args(&arguments);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option table[] = {{"foreground", no_argument, NULL, 'f'},
					      {"allow-other", no_argument, NULL, 'o'},
					      {NULL, 0, NULL, 0}};
	bool foreground = false, allow_other = false;
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (option == 'f')
			foreground = true;
		else if (option == 'o')
			allow_other = true;
		else
			argc = 0;
	}
	if (optind + 1 != argc) {
		fputs("usage: xportfs [--foreground] [--allow-other] DIR; see 'xport mount'\n",
		      stderr);
		return 2;
	}
	close_range(STDERR_FILENO + 1, ~0U, 0); /* what a shell had open is none of ours */
	allow_many_files();
	return serve(argv[optind], foreground, allow_other);
}
