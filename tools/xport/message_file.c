/*
 * A file that comes as a delivery, see message_file.h.
 *
 * What has come is the partial file, whose length is the position, and nothing else: so it can go
 * on after this process was killed. What has been written is safe from that when write(2) has
 * returned; from a loss of power only at the end, when the file is synced before it gets its name,
 * and that before the sender's last ACK.
 *
 * A file that has its name carries the id in an attribute until the sender is known to know: if
 * this process is killed in between, the next one finds that there is nothing left to do. Where
 * attributes can't be kept the file comes a second time.
 *
 * A write can wait for the disk for as long as that likes, when too many pages are dirty, and an
 * open or a sync always can; a virtual processor must not. So the steps are done by a thread.
 */
#include "message_file.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "output.h"

enum { MOST_TRANSFERS = 8 };

static const uint64_t IDLE_NS = UINT64_C(10000000000); /* until another sender may come instead */

static const char id_attribute[] = "user.xport.id";

/* What the context of a transfer is. */
struct keeping {
	struct output output;
	uint64_t began_at;
	uint64_t begin_ns;
};

/* ---- Steps, in the writer's thread --------------------------------------------------------- */

/* Whether the file that has the name already is this one, and how long it is. */
static bool has_its_name(const struct message_file *kept, struct lnet_transfer *transfer)
{
	uint64_t id;

	return getxattr(kept->path, id_attribute, &id, sizeof(id)) == sizeof(id) &&
	       id == transfer->id;
}

static int open_part(struct message_file *kept, struct lnet_transfer *transfer)
{
	struct keeping *keeping = ex_allocate_pool(sizeof(*keeping));
	int error;

	if (keeping == NULL)
		return ENOMEM;
	keeping->begin_ns = ke_query_interrupt_time();
	error = output_resume(&keeping->output, kept->path, transfer->id, &transfer->position);
	keeping->began_at = transfer->position;
	if (error == 0)
		transfer->context = keeping;
	else
		ex_free_pool(keeping);
	return error;
}

/* A block that there is no room for is none: the part's length stays the position. */
static int write_part(struct lnet_transfer *transfer)
{
	struct keeping *keeping = transfer->context;
	int error = output_write(keeping->output.fd, transfer->bytes, transfer->length);

	if (error != 0 && ftruncate(keeping->output.fd, (off_t)transfer->position) < 0)
		return errno;
	return error;
}

static int name_part(struct lnet_transfer *transfer)
{
	struct keeping *keeping = transfer->context;

	fsetxattr(keeping->output.fd, id_attribute, &transfer->id, sizeof(transfer->id), 0);
	return output_name(&keeping->output);
}

static bool another_is_finished(struct message_file *kept, const struct lnet_transfer *transfer)
{
	kirql irql = ke_acquire_spin_lock(&kept->lock);
	bool another = kept->finished && kept->id != transfer->id;

	ke_release_spin_lock(&kept->lock, irql);
	return another;
}

/* 0 or an errno. */
static int do_step(struct message_file *kept, struct lnet_transfer *transfer)
{
	struct stat status;

	if (transfer->step == LNET_WRITE)
		return write_part(transfer);
	if (transfer->step == LNET_FINISH)
		return name_part(transfer);
	if (another_is_finished(kept, transfer))
		return EBUSY;
	if (!has_its_name(kept, transfer))
		return open_part(kept, transfer);
	if (stat(kept->path, &status) < 0)
		return errno;
	transfer->finished = true;
	transfer->position = (uint64_t)status.st_size;
	return 0;
}

/* The file is there. Lock held. */
static void note_finished(struct message_file *kept, const struct lnet_transfer *transfer)
{
	const struct keeping *keeping = transfer->context;

	kept->finished = true;
	kept->end_ns = kept->moved_ns;
	kept->id = transfer->id;
	kept->source = transfer->source;
	kept->bytes = transfer->position;
	kept->began_at = keeping != NULL ? keeping->began_at : transfer->position;
	kept->begin_ns = keeping != NULL ? keeping->begin_ns : kept->end_ns;
	ke_set_event(&kept->changed);
}

