/*
 * Deliveries (nal/delivery.h) on the link, whose receiver, sender or connections are lost at any
 * moment. The lost one comes back with an empty memory; the receiver's owner has what he has kept.
 *
 * A blow comes, in the ordinary order of events, after everything is over. But it waits for less
 * than a slow machine may take between two steps: so one deviation lets it come at any step.
 */
#include <string.h>

#include "../../tests/keeper.h"
#include "link/link.h"
#include "scenarios.h"

enum { WHOLE = 20, WHOLE_ID = 1 };

static const uint64_t LATE_NS = 900000;

struct delivered {
	struct keeper keeper;
	struct mailer mailer;
	char disk[WHOLE];
	char whole[WHOLE];
	unsigned blows;
	void (*strike)(struct delivered *delivered);
	int32_t over;
};

static void strike_receiver(struct delivered *delivered)
{
	end_life(&delivered->keeper);
	while (!begin_life(&delivered->keeper))
		ke_delay_execution_thread(LATE_NS); /* there is no pool for it now */
}

static void strike_sender(struct delivered *delivered)
{
	kill_mailer(&delivered->mailer);
}

static void strike_connections(struct delivered *delivered)
{
	cut_connections(&delivered->mailer);
}

static void rain(void *context)
{
	struct delivered *delivered = context;

	for (unsigned i = 0; i < delivered->blows; i++) {
		if (ke_choose(2, "whether the blow is due at once") == 0)
			ke_delay_execution_thread(LATE_NS);
		if (interlocked_read(&delivered->over) != 0)
			return;
		delivered->strike(delivered);
	}
}

static void deliver_under(struct delivered *delivered)
{
	struct disk *disk = &delivered->keeper.disks[WHOLE_ID];
	struct kthread thread;
	ntstatus status;

	if (!nt_success(ps_create_system_thread(&thread, rain, delivered)))
		return;
	status = deliver(&delivered->mailer);
	interlocked_exchange(&delivered->over, 1);
	ke_wait_for_thread(&thread);
	scenario_expect(nt_success(status), "the delivery has ended with %s",
			nt_status_name(status));
	scenario_expect(delivered->keeper.wrong == 0, "bytes came where others belong");
	scenario_expect(delivered->mailer.wrong == 0, "bytes are acknowledged and not kept");
	scenario_expect(disk->finished && disk->kept == WHOLE &&
				memcmp(disk->bytes, delivered->whole, WHOLE) == 0,
			"what is kept is not the whole");
}

static void run_delivery(void *setting, void (*strike)(struct delivered *delivered))
{
	const struct link_options options = {.buffered = true};
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct device_object *device = link_create_device(&options);
	struct delivered *delivered = ex_allocate_pool(sizeof(*delivered));

	if (device == NULL || delivered == NULL)
		goto out;
	delivered->blows = ((const struct sim_setting *)setting)->requests;
	delivered->strike = strike;
	delivered->over = 0;
	for (int i = 0; i < WHOLE; i++)
		delivered->whole[i] = (char)('a' + i);
	initialize_keeper(&delivered->keeper, device, &any);
	delivered->keeper.disks[WHOLE_ID].bytes = delivered->disk;
	delivered->keeper.disks[WHOLE_ID].room = WHOLE;
	initialize_mailer(&delivered->mailer, &delivered->keeper, WHOLE_ID, delivered->whole,
			  WHOLE);
	if (begin_life(&delivered->keeper)) {
		deliver_under(delivered);
		end_life(&delivered->keeper);
	}
	ke_flush_queued_dpcs();
out:
	ex_free_pool(delivered);
	if (device != NULL)
		link_delete_device(device);
}

static void lose_receiver(void *setting)
{
	run_delivery(setting, strike_receiver);
}

static void lose_sender(void *setting)
{
	run_delivery(setting, strike_sender);
}

static void lose_connections(void *setting)
{
	run_delivery(setting, strike_connections);
}

const struct sim_scenario delivery_scenarios[] = {
	{"delivery/receiver", "a delivery whose receiver is killed at any moment", lose_receiver, 1,
	 false},
	{"delivery/sender", "a delivery whose sender is killed at any moment", lose_sender, 1,
	 false},
	{"delivery/cut", "a delivery whose connections are lost at any moment", lose_connections, 1,
	 false},
	{0},
};
