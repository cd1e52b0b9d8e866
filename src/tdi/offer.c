/*
 * A peer that calls where nobody listens: whose it is to be.
 *
 * The client is asked by its connect event, and answers with an accept request for one of its
 * endpoints. That endpoint is OFFERED the peer before the request is sent, so that the transport
 * can join the two first; and it remembers the request, because an accept is for this peer only:
 * one that the client has sent by itself, or has given for another peer, is not its answer.
 */
#include "tdi/provider.h"

/* The endpoint that the accept is for, in state OFFERED with a user; NULL if it can't be. */
static struct tdi_connection *offer_to(struct tdi_address *address, struct irp *accept_irp)
{
	struct tdi_connection *connection =
		tdi_connection_of(io_get_next_irp_stack_location(accept_irp)->file_object);
	bool offered;
	kirql irql;

	if (connection == NULL || connection->address != address)
		return NULL;
	irql = ke_acquire_spin_lock(&connection->lock);
	offered = !connection->closing && tdi_provider_can_begin(connection);
	if (offered) {
		tdi_provider_renew(connection);
		offered = nt_success(tdi_move_state(connection, TDI_ON_OFFER));
	}
	if (offered) {
		connection->accept_irp = accept_irp;
		tdi_provider_hold(connection);
	}
	ke_release_spin_lock(&connection->lock, irql);
	return offered ? connection : NULL;
}

ntstatus tdi_provider_offer(struct tdi_address *address, const struct transport_address *remote,
			    struct tdi_connection **connection, struct irp **accept_irp)
{
	struct tdi_event event;
	ntstatus status;

	if (!tdi_enter_event(address, TDI_EVENT_CONNECT, &event))
		return STATUS_CONNECTION_REFUSED;
	*accept_irp = NULL;
	status = ((tdi_ind_connect *)event.handler)(event.context, remote, accept_irp);
	if (status == STATUS_MORE_PROCESSING_REQUIRED) {
		*connection = offer_to(address, *accept_irp);
		status = STATUS_SUCCESS;
		if (*connection == NULL) { /* completes, with what the endpoint's state answers */
			io_call_driver(&address->provider->device, *accept_irp);
			status = STATUS_CONNECTION_REFUSED;
		}
	} else {
		status = STATUS_CONNECTION_REFUSED;
	}
	tdi_leave_event(address);
	return status;
}

ntstatus tdi_provider_accept(struct tdi_connection *connection, struct irp *accept_irp)
{
	ntstatus status = io_call_driver(&connection->provider->device, accept_irp);

	/* What the peer has sent and done meanwhile has passed the pumps by. */
	tdi_provider_run_pump(connection, &connection->receive_pump);
	tdi_provider_run_pump(connection, &connection->send_pump);
	tdi_provider_drop(connection);
	return status;
}
