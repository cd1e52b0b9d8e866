/* What is where in the tree, see tree.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stat/publish.h"
#include "tree.h"

enum {
	README_INODE = 2, /* beside FUSE_ROOT_ID, 1 */
	KIND_BITS = 6,
	INSTANCE_BITS = 11,
	SLOT_BITS = 15,
	MOST_ROOMS = 64, /* of a process; the tables of a writer are fewer */
};

_Static_assert(NODE_README < 1 << KIND_BITS && STAT_MOST_SLOTS <= 1 << SLOT_BITS &&
		       KIND_BITS + INSTANCE_BITS + SLOT_BITS == 32,
	       "an inode number has room for all");

/* Files of a process, and of each block. */
static const struct {
	const char *name;
	enum node_kind kind;
} process_files[] = {{"state", NODE_STATE}, {"info", NODE_INFO}, {"stat", NODE_ALL}};
enum { PROCESS_FILES = sizeof(process_files) / sizeof(process_files[0]) };
static const char block_file[] = "stat";

/* ---- Inode numbers ------------------------------------------------------------------------- */

static uint32_t low_instance(uint32_t instance)
{
	return instance & ((1u << INSTANCE_BITS) - 1);
}

static fuse_ino_t inode_of(const struct node *node)
{
	if (node->kind == NODE_ROOT)
		return FUSE_ROOT_ID;
	if (node->kind == NODE_README)
		return README_INODE;
	return (fuse_ino_t)node->number << 32 |
	       (fuse_ino_t)node->slot << (KIND_BITS + INSTANCE_BITS) |
	       low_instance(node->instance) << KIND_BITS | node->kind;
}

int find_node(fuse_ino_t inode, struct node *node)
{
	*node = (struct node){.kind = inode == FUSE_ROOT_ID ? NODE_ROOT : NODE_README};
	if (inode == FUSE_ROOT_ID || inode == README_INODE)
		return 0;
	node->kind = inode & ((1u << KIND_BITS) - 1);
	node->instance = low_instance((uint32_t)inode >> KIND_BITS);
	node->slot = (uint32_t)inode >> (KIND_BITS + INSTANCE_BITS);
	node->number = (uint32_t)(inode >> 32);
	if (node->kind >= NODE_ROOT)
		return ENOENT;
	return find_process_number(node->number, &node->segment);
}

/* The node of another kind in the same place. */
static fuse_ino_t inode_beside(const struct node *node, enum node_kind kind)
{
	struct node other = *node;

	other.kind = kind;
	return inode_of(&other);
}

static fuse_ino_t inode_of_block(const struct node *node, const struct stat_block_copy *block,
				 enum node_kind kind)
{
	struct node other = {.kind = kind,
			     .number = node->number,
			     .slot = block->slot,
			     .instance = kind == NODE_ROOM ? 0 : block->instance};

	return inode_of(&other);
}

int read_node_block(const struct node *node, struct stat_block_copy *block)
{
	int error = stat_read_block(node->segment->reader, node->slot, block);

	if (error != 0)
		return error;
	if (node->kind != NODE_ROOM && low_instance(block->instance) != node->instance)
		return ENOENT;
	if (node->kind >= NODE_COUNTER && node->kind - NODE_COUNTER >= block->counter_count)
		return ENOENT;
	return 0;
}

/* ---- What a directory holds ---------------------------------------------------------------- */

static int add_entry(struct directory *directory, const char *name, fuse_ino_t inode)
{
	if (directory->count == directory->room) {
		size_t room = directory->room == 0 ? 16 : directory->room * 2;
		void *entries = realloc(directory->entries, room * sizeof(*directory->entries));

		if (entries == NULL)
			return ENOMEM;
		directory->entries = entries;
		directory->room = room;
	}
	snprintf(directory->entries[directory->count].name, STAT_FILE_NAME, "%s", name);
	directory->entries[directory->count++].inode = inode;
	return 0;
}

static void add_process(void *context, const char *name)
{
	struct node node = {.kind = NODE_PROCESS};

	if (find_process(name, &node.number, &node.segment) == 0)
		add_entry(context, name, inode_of(&node));
}

static int list_root(struct directory *directory)
{
	int error = add_entry(directory, "README", README_INODE);

	sweep_segments();
	return error != 0 ? error : stat_each_segment(add_process, directory);
}

static bool has_entry(const struct directory *directory, const char *name)
{
	for (size_t i = 0; i < directory->count; i++)
		if (strcmp(directory->entries[i].name, name) == 0)
			return true;
	return false;
}

static int list_process(const struct node *node, struct directory *directory)
{
	struct stat_process process;
	struct stat_block_copy block;
	int error = stat_read_process(node->segment->reader, &process);

	for (int i = 0; i < PROCESS_FILES && error == 0; i++)
		error = add_entry(directory, process_files[i].name,
				  inode_beside(node, process_files[i].kind));
	/* The first slot of a room gives it its number; slots keep their tables. */
	for (uint32_t i = 0; error == 0 && i < process.slots && directory->count < MOST_ROOMS; i++)
		if (stat_read_block(node->segment->reader, i, &block) == 0 &&
		    !has_entry(directory, block.room))
			error = add_entry(directory, block.room,
					  inode_of_block(node, &block, NODE_ROOM));
	return error;
}

