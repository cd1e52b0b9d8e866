/*
 * The handlers of an address, and who is in one.
 *
 * Whether there is a handler is a question that is asked for every arrival, so it can be answered
 * without the lock; what the answer is worth, the call finds out.
 *
 * A call reads the handler and takes a reference, under one hold of the lock, and runs with no
 * lock. The file has a reference, too, which its close drops when no handler is left to be read;
 * and who drops the last completes the close. So it waits for the calls that have begun, and none
 * begins after it: the client may free what its handlers use as soon as the close has completed.
 * Connections outlive their address's file, and then have no events.
 */
#include "tdi/provider.h"

bool tdi_has_handler(struct tdi_address *address, enum tdi_event_type type)
{
	return (interlocked_read(&address->handled) >> type & 1) != 0;
}

bool tdi_enter_event(struct tdi_address *address, enum tdi_event_type type, struct tdi_event *event)
{
	kirql irql = ke_acquire_spin_lock(&address->events_lock);

	*event = address->events[type];
	if (event->handler != NULL)
		ob_reference(&address->calls);
	ke_release_spin_lock(&address->events_lock, irql);
	return event->handler != NULL;
}

/* Lock held. */
static void set_handler(struct tdi_address *address, enum tdi_event_type type,
			tdi_event_handler *handler, void *context)
{
	int32_t others = interlocked_read(&address->handled) & ~(1 << type);

	address->events[type] = (struct tdi_event){handler, context};
	interlocked_exchange(&address->handled, handler != NULL ? others | 1 << type : others);
}

void tdi_leave_event(struct tdi_address *address)
{
	struct irp *close_irp;

	if (!ob_dereference(&address->calls))
		return;
	close_irp = address->close_irp;
	if (ob_dereference(&address->references)) /* the file's */
		address->provider->ops->destroy_address(address);
	io_finish_request(close_irp, STATUS_SUCCESS, 0);
}

ntstatus tdi_set_event(struct tdi_address *address, const struct tdi_request_set_event *set)
{
	ntstatus status = STATUS_SUCCESS;
	kirql irql;

	switch (set->type) {
	case TDI_EVENT_CONNECT:
	case TDI_EVENT_DISCONNECT:
	case TDI_EVENT_RECEIVE:
	case TDI_EVENT_RECEIVE_EXPEDITED:
	case TDI_EVENT_SEND_POSSIBLE:
	case TDI_EVENT_CHAINED_RECEIVE:
	case TDI_EVENT_CHAINED_RECEIVE_EXPEDITED:
		break;
	default:
		return STATUS_NOT_SUPPORTED;
	}
	irql = ke_acquire_spin_lock(&address->events_lock);
	if (address->closed)
		status = STATUS_INVALID_DEVICE_REQUEST;
	else
		set_handler(address, set->type, set->handler, set->context);
	ke_release_spin_lock(&address->events_lock, irql);
	if (nt_success(status) && set->type == TDI_EVENT_CONNECT && set->handler != NULL)
		status = address->provider->ops->serve(address);
	if (!nt_success(status) && set->type == TDI_EVENT_CONNECT) {
		irql = ke_acquire_spin_lock(&address->events_lock);
		set_handler(address, set->type, NULL, NULL);
		ke_release_spin_lock(&address->events_lock, irql);
	}
	return status;
}

void tdi_end_events(struct tdi_address *address)
{
	kirql irql = ke_acquire_spin_lock(&address->events_lock);

	address->closed = true;
	for (unsigned i = 0; i < TDI_EVENT_COUNT; i++)
		set_handler(address, (enum tdi_event_type)i, NULL, NULL);
	ke_release_spin_lock(&address->events_lock, irql);
}

ntstatus tdi_close_events(struct tdi_address *address, struct irp *close_irp)
{
	io_mark_irp_pending(close_irp); /* first: the drop may complete it */
	address->close_irp = close_irp;
	tdi_leave_event(address); /* the file's */
	return STATUS_PENDING;
}
