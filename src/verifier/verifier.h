/*
 * verifier - the rules, and a memory of who did what. The lowest floor: it includes nothing of
 * xport, makes no system call, and everything above may include it.
 *
 * Three things are here. The table of all rules: a name, a clause that says what must hold, and
 * the page of the book that explains it. A shadow of what the rules are about: requests, locks,
 * references and lent memory, kept apart from the objects themselves, because those may be freed
 * or overwritten by the very mistake that is looked for. And the way to report.
 *
 * Hooks. The rooms above tell what happens by the functions below, each behind
 *
 *      if (verifier_on)
 *
 * whose value is chosen at link time: a program is linked with the library verifier-on or
 * verifier-off. Off, a hook costs one load and one branch that is always predicted. On, a hook
 * takes the verifier's one lock, finds the shadow of the object by its address, and judges. A
 * shadow is judged alone: no hook reads the memory that it is told of, but for one word that is
 * named below, so it makes no difference whether that memory still lives.
 *
 * Bounds. The tables have fixed sizes. What does not fit is not checked, and never judged wrongly;
 * what was made before verifier_reset or by other means than the hooks know is not checked either.
 *
 * Whoever implements ke provides verifier_current and verifier_stop, calls verifier_reset when a
 * run begins, and keeps a struct verifier_context for each context that executes.
 *
 * The room is compiled without sanitizers, and its lock is unknown to them: so the order in which
 * hooks run on the host hides no data race of the code that is checked.
 *
 * Sources: Driver Verifier and SDV (rules for requests), lockdep (an order of locks that was seen
 * once is enough).
 */
#ifndef XPORT_VERIFIER_VERIFIER_H
#define XPORT_VERIFIER_VERIFIER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Sites, and the switch ------------------------------------------------------------------ */

/* Where an operation stands in the source. */
struct ke_site {
	const char *file;
	int line;
};

/* Whether hooks are called; true in the library verifier-on, false in verifier-off. Hidden, so that
 * a program compares the byte in its place instead of looking up where it is. */
extern const bool verifier_on __attribute__((visibility("hidden")));

/* ---- Rules ---------------------------------------------------------------------------------- */

struct verifier_rule {
	const char *name;
	const char *page;   /* of the book */
	const char *clause; /* what must hold, one sentence */
};

extern const struct verifier_rule verifier_rules[];
extern const unsigned verifier_rule_count;

/* NULL if there is none of that name. */
const struct verifier_rule *verifier_find_rule(const char *name);

/* ---- Reports -------------------------------------------------------------------------------- */

/* Something that happened before: "it was completed", and where. */
struct verifier_event {
	const struct ke_site *site;
	const char *what;
};

/*
 * Stops the run: the rule was broken at `site`, by something that does not go with `other` (NULL,
 * or an event whose site is NULL: there is none to name). The rest is a sentence in printf form.
 */
