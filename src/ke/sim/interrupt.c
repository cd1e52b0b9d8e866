/*
 * Interrupts.
 *
 * A connected interrupt stands in one of two lists: with those that are requested, of its processor
 * or of any, or else with all others that are connected. Requesting it moves it to the former, and
 * beginning its service back; so requests that meet before the service begins are one.
 *
 * A service lane starts at DEVICE_LEVEL above whatever its processor does, takes the interrupt's
 * lock, for which it may have to spin, calls the routine and ends. An interrupt for any processor
 * may have several such lanes, of which the lock lets one proceed.
 *
 * Disconnecting takes the interrupt out of both lists. The caller's DPC is queued once no lane
 * serves the interrupt, by the call itself or by the last of those lanes; from then on the
 * executive does not look at the interrupt.
 */
#include "ke/sim/executive.h"

void ke_connect_interrupt_at(struct kinterrupt *interrupt, ke_service_routine *routine,
			     void *context, unsigned processor, const struct ke_site *site)
{
	sim_require_irql(DISPATCH_LEVEL, "connecting an interrupt", site);
	sim_yield(SIM_OP_CONNECT, interrupt, site);
	sim_touch(interrupt, sizeof(*interrupt));
	if (processor != KE_ANY_PROCESSOR && processor >= sim_state.processors)
		ke_bug_check_at(site, "NO-SUCH-PROCESSOR", "an interrupt for processor %u of %u",
				processor, sim_state.processors);
	ke_initialize_spin_lock_at(&interrupt->lock, site);
	interrupt->routine = routine;
	interrupt->context = context;
	interrupt->disconnected = NULL;
	interrupt->processor = processor;
	interrupt->requested = 0;
	interrupt->connected = 1;
	interrupt->executive = (uintptr_t)site;
	insert_tail_list(&sim_state.interrupts, &interrupt->entry);
	sim_order_before(interrupt);
}

/* How many lanes serve the interrupt, those that wait for its lock included. */
static unsigned count_serving(const struct kinterrupt *interrupt)
{
	unsigned count = 0;

	for (unsigned i = 0; i < sim_state.processors; i++) {
		const struct sim_lane *lane = sim_state.processor[i].top;

		for (; lane; lane = lane->below)
			count += lane->kind == SIM_INTERRUPT && lane->task.object == interrupt;
	}
	return count;
}

static void queue_disconnected(struct kinterrupt *interrupt)
{
	sim_queue_dpc(interrupt->disconnected, (const struct ke_site *)interrupt->executive);
}

void ke_disconnect_interrupt_at(struct kinterrupt *interrupt, struct kdpc *disconnected,
				const struct ke_site *site)
{
	sim_require_irql(DISPATCH_LEVEL, "disconnecting an interrupt", site);
	sim_yield(SIM_OP_DISCONNECT, interrupt, site);
	sim_touch(interrupt, sizeof(*interrupt));
	if (!interrupt->connected)
		ke_bug_check_at(site, "INTERRUPT-MISUSE",
				"disconnecting the interrupt %p, which is not connected",
				(void *)interrupt);
	remove_entry_list(&interrupt->entry);
	interrupt->connected = 0;
	interrupt->requested = 0;
	interrupt->disconnected = disconnected;
	interrupt->executive = (uintptr_t)site;
	/* The DPC comes after this call and after every service routine that has run. */
	sim_order_after(&interrupt->lock);
	sim_order_before(disconnected);
	if (count_serving(interrupt) == 0)
		queue_disconnected(interrupt);
}

void ke_request_interrupt_at(struct kinterrupt *interrupt, const struct ke_site *site)
{
	struct list_entry *requests = &sim_state.any_interrupts;

	sim_this_lane(site);
	sim_yield(SIM_OP_REQUEST, interrupt, site);
	sim_touch(interrupt, sizeof(*interrupt));
	/* Also when it is requested already: its routine sees what this context did before. */
	sim_order_before(interrupt);
	if (!interrupt->connected || interrupt->requested)
		return;
	if (interrupt->processor != KE_ANY_PROCESSOR)
		requests = &sim_state.processor[interrupt->processor].interrupts;
	interrupt->requested = 1;
	remove_entry_list(&interrupt->entry);
	insert_tail_list(requests, &interrupt->entry);
}

struct sim_lane *sim_begin_interrupt(struct kinterrupt *interrupt, struct sim_processor *processor)
{
	struct sim_task task = {.object = interrupt};

	sim_touch(interrupt, sizeof(*interrupt));
	remove_entry_list(&interrupt->entry);
	insert_tail_list(&sim_state.interrupts, &interrupt->entry);
	interrupt->requested = 0;
	return sim_lane_start_pinned(SIM_INTERRUPT, &task, processor);
}

void sim_serve_interrupt(struct sim_lane *lane)
{
	struct kinterrupt *interrupt = lane->task.object;
	/* Until the routine gets somewhere itself, reports show where the line was connected. */
	const struct ke_site *site = (const struct ke_site *)interrupt->executive;

	lane->site = site;
	sim_take_lock(lane, &interrupt->lock, DEVICE_LEVEL, site);
	interrupt->routine(interrupt, interrupt->context);
	sim_give_lock(lane, &interrupt->lock, lane->site);
	if (interrupt->connected || count_serving(interrupt) > 1)
		return;
	sim_order_before(interrupt->disconnected);
	queue_disconnected(interrupt);
}

bool ke_synchronize_execution_at(struct kinterrupt *interrupt, ke_synchronize_routine *routine,
				 void *context, const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);
	kirql old = lane->irql;
	bool result;

	sim_yield(SIM_OP_SYNCHRONIZE, interrupt, site);
	sim_touch(interrupt, sizeof(*interrupt));
	if (old < DEVICE_LEVEL)
		sim_set_irql(lane, DEVICE_LEVEL);
	sim_take_lock(lane, &interrupt->lock, DEVICE_LEVEL, site);
	result = routine(context);
	sim_give_lock(lane, &interrupt->lock, site);
	sim_require_lowering(lane, old, site);
	sim_set_irql(lane, old);
	return result;
}
