#ifndef XPORT_ENDPOINT_H
#define XPORT_ENDPOINT_H

/*
 * A connection with all that it stands on: the device, a local address on it, and the connection
 * associated with that. Opened in this order and closed in the other. All functions are for system
 * threads at PASSIVE_LEVEL.
 */

#include "tcp/tcp.h"
#include "tdi/stream.h"

struct endpoint {
	struct device_object *device;
	struct file_object address;
	struct file_object connection;
	bool address_open;
};

/* Leaves nothing behind on failure. */
ntstatus endpoint_open(struct endpoint *endpoint, const struct tcp_options *options,
		       const struct transport_address *local);

/* The one peer has come: lets no other in. The connection stays. */
void endpoint_close_address(struct endpoint *endpoint);

/* Ends everything outstanding; resets the peer unless the connection was released. */
void endpoint_close(struct endpoint *endpoint);

/* The same for a client that calls: a device, an address and a stream. */
struct caller {
	struct device_object *device;
	struct file_object address;
	struct tdi_stream *stream;
};

/* Opens all three, and calls the peer. Leaves nothing behind on failure. */
ntstatus caller_connect(struct caller *caller, const struct tcp_options *options,
			const struct transport_address *remote, int64_t timeout_ns);

/* As endpoint_close. */
void caller_close(struct caller *caller);

#endif
