/*
 * What a dispatch routine returned against what became of the request.
 *
 * The two come in either order. A request may be completed, and even freed, before the dispatch
 * routine returns, or long after. So each stay of a request at a location has a record, its visit,
 * that outlives both; whichever of the two comes second judges.
 *
 *      returned STATUS_PENDING, the walk leaves unmarked     REQ-PENDING-NOT-MARKED
 *      left unmarked, then returns STATUS_PENDING            the same by another context, or else
 *                                                            REQ-COMPLETED-RETURNS-PENDING
 *      either, where a routine kept a mark to itself         REQ-PENDING-NOT-PROPAGATED
 *      marked, returns another status                        REQ-MARKED-NOT-PENDING
 *      not left, returns a final status                      REQ-LOST; REQ-STATUS-MISMATCH if the
 *                                                            request was passed on
 *      left, returns another final status                    REQ-STATUS-MISMATCH
 *
 * A driver that skips its location lends it to the next: both routines are calls of one visit, and
 * what each returns is judged.
 */
#include "verifier/private.h"

enum { VISITS = 4096 };

static struct visit visits[VISITS]; /* number 0 is NO_VISIT */
static uint32_t visits_used, first_free;

void reset_visits(void)
{
	visits_used = first_free = NO_VISIT;
}

struct visit *visit_at(uint32_t number)
{
	return number != NO_VISIT ? &visits[number] : NULL;
}

uint32_t visit_begin(const char *driver, const struct ke_site *sent)
{
	uint32_t number = first_free;

	if (number != NO_VISIT)
		first_free = visits[number].next_free;
	else if (visits_used + 1 < VISITS)
		number = ++visits_used;
	else
		return NO_VISIT;
	visits[number] = (struct visit){.users = 1, .driver = driver, .sent = sent};
	return number;
}

void visit_drop(uint32_t number)
{
	struct visit *visit = visit_at(number);

	if (visit == NULL || --visit->users > 0)
		return;
	visit->next_free = first_free;
	first_free = number;
}

/* The request was completed unmarked, and its routine returned STATUS_PENDING, in some order. */
static void judge_unmarked(const struct visit *visit, const struct ke_site *site,
			   const struct verifier_event *other, const char *rule, const char *driver)
{
	if (visit->unpropagated != NULL)
		verifier_violation(
			visit->left, "REQ-PENDING-NOT-PROPAGATED",
			EVENT(visit->unpropagated, "the request was marked pending below"),
			"the completion routine of driver '%s' let the walk go on without "
			"marking the request, and its dispatch routine returned STATUS_PENDING",
			driver);
	verifier_violation(site, rule, other,
			   "the dispatch routine of driver '%s' returned STATUS_PENDING, and the "
			   "request was completed without having been marked pending",
			   driver);
}

void visit_left(struct visit *visit, struct verifier_status status, const struct ke_site *site)
{
	visit->left = site;
	visit->left_by = verifier_current();
	visit->left_with = status;
	if (visit->pending != NULL && visit->marked == NULL)
		judge_unmarked(visit, site, EVENT(visit->pending, "it was sent to that driver"),
			       "REQ-PENDING-NOT-MARKED", visit->driver);
}

static void judge_pending(struct visit *visit, const struct verifier_call *call)
{
	if (visit->marked != NULL)
		return;
	if (visit->left == NULL)
		visit->pending = call->site; /* visit_left judges */
	else
		judge_unmarked(visit, call->site, EVENT(visit->left, "it was completed"),
			       visit->left_by == call->context ? "REQ-COMPLETED-RETURNS-PENDING"
							       : "REQ-PENDING-NOT-MARKED",
			       call->driver);
}

static void judge_final(const struct visit *visit, const struct verifier_call *call,
			struct verifier_status status)
{
	if (visit->marked != NULL)
		verifier_violation(call->site, "REQ-MARKED-NOT-PENDING",
				   EVENT(visit->marked, "it was marked pending"),
				   "the dispatch routine of driver '%s' returned %s for a request "
				   "that was marked pending",
				   call->driver, status.name);
	if (visit->left == NULL && visit->passed_on)
		verifier_violation(call->site, "REQ-STATUS-MISMATCH", NULL,
				   "the dispatch routine of driver '%s' returned %s for a request "
				   "that it passed on and that is not completed",
				   call->driver, status.name);
	if (visit->left == NULL)
		verifier_violation(call->site, "REQ-LOST", NULL,
				   "the dispatch routine of driver '%s' returned %s for a request "
				   "that it neither completed nor passed on",
				   call->driver, status.name);
	if (visit->left_with.value != status.value)
		verifier_violation(call->site, "REQ-STATUS-MISMATCH",
				   EVENT(visit->left, "it was completed"),
				   "the dispatch routine of driver '%s' returned %s for a request "
				   "that was completed with %s",
				   call->driver, status.name, visit->left_with.name);
}

void verifier_dispatch_returned(const struct verifier_call *call, struct verifier_status status,
				unsigned irql)
{
	struct visit *visit;

	if (irql != call->irql)
		verifier_violation(call->site, "IRQL-CHANGED", NULL,
				   "the dispatch routine of driver '%s' was called at IRQL %u and "
				   "returned at %u",
				   call->driver, call->irql, irql);
	shadow_lock();
	visit = call->run == shadow_run ? visit_at(call->visit) : NULL;
	if (visit != NULL) {
		if (status.value == VERIFIER_STATUS_PENDING)
			judge_pending(visit, call);
		else
			judge_final(visit, call, status);
		visit_drop(call->visit);
	}
	shadow_unlock();
}