_Noreturn void verifier_violation(const struct ke_site *site, const char *rule,
				  const struct verifier_event *other, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The executive's: prints the report, with the rule's clause and page, and ends the run. */
_Noreturn void verifier_stop(const struct ke_site *site, const char *rule,
			     const struct verifier_event *other, const char *format,
			     va_list arguments);

/* ---- Contexts ------------------------------------------------------------------------------- */

enum { VERIFIER_HELD = 16 };

struct verifier_held {
	const void *lock;
	uint32_t generation; /* of the lock; 0: not checked */
	const struct ke_site *site;
};

/* What is known of a context that executes, in memory of the executive's. */
struct verifier_context {
	struct verifier_held held[VERIFIER_HELD];
	unsigned held_count;
	unsigned waited_for; /* requests of io_build_..., sent by it and not completed */
};

/* The executive's: that of the context that calls. Never NULL. */
struct verifier_context *verifier_current(void);

/* A run begins: nothing is known. */
void verifier_reset(void);

/* A context begins, or ends by a return from its routine. */
void verifier_context_begins(struct verifier_context *context);
void verifier_context_ends(struct verifier_context *context, const struct ke_site *site);

/* ---- Locks ---------------------------------------------------------------------------------- */

enum verifier_lock_use {
	VERIFIER_INTERRUPTIBLE = 1, /* an interrupt may come on the holder's processor */
	VERIFIER_IN_INTERRUPT = 2,  /* used at the level of interrupts */
	VERIFIER_MOMENT = 4,	    /* given back by the same operation, without anything between */
};

void verifier_lock_initialized(const void *lock, const struct ke_site *site);
/* Before the context waits for it. `use` is a set of the above. */
void verifier_lock_wanted(const void *lock, unsigned use, const struct ke_site *site);
void verifier_lock_released(const void *lock);

/* Whether LOCK-ORDER is judged, which it is at first: not, for tests of real deadlocks. */
void verifier_judge_lock_order(bool judge);

/* ---- References ----------------------------------------------------------------------------- */

void verifier_reference_initialized(const void *reference);
void verifier_reference_ended(const void *reference, const struct ke_site *site);
/* Where the last reference was dropped, or NULL. */
const struct ke_site *verifier_reference_end(const void *reference);

/* ---- Memory --------------------------------------------------------------------------------- */

/* Pool memory, or a descriptor, is being freed: a violation if a driver may still use it. */
void verifier_memory_freed(const void *memory, size_t bytes, const struct ke_site *site);

/* ---- Requests ------------------------------------------------------------------------------- */

enum {
	VERIFIER_STATUS_PENDING = 0x103,
	VERIFIER_LOCATIONS = 16,
};

/* A status, and its name for reports. */
struct verifier_status {
	int32_t value;
	const char *name;
};

void verifier_request_allocated(const void *request, unsigned locations);
/* A thread will wait for it, with the event and the status block on its stack. */
void verifier_request_waited_for(const void *request);
void verifier_request_freed(const void *request, const struct ke_site *site);
void verifier_request_reused(const void *request, const struct ke_site *site);

/* One call of a dispatch routine, from its call to its return: in the caller's frame. */
struct verifier_call {
	uint32_t visit;
	uint32_t run;
	const char *driver;
	const struct ke_site *site;
	struct verifier_context *context;
	unsigned irql;
};

/*
 * The request goes to the driver at location `index`; `routine_context` is what the completion
 * routine there will be given (NULL: none). True if its creator sent it: then the memory that it
 * describes is to be told with verifier_memory_lent.
 */
bool verifier_request_sent(struct verifier_call *call, const void *request, int index,
			   const char *driver, const void *routine_context, unsigned irql,
			   const struct ke_site *site);
void verifier_memory_lent(const void *request, const void *memory, size_t bytes,
			  const struct ke_site *site);
void verifier_dispatch_returned(const struct verifier_call *call, struct verifier_status status,
				unsigned irql);

void verifier_request_marked(const void *request, const struct ke_site *site);
void verifier_cancel_routine_set(const void *request, const struct ke_site *site);

/* Before anything of the request is looked at: it must be with a driver, and complete once. */
void verifier_completion_wanted(const void *request, const struct ke_site *site);

/* Then: the completion begins. Reads *cancel_routine. */
void verifier_request_completed(const void *request, struct verifier_status status,
				void *const *cancel_routine, const struct ke_site *site);

/* The walk leaves the location `index`; and it marks the next one itself. */
void verifier_location_left(const void *request, int index, struct verifier_status status,
			    const struct ke_site *site);
void verifier_walk_marked(const void *request, const struct ke_site *site);

/* One call of a completion routine. */
struct verifier_routine {
	uint32_t generation;
	const struct ke_site *below_marked;
	unsigned irql;
};

void verifier_routine_called(struct verifier_routine *routine, const void *request, unsigned irql);
/* `goes_on`: the routine lets the walk go on. */
void verifier_routine_returned(const struct verifier_routine *routine, const void *request,
			       bool goes_on, unsigned irql, const struct ke_site *site);

/* A request that a driver holds, where it was sent and to whom; false if there is none. */
bool verifier_find_held_request(struct verifier_event *sent, const char **driver);

#endif
