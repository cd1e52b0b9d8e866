/* Every field has a value of its own, so that no two can be exchanged unseen. */
#include "wire_samples.h"

const struct lnet_acceptor_request sample_request = {.version = 1, .target_nid = SAMPLE_SERVER};

const struct ksock_hello sample_hello = {
	.version = KSOCK_PROTO_V3,
	.src_nid = SAMPLE_CLIENT,
	.dst_nid = SAMPLE_SERVER,
	.src_pid = LNET_PID_LUSTRE,
	.dst_pid = 54321,
	.src_incarnation = 0x0123456789abcdef,
	.dst_incarnation = 0x1122334455667788,
	.connection_type = SOCKLND_CONN_BULK_IN,
};

const struct ksock_message_header sample_message = {
	.type = KSOCK_MSG_LNET, .checksum = 0x11223344, .zc_cookies = {0x0102030405060708, 0x99}};

const struct ksock_message_header sample_noop = {.type = KSOCK_MSG_NOOP, .zc_cookies = {7, 9}};

const struct lnet_header sample_put = {
	.dest_nid = SAMPLE_SERVER,
	.src_nid = SAMPLE_CLIENT,
	.dest_pid = LNET_PID_LUSTRE,
	.src_pid = 54321,
	.type = LNET_MSG_PUT,
	.payload_length = 5,
	.msg.put = {.ack_wmd = {0x3132333435363738, 0x2122232425262728},
		    .match_bits = 0xfedcba9876543210,
		    .hdr_data = 0x0a0b0c0d0e0f1011,
		    .ptl_index = 50,
		    .offset = 4096},
};

const struct lnet_header sample_ack = {
	.dest_nid = SAMPLE_CLIENT,
	.src_nid = SAMPLE_SERVER,
	.dest_pid = 54321,
	.src_pid = LNET_PID_LUSTRE,
	.type = LNET_MSG_ACK,
	.msg.ack = {.dst_wmd = {0x3132333435363738, 0x2122232425262728},
		    .match_bits = 0xfedcba9876543210,
		    .mlength = 5},
};

const struct lnet_header sample_get = {
	.dest_nid = SAMPLE_SERVER,
	.src_nid = SAMPLE_CLIENT,
	.dest_pid = LNET_PID_LUSTRE,
	.src_pid = 54321,
	.type = LNET_MSG_GET,
	.msg.get = {.return_wmd = {0x4142434445464748, 0x5152535455565758},
		    .match_bits = 0x0011223344556677,
		    .ptl_index = 51,
		    .src_offset = 8192,
		    .sink_length = LNET_MTU},
};

const struct lnet_header sample_reply = {
	.dest_nid = SAMPLE_CLIENT,
	.src_nid = SAMPLE_SERVER,
	.dest_pid = 54321,
	.src_pid = LNET_PID_LUSTRE,
	.type = LNET_MSG_REPLY,
	.payload_length = 48,
	.msg.reply = {.dst_wmd = {0x4142434445464748, 0x5152535455565758}},
};

const struct lnet_header sample_ping = {
	.dest_nid = SAMPLE_SERVER,
	.src_nid = SAMPLE_CLIENT,
	.dest_pid = LNET_PID_LUSTRE,
	.src_pid = 54321,
	.type = LNET_MSG_GET,
	.msg.get = {.return_wmd = {0x4142434445464748, 0x5152535455565758},
		    .match_bits = LNET_PROTO_PING_MATCHBITS,
		    .ptl_index = LNET_RESERVED_PORTAL,
		    .sink_length = LNET_PING_MOST_BYTES},
};

const struct lnet_ping_reply sample_ping_reply = {
	.features = LNET_PING_FEAT_BASE | LNET_PING_FEAT_NI_STATUS,
	.pid = LNET_PID_LUSTRE,
	.count = 2,
	.interfaces = {{UINT64_C(9) << 48, LNET_NI_STATUS_UP},
		       {SAMPLE_SERVER, LNET_NI_STATUS_DOWN}},
};
