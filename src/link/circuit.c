/*
 * Two connections that have found each other: a pipe each way, and a clock.
 *
 * The clock is one timer and one DPC. It is wound when anything is due: then its timer is armed for
 * that time, or its DPC is queued or running. Winding it again for an earlier time moves the timer;
 * when that can't be taken back, the DPC is on its way, and it looks at what is due, before it
 * ends, under the lock. So there is never a second DPC at work, and no due time is missed.
 *
 * A turn of the clock collects, under the circuit's lock, what is to be done at either end, and
 * does it without a lock: run a pump, reset a connection, let go of it. The pumps take their
 * connection's lock and come back here for what they need. That is how the two ends reach each
 * other without either holding the lock of both.
 *
 * Who holds whom. A circuit holds one user of each of its ends, from circuit_join until the end has
 * left (circuit_leave, when the connection has failed or is closed) and the next turn has dropped
 * it. Only the clock drops them, so during a turn both ends are there. A connection points at its
 * circuit, under its own lock, until it leaves. So when both ends have left and are dropped, nobody
 * but the clock knows the circuit, and the clock frees it. The clock is always wound then: leaving
 * winds it.
 *
 * Resets. When one end leaves without having released, the other is reset half a round trip later.
 * What had been on the way to it by then has arrived; what the leaver had still in the line is
 * lost. An end that has released leaves quietly, whatever it has not read. When bytes arrive for it
 * later, their sender is reset half a round trip after that. When reset_after_bytes bytes have
 * arrived in one direction, both ends are reset at that moment, and no more acknowledgements come
 * back.
 */
#include "link/private.h"

struct circuit_end {
	struct pipe out;		    /* to the other end */
	struct link_connection *connection; /* one user of it is the circuit's; NULL: dropped */
	uint64_t send_due_ns;		    /* when to run its send pump */
	uint64_t reset_due_ns;
	bool run_receive;
	bool left;
};

struct circuit {
	struct kspin_lock lock;
	const struct link_options *options;
	struct circuit_end ends[2];
	bool wound;
	uint64_t due_ns; /* what the clock is wound for; 0: its DPC is on its way */
	struct ktimer timer;
	struct kdpc dpc;
};

static ke_deferred_routine turn_clock;

struct circuit *circuit_create(const struct link_options *options)
{
	struct circuit *circuit = ex_allocate_pool(sizeof(*circuit));

	if (circuit == NULL)
		return NULL;
	*circuit = (struct circuit){.options = options};
	ke_initialize_spin_lock(&circuit->lock);
	ke_initialize_timer(&circuit->timer);
	ke_initialize_dpc(&circuit->dpc, turn_clock, circuit, KE_ANY_PROCESSOR);
	for (unsigned i = 0; i < 2; i++) {
		pipe_initialize(&circuit->ends[i].out, options);
		circuit->ends[i].send_due_ns = LINK_NEVER;
		circuit->ends[i].reset_due_ns = LINK_NEVER;
	}
	return circuit;
}

void circuit_free(struct circuit *circuit)
{
	if (circuit == NULL)
		return;
	for (unsigned i = 0; i < 2; i++)
		pipe_destroy(&circuit->ends[i].out);
	ex_free_pool(circuit);
}

void circuit_join(struct circuit *circuit, struct link_connection *caller,
		  struct link_connection *listener)
{
	circuit->ends[0].connection = caller;
	circuit->ends[1].connection = listener;
}

/* ---- The clock ----------------------------------------------------------------------------- */

/* Lets the DPC run at due_ns, with the circuit's lock held and nothing armed or queued. */
static void start_clock(struct circuit *circuit, uint64_t due_ns, uint64_t now)
{
	circuit->wound = true;
	if (due_ns <= now) {
		circuit->due_ns = 0;
		ke_insert_queue_dpc(&circuit->dpc);
	} else {
		circuit->due_ns = due_ns;
		ke_set_timer(&circuit->timer, due_ns - now, &circuit->dpc);
	}
}

/* Something is due at due_ns. With the lock held. */
static void wind_clock(struct circuit *circuit, uint64_t due_ns, uint64_t now)
{
	if (circuit->wound && circuit->due_ns <= due_ns)
		return;
	if (circuit->wound && !ke_cancel_timer(&circuit->timer))
		return; /* its time has come: the DPC will look at everything */
	start_clock(circuit, due_ns, now);
}

