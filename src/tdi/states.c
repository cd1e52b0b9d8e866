/*
 * What may be asked of a connection, and what becomes of it: the whole of it in one table.
 *
 *   IDLE ──associate──▶ ASSOCIATED ──connect──▶ CONNECTING ──┐
 *     ◀──disassociate──     │  ▲ ├───listen──▶ LISTENING ────┼──▶ CONNECTED ──▶ DISCONNECTED
 *                           │  │ └───offer───▶ OFFERED ──────┘                       │
 *                           │  └─────────────(as if it were)─────────────────────────┘
 *
 * Each state but IDLE can fail, and is then DISCONNECTED, which remembers why. What can begin in
 * ASSOCIATED can begin in DISCONNECTED as well, once the life before is over; see provider.h.
 */
#include "tdi/provider.h"

/* What an input leads to, 0 if it is refused; and the refusals. */
struct tdi_state_row {
	enum tdi_connection_state to[TDI_INPUT_COUNT];
	ntstatus refusal;
	ntstatus no_transfer; /* of TDI_ON_TRANSFER and TDI_ON_WAIT; 0: what it has failed with */
};

static const struct tdi_state_row tdi_transitions[TDI_STATE_COUNT] = {
	[TDI_STATE_IDLE] = {.to = {[TDI_ON_ASSOCIATE] = TDI_STATE_ASSOCIATED},
			    .refusal = STATUS_INVALID_DEVICE_REQUEST,
			    .no_transfer = STATUS_CONNECTION_INVALID},
	[TDI_STATE_ASSOCIATED] = {.to = {[TDI_ON_DISASSOCIATE] = TDI_STATE_IDLE,
					 [TDI_ON_CONNECT] = TDI_STATE_CONNECTING,
					 [TDI_ON_LISTEN] = TDI_STATE_LISTENING,
					 [TDI_ON_OFFER] = TDI_STATE_OFFERED,
					 [TDI_ON_FAILURE] = TDI_STATE_DISCONNECTED},
				  .refusal = STATUS_CONNECTION_ACTIVE,
				  .no_transfer = STATUS_CONNECTION_INVALID},
	[TDI_STATE_CONNECTING] = {.to = {[TDI_ON_ESTABLISHED] = TDI_STATE_CONNECTED,
					 [TDI_ON_WAIT] = TDI_STATE_CONNECTING,
					 [TDI_ON_FAILURE] = TDI_STATE_DISCONNECTED},
				  .refusal = STATUS_CONNECTION_ACTIVE,
				  .no_transfer = STATUS_CONNECTION_INVALID},
	[TDI_STATE_LISTENING] = {.to = {[TDI_ON_ESTABLISHED] = TDI_STATE_CONNECTED,
					[TDI_ON_WAIT] = TDI_STATE_LISTENING,
					[TDI_ON_FAILURE] = TDI_STATE_DISCONNECTED},
				 .refusal = STATUS_CONNECTION_ACTIVE,
				 .no_transfer = STATUS_CONNECTION_INVALID},
	[TDI_STATE_OFFERED] = {.to = {[TDI_ON_ACCEPT] = TDI_STATE_CONNECTED,
				      [TDI_ON_WAIT] = TDI_STATE_OFFERED,
				      [TDI_ON_FAILURE] = TDI_STATE_DISCONNECTED},
			       .refusal = STATUS_CONNECTION_ACTIVE,
			       .no_transfer = STATUS_CONNECTION_INVALID},
	[TDI_STATE_CONNECTED] = {.to = {[TDI_ON_TRANSFER] = TDI_STATE_CONNECTED,
					[TDI_ON_WAIT] = TDI_STATE_CONNECTED,
					[TDI_ON_FAILURE] = TDI_STATE_DISCONNECTED},
				 .refusal = STATUS_CONNECTION_ACTIVE},
	[TDI_STATE_DISCONNECTED] = {.to = {[TDI_ON_DISASSOCIATE] = TDI_STATE_IDLE,
					   [TDI_ON_CONNECT] = TDI_STATE_CONNECTING,
					   [TDI_ON_LISTEN] = TDI_STATE_LISTENING,
					   [TDI_ON_OFFER] = TDI_STATE_OFFERED,
					   [TDI_ON_WAIT] = TDI_STATE_DISCONNECTED},
				    .refusal = STATUS_CONNECTION_ACTIVE},
};

ntstatus tdi_check_state(const struct tdi_connection *connection, enum tdi_input input)
{
	const struct tdi_state_row *row = &tdi_transitions[connection->state];

	if (row->to[input] != 0)
		return STATUS_SUCCESS;
	if (input < TDI_ON_WAIT)
		return row->refusal;
	return row->no_transfer != 0 ? row->no_transfer : connection->failure;
}

ntstatus tdi_move_state(struct tdi_connection *connection, enum tdi_input input)
{
	ntstatus status = tdi_check_state(connection, input);

	if (nt_success(status))
		connection->state = tdi_transitions[connection->state].to[input];
	return status;
}