static void note_step(struct message_file *kept, const struct lnet_transfer *transfer, int error)
{
	kirql irql = ke_acquire_spin_lock(&kept->lock);

	kept->moved_ns = ke_query_interrupt_time();
	kept->position = transfer->position + transfer->length;
	if (error == 0 && !kept->finished && (transfer->step == LNET_FINISH || transfer->finished))
		note_finished(kept, transfer);
	if (error != 0 && !kept->finished && kept->error == 0) {
		kept->error = error;
		kept->end_ns = kept->moved_ns;
		ke_set_event(&kept->changed);
	}
	ke_release_spin_lock(&kept->lock, irql);
}

static bool is_leaving(struct message_file *kept)
{
	kirql irql = ke_acquire_spin_lock(&kept->lock);
	bool leaving = kept->leaving;

	ke_release_spin_lock(&kept->lock, irql);
	return leaving;
}

static void write_all(void *context)
{
	struct message_file *kept = context;
	bool leaving;

	do {
		struct list_entry *entry;

		leaving = is_leaving(kept);
		while ((entry = ex_interlocked_remove_head_list(&kept->steps, &kept->lock)) !=
		       NULL) {
			struct lnet_transfer *transfer =
				containing_record(entry, struct lnet_transfer, work);
			int error = do_step(kept, transfer);

			note_step(kept, transfer, error);
			lnet_step_done(transfer,
				       error == 0 ? STATUS_SUCCESS : STATUS_DATA_NOT_ACCEPTED);
		}
		if (!leaving)
			ke_wait_for_single_object(&kept->work, KE_WAIT_FOREVER);
	} while (!leaving);
}

/* ---- What the receiver tells --------------------------------------------------------------- */

static void step(void *owner, struct lnet_transfer *transfer)
{
	struct message_file *kept = owner;

	ex_interlocked_insert_tail_list(&kept->steps, &transfer->work, &kept->lock);
	ke_set_event(&kept->work);
}

/* Closing a descriptor waits for nothing: what was written is the system's. */
static void closed(void *owner, struct lnet_transfer *transfer)
{
	struct message_file *kept = owner;
	struct keeping *keeping = transfer->context;
	kirql irql;

	if (keeping != NULL)
		output_close(&keeping->output);
	ex_free_pool(keeping);
	irql = ke_acquire_spin_lock(&kept->lock);
	kept->at_rest |= transfer->finished || kept->error != 0;
	ke_set_event(&kept->changed);
	ke_release_spin_lock(&kept->lock, irql);
}

/* ---- Beginning and end --------------------------------------------------------------------- */

ntstatus message_file_open(struct message_file *kept, const char *path, struct lnet_portal *portal)
{
	*kept = (struct message_file){.path = path, .moved_ns = ke_query_interrupt_time()};
	initialize_list_head(&kept->steps);
	ke_initialize_spin_lock(&kept->lock);
	ke_initialize_event(&kept->work, SYNCHRONIZATION_EVENT, false);
	ke_initialize_event(&kept->changed, SYNCHRONIZATION_EVENT, false);
	kept->receiver = (struct lnet_receiver){.most = MOST_TRANSFERS,
						.block_bytes = LNET_MTU,
						.idle_ns = IDLE_NS,
						.step = step,
						.closed = closed,
						.owner = kept};
	lnet_open_receiver(&kept->receiver, portal);
	return ps_create_system_thread(&kept->writer, write_all, kept);
}

void message_file_close(struct message_file *kept)
{
	kirql irql = ke_acquire_spin_lock(&kept->lock);

	kept->leaving = true;
	ke_release_spin_lock(&kept->lock, irql);
	ke_set_event(&kept->work);
	ke_wait_for_thread(&kept->writer); /* which does what is still asked of it */
	lnet_close_receiver(&kept->receiver);
}

void message_file_forget(const char *path)
{
	removexattr(path, id_attribute);
}
