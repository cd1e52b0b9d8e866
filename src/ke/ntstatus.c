/* The names and texts of the status codes. */
#include "ke/ntstatus.h"

#include <stddef.h>

struct status_entry {
	ntstatus status;
	const char *name;
	const char *text;
};

#define ENTRY(status, text)                                                                        \
	{                                                                                          \
		status, #status, text                                                              \
	}

static const struct status_entry status_table[] = {
	ENTRY(STATUS_SUCCESS, "success"),
	ENTRY(STATUS_TIMEOUT, "the time to wait is over"),
	ENTRY(STATUS_PENDING, "not completed yet"),
	ENTRY(STATUS_INVALID_EA_NAME, "no such extended attribute"),
	ENTRY(STATUS_EA_LIST_INCONSISTENT, "an extended attribute of the wrong size"),
	ENTRY(STATUS_INVALID_PARAMETER, "invalid parameter"),
	ENTRY(STATUS_INVALID_DEVICE_REQUEST, "the device does not know this request"),
	ENTRY(STATUS_MORE_PROCESSING_REQUIRED, "the request stays with its driver"),
	ENTRY(STATUS_ACCESS_DENIED, "permission denied"),
	ENTRY(STATUS_INSUFFICIENT_RESOURCES, "not enough memory, descriptors or buffer space"),
	ENTRY(STATUS_DEVICE_NOT_READY, "no buffer space at the moment"),
	ENTRY(STATUS_IO_TIMEOUT, "the peer did not answer in time"),
	ENTRY(STATUS_NOT_SUPPORTED, "not supported"),
	ENTRY(STATUS_INVALID_NETWORK_RESPONSE, "the peer has sent what can't be understood"),
	ENTRY(STATUS_INVALID_USER_BUFFER, "the buffer is not accessible memory"),
	ENTRY(STATUS_CANCELLED, "cancelled"),
	ENTRY(STATUS_LOCAL_DISCONNECT, "disconnected by this side"),
	ENTRY(STATUS_REMOTE_DISCONNECT, "disconnected by the peer"),
	ENTRY(STATUS_INVALID_ADDRESS_COMPONENT, "not an address of this machine"),
	ENTRY(STATUS_DATA_NOT_ACCEPTED, "the client takes no data at the moment"),
	ENTRY(STATUS_ADDRESS_ALREADY_EXISTS, "address already in use"),
	ENTRY(STATUS_CONNECTION_RESET, "connection reset by the peer"),
	ENTRY(STATUS_POSSIBLE_DEADLOCK, "everything waits for something"),
	ENTRY(STATUS_CONNECTION_REFUSED, "connection refused"),
	ENTRY(STATUS_GRACEFUL_DISCONNECT, "the peer has sent all it will"),
	ENTRY(STATUS_CONNECTION_INVALID, "not connected"),
	ENTRY(STATUS_CONNECTION_ACTIVE, "connected already"),
	ENTRY(STATUS_NETWORK_UNREACHABLE, "network unreachable"),
	ENTRY(STATUS_HOST_UNREACHABLE, "host unreachable"),
	ENTRY(STATUS_CONNECTION_ABORTED, "connection aborted"),
};

static const struct status_entry *find_status(ntstatus status)
{
	static const struct status_entry unknown = {0, "STATUS_UNKNOWN", "unknown status"};

	for (size_t i = 0; i < sizeof(status_table) / sizeof(status_table[0]); i++)
		if (status_table[i].status == status)
			return &status_table[i];
	return &unknown;
}

const char *nt_status_name(ntstatus status)
{
	return find_status(status)->name;
}

const char *nt_status_text(ntstatus status)
{
	return find_status(status)->text;
}
