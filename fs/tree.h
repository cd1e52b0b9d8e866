/*
 * xportfs - the counters of all processes of a user, as files.
 *
 * segments.c   which processes there are, and their mapped segments
 * tree.c       what is where: names, inode numbers, attributes
 * file.c       what is in an open file
 * main.c       the requests of the kernel
 *
 * One thread serves all requests, one after the other: none of them waits for anything.
 *
 * An inode number says where its file is: the process's number, the slot of the block, the block's
 * instance and which file. So there is no table of inodes, nothing to forget, and a number that the
 * kernel kept from long ago is checked like any other: it leads to the same path or to ENOENT.
 *
 * Everything in a segment is doubted where it is read (stat/read.h); what arrives here are copies.
 * Errors are errno values.
 */
#ifndef XPORTFS_TREE_H
#define XPORTFS_TREE_H

#define FUSE_USE_VERSION 35
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "stat/render.h"

/* ---- segments.c ---------------------------------------------------------------------------- */

/* A mapped segment. Open files hold it, so that they can be read when its process is gone. */
struct segment {
	struct stat_reader *reader;
	unsigned holders;
};

/* The segment is of the file that has the name now. ENOENT when there is none that makes sense. */
int find_process(const char *name, uint32_t *number, struct segment **segment);
int find_process_number(uint32_t number, struct segment **segment);

struct segment *hold_segment(struct segment *segment);
void release_segment(struct segment *segment);

/* Lets go of the segments whose files are gone, and has dead processes reaped now and then. */
void sweep_segments(void);

/* ---- tree.c -------------------------------------------------------------------------------- */

enum node_kind {
	NODE_PROCESS,
	NODE_STATE,
	NODE_INFO,
	NODE_ALL, /* the process's file stat */
	NODE_ROOM,
	NODE_BLOCK,
	NODE_BLOCK_STAT,
	NODE_COUNTER, /* the first; the others follow */
	NODE_ROOT = NODE_COUNTER + STAT_MOST_COUNTERS,
	NODE_README,
};

struct node {
	enum node_kind kind;
	uint32_t number; /* of the process; 0 above */
	uint32_t slot;
	uint32_t instance;	 /* as far as the inode number tells it */
	struct segment *segment; /* until the next call that finds a process; NULL above */
};

/* What the inode number leads to. ENOENT when that is gone. */
int find_node(fuse_ino_t inode, struct node *node);

/* Reads the node's block; ENOENT when another one is in its slot. */
int read_node_block(const struct node *node, struct stat_block_copy *block);

int look_up(fuse_ino_t parent, const char *name, struct fuse_entry_param *entry);
int get_attributes(fuse_ino_t inode, struct stat *attributes);

/*
 * How long the kernel may keep attributes: not at all for files, which change all the time; but the
 * mode of a directory, which does not, is asked for at each step of a path.
 */
double seconds_valid(const struct stat *attributes);

struct directory_entry {
	char name[STAT_FILE_NAME];
	fuse_ino_t inode;
};

/* What was in a directory when it was read from its start. Begins all zero. */
struct directory {
	struct directory_entry *entries;
	size_t count;
	size_t room;
};

int list_directory(fuse_ino_t inode, struct directory *directory);

/* ---- file.c -------------------------------------------------------------------------------- */

struct file;

int open_file(fuse_ino_t inode, struct file **file);
void close_file(struct file *file);

/* The file's text from an offset on; from 0 it is written anew. */
int read_file(struct file *file, off_t offset, size_t size, const char **bytes, size_t *count);

#endif
