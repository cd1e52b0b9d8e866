/*
 * Requests: where each is, who did what with it last, and what may not be done now.
 *
 * A shadow knows the location at which the request stands, as the request's own stack_index does,
 * but it outlives the request: a freed one stays known until its address is used again or its place
 * is needed, so whoever still completes or marks it is named, together with who had freed it.
 * `generation` tells a request from a later one at the same address.
 *
 * `walking` is set from io_complete_request until a completion routine is called, which may give
 * the request to somebody who completes it again, rightly.
 */
#include "verifier/private.h"

enum { REQUEST_SETS = 256 };

enum life { LIVE = 1, FREED };

static struct request {
	const void *address;
	uint32_t run;
	uint32_t generation;
	uint8_t life;
	bool walking;
	bool waited_for;
	int8_t count; /* of locations; the creator's index */
	int8_t index;
	struct verifier_context *waiter; /* it has been sent by, and is waited for */
	const struct ke_site *freed;
	const struct ke_site *completed;
	const struct ke_site *left_marked; /* the location that the walk left last */
	const struct ke_site *cancel_set;
	uint32_t visit[VERIFIER_LOCATIONS];
} requests[REQUEST_SETS * WAYS];

static uint32_t generations;
static unsigned held_requests; /* how many of them a driver holds */

void reset_requests(void)
{
	held_requests = 0;
}

/* ---- The shadows ---------------------------------------------------------------------------- */

static struct request *find(const void *address)
{
	struct request *first = &requests[shadow_set(address, REQUEST_SETS)];

	for (unsigned i = 0; i < WAYS; i++)
		if (first[i].address == address && first[i].run == shadow_run)
			return &first[i];
	return NULL;
}

/* A place for a request that has none: an empty one, or that of the one freed first; NULL if all
 * are taken by requests that live. */
static struct request *place_for(const void *address)
{
	struct request *first = &requests[shadow_set(address, REQUEST_SETS)], *freed = NULL;

	for (unsigned i = 0; i < WAYS; i++) {
		if (first[i].run != shadow_run)
			return &first[i];
		if (first[i].life == FREED &&
		    (freed == NULL || first[i].generation < freed->generation))
			freed = &first[i];
	}
	return freed;
}

static struct visit *current_visit(const struct request *r)
{
	return r->index < r->count ? visit_at(r->visit[r->index]) : NULL;
}

static const struct verifier_event *sent_event(const struct request *r,
					       struct verifier_event *event)
{
	const struct visit *visit = current_visit(r);

	*event = (struct verifier_event){visit != NULL ? visit->sent : NULL,
					 "it was sent to that driver"};
	return event;
}

static const char *driver_of(const struct request *r)
{
	const struct visit *visit = current_visit(r);

	return visit != NULL ? visit->driver : "?";
}

/* Somebody freed it by other means than io_free_irp. */
static void forget(struct request *r)
{
	lent_end(LENT_BUFFER, r->address, 0);
	held_requests -= r->index < r->count;
	for (int i = r->index; i < r->count; i++) {
		lent_end(LENT_CONTEXT, r->address, i);
		visit_drop(r->visit[i]);
	}
}

/* ---- From allocation to free ---------------------------------------------------------------- */

void verifier_request_allocated(const void *request, unsigned locations)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r == NULL)
		r = place_for(request);
	else if (r->life == LIVE)
		forget(r);
	if (r != NULL)
		*r = (struct request){.address = request,
				      .run = shadow_run,
				      .generation = ++generations,
				      .life = LIVE,
				      .count = (int8_t)locations,
				      .index = (int8_t)locations};
	shadow_unlock();
}

void verifier_request_waited_for(const void *request)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL)
		r->waited_for = true;
	shadow_unlock();
}

static void require_back(const struct request *r, const char *rule, const char *verb,
			 const struct ke_site *site)
{
	struct verifier_event sent;

	if (r->life == FREED)
		verifier_violation(site, rule, EVENT(r->freed, "it was freed"),
				   "a request is %s that was freed", verb);
	if (r->index < r->count)
		verifier_violation(site, rule, sent_event(r, &sent),
				   "a request is %s while driver '%s' holds it", verb,
				   driver_of(r));
}

void verifier_request_freed(const void *request, const struct ke_site *site)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL) {
		require_back(r, "REQ-FREE-IN-USE", "freed", site);
		r->life = FREED;
		r->freed = site;
	}
	shadow_unlock();
}

