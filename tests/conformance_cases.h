/* Cases of the conformance suite that stand in files of their own; see transport_conformance.h. */
#ifndef XPORT_TESTS_CONFORMANCE_CASES_H
#define XPORT_TESTS_CONFORMANCE_CASES_H

#include "transport_conformance.h"

/* What a case gets. */
struct world {
	const struct conformance_provider *provider;
	struct conformance_options options;
	struct device_object *device;
	struct transport_address local; /* to open, with port 0 */
};

struct conformance_case {
	const char *says;
	void (*body)(struct world *world);
	bool small_buffers;
	bool acknowledged_only; /* for sends whose success means that the peer has the bytes */
};

/* conformance_events.c: more cases; ends with an empty one. */
extern const struct conformance_case event_cases[];

/* conformance_beginnings.c */
void case_unknown_address_type(struct world *world);
void case_cancelled_listen(struct world *world);
void case_cancelled_connect(struct world *world);
void case_opens(struct world *world);
void case_begins_again(struct world *world);
void case_waits_for_end(struct world *world);

/* conformance_buffers.c */
void case_empty_descriptors(struct world *world);

/* conformance_edges.c */
void case_receive_again(struct world *world);
void case_greeting(struct world *world);
void case_given_up_restart(struct world *world);
void case_told_of_end(struct world *world);
void case_aborted_restart(struct world *world);
void case_untold(struct world *world);
void case_room_again(struct world *world);
void case_abort_idle(struct world *world);
void case_end_beside_expedited(struct world *world);
void case_close_while_shown(struct world *world);

/* conformance_endings.c */
void case_release(struct world *world);
void case_release_and_close(struct world *world);
void case_release_unread(struct world *world);
void case_abort_after_release(struct world *world);
void case_closed_address(struct world *world);
void case_cancel_and_close(struct world *world);
void case_close_second_listener(struct world *world);
void case_empty_before_release(struct world *world);
void case_cancelled_before(struct world *world);
void case_order_of_failure(struct world *world);

#endif
