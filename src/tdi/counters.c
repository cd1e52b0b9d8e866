/* The tables of the client stages; all of one shape, so that they are counted alike. */
#include "tdi/counters.h"

enum { BEGUN, ENDED, FAILED, BYTES, LATENCY, VALUES = LATENCY + STAT_HISTOGRAM_VALUES };

static const struct stat_counter send_sync_counters[] = {
	{"posted", STAT_COUNTER, BEGUN, "sends", "sends that were handed to the transport"},
	{"returned", STAT_COUNTER, ENDED, "sends", "of these, those whose wait is over"},
	{"failed", STAT_COUNTER, FAILED, "sends", "of those that are over, those with an error"},
	{"sent_bytes", STAT_COUNTER, BYTES, "bytes", "bytes of the sends that succeeded"},
	{"latency_ns", STAT_HISTOGRAM, LATENCY, "ns", "from handing over to the end of the wait"},
};

static const struct stat_counter send_async_counters[] = {
	{"posted", STAT_COUNTER, BEGUN, "sends", "sends that were handed to the transport"},
	{"called_back", STAT_COUNTER, ENDED, "sends", "of these, those whose callback was called"},
	{"failed", STAT_COUNTER, FAILED, "sends", "of those called back, those with an error"},
	{"sent_bytes", STAT_COUNTER, BYTES, "bytes", "bytes of the sends that succeeded"},
	{"latency_ns", STAT_HISTOGRAM, LATENCY, "ns",
	 "from handing over to the callback, of every 16th send"},
};

/* By position in the tables. Every end of a synchronous send has a sample. */
static const struct stat_law send_sync_laws[] = {{0, 1, true}, {1, 2, false}, {1, 4, true}};
static const struct stat_law send_async_laws[] = {{0, 1, true}, {1, 2, false}, {1, 4, false}};

const struct stat_table tdi_send_sync_table = {
	.room = "send-sync",
	.object = "connection",
	.counter_count = sizeof(send_sync_counters) / sizeof(send_sync_counters[0]),
	.law_count = sizeof(send_sync_laws) / sizeof(send_sync_laws[0]),
	.value_count = VALUES,
	.counters = send_sync_counters,
	.laws = send_sync_laws,
};

const struct stat_table tdi_send_async_table = {
	.room = "send-async",
	.object = "connection",
	.counter_count = sizeof(send_async_counters) / sizeof(send_async_counters[0]),
	.law_count = sizeof(send_async_laws) / sizeof(send_async_laws[0]),
	.value_count = VALUES,
	.counters = send_async_counters,
	.laws = send_async_laws,
};

uint64_t tdi_count_begin(struct stat_block *block, uint32_t every)
{
	return stat_count_shared(block, BEGUN, 1) % every == 0 ? stat_time(block) : 0;
}

void tdi_count_end(struct stat_block *block, uint64_t begun_ns,
		   const struct io_status_block *result)
{
	if (!stat_is_counted(block))
		return;
	stat_count_shared(block, ENDED, 1);
	if (nt_success(result->status))
		stat_count_shared(block, BYTES, result->information);
	else
		stat_count_shared(block, FAILED, 1);
	if (begun_ns != 0)
		stat_record(block, LATENCY, stat_time(block) - begun_ns);
}
