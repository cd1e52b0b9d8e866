/* Who is told what comes: an endpoint with handlers that do as a case says, and its caller. */
#ifndef XPORT_TESTS_EVENT_HOST_H
#define XPORT_TESTS_EVENT_HOST_H

#include "conformance_cases.h"
#include "executive.h"
#include "transport_client.h"

enum {
	MANY_BYTES = EXECUTIVE_HOST ? 1 << 20 : 1 << 14,
	LENT_BYTES = EXECUTIVE_HOST ? 2 << 20 : 1 << 17,
	MOST_LOANS = 512
};

/*
 * The server's side: an address with all handlers, and one endpoint behind its connect event. What
 * the handlers do with data is told by `take` and `answer`. They run one at a time, except `room`.
 * The lock is for what they share with the case: what they are told, and what has come of it.
 */
struct host {
	struct kspin_lock lock;
	struct file_object address;
	struct file_object endpoint;
	struct irp *accept_irp;
	struct kevent settled; /* the accept has completed */
	struct kevent changed; /* something has come */
	ntstatus accepted;
	bool refuses;

	uint32_t take;	 /* of an indication, at most */
	ntstatus answer; /* to one that was not taken whole */
	bool lends_back; /* chained data is returned in the handler, and kept (PENDING) at once */
	bool keeps;	 /* chained data is kept */
	struct irp *receive_irp;

	uint8_t *bytes; /* that were taken, by any way */
	uint32_t count;
	uint32_t shown;	  /* times */
	uint32_t chained; /* of these, times that it was a chain */
	uint32_t pieces;  /* MDLs of the longest */
	uint32_t wanted;  /* bytes, by the case alone */
	uint32_t refused; /* times that data was not accepted */
	bool wrong;	  /* an argument was not as it should be */
	uint8_t urgent[16];
	uint32_t urgent_count;

	void *loans[MOST_LOANS];
	uint32_t loan_count;
	int32_t rooms;
	int32_t lingering; /* chains that a slow handler is shown */
	int32_t ends;
	int32_t late; /* events after the last */
	uint32_t end_flags;
	ntstatus end_reason;
};

/* A caller, and a host that has accepted it. */
struct visit {
	struct host host;
	struct file_object client_address;
	struct file_object client;
	struct transport_address remote;
};

/* Opens both sides; connects them. Fails the test and returns false when that does not work. */
bool open_visit(struct visit *visit, struct world *world);
bool connect_visit(struct visit *visit, struct world *world);

/* Closes both, and checks that no event was wrong, late, or a second last one. */
void close_visit(struct visit *visit);

/* The ends that the host has been told of are none of what begins now. */
void begin_second_life(struct host *host);

/* What the handlers do from now on. */
void tell(struct host *host, uint32_t take, ntstatus answer, bool keeps);

/* Waits until this holds, which is asked under the lock; fails the test if it takes too long. */
bool await(struct host *host, bool (*holds)(struct host *host));
bool has_ended(struct host *host);
bool has_wanted(struct host *host);

/* The client sends all of a pattern and releases; and is done with it. Then: all of it has come. */
void send_pattern(struct visit *visit, uint32_t length);
void check_stream(struct visit *visit, uint32_t length);

/* For handlers of a case's own: an event was shown; and those of the host that a case sets itself.
 */
void note_event(struct host *host);
tdi_ind_connect on_connect;
tdi_ind_receive on_receive;
tdi_ind_disconnect on_end;

#endif
