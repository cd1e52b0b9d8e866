/* The tables of the message layer. */
#include "nal/private.h"

static const struct stat_counter message_counters[] = {
	{"messages", STAT_COUNTER, LNET_READ_MESSAGES, "messages", "messages that were read"},
	{"acks", STAT_COUNTER, LNET_READ_ACK, "messages", "of these, ACKs"},
	{"puts", STAT_COUNTER, LNET_READ_PUT, "messages", "PUTs"},
	{"gets", STAT_COUNTER, LNET_READ_GET, "messages", "GETs"},
	{"replies", STAT_COUNTER, LNET_READ_REPLY, "messages", "and REPLYs"},
	{"dropped", STAT_COUNTER, LNET_READ_DROPPED, "messages",
	 "of all of these, those that nobody wanted"},
	{"noops", STAT_COUNTER, LNET_READ_NOOP, "messages", "NOOPs that were read"},
	{"payload_bytes", STAT_COUNTER, LNET_READ_PAYLOAD, "bytes",
	 "payload that went to its place"},
	{"slop_bytes", STAT_COUNTER, LNET_READ_SLOP, "bytes", "payload that had none"},
};

static const struct stat_law message_laws[] = {
	{LNET_READ_MESSAGES, LNET_READ_ACK, false},
	{LNET_READ_MESSAGES, LNET_READ_PUT, false},
	{LNET_READ_MESSAGES, LNET_READ_GET, false},
	{LNET_READ_MESSAGES, LNET_READ_REPLY, false},
	{LNET_READ_MESSAGES, LNET_READ_DROPPED, false},
};

static const struct stat_counter scheduler_counters[] = {
	{"wakeups", STAT_COUNTER, LNET_SCHED_WAKEUPS, "times",
	 "times that it was woken, having had nothing to do"},
	{"rx_turns", STAT_COUNTER, LNET_SCHED_RX_TURNS, "turns", "turns of reading"},
	{"tx_turns", STAT_COUNTER, LNET_SCHED_TX_TURNS, "turns", "turns of sending"},
	{"batches", STAT_COUNTER, LNET_SCHED_BATCHES, "sends", "sends that were begun in them"},
	{"again", STAT_COUNTER, LNET_SCHED_AGAIN, "sends",
	 "of these, those that were under way when their turn ended"},
	{"activations", STAT_COUNTER, LNET_SCHED_ACTIVATIONS, "sends",
	 "of these, those whose completion has brought the next turn"},
	{"messages", STAT_COUNTER, LNET_SCHED_MESSAGES, "messages",
	 "messages whose last byte was in a send"},
	{"bytes", STAT_COUNTER, LNET_SCHED_BYTES, "bytes", "bytes of all sends"},
	{"allocations", STAT_COUNTER, LNET_SCHED_ALLOCATIONS, "times",
	 "batches and answers for which there was no used one"},
};

static const struct stat_law scheduler_laws[] = {
	{LNET_SCHED_BATCHES, LNET_SCHED_AGAIN, false},
	{LNET_SCHED_AGAIN, LNET_SCHED_ACTIVATIONS, false},
};

#define REASON(reason) LNET_COUNTS_REASONS + LNET_WIRE_##reason, "connections"