void verifier_request_reused(const void *request, const struct ke_site *site)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL) {
		require_back(r, "REQ-REUSE-IN-FLIGHT", "reused", site);
		r->completed = NULL;
		r->waited_for = false;
	}
	shadow_unlock();
}

/* ---- Down ----------------------------------------------------------------------------------- */

/* The request's part of the call: false if the location is not one that it has. */
static void enter_location(struct request *r, int index, struct verifier_call *call,
			   const void *routine_context)
{
	struct visit *above = current_visit(r);

	if (index == r->index) { /* lent by the driver that calls */
		call->visit = r->visit[index];
	} else {
		if (above != NULL)
			above->passed_on = true;
		call->visit = r->visit[index] = visit_begin(call->driver, call->site);
		r->index = (int8_t)index;
	}
	lent_end(LENT_CONTEXT, r->address, index);
	if (routine_context != NULL)
		lent_begin(LENT_CONTEXT, r->address, index, routine_context, 1, call->site);
	if (call->visit != NO_VISIT)
		visit_at(call->visit)->users++;
}

bool verifier_request_sent(struct verifier_call *call, const void *request, int index,
			   const char *driver, const void *routine_context, unsigned irql,
			   const struct ke_site *site)
{
	struct request *r;
	bool by_creator = false;

	*call = (struct verifier_call){NO_VISIT, shadow_run,	     driver,
				       site,	 verifier_current(), irql};
	shadow_lock();
	r = find(request);
	if (r != NULL && r->life == FREED)
		verifier_violation(site, "REQ-FREE-IN-USE", EVENT(r->freed, "it was freed"),
				   "a request is sent to driver '%s' that was freed", driver);
	if (r != NULL && index >= 0 && index < r->count) {
		by_creator = r->index == r->count;
		held_requests += by_creator;
		if (by_creator && r->waited_for) {
			r->waiter = call->context;
			__atomic_fetch_add(&r->waiter->waited_for, 1, __ATOMIC_RELAXED);
		}
		enter_location(r, index, call, routine_context);
	}
	shadow_unlock();
	return by_creator;
}

void verifier_memory_lent(const void *request, const void *memory, size_t bytes,
			  const struct ke_site *site)
{
	shadow_lock();
	lent_begin(LENT_BUFFER, request, 0, memory, bytes, site);
	shadow_unlock();
}

/* ---- At a driver ---------------------------------------------------------------------------- */

void verifier_request_marked(const void *request, const struct ke_site *site)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL) {
		struct visit *visit = current_visit(r);

		if (r->life == FREED)
			verifier_violation(site, "REQ-MARKED-NOT-PENDING",
					   EVENT(r->freed, "it was freed"),
					   "a request is marked pending that was freed");
		if (r->index == r->count)
			verifier_violation(site, "REQ-MARKED-NOT-PENDING",
					   EVENT(r->completed, "it was completed"),
					   "a request is marked pending by one who owns no stack "
					   "location");
		if (visit != NULL)
			visit->marked = site;
	}
	shadow_unlock();
}

void verifier_cancel_routine_set(const void *request, const struct ke_site *site)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL && r->life == LIVE) {
		const struct visit *visit = current_visit(r);
		struct verifier_event sent;

		r->cancel_set = site;
		if (visit != NULL && visit->marked == NULL)
			verifier_violation(site, "REQ-QUEUED-NOT-MARKED", sent_event(r, &sent),
					   "driver '%s' gives a request a cancel routine and has "
					   "not marked it pending",
					   visit->driver);
	}
	shadow_unlock();
}

/* ---- Up ------------------------------------------------------------------------------------- */

static void judge_twice(const struct request *r, const struct ke_site *site)
{
	if (r->life == FREED)
		verifier_violation(site, "REQ-DOUBLE-COMPLETE",
				   r->completed != NULL ? EVENT(r->completed, "it was completed")
							: EVENT(r->freed, "it was freed"),
				   "a request is completed that was freed at %s:%d", r->freed->file,
				   r->freed->line);
	if (r->walking)
		verifier_violation(site, "REQ-DOUBLE-COMPLETE",
				   EVENT(r->completed, "it was completed"),
				   "a request is completed while its completion goes on");
	if (r->index == r->count)
		verifier_violation(site, "REQ-DOUBLE-COMPLETE",
				   EVENT(r->completed, "it was completed"),
				   "a request is completed that no driver holds");
}

