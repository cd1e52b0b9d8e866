/*
 * How files are opened and closed: which extended attribute makes which object, and what is
 * refused.
 *
 * An endpoint's close completes when its last user has gone, an address's when no handler of it is
 * running.
 */
#include <string.h>

#include "tdi/provider.h"

/* What a file object stands for, kept in fs_context2; fs_context is the object. */
enum { KIND_ADDRESS = 1, KIND_CONNECTION, KIND_CONTROL };

struct tdi_connection *tdi_connection_of(const struct file_object *file)
{
	return file != NULL && (uintptr_t)file->fs_context2 == KIND_CONNECTION ? file->fs_context
									       : NULL;
}

struct tdi_address *tdi_address_of(const struct file_object *file)
{
	return file != NULL && (uintptr_t)file->fs_context2 == KIND_ADDRESS ? file->fs_context
									    : NULL;
}

bool tdi_is_known_address(const struct transport_address *address)
{
	return address->address_type == TDI_ADDRESS_TYPE_IP ||
	       address->address_type == TDI_ADDRESS_TYPE_IP6;
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static ntstatus open_address(struct tdi_provider *provider, const struct tdi_ea *ea,
			     struct file_object *file)
{
	ntstatus status = STATUS_INSUFFICIENT_RESOURCES;

	if (ea->value_length != sizeof(struct transport_address))
		return STATUS_EA_LIST_INCONSISTENT;
	if (!tdi_is_known_address(ea->value))
		return STATUS_INVALID_PARAMETER;
	file->fs_context = provider->ops->create_address(provider, ea->value, &status);
	file->fs_context2 = (void *)KIND_ADDRESS;
	return file->fs_context != NULL ? STATUS_SUCCESS : status;
}

static ntstatus open_connection(struct tdi_provider *provider, const struct tdi_ea *ea,
				struct file_object *file)
{
	struct tdi_connection *connection;

	if (ea->value_length != sizeof(void *))
		return STATUS_EA_LIST_INCONSISTENT;
	connection = provider->ops->create_connection(provider);
	if (connection == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	memcpy(&connection->connection_context, ea->value, sizeof(void *));
	file->fs_context = connection;
	file->fs_context2 = (void *)KIND_CONNECTION;
	return STATUS_SUCCESS;
}

static ntstatus open_file(struct tdi_provider *provider, const struct tdi_create *create,
			  struct file_object *file)
{
	if (create->ea_count > 1)
		return STATUS_INVALID_PARAMETER; /* an address and an endpoint at once */
	if (create->ea_count == 0) {
		file->fs_context2 = (void *)KIND_CONTROL;
		return STATUS_SUCCESS;
	}
	if (strcmp(create->eas[0].name, TDI_TRANSPORT_ADDRESS) == 0)
		return open_address(provider, &create->eas[0], file);
	if (strcmp(create->eas[0].name, TDI_CONNECTION_CONTEXT) == 0)
		return open_connection(provider, &create->eas[0], file);
	return STATUS_INVALID_EA_NAME;
}

ntstatus tdi_dispatch_create(struct device_object *device, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	ntstatus status = open_file(device->device_extension, tdi_parameters(location, tdi_create),
				    location->file_object);

	return io_finish_request(irp, status, 0);
}

/* No more requests will come: end those that are there. */
ntstatus tdi_dispatch_cleanup(struct device_object *device, struct irp *irp)
{
	struct file_object *file = io_get_current_irp_stack_location(irp)->file_object;
	struct tdi_connection *connection = tdi_connection_of(file);
	struct tdi_address *address = tdi_address_of(file);

	(void)device;
	if (connection != NULL)
		tdi_provider_end(connection);
	if (address != NULL) {
		tdi_end_events(address);
		address->provider->ops->close_address(address);
	}
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

ntstatus tdi_dispatch_close(struct device_object *device, struct irp *irp)
{
	struct file_object *file = io_get_current_irp_stack_location(irp)->file_object;
	struct tdi_connection *connection = tdi_connection_of(file);
	struct tdi_address *address = tdi_address_of(file);

	(void)device;
	if (connection != NULL) {
		io_mark_irp_pending(irp); /* first: the drop may complete it */
		connection->close_irp = irp;
		tdi_provider_drop(connection); /* the file's */
		return STATUS_PENDING;
	}
	if (address != NULL)
		return tdi_close_events(address, irp);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}
