/* Open files: their text is written when they are read from the start, and stays for the rest. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

struct file {
	enum node_kind kind;
	struct segment *segment;       /* held; NULL above the processes */
	struct stat_block_copy *block; /* of a file of a block */
	struct stat_text text;
	bool written;
};

static const char readme[] =
	"The counters of xport's processes, live. Reading costs the processes nothing, and\n"
	"nothing can be written here.\n"
	"\n"
	"  NAME.PID/state                   live or dead; who ended in good order is gone\n"
	"  NAME.PID/info                    about the process\n"
	"  NAME.PID/stat                    all its counters at once\n"
	"  NAME.PID/ROOM/OBJECT.N/stat      one object: counters, what is under way, laws\n"
	"  NAME.PID/ROOM/OBJECT.N/COUNTER   one number, or a histogram\n"
	"\n"
	"All files are lines of \"key value\", for example\n"
	"\n"
	"  cat send.*/state\n"
	"  grep -r . send.*/send-async\n"
	"  watch -n 0.5 cat send.*/send-async/connection.1/stat\n"
	"  awk '$1 == \"in_flight\" { print FILENAME, $2 }' */*/*/stat\n"
	"  grep -h BROKEN */*/*/stat\n"
	"\n"
	"A name ends with the unit: _ns, _bytes. Counters only grow; take differences for rates.\n"
	"A law says that one count is never behind another; when its object has ended, most are\n"
	"equal. A line of a histogram is an upper bound and how many samples came under it and\n"
	"over the one before. \"consistent 0\" stands where a writer was killed half-way.\n"
	"\n"
	"Files have size 0, as in /proc, and a file can be kept open and read from its start\n"
	"again. 'xport stat' shows the same without a mount, 'xport umount' ends this one.\n";

int open_file(fuse_ino_t inode, struct file **result)
{
	struct node node;
	struct file *file;
	int error = find_node(inode, &node);

	if (error != 0)
		return error;
	if (node.kind == NODE_ROOT || node.kind == NODE_PROCESS || node.kind == NODE_ROOM ||
	    node.kind == NODE_BLOCK)
		return EISDIR;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return ENOMEM;
	file->kind = node.kind;
	if (node.segment != NULL)
		file->segment = hold_segment(node.segment);
	if (node.kind >= NODE_BLOCK_STAT && node.kind < NODE_ROOT) {
		file->block = malloc(sizeof(*file->block));
		error = file->block == NULL ? ENOMEM : read_node_block(&node, file->block);
	}
	if (error != 0)
		close_file(file);
	else
		*result = file;
	return error;
}

void close_file(struct file *file)
{
	if (file->segment != NULL)
		release_segment(file->segment);
	free(file->block);
	free(file->text.bytes);
	free(file);
}

static int write_text(struct file *file)
{
	struct stat_reader *reader = file->segment != NULL ? file->segment->reader : NULL;
	struct stat_text *text = &file->text;
	uint32_t first = 0, end;
	int error = 0;

	if (file->block != NULL) {
		end = file->block->counter_count;
		if (file->kind != NODE_BLOCK_STAT) {
			first = file->kind - NODE_COUNTER;
			end = first + 1;
		}
		error = stat_read_values(reader, file->block, first, end);
		if (error != 0)
			return error;
	}
	switch (file->kind) {
	case NODE_README:
		stat_say(text, "%s", readme);
		break;
	case NODE_STATE:
		stat_say(text, "%s\n", stat_is_live(reader) ? "live" : "dead");
		break;
	case NODE_INFO:
		error = stat_render_info(text, reader);
		break;
	case NODE_ALL:
		error = stat_render_all(text, reader);
		break;
	case NODE_BLOCK_STAT:
		stat_render_block(text, file->block);
		break;
	default:
		stat_render_counter(text, &file->block->counters[first]);
	}
	return error != 0 ? error : text->length == 0 ? ENOMEM : 0;
}

int read_file(struct file *file, off_t offset, size_t size, const char **bytes, size_t *count)
{
	if (offset == 0 || !file->written) {
		int error;

		file->text.length = 0;
		file->text.failed = false;
		error = write_text(file);
		file->written = error == 0;
		if (error != 0)
			return error;
	}
	*bytes = file->text.bytes;
	*count = 0;
	if ((uint64_t)offset >= file->text.length)
		return 0;
	*bytes += offset;
	*count = file->text.length - (size_t)offset;
	if (*count > size)
		*count = size;
	return 0;
}
