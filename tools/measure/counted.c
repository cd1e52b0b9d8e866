/*
 * measure-counted BLOCK SLICES: what counting costs. Sends over loopback on two connections, one of
 * which is counted, in slices that take turns, so that whatever else the machine does meets both
 * alike. Prints the median nanoseconds a send, uncounted and counted, and the median of the ratios
 * of slices that followed each other.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stat/publish.h"
#include "tcp/tcp.h"

enum { DEPTH = 16, SLICE_BYTES = 16 << 20, MOST_SENDS = 20000, MOST_SLICES = 1000 };

struct line {
	struct device_object *device;
	struct file_object address, connection;
	struct kthread sink;
	int listener;
	double slices[MOST_SLICES];
};

struct measure {
	struct line lines[2]; /* uncounted, counted */
	struct stat_segment *segment;
	uint32_t block;
	uint32_t sends; /* a slice's */
	unsigned slice_count;
	double ratios[MOST_SLICES];
	int status;
};

/* A slice: `left` sends are still to be started, `open` have not called back. */
struct slice {
	struct file_object *connection;
	const char *buffer;
	uint32_t block;
	int32_t left;
	int32_t open;
	struct kevent done;
};

/* ---- The far end ----------------------------------------------------------------------------- */

static void sink(void *context)
{
	static _Thread_local char buffer[1 << 18];
	struct line *line = context;
	int fd = accept(line->listener, NULL, NULL);

	while (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
}

static bool open_line(struct line *line, struct stat_segment *segment)
{
	const struct tcp_options options = {.segment = segment};
	struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct transport_address remote = {.address_type = TDI_ADDRESS_TYPE_IP,
					   .address = {127, 0, 0, 1}};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(in);

	line->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (line->listener < 0 || bind(line->listener, (struct sockaddr *)&in, sizeof(in)) != 0 ||
	    listen(line->listener, 1) != 0 ||
	    getsockname(line->listener, (struct sockaddr *)&in, &length) != 0)
		return false;
	remote.port = ntohs(in.sin_port);
	line->device = tcp_create_device(&options);
	if (line->device == NULL || !nt_success(ps_create_system_thread(&line->sink, sink, line)) ||
	    !nt_success(tdi_open_transport_address(line->device, &any, &line->address)) ||
	    !nt_success(tdi_open_connection_endpoint(line->device, NULL, &line->connection)) ||
	    !nt_success(tdi_associate_address(&line->connection, &line->address)))
		return false;
	return nt_success(tdi_connect(&line->connection, &remote, KE_WAIT_FOREVER));
}

static void close_line(struct line *line)
{
	tdi_disconnect(&line->connection, TDI_DISCONNECT_RELEASE);
	ke_wait_for_thread(&line->sink);
	tdi_close(&line->connection);
	tdi_close(&line->address);
	ke_flush_queued_dpcs();
	tcp_delete_device(line->device);
	close(line->listener);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void sent(void *context, ntstatus status, uint32_t bytes)
{
	struct slice *slice = context;

	(void)bytes;
	if (nt_success(status) && interlocked_decrement(&slice->left) >= 0)
		tdi_start_send_buffer(slice->connection, slice->buffer, slice->block, 0, sent,
				      slice);
	else if (interlocked_decrement(&slice->open) == 0)
		ke_set_event(&slice->done);
}

static double run_slice(struct measure *measure, struct line *line, const char *buffer)
{
	struct slice slice = {.connection = &line->connection,
			      .buffer = buffer,
			      .block = measure->block,
			      .left = (int32_t)measure->sends - DEPTH,
			      .open = DEPTH};
	uint64_t begun = ke_query_interrupt_time();

	ke_initialize_event(&slice.done, NOTIFICATION_EVENT, false);
	for (int i = 0; i < DEPTH; i++)
		tdi_start_send_buffer(slice.connection, buffer, slice.block, 0, sent, &slice);
	ke_wait_for_single_object(&slice.done, KE_WAIT_FOREVER);
	return (double)(ke_query_interrupt_time() - begun) / measure->sends;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(values[0]), compare);
	return values[count / 2];
}

static void measure_main(void *context)
{
	struct measure *measure = context;
	char *buffer = ex_allocate_pool(measure->block);

	measure->status = 1;
	if (buffer == NULL || !open_line(&measure->lines[0], NULL) ||
	    !open_line(&measure->lines[1], measure->segment))
		return;
	memset(buffer, 0, measure->block);
	for (unsigned i = 0; i <= measure->slice_count; i++) /* the first warms up */
		for (int k = 0; k < 2; k++) {
			/* Who is first changes, too. */
			struct line *line = &measure->lines[(i + (unsigned)k) % 2];
			double ns = run_slice(measure, line, buffer);

			if (i > 0)
				line->slices[i - 1] = ns;
		}
	for (unsigned i = 0; i < measure->slice_count; i++)
		measure->ratios[i] = measure->lines[1].slices[i] / measure->lines[0].slices[i];
	printf("%.1f %.1f %.4f\n", median(measure->lines[0].slices, measure->slice_count),
	       median(measure->lines[1].slices, measure->slice_count),
	       median(measure->ratios, measure->slice_count));
	for (int k = 0; k < 2; k++)
		close_line(&measure->lines[k]);
	ex_free_pool(buffer);
	measure->status = 0;
}

int main(int argc, char **argv)
{
	static struct measure measure;
	struct stat_publication publication;
	struct ke_options options = {.processors = 1};
	int error;

	if (argc != 3 || (measure.block = (uint32_t)atoi(argv[1])) == 0 ||
	    (measure.slice_count = (unsigned)atoi(argv[2])) == 0 ||
	    measure.slice_count > MOST_SLICES) {
		fputs("usage: measure-counted BLOCK SLICES\n", stderr);
		return 2;
	}
	measure.sends = SLICE_BYTES / measure.block + DEPTH;
	if (measure.sends > MOST_SENDS)
		measure.sends = MOST_SENDS;
	error = stat_publish(&publication, "measure");
	if (error != 0) {
		fprintf(stderr, "measure-counted: cannot publish: %s\n", strerror(error));
		return 1;
	}
	measure.segment = publication.segment;
	ke_run(&options, measure_main, &measure);
	stat_withdraw(&publication);
	return measure.status;
}
