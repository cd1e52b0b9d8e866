/* What tcp counts of a connection, under the connection's lock. */
#include "tcp/private.h"

static const struct stat_counter counters[] = {
	{"sent_bytes", STAT_COUNTER, TCP_SENT_BYTES, "bytes", "bytes that the kernel has taken"},
	{"acknowledged_bytes", STAT_COUNTER, TCP_ACKNOWLEDGED_BYTES, "bytes",
	 "of these, those known to have reached the peer's kernel, when last asked"},
	{"received_bytes", STAT_COUNTER, TCP_RECEIVED_BYTES, "bytes", "bytes that have come in"},
	{"send_calls", STAT_COUNTER, TCP_SEND_CALLS, "calls", "system calls that sent"},
	{"receive_calls", STAT_COUNTER, TCP_RECEIVE_CALLS, "calls", "system calls that received"},
	{"copied_sends", STAT_COUNTER, TCP_COPIED_SENDS, "sends",
	 "direct sends that the kernel copied after all"},
	{"delayed_sends", STAT_COUNTER, TCP_DELAYED_SENDS, "sends",
	 "times that a direct send was put off for want of locked memory"},
};

static const struct stat_law laws[] = {{0, 1, false}};

const struct stat_table tcp_connection_table = {
	.room = "tcp",
	.object = "connection",
	.counter_count = sizeof(counters) / sizeof(counters[0]),
	.law_count = sizeof(laws) / sizeof(laws[0]),
	.value_count = TCP_VALUES,
	.counters = counters,
	.laws = laws,
};
