/*
 * measure-minimal-fuse DIR: the least that a file system on libfuse can be that shows a number: one
 * file, "value", whose text is written anew when it is read from its start. It is what a counter's
 * file of xportfs is measured against. Stays in the foreground; ends by SIGTERM.
 */
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_INODE = 2 };

static const volatile uint64_t value = 1234567;

static struct stat attributes_of(fuse_ino_t inode)
{
	return (struct stat){.st_ino = inode,
			     .st_mode = inode == VALUE_INODE ? S_IFREG | 0444 : S_IFDIR | 0555,
			     .st_nlink = 1};
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.ino = VALUE_INODE, .attr = attributes_of(VALUE_INODE)};

	if (parent != FUSE_ROOT_ID || strcmp(name, "value") != 0)
		fuse_reply_err(request, ENOENT);
	else
		fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	struct stat attributes = attributes_of(inode);

	(void)info;
	fuse_reply_attr(request, &attributes, 0);
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	char *text = malloc(32);

	(void)inode;
	if (text == NULL) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	info->fh = (uintptr_t)text;
	info->direct_io = 1;
	fuse_reply_open(request, info);
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
		    struct fuse_file_info *info)
{
	char *text = (void *)(uintptr_t)info->fh;
	size_t length;

	(void)inode;
	if (offset == 0)
		snprintf(text, 32, "%" PRIu64 "\n", value);
	length = strlen(text);
	if ((size_t)offset >= length)
		length = 0;
	else
		length -= (size_t)offset;
	fuse_reply_buf(request, text + offset, length < size ? length : size);
}

static void on_release(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	(void)inode;
	free((void *)(uintptr_t)info->fh);
	fuse_reply_err(request, 0);
}

static const struct fuse_lowlevel_ops operations = {.lookup = on_lookup,
						    .getattr = on_getattr,
						    .open = on_open,
						    .read = on_read,
						    .release = on_release};

int main(int argc, char **argv)
{
	char *words[] = {argv[0], "-o", "ro,default_permissions,fsname=minimal", NULL};
	struct fuse_args arguments = {.argc = 3, .argv = words};
	struct fuse_session *session;
	int status = 1;

	if (argc != 2) {
		fputs("usage: measure-minimal-fuse DIR\n", stderr);
		return 2;
	}
	session = fuse_session_new(&arguments, &operations, sizeof(operations), NULL);
	if (session == NULL || fuse_set_signal_handlers(session) != 0)
		return 1;
	if (fuse_session_mount(session, argv[1]) == 0) {
		status = fuse_session_loop(session) < 0;
		fuse_session_unmount(session);
	}
	fuse_session_destroy(session);
	fuse_opt_free_args(&arguments);
	return status;
}