static int list_room(const struct node *node, struct directory *directory)
{
	struct stat_process process;
	struct stat_block_copy block;
	char room[sizeof(block.room)], name[STAT_FILE_NAME];
	int error = read_node_block(node, &block);

	if (error == 0)
		error = stat_read_process(node->segment->reader, &process);
	if (error != 0)
		return error;
	strcpy(room, block.room);
	for (uint32_t i = node->slot; error == 0 && i < process.slots; i++) {
		if (stat_read_block(node->segment->reader, i, &block) != 0 ||
		    strcmp(block.room, room) != 0)
			continue;
		snprintf(name, sizeof(name), "%s.%" PRIu32, block.object, block.instance);
		error = add_entry(directory, name, inode_of_block(node, &block, NODE_BLOCK));
	}
	return error;
}

static int list_block(const struct node *node, struct directory *directory)
{
	struct stat_block_copy block;
	char name[32];
	int error = read_node_block(node, &block);

	if (error == 0)
		error = add_entry(directory, block_file, inode_beside(node, NODE_BLOCK_STAT));
	for (uint32_t i = 0; error == 0 && i < block.counter_count; i++) {
		stat_counter_file(name, &block.counters[i]);
		error = add_entry(directory, name, inode_beside(node, NODE_COUNTER + i));
	}
	return error;
}

int list_directory(fuse_ino_t inode, struct directory *directory)
{
	struct node node;
	int error = find_node(inode, &node);

	directory->count = 0;
	if (error != 0)
		return error;
	switch (node.kind) {
	case NODE_ROOT:
		return list_root(directory);
	case NODE_PROCESS:
		return list_process(&node, directory);
	case NODE_ROOM:
		return list_room(&node, directory);
	case NODE_BLOCK:
		return list_block(&node, directory);
	default:
		return ENOTDIR;
	}
}

/* ---- Attributes ---------------------------------------------------------------------------- */

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
				 .tv_nsec = (long)(ns % 1000000000u)};
}

/*
 * When what the node shows has last changed: directories when they came to be; what a living
 * process counts, now; of a dead one, when it last gave a sign of life.
 */
static int time_of_change(const struct node *node, struct timespec *change)
{
	struct stat_reader *reader = node->segment->reader;
	struct stat_process process;
	struct stat_block_copy block;
	int error = stat_read_process(reader, &process);
	uint64_t time;

	if (error == 0 && node->kind >= NODE_ROOM)
		error = read_node_block(node, &block);
	if (error != 0)
		return error;
	if (node->kind == NODE_PROCESS || node->kind == NODE_ROOM)
		time = process.begun_ns;
	else if (node->kind == NODE_BLOCK)
		time = block.added_ns;
	else if (node->kind > NODE_BLOCK && block.ended)
		time = block.removed_ns;
	else if (stat_is_live(reader))
		return clock_gettime(CLOCK_REALTIME, change);
	else
		time = process.heartbeat_ns;
	*change = to_timespec(stat_calendar_ns(&process, time));
	return 0;
}

/* Of what stands above the processes. */
static struct timespec time_of_top(enum node_kind kind)
{
	static struct timespec begun;
	char path[128];
	struct stat status;

	if (begun.tv_sec == 0)
		clock_gettime(CLOCK_REALTIME, &begun);
	if (kind == NODE_ROOT && stat_directory(path, sizeof(path), false) == 0 &&
	    stat(path, &status) == 0)
		return status.st_mtim;
	return begun;
}

int get_attributes(fuse_ino_t inode, struct stat *attributes)
{
	struct node node;
	bool is_directory;
	int error = find_node(inode, &node);

	if (error != 0)
		return error;
	is_directory = node.kind == NODE_ROOT || node.kind == NODE_PROCESS ||
		       node.kind == NODE_ROOM || node.kind == NODE_BLOCK;
	*attributes = (struct stat){
		.st_ino = inode,
		.st_mode = is_directory ? S_IFDIR | 0555 : S_IFREG | 0444,
		.st_nlink = 1, /* of a directory: its subdirectories are not counted */
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_blksize = 4096,
	};
	if (node.number == 0)
		attributes->st_mtim = time_of_top(node.kind);
	else
		error = time_of_change(&node, &attributes->st_mtim);
	attributes->st_ctim = attributes->st_atim = attributes->st_mtim;
	return error;
}

double seconds_valid(const struct stat *attributes)
{
	return S_ISDIR(attributes->st_mode) ? 1 : 0;
}

/* ---- Looking up ---------------------------------------------------------------------------- */

/* In a directory of a process. */
static int find_entry(fuse_ino_t parent, const char *name, fuse_ino_t *inode)
{
	struct directory directory = {.entries = NULL};
	int error = list_directory(parent, &directory);

	*inode = 0;
	for (size_t i = 0; i < directory.count && *inode == 0; i++)
		if (strcmp(directory.entries[i].name, name) == 0)
			*inode = directory.entries[i].inode;
	free(directory.entries);
	return error != 0 ? error : *inode == 0 ? ENOENT : 0;
}

int look_up(fuse_ino_t parent, const char *name, struct fuse_entry_param *entry)
{
	struct node process = {.kind = NODE_PROCESS};
	int error = 0;

	/* What is in a segment stays there for a while; a segment may vanish at any time. */
	*entry = (struct fuse_entry_param){.entry_timeout = parent == FUSE_ROOT_ID ? 0 : 1};
	if (parent != FUSE_ROOT_ID) {
		error = find_entry(parent, name, &entry->ino);
	} else if (strcmp(name, "README") == 0) {
		entry->ino = README_INODE;
	} else {
		error = find_process(name, &process.number, &process.segment);
		entry->ino = inode_of(&process);
	}
	if (error == 0)
		error = get_attributes(entry->ino, &entry->attr);
	entry->attr_timeout = seconds_valid(&entry->attr);
	return error;
}
