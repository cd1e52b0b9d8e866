/*
 * link - a transport over a simulated link, on both executives.
 *
 * One device is one link: whoever connects to an address that was opened on the same device is
 * joined to whoever listens there, and their bytes take time: half a round trip, plus their length
 * at the rate of the link. Ports are the only part of an address that counts.
 *
 * Expedited sends go out ahead of normal ones, also of the rest of one that has begun. On a link
 * that buffers, a non-blocking send takes as much as the window has room for.
 *
 * Everything that a real network does to a stream happens here by arrangement: bytes are cut into
 * segments anywhere, a send is taken in parts when the buffer space is short, a connection is reset
 * at a chosen byte, a connect is refused. What the options leave open, ke_choose decides: in the
 * simulator the scheduler, on the host the ordinary case.
 */
#ifndef XPORT_LINK_LINK_H
#define XPORT_LINK_LINK_H

#include "tdi/tdi.h"

/* When the completion of a send that is done at once runs. */
enum link_completion {
	LINK_COMPLETE_ANYHOW,	/* ke_choose; on the host inline */
	LINK_COMPLETE_INLINE,	/* before the submit returns, on the submitter's stack */
	LINK_COMPLETE_DEFERRED, /* from a DPC, before or after the submit returns */
};

struct link_options {
	uint64_t rtt_ns;	       /* 0: as soon as a DPC runs */
	uint64_t rate_bits_per_second; /* in each direction; 0: unlimited */
	uint32_t window_bytes;	       /* on the way or unread, each direction; 0: 4 MiB */
	uint32_t segment_bytes;	       /* the longest segment; 0: 64 KiB */
	uint32_t chained_bytes;	       /* shown to chained handlers; 0: 4 KiB */
	bool buffered; /* a send completes when it is copied, not when it is acknowledged */
	bool cut;      /* ke_choose cuts segments and partial accepts short */
	bool faults;   /* ke_choose refuses calls and breaks connections; never on the host */
	enum link_completion completion;
	uint64_t reset_after_bytes;   /* of either direction, the connection is reset; 0: never */
	struct stat_segment *segment; /* where its connections are counted; NULL: nowhere */
};

/*
 * A new link, with default options where NULL or 0 is given. NULL when there is no pool. The device
 * must outlive its files; delete it after they were closed and the DPCs flushed. PASSIVE_LEVEL.
 */
struct device_object *link_create_device(const struct link_options *options);
void link_delete_device(struct device_object *device);

#endif
