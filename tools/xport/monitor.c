/*
 * Looking at a running transfer, see monitor.h.
 *
 * What counts as silence: bytes that were handed to the wire, and no acknowledgement for any of
 * them. A sender that waits for its own file has nothing unacknowledged, and is not touched.
 */
#include "monitor.h"

static const int64_t LOOK_INTERVAL_NS = 100000000;

/* What the peer had acknowledged, and since when that has not grown. */
struct silence {
	uint64_t acknowledged_bytes;
	uint64_t since_ns;
};

static bool silent_too_long(const struct monitor *monitor, struct silence *silence,
			    const struct tdi_connection_info *info)
{
	uint64_t now = ke_query_interrupt_time();

	if (info->acknowledged_bytes != silence->acknowledged_bytes ||
	    info->acknowledged_bytes >= info->sent_bytes) {
		silence->acknowledged_bytes = info->acknowledged_bytes;
		silence->since_ns = now;
	}
	return monitor->timeout_ns != 0 && now - silence->since_ns >= monitor->timeout_ns;
}

static void look(struct monitor *monitor, struct silence *silence)
{
	struct stat_segment *segment = monitor->connection->device_object->segment;
	struct tdi_connection_info info;
	ntstatus status = tdi_query_information(monitor->connection, TDI_QUERY_CONNECTION_INFO,
						&info, sizeof(info));

	if (segment != NULL)
		stat_beat(segment);
	if (!nt_success(status))
		return; /* no memory for the question at the moment */
	if (monitor->direction == MONITOR_RECEIVING) {
		progress_update(&monitor->progress, info.received_bytes);
		return;
	}
	progress_update(&monitor->progress, info.acknowledged_bytes);
	if (silent_too_long(monitor, silence, &info) &&
	    interlocked_exchange(&monitor->timed_out, 1) == 0)
		tdi_disconnect(monitor->connection, TDI_DISCONNECT_ABORT);
}

static void monitor_thread(void *context)
{
	struct monitor *monitor = context;
	struct silence silence = {.since_ns = ke_query_interrupt_time()};

	while (ke_wait_for_single_object(&monitor->stop, LOOK_INTERVAL_NS) == STATUS_TIMEOUT)
		look(monitor, &silence);
}

ntstatus monitor_start(struct monitor *monitor, struct file_object *connection,
		       enum monitor_direction direction, uint64_t total_bytes, uint64_t timeout_ns)
{
	*monitor = (struct monitor){
		.connection = connection, .direction = direction, .timeout_ns = timeout_ns};
	progress_begin(&monitor->progress, total_bytes);
	ke_initialize_event(&monitor->stop, NOTIFICATION_EVENT, false);
	return ps_create_system_thread(&monitor->thread, monitor_thread, monitor);
}

bool monitor_timed_out(const struct monitor *monitor)
{
	return interlocked_read(&monitor->timed_out) != 0;
}

void monitor_stop(struct monitor *monitor)
{
	ke_set_event(&monitor->stop);
	ke_wait_for_thread(&monitor->thread);
	progress_end(&monitor->progress);
}
