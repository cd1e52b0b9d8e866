/*
 * tcp - a transport on the kernel's TCP sockets, on the host executive.
 *
 * Sockets are non-blocking; their readiness is the interrupt. A device sends in one of two ways:
 *
 *   buffered   a send completes when the kernel has copied it into its socket buffer; what is
 *              queued is gathered into few system calls
 *   direct     the kernel sends from the client's pages (MSG_ZEROCOPY); a send completes when the
 *              kernel has let go of the pages and the peer has acknowledged every byte. The
 *              kernel's notification alone is no proof of that: after a reset it reports all pages
 *              returned. A release completes behind the direct sends before it
 *
 * What no receive waits for is read into chunks of 64 KiB, at most four for each connection, the
 * lent ones among them; a peer that sends more has to wait in its kernel. There is no expedited
 * data: TCP's urgent pointer marks one byte, and the next mark erases it.
 *
 * A connection that is closed without TDI_DISCONNECT_RELEASE, also by the death of the process,
 * resets the peer: a peer never takes half a stream for a whole one.
 */
#ifndef XPORT_TCP_TCP_H
#define XPORT_TCP_TCP_H

#include "tdi/tdi.h"

struct tcp_options {
	bool direct;
	bool nagle;		       /* let small sends wait for each other */
	uint32_t send_buffer_bytes;    /* 0: the system's */
	uint32_t receive_buffer_bytes; /* 0: the system's */
	uint32_t chained_bytes;	       /* shown to chained handlers; 0: 4 KiB */
	uint64_t timeout_ns;	       /* silence after which a peer is given up; 0: the system's */
	struct stat_segment *segment;  /* where its connections are counted; NULL: nowhere */
};

/*
 * A new device; NULL when there is no pool. It must outlive its files; delete it after they were
 * closed and the DPCs flushed. PASSIVE_LEVEL.
 */
struct device_object *tcp_create_device(const struct tcp_options *options);
void tcp_delete_device(struct device_object *device);

#endif
