/* What all hooks share: the lock, runs, contexts, and the way out after a violation. */
#include "verifier/private.h"

uint32_t shadow_run = 1;

static uint32_t busy;

/* Held for an instant, by threads that outnumber the processors at worst a little: so it spins. */
void shadow_lock(void)
{
	while (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE) != 0)
		while (__atomic_load_n(&busy, __ATOMIC_RELAXED) != 0)
			;
}

void shadow_unlock(void)
{
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
}

void verifier_violation(const struct ke_site *site, const char *rule,
			const struct verifier_event *other, const char *format, ...)
{
	va_list arguments;

	shadow_unlock();
	if (other != NULL && other->site == NULL)
		other = NULL;
	va_start(arguments, format);
	verifier_stop(site, rule, other, format, arguments);
}

void verifier_reset(void)
{
	shadow_run++;
	shadow_unlock(); /* a run that was abandoned may have held it */
	reset_locks();
	reset_lent();
	reset_visits();
	reset_requests();
}

void verifier_context_begins(struct verifier_context *context)
{
	context->held_count = 0;
	context->waited_for = 0;
}

void verifier_context_ends(struct verifier_context *context, const struct ke_site *site)
{
	const struct verifier_held *held = &context->held[0];

	if (context->held_count > 0)
		verifier_violation(site, "LOCK-MISUSE", EVENT(held->site, "it was acquired"),
				   "a routine returns holding the lock %p", held->lock);
	if (__atomic_load_n(&context->waited_for, __ATOMIC_RELAXED) > 0)
		verifier_violation(site, "REQ-STACK-IOSB", NULL,
				   "a thread ends, and %u of its requests will still write to the "
				   "status block and the event on its stack",
				   context->waited_for);
}
