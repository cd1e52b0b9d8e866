/* What the exercises of lab 01 play with: a stack of two devices, and a device with a queue. */
#ifndef XPORT_LABS_REQUESTS_H
#define XPORT_LABS_REQUESTS_H

#include "io/io.h"

/* The rules of the handout. */
enum {
	RULE_DOWN = 1,
	RULE_UP,
	RULE_TAKEN,
	RULE_PENDING,
	RULE_SYNCHRONOUS,
	RULE_MARK,
	RULE_BOTH_SEE,
	RULE_OWNER,
	RULE_NO_LOCK,
	RULE_ORDER,
	RULE_USERS,
};

struct stack {
	struct device_object upper, lower;
	char trace[32];
	unsigned length;
	ntstatus outcome; /* of what the lower driver completes at once */
	bool pend;	  /* it keeps the request instead, here: */
	struct irp *kept;
	bool upper_keeps;   /* the upper driver's routine takes the request back, once */
	bool creator_frees; /* the creator's routine frees it */
	bool pending_seen;  /* in the creator's routine */
};

/* IRP_MJ_READ passes the upper driver with a completion routine, IRP_MJ_WRITE without. */
void build_stack(struct stack *stack, ntstatus outcome);

/* A request of io_allocate_irp's to the upper device, with a completion routine. */
struct irp *build_request(struct stack *stack, enum irp_major_function major);

/* A completion routine that writes U down and lets go; its context is the stack. */
io_completion_routine note_routine;

void expect_trace(int rule, const struct stack *stack, const char *wanted);

enum { QUEUED = 4 };

struct queue {
	struct device_object device;
	struct kspin_lock lock;
	struct io_csq csq;
	uint32_t users;
	bool routine_locks; /* the completion routine takes the lock */
	struct irp *irps[QUEUED];
	int32_t completed[QUEUED];
	bool pending_seen[QUEUED];
};

void build_queue(struct queue *queue);
struct irp *remove_next(struct queue *queue);
void end_queue(struct queue *queue);

/* Threads of the race. */
void cancel_all(void *queue);
void serve_all(void *queue);

#endif
