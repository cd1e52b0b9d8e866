/* The tables of the client stages. Those of transfers are of one shape, to be counted alike. */
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

static const struct stat_counter daemon_counters[] = {
	{"called", STAT_COUNTER, TDI_DAEMON_CALLED, "calls", "peers that called"},
	{"refused", STAT_COUNTER, TDI_DAEMON_REFUSED, "calls",
	 "of these, those that found the backlog used up, or the daemon stopping"},
	{"accepted", STAT_COUNTER, TDI_DAEMON_ACCEPTED, "calls",
	 "of those that called, those for which an accept request was given"},
	{"settled", STAT_COUNTER, TDI_DAEMON_SETTLED, "calls",
	 "of these, those whose accept request has completed"},
	{"failed", STAT_COUNTER, TDI_DAEMON_FAILED, "calls", "of these, those with an error"},
	{"established", STAT_COUNTER, TDI_DAEMON_ESTABLISHED, "connections",
	 "of those that have completed, those that stood"},
	{"taken", STAT_COUNTER, TDI_DAEMON_TAKEN, "connections",
	 "of these, those that were given to the client"},
	{"dropped", STAT_COUNTER, TDI_DAEMON_DROPPED, "connections",
	 "of those that stood, those that nobody had taken when the daemon was stopped"},
};

static const struct stat_counter flow_control_counters[] = {
	{"posted", STAT_COUNTER, TDI_FLOW_POSTED, "sends", "sends that were given to the window"},
	{"pieces", STAT_COUNTER, TDI_FLOW_PIECES, "pieces", "pieces of them that were begun"},
	{"answered", STAT_COUNTER, TDI_FLOW_ANSWERED, "pieces", "of these, those with an answer"},
	{"refused", STAT_COUNTER, TDI_FLOW_REFUSED, "pieces", "of these, those without any room"},
	{"short", STAT_COUNTER, TDI_FLOW_SHORT, "pieces", "of these, those taken in part"},
	{"possible", STAT_COUNTER, TDI_FLOW_POSSIBLE, "events", "times that room was announced"},
	{"called_back", STAT_COUNTER, TDI_FLOW_CALLED_BACK, "sends", "sends that are over"},
	{"failed", STAT_COUNTER, TDI_FLOW_FAILED, "sends", "of these, those with an error"},
	{"sent_bytes", STAT_COUNTER, TDI_FLOW_SENT_BYTES, "bytes", "bytes taken, of all pieces"},
};

static const struct stat_counter receive_counters[] = {
	{"indicated", STAT_COUNTER, TDI_COUNTS_INDICATED, "events", "data shown to be copied"},
	{"chained", STAT_COUNTER, TDI_COUNTS_CHAINED, "events", "data shown to be lent"},
	{"refused", STAT_COUNTER, TDI_COUNTS_REFUSED, "events",
	 "of the first, those that left a rest with the transport"},
	{"receives", STAT_COUNTER, TDI_COUNTS_RECEIVES, "requests",
	 "receives that were started to make it go on"},
	{"received", STAT_COUNTER, TDI_COUNTS_RECEIVED, "requests",
	 "of these, those that are over"},
	{"taken_bytes", STAT_COUNTER, TDI_COUNTS_TAKEN, "bytes", "bytes that have come in"},
	{"copied_bytes", STAT_COUNTER, TDI_COUNTS_COPIED, "bytes", "of these, those in copies"},
	{"lent_bytes", STAT_COUNTER, TDI_COUNTS_LENT, "bytes", "and those in loans"},
	{"loans", STAT_COUNTER, TDI_COUNTS_LOANS, "loans", "loans that were taken"},
	{"consumed_bytes", STAT_COUNTER, TDI_COUNTS_CONSUMED, "bytes",
	 "bytes that are gone again: read, or thrown away"},
	{"discarded_bytes", STAT_COUNTER, TDI_COUNTS_DISCARDED, "bytes",
	 "of these, those that nobody had read at the close"},
	{"returned", STAT_COUNTER, TDI_COUNTS_RETURNED, "loans", "loans that were given back"},
};

/* By position in the tables. Every end of a synchronous send has a sample. */
static const struct stat_law send_sync_laws[] = {{0, 1, true}, {1, 2, false}, {1, 4, true}};
static const struct stat_law send_async_laws[] = {{0, 1, true}, {1, 2, false}, {1, 4, false}};
static const struct stat_law daemon_laws[] = {
	{TDI_DAEMON_CALLED, TDI_DAEMON_REFUSED, false},
	{TDI_DAEMON_CALLED, TDI_DAEMON_ACCEPTED, false},
	{TDI_DAEMON_ACCEPTED, TDI_DAEMON_SETTLED, true},
	{TDI_DAEMON_SETTLED, TDI_DAEMON_FAILED, false},
	{TDI_DAEMON_SETTLED, TDI_DAEMON_ESTABLISHED, false},
	{TDI_DAEMON_ESTABLISHED, TDI_DAEMON_TAKEN, false},
	{TDI_DAEMON_ESTABLISHED, TDI_DAEMON_DROPPED, false},
};

static const struct stat_law flow_control_laws[] = {
	{TDI_FLOW_POSTED, TDI_FLOW_CALLED_BACK, true},	{TDI_FLOW_PIECES, TDI_FLOW_ANSWERED, true},
	{TDI_FLOW_ANSWERED, TDI_FLOW_REFUSED, false},	{TDI_FLOW_ANSWERED, TDI_FLOW_SHORT, false},
	{TDI_FLOW_CALLED_BACK, TDI_FLOW_FAILED, false},
};

static const struct stat_law receive_laws[] = {
	{TDI_COUNTS_INDICATED, TDI_COUNTS_REFUSED, false},
	{TDI_COUNTS_RECEIVES, TDI_COUNTS_RECEIVED, true},
	{TDI_COUNTS_TAKEN, TDI_COUNTS_COPIED, false},
	{TDI_COUNTS_TAKEN, TDI_COUNTS_LENT, false},
	{TDI_COUNTS_CHAINED, TDI_COUNTS_LOANS, false},
	{TDI_COUNTS_TAKEN, TDI_COUNTS_CONSUMED, true},
	{TDI_COUNTS_CONSUMED, TDI_COUNTS_DISCARDED, false},
	{TDI_COUNTS_LOANS, TDI_COUNTS_RETURNED, true},
};

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

const struct stat_table tdi_daemon_table = {
	.room = "connection",
	.object = "daemon",
	.counter_count = sizeof(daemon_counters) / sizeof(daemon_counters[0]),
	.law_count = sizeof(daemon_laws) / sizeof(daemon_laws[0]),
	.value_count = TDI_DAEMON_VALUES,
	.counters = daemon_counters,
	.laws = daemon_laws,
};

const struct stat_table tdi_flow_control_table = {
	.room = "flow-control",
	.object = "connection",
	.counter_count = sizeof(flow_control_counters) / sizeof(flow_control_counters[0]),
	.law_count = sizeof(flow_control_laws) / sizeof(flow_control_laws[0]),
	.value_count = TDI_FLOW_VALUES,
	.counters = flow_control_counters,
	.laws = flow_control_laws,
};

const struct stat_table tdi_receive_table = {
	.room = "receive",
	.object = "connection",
	.counter_count = sizeof(receive_counters) / sizeof(receive_counters[0]),
	.law_count = sizeof(receive_laws) / sizeof(receive_laws[0]),
	.value_count = TDI_RECEIVE_COUNTERS,
	.counters = receive_counters,
	.laws = receive_laws,
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