static const struct stat_counter node_counters[] = {
	{"called", STAT_COUNTER, LNET_COUNTS_CALLED, "connections", "connections to peers"},
	{"accepted", STAT_COUNTER, LNET_COUNTS_ACCEPTED, "connections", "and from peers"},
	{"ended", STAT_COUNTER, LNET_COUNTS_ENDED, "connections", "of both, those that are gone"},
	{"refused", STAT_COUNTER, LNET_COUNTS_REFUSED, "connections",
	 "of these, those that were closed for what the peer has sent:"},
	{"bad_magic", STAT_COUNTER, REASON(BAD_MAGIC), "another magic"},
	{"bad_version", STAT_COUNTER, REASON(BAD_VERSION), "a version that is not known"},
	{"bad_nid", STAT_COUNTER, REASON(BAD_NID), "a NID that is not its, or not ours"},
	{"bad_connection_type", STAT_COUNTER, REASON(BAD_CONNECTION_TYPE), "another type"},
	{"too_many_addresses", STAT_COUNTER, REASON(TOO_MANY_ADDRESSES), "too many addresses"},
	{"bad_message_type", STAT_COUNTER, REASON(BAD_MESSAGE_TYPE), "no message"},
	{"bad_lnet_type", STAT_COUNTER, REASON(BAD_LNET_TYPE), "no message of LNet's"},
	{"payload_too_long", STAT_COUNTER, REASON(PAYLOAD_TOO_LONG), "a payload that is too long"},
	{"unwanted_payload", STAT_COUNTER, REASON(UNWANTED_PAYLOAD), "one where there is none"},
	{"bad_length", STAT_COUNTER, REASON(BAD_LENGTH), "a length that no payload can have"},
	{"bad_checksum", STAT_COUNTER, REASON(BAD_CHECKSUM), "another checksum"},
	{"too_many_cookies", STAT_COUNTER, REASON(TOO_MANY_COOKIES), "too many cookies"},
};

/* The counts of reasons are after that of all of them. */
static const struct stat_law node_laws[] = {
	{3, 4, false},	{3, 5, false},	{3, 6, false},	{3, 7, false},
	{3, 8, false},	{3, 9, false},	{3, 10, false}, {3, 11, false},
	{3, 12, false}, {3, 13, false}, {3, 14, false}, {3, 15, false},
};

#define TABLE(room_name, object_name, counter_list, law_list, values)                              \
	{                                                                                          \
		.room = (room_name), .object = (object_name),                                      \
		.counter_count = sizeof(counter_list) / sizeof((counter_list)[0]),                 \
		.law_count = sizeof(law_list) / sizeof((law_list)[0]), .value_count = (values),    \
		.counters = (counter_list), .laws = (law_list),                                    \
	}

const struct stat_table lnet_message_table =
	TABLE("message", "processor", message_counters, message_laws, LNET_READ_VALUES);
const struct stat_table lnet_scheduler_table =
	TABLE("scheduler", "processor", scheduler_counters, scheduler_laws, LNET_SCHED_VALUES);
const struct stat_table lnet_node_table =
	TABLE("message", "node", node_counters, node_laws, LNET_COUNTS_VALUES);

void ksocknal_count_received(struct stat_block *block, struct ksock_tally *tally)
{
	static const uint32_t counters[] = {
		[LNET_MSG_ACK] = LNET_READ_ACK,
		[LNET_MSG_PUT] = LNET_READ_PUT,
		[LNET_MSG_GET] = LNET_READ_GET,
		[LNET_MSG_REPLY] = LNET_READ_REPLY,
	};

	if (stat_is_counted(block)) {
		for (uint32_t i = 0; i <= LNET_MSG_REPLY; i++) {
			stat_count(block, LNET_READ_MESSAGES, tally->messages[i]);
			stat_count(block, counters[i], tally->messages[i]);
		}
		stat_count(block, LNET_READ_DROPPED, tally->dropped);
		stat_count(block, LNET_READ_NOOP, tally->noops);
		stat_count(block, LNET_READ_PAYLOAD, tally->payload_bytes);
		stat_count(block, LNET_READ_SLOP, tally->slop_bytes);
	}
	*tally = (struct ksock_tally){0};
}

void ksocknal_count_sent(struct stat_block *block, struct ksock_sent *sent)
{
	stat_count(block, LNET_SCHED_BATCHES, sent->batches);
	stat_count(block, LNET_SCHED_AGAIN, sent->again);
	stat_count(block, LNET_SCHED_ACTIVATIONS, sent->activations);
	stat_count(block, LNET_SCHED_MESSAGES, sent->messages);
	stat_count(block, LNET_SCHED_BYTES, sent->bytes);
	*sent = (struct ksock_sent){0};
}