static void judge_completion(const struct request *r, struct verifier_status status,
			     void *const *cancel_routine, const struct ke_site *site)
{
	const struct verifier_context *context = verifier_current();
	struct verifier_event sent;

	if (status.value == VERIFIER_STATUS_PENDING)
		verifier_violation(site, "REQ-COMPLETE-PENDING", sent_event(r, &sent),
				   "driver '%s' completes a request with STATUS_PENDING",
				   driver_of(r));
	if (context->held_count > 0)
		verifier_violation(site, "REQ-COMPLETE-WITH-LOCK",
				   EVENT(context->held[0].site, "a lock was acquired"),
				   "driver '%s' completes a request with the lock %p held",
				   driver_of(r), context->held[0].lock);
	if (__atomic_load_n(cancel_routine, __ATOMIC_RELAXED) != NULL)
		verifier_violation(site, "REQ-CANCEL-SET-ON-COMPLETE",
				   EVENT(r->cancel_set, "its cancel routine was set"),
				   "driver '%s' completes a request that can still be cancelled",
				   driver_of(r));
}

void verifier_completion_wanted(const void *request, const struct ke_site *site)
{
	const struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL)
		judge_twice(r, site);
	shadow_unlock();
}

void verifier_request_completed(const void *request, struct verifier_status status,
				void *const *cancel_routine, const struct ke_site *site)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL) {
		judge_twice(r, site); /* again: another may have come between */
		judge_completion(r, status, cancel_routine, site);
		r->completed = site;
		r->walking = true;
	}
	shadow_unlock();
}

void verifier_location_left(const void *request, int index, struct verifier_status status,
			    const struct ke_site *site)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL && r->life == LIVE && index == r->index && index < r->count) {
		struct visit *visit = visit_at(r->visit[index]);

		r->left_marked = visit != NULL ? visit->marked : NULL;
		if (visit != NULL)
			visit_left(visit, status, site);
		visit_drop(r->visit[index]);
		r->visit[index] = NO_VISIT;
		lent_end(LENT_CONTEXT, request, index);
		r->index++;
		if (current_visit(r) != NULL)
			current_visit(r)->passed_on = false; /* it is back */
		if (r->index == r->count) {
			held_requests--;
			lent_end(LENT_BUFFER, request, 0);
			if (r->waiter != NULL)
				__atomic_fetch_sub(&r->waiter->waited_for, 1, __ATOMIC_RELAXED);
			r->waiter = NULL;
		}
	}
	shadow_unlock();
}

void verifier_walk_marked(const void *request, const struct ke_site *site)
{
	struct request *r;

	shadow_lock();
	r = find(request);
	if (r != NULL && r->life == LIVE && current_visit(r) != NULL)
		current_visit(r)->marked = site;
	shadow_unlock();
}

void verifier_routine_called(struct verifier_routine *routine, const void *request, unsigned irql)
{
	struct request *r;

	*routine = (struct verifier_routine){.irql = irql};
	shadow_lock();
	r = find(request);
	if (r != NULL) {
		r->walking = false;
		routine->generation = r->generation;
		routine->below_marked = r->left_marked;
	}
	shadow_unlock();
}

void verifier_routine_returned(const struct verifier_routine *routine, const void *request,
			       bool goes_on, unsigned irql, const struct ke_site *site)
{
	struct request *r;
	struct visit *above;

	if (irql != routine->irql)
		verifier_violation(site, "IRQL-CHANGED", NULL,
				   "a completion routine was called at IRQL %u and returned at %u",
				   routine->irql, irql);
	if (!goes_on)
		return;
	shadow_lock();
	r = find(request);
	if (r == NULL || routine->generation == 0) {
		shadow_unlock();
		return;
	}
	if (r->life == FREED || r->generation != routine->generation)
		verifier_violation(site, "REQ-LOST",
				   EVENT(r->life == FREED ? r->freed : NULL, "it was freed"),
				   "a completion routine freed the request and let its completion "
				   "go on");
	r->walking = true;
	above = current_visit(r);
	if (above != NULL && above->marked == NULL)
		above->unpropagated = routine->below_marked;
	shadow_unlock();
}

/* ---- The account ---------------------------------------------------------------------------- */

bool verifier_find_held_request(struct verifier_event *sent, const char **driver)
{
	bool found = false;

	shadow_lock();
	for (unsigned i = 0; held_requests > 0 && i < REQUEST_SETS * WAYS && !found; i++) {
		const struct request *r = &requests[i];

		if (r->run != shadow_run || r->life != LIVE || current_visit(r) == NULL)
			continue;
		sent_event(r, sent);
		*driver = driver_of(r);
		found = true;
	}
	shadow_unlock();
	return found;
}