/* What a turn has to do for one end. */
struct task {
	struct link_connection *connection;
	bool send;
	bool receive;
	bool reset;
	bool drop;
};

static void earlier(uint64_t *due_ns, uint64_t other_ns)
{
	if (other_ns < *due_ns)
		*due_ns = other_ns;
}

/* Moves the pipe that leads away from `end`, and notes what that means for both ends. */
static void advance_pipe(struct circuit *circuit, unsigned end, uint64_t now)
{
	struct circuit_end *from = &circuit->ends[end];
	struct circuit_end *to = &circuit->ends[1 - end];
	unsigned happened = pipe_advance(&from->out, now, !to->left);

	if (happened & PIPE_ARRIVED)
		to->run_receive = true;
	if ((happened & PIPE_ACKNOWLEDGED) && !circuit->options->buffered)
		from->send_due_ns = now; /* sends wait for it */
	if (happened & PIPE_UNWANTED)
		earlier(&from->reset_due_ns, now + circuit->options->rtt_ns / 2);
	if (happened & PIPE_BROKEN)
		from->reset_due_ns = to->reset_due_ns = now;
}

/* Takes what is to be done at an end off the circuit. The task of an end that left is to drop it.
 */
static struct task take_task(struct circuit_end *end, uint64_t now)
{
	struct task task = {.connection = end->connection};

	if (end->connection == NULL)
		return task;
	if (end->left) {
		task.drop = true; /* the user is the task's now */
		end->connection = NULL;
		return task;
	}
	task.send = end->send_due_ns <= now;
	task.receive = end->run_receive;
	task.reset = end->reset_due_ns <= now;
	if (task.send)
		end->send_due_ns = LINK_NEVER;
	if (task.reset)
		end->reset_due_ns = LINK_NEVER;
	end->run_receive = false;
	return task;
}

/* Receives first: what has arrived before a reset is there to be read. No lock held. */
static void do_task(const struct task *task)
{
	struct tdi_connection *connection;

	if (task->connection == NULL)
		return;
	connection = &task->connection->tdi;
	if (task->receive)
		tdi_provider_run_pump(connection, &connection->receive_pump);
	if (task->send)
		tdi_provider_run_pump(connection, &connection->send_pump);
	if (task->reset)
		tdi_provider_fail(connection, STATUS_CONNECTION_RESET);
	if (task->drop)
		tdi_provider_drop(connection);
}

/* When the next turn is due, 0 for at once, or LINK_NEVER. With the lock held. */
static uint64_t next_due(const struct circuit *circuit)
{
	uint64_t due_ns = LINK_NEVER;

	for (unsigned i = 0; i < 2; i++) {
		const struct circuit_end *end = &circuit->ends[i];

		earlier(&due_ns, pipe_due(&end->out));
		if (end->connection == NULL)
			continue;
		if (end->left || end->run_receive)
			return 0;
		earlier(&due_ns, end->send_due_ns);
		earlier(&due_ns, end->reset_due_ns);
	}
	return due_ns;
}

static bool is_abandoned(const struct circuit *circuit)
{
	return circuit->ends[0].connection == NULL && circuit->ends[1].connection == NULL;
}

/* The clock's DPC: one turn, and winds itself for the next. */
static void turn_clock(struct kdpc *dpc, void *context)
{
	struct circuit *circuit = context;
	uint64_t now = ke_query_interrupt_time();
	struct task tasks[2];
	uint64_t due_ns;
	kirql irql;

	(void)dpc;
	irql = ke_acquire_spin_lock(&circuit->lock);
	circuit->due_ns = 0;
	for (unsigned i = 0; i < 2; i++)
		advance_pipe(circuit, i, now);
	for (unsigned i = 0; i < 2; i++)
		tasks[i] = take_task(&circuit->ends[i], now);
	ke_release_spin_lock(&circuit->lock, irql);

	do_task(&tasks[0]);
	do_task(&tasks[1]);

	irql = ke_acquire_spin_lock(&circuit->lock);
	if (is_abandoned(circuit)) {
		ke_release_spin_lock(&circuit->lock, irql);
		circuit_free(circuit);
		return;
	}
	due_ns = next_due(circuit);
	if (due_ns == LINK_NEVER)
		circuit->wound = false;
	else
		start_clock(circuit, due_ns, ke_query_interrupt_time());
	ke_release_spin_lock(&circuit->lock, irql);
}

