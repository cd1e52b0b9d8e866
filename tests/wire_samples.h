/* One of each piece, as the tests of the wire format know it. */
#ifndef XPORT_TESTS_WIRE_SAMPLES_H
#define XPORT_TESTS_WIRE_SAMPLES_H

#include "nal/wire.h"

#define SAMPLE_CLIENT UINT64_C(0x000200000a000001) /* 10.0.0.1@tcp */
#define SAMPLE_SERVER UINT64_C(0x000200000a000002)

extern const struct lnet_acceptor_request sample_request;
extern const struct ksock_hello sample_hello;
extern const struct ksock_message_header sample_message; /* of an LNet message */
extern const struct ksock_message_header sample_noop;
extern const struct lnet_header sample_put;
extern const struct lnet_header sample_ack;
extern const struct lnet_header sample_get;
extern const struct lnet_header sample_reply;
extern const struct lnet_header sample_ping;
extern const struct lnet_ping_reply sample_ping_reply;

#endif
