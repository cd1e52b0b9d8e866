/*
 * A transport for the exercises about sends: it completes each as it is told to, and when.
 *
 * While it owns a send it looks after what it was lent: the MDL must stay locked on the request,
 * and the bytes must stay what they were, which is x, each of them.
 */
#ifndef XPORT_LABS_TRANSPORT_H
#define XPORT_LABS_TRANSPORT_H

#include "lab.h"
#include "tdi/tdi.h"

enum when { AT_ONCE, PENDING_AT_ONCE, FROM_DPC, FROM_TIMER, WHEN_COUNT };

/* For a step: "completes each send with STATUS_SUCCESS %s". */
extern const char *const when_words[WHEN_COUNT];

#define ALL_BYTES (-1)

struct transport {
	struct device_object device;
	struct file_object file; /* a connection on it */
	enum when when;
	uint64_t delay_ns; /* FROM_TIMER */
	ntstatus outcome;
	int64_t bytes; /* what it says that it has sent, when that is not all */
	void (*check)(struct transport *transport, struct irp *irp); /* a new request */
	int loan_rule;						     /* of the lab's handout */

	int32_t sends;		 /* so far */
	int32_t owned;		 /* now */
	struct irp *in_dispatch; /* that it completes before it has returned STATUS_PENDING */
};

/* All sends succeed with all bytes, and FROM_TIMER means a millisecond. */
void open_transport(struct transport *transport, enum when when,
		    void (*check)(struct transport *transport, struct irp *irp), int loan_rule);

#endif