/* ---- What the ends ask for ----------------------------------------------------------------- */

uint64_t circuit_leave(struct circuit *circuit, unsigned end, bool sending_ended)
{
	struct circuit_end *leaver = &circuit->ends[end];
	struct circuit_end *peer = &circuit->ends[1 - end];
	kirql irql = ke_acquire_spin_lock(&circuit->lock);
	uint64_t acknowledged = leaver->out.acknowledged;
	uint64_t now = ke_query_interrupt_time();

	leaver->left = true;
	if (!sending_ended) {
		pipe_free_segments(&leaver->out.in_flight);
		leaver->out.end_due_ns = LINK_NEVER;
		earlier(&peer->reset_due_ns, now + circuit->options->rtt_ns / 2);
	}
	wind_clock(circuit, 0, now);
	ke_release_spin_lock(&circuit->lock, irql);
	return acknowledged;
}

uint32_t circuit_room(struct circuit *circuit, unsigned end)
{
	struct pipe *out = &circuit->ends[end].out;
	kirql irql = ke_acquire_spin_lock(&circuit->lock);
	uint32_t room = pipe_room(out);

	if (room == 0)
		out->sender_waits = true; /* until it was woken: others may only have asked */
	ke_release_spin_lock(&circuit->lock, irql);
	return room;
}

void circuit_send(struct circuit *circuit, unsigned end, struct segment *segment)
{
	kirql irql = ke_acquire_spin_lock(&circuit->lock);
	uint64_t now = ke_query_interrupt_time();

	pipe_send(&circuit->ends[end].out, segment, now);
	wind_clock(circuit, segment->due_ns, now);
	ke_release_spin_lock(&circuit->lock, irql);
}

void circuit_send_end(struct circuit *circuit, unsigned end)
{
	struct pipe *out = &circuit->ends[end].out;
	kirql irql = ke_acquire_spin_lock(&circuit->lock);
	uint64_t now = ke_query_interrupt_time();

	pipe_send_end(out, now);
	wind_clock(circuit, out->end_due_ns, now);
	ke_release_spin_lock(&circuit->lock, irql);
}

void circuit_send_later(struct circuit *circuit, unsigned end, uint64_t delay_ns)
{
	kirql irql = ke_acquire_spin_lock(&circuit->lock);
	uint64_t now = ke_query_interrupt_time();

	earlier(&circuit->ends[end].send_due_ns, now + delay_ns);
	wind_clock(circuit, now + delay_ns, now);
	ke_release_spin_lock(&circuit->lock, irql);
}

uint64_t circuit_acknowledged(struct circuit *circuit, unsigned end)
{
	kirql irql = ke_acquire_spin_lock(&circuit->lock);
	uint64_t acknowledged = circuit->ends[end].out.acknowledged;

	ke_release_spin_lock(&circuit->lock, irql);
	return acknowledged;
}

bool circuit_fetch(struct circuit *circuit, unsigned end, struct list_entry *arrived)
{
	struct pipe *in = &circuit->ends[1 - end].out;
	kirql irql = ke_acquire_spin_lock(&circuit->lock);
	bool ended = in->end_arrived;

	append_tail_list(arrived, &in->unread);
	ke_release_spin_lock(&circuit->lock, irql);
	return ended;
}

void circuit_read(struct circuit *circuit, unsigned end, uint64_t bytes)
{
	struct circuit_end *sender = &circuit->ends[1 - end];
	kirql irql = ke_acquire_spin_lock(&circuit->lock);

	sender->out.read += bytes;
	/* Not for a few bytes at a time, which would go round one by one. */
	if (sender->out.sender_waits &&
	    pipe_room(&sender->out) >= circuit->options->window_bytes / 4) {
		sender->out.sender_waits = false;
		sender->send_due_ns = 0;
		wind_clock(circuit, 0, 0);
	}
	ke_release_spin_lock(&circuit->lock, irql);
}
