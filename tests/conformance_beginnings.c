/* How connections begin, or do not: conformance cases. */
#include "conformance_cases.h"
#include "executive.h"
#include "transport_client.h"

void case_unknown_address_type(struct world *world)
{
	struct transport_address unknown = world->local;
	struct file_object address, endpoint;

	unknown.address_type = 77;
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &unknown, &address),
			STATUS_INVALID_PARAMETER);
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	if (open_endpoint(&endpoint, world->device, &address)) {
		unknown.port = 1;
		CU_ASSERT_EQUAL(tdi_connect(&endpoint, &unknown, SOON), STATUS_INVALID_PARAMETER);
		unknown.address_type = world->local.address_type; /* nothing has happened yet */
		unknown.port = local_of(&address).port;
		CU_ASSERT_NOT_EQUAL(tdi_connect(&endpoint, &unknown, MILLISECONDS(1)),
				    STATUS_CONNECTION_ACTIVE);
		tdi_close(&endpoint);
	}
	tdi_close(&address);
}
