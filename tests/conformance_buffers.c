/* What the buffer of a request may look like: conformance cases. */
#include "conformance_cases.h"
#include "executive.h"
#include "transport_client.h"

/* More empty descriptors than a transport can be expected to hand on at once. */
void case_empty_descriptors(struct world *world)
{
	enum { LENGTH = 1000, EMPTIES = 200 };
	struct request send, empty, receive;
	uint8_t sent[LENGTH], received[LENGTH] = {0};
	struct connected_pair pair;

	fill_pattern(sent, 10, 0, LENGTH);
	if (!open_pair(&pair, world->device, &world->local))
		return;
	start_receive_behind(&receive, &pair.server, received, LENGTH, EMPTIES);
	start_send_behind(&empty, &pair.client, sent, 0, EMPTIES);
	start_send_behind(&send, &pair.client, sent, LENGTH, EMPTIES);
	CU_ASSERT_EQUAL(wait_for_request(&empty, "a send of nothing but empty pieces"),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(empty.bytes, 0);
	CU_ASSERT_EQUAL(wait_for_request(&send, "a send behind empty pieces"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&receive, "a receive behind empty pieces"),
			STATUS_SUCCESS);
	CU_ASSERT(receive.bytes > 0);
	receive_all(&pair.server, received + receive.bytes, LENGTH - receive.bytes, "its rest");
	CU_ASSERT(is_pattern(received, 10, 0, LENGTH));
	end_request(&receive);
	end_request(&empty);
	end_request(&send);
	close_pair(&pair);
}
