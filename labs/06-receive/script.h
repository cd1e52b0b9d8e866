/*
 * A transport that shows what it is told to, to exercise the receiving side of a client. What it
 * shows, it shows as meanly as the contract of tdi.h allows:
 *
 *   - bytes to be copied stand in memory of just their number, which is overwritten and freed when
 *     the handler has returned;
 *   - loans are chains of MDLs over memory that is overwritten and freed when they come back, the
 *     first of them with `offset` bytes in front that are not to be read;
 *   - after a refusal nothing is shown until there is a TDI_RECEIVE, which may come, and be kept,
 *     before the handler has returned.
 *
 * The bytes of a kind are numbered, and their number says what they are (script_byte): so a reader
 * can tell whether it got each once and in order. Events of both kinds come one at a time, from a
 * DPC, or with `at_once` also from whoever gives the transport something to do.
 */
#ifndef XPORT_LABS_SCRIPT_H
#define XPORT_LABS_SCRIPT_H

#include "tdi/stream.h"

enum { SCRIPT_NORMAL, SCRIPT_EXPEDITED, SCRIPT_KINDS };

/* What a client can do wrong that only its transport sees. */
enum script_fault {
	SCRIPT_TAKEN_TOO_MUCH,	 /* *bytes_taken is more than was indicated */
	SCRIPT_SPINS,		 /* STATUS_SUCCESS time and again, and nothing taken */
	SCRIPT_BAD_STATUS,	 /* none that the contract knows */
	SCRIPT_LENT_NOT_PENDING, /* a loan that was given back, but not taken */
	SCRIPT_RETURNED_TWICE,
	SCRIPT_NOT_RETURNED, /* when the endpoint is closed */
	SCRIPT_BAD_RECEIVE,  /* of another kind, or a second one, or without a buffer */
	SCRIPT_NO_POOL,
};

struct script;
typedef void script_complaint(enum script_fault fault, const char *expected, const char *actual);

/* What comes next of one kind. */
struct script_arrival {
	struct list_entry entry;
	uint32_t length;
	uint32_t mdls; /* 0: to be copied */
};

struct script_kind {
	struct list_entry arrivals;
	uint64_t gone; /* bytes that the client has taken, or has let be forgotten */
	uint64_t forgotten;
	bool waits; /* for a TDI_RECEIVE */
	struct irp *receive;
	uint32_t events;
	uint32_t receives;
};

struct script {
	struct device_object device;
	struct file_object address;
	struct file_object connection;
	struct kspin_lock lock;
	struct kdpc dpc;
	tdi_event_handler *handlers[TDI_EVENT_COUNT];
	void *contexts[TDI_EVENT_COUNT];
	void *connection_context;
	script_complaint *complain;
	struct script_kind kinds[SCRIPT_KINDS];
	struct list_entry loans; /* all that ever were, until the end */
	uint32_t lent;		 /* loans that are not back */
	uint32_t most_lent;	 /* so many at a time; 0: any number */
	uint32_t lookahead;	 /* the most bytes that one event indicates; 0: any number */
	uint32_t offset;	 /* of loans */
	ntstatus receive_fails;	 /* the next TDI_RECEIVE, with this error */
	ntstatus ends;		 /* after all that has arrived: the reason, or STATUS_SUCCESS */
	bool ended;		 /* DISCONNECT was told */
	bool at_once;
	bool closed;
	bool running;
	bool again;
};

/* An endpoint whose context is the stream; nothing is shown before script_arrive. */
void script_open(struct script *script, struct tdi_stream *stream, struct stat_segment *segment,
		 script_complaint *complain);

/* So many bytes have come, in one piece that is shown to be copied, or lent in so many MDLs. */
void script_arrive(struct script *script, int kind, uint32_t length, uint32_t mdls);

/* The peer is done: DISCONNECT follows when all was received. */
void script_end(struct script *script, ntstatus reason);

/* Whether DISCONNECT was told, or is being told. */
bool script_has_ended(struct script *script);

/* The endpoint closes, as tdi_close does it: loans are back, events over. A thread, PASSIVE. */
void script_close(struct script *script);

/* The byte with this number. */
static inline uint8_t script_byte(int kind, uint64_t number)
{
	return (uint8_t)(number * 31 + (number >> 8) * 7 + (unsigned)kind * 101);
}

/* Whether `bytes` are those with the numbers from `first` on. */
bool script_is(int kind, uint64_t first, const void *bytes, uint32_t length);

#endif
