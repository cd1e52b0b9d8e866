/*
 * One direction of a circuit. A byte's way through a pipe:
 *
 *      sender            in_flight              unread             reader
 *        │ pipe_send       │  due: arrives        │ circuit_fetch    │
 *        └──────▶ segment ─┴───────────▶ segment ─┴────────────────▶ buffer
 *                                 │                                  │
 *        ◀── acknowledgement ─────┘ half a round trip later          │ read: room again, at once
 *        ◀───────────────────────────────────────────────────────────┘
 *
 * Times are those that the link's arithmetic gives, not those at which the clock came round to
 * look: a segment leaves when the line is free of the one before it, arrives half a round trip
 * after its last byte has left, and is acknowledged half a round trip after it was due to arrive.
 * So a clock that is late delays one event and not all that follow.
 *
 * Nothing here takes a lock or looks at the time. The circuit does both.
 */
#include "link/private.h"

enum { NS_PER_SECOND = 1000000000 };

struct segment *pipe_allocate_segment(uint32_t length)
{
	struct segment *segment = ex_allocate_pool(sizeof(*segment) + length);

	if (segment == NULL)
		return NULL;
	segment->acknowledgement = ex_allocate_pool(sizeof(*segment->acknowledgement));
	if (segment->acknowledgement == NULL) {
		ex_free_pool(segment);
		return NULL;
	}
	segment->length = length;
	return segment;
}

void pipe_free_segment(struct segment *segment)
{
	ex_free_pool(segment->acknowledgement); /* NULL when it is on its way */
	ex_free_pool(segment);
}

void pipe_free_segments(struct list_entry *segments)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(segments)) != NULL)
		pipe_free_segment(containing_record(entry, struct segment, entry));
}

void pipe_initialize(struct pipe *pipe, const struct link_options *options)
{
	*pipe = (struct pipe){.options = options, .end_due_ns = LINK_NEVER};
	initialize_list_head(&pipe->in_flight);
	initialize_list_head(&pipe->unread);
	initialize_list_head(&pipe->acknowledgements);
}

void pipe_destroy(struct pipe *pipe)
{
	struct list_entry *entry;

	pipe_free_segments(&pipe->in_flight);
	pipe_free_segments(&pipe->unread);
	while ((entry = remove_head_list(&pipe->acknowledgements)) != NULL)
		ex_free_pool(containing_record(entry, struct acknowledgement, entry));
}

uint32_t pipe_room(const struct pipe *pipe)
{
	return (uint32_t)(pipe->options->window_bytes - (pipe->sent - pipe->read));
}

/* Rounded up, so that the line is never faster than its rate. */
static uint64_t transmission_ns(const struct pipe *pipe, uint32_t bytes)
{
	uint64_t rate = pipe->options->rate_bits_per_second;

	return rate == 0 ? 0 : ((uint64_t)bytes * 8 * NS_PER_SECOND + rate - 1) / rate;
}

void pipe_send(struct pipe *pipe, struct segment *segment, uint64_t now)
{
	uint64_t start = pipe->line_free_ns > now ? pipe->line_free_ns : now;

	pipe->line_free_ns = start + transmission_ns(pipe, segment->length);
	pipe->sent += segment->length;
	segment->due_ns = pipe->line_free_ns + pipe->options->rtt_ns / 2;
	insert_tail_list(&pipe->in_flight, &segment->entry);
}

void pipe_send_end(struct pipe *pipe, uint64_t now)
{
	uint64_t start = pipe->line_free_ns > now ? pipe->line_free_ns : now;

	pipe->end_due_ns = start + pipe->options->rtt_ns / 2;
}

/*
 * The segment in which the link breaks: what of it still arrives is never acknowledged, and nothing
 * arrives after it.
 */
static unsigned arrive_broken(struct pipe *pipe, struct segment *segment, uint32_t bytes)
{
	segment->length = bytes;
	pipe->arrived += segment->length;
	insert_tail_list(&pipe->unread, &segment->entry);
	pipe_free_segments(&pipe->in_flight);
	pipe->end_due_ns = LINK_NEVER;
	return PIPE_ARRIVED | PIPE_BROKEN;
}

/* How many bytes of the segment still arrive because the link breaks in it; -1 if it does not. */
static int64_t find_break(const struct pipe *pipe, const struct segment *segment)
{
	uint64_t limit = pipe->options->reset_after_bytes;

	if (limit != 0 && pipe->arrived + segment->length >= limit)
		return (int64_t)(limit - pipe->arrived);
	if (!pipe->options->faults)
		return -1;
	switch (ke_choose(3, "whether the link breaks before or after a segment")) {
	case 1:
		return 0;
	case 2:
		return segment->length;
	default:
		return -1;
	}
}

static unsigned arrive(struct pipe *pipe, struct segment *segment, bool wanted)
{
	int64_t breaks;
	struct acknowledgement *acknowledgement = segment->acknowledgement;

	if (!wanted) {
		pipe->arrived += segment->length;
		pipe_free_segment(segment);
		return PIPE_UNWANTED;
	}
	breaks = find_break(pipe, segment);
	if (breaks >= 0)
		return arrive_broken(pipe, segment, (uint32_t)breaks);
	pipe->arrived += segment->length;
	insert_tail_list(&pipe->unread, &segment->entry);

	segment->acknowledgement = NULL; /* the way back's now */
	acknowledgement->due_ns = segment->due_ns + pipe->options->rtt_ns / 2;
	acknowledgement->end = pipe->arrived;
	insert_tail_list(&pipe->acknowledgements, &acknowledgement->entry);
	return PIPE_ARRIVED;
}

static struct segment *take_arriving(struct pipe *pipe, uint64_t now)
{
	struct segment *segment = containing_record(pipe->in_flight.next, struct segment, entry);

	if (is_list_empty(&pipe->in_flight) || segment->due_ns > now)
		return NULL;
	remove_entry_list(&segment->entry);
	return segment;
}

static struct acknowledgement *take_acknowledgement(struct pipe *pipe, uint64_t now)
{
	struct acknowledgement *acknowledgement =
		containing_record(pipe->acknowledgements.next, struct acknowledgement, entry);

	if (is_list_empty(&pipe->acknowledgements) || acknowledgement->due_ns > now)
		return NULL;
	remove_entry_list(&acknowledgement->entry);
	return acknowledgement;
}

unsigned pipe_advance(struct pipe *pipe, uint64_t now, bool wanted)
{
	struct acknowledgement *acknowledgement;
	struct segment *segment;
	unsigned happened = 0;

	while ((segment = take_arriving(pipe, now)) != NULL)
		happened |= arrive(pipe, segment, wanted);
	if (pipe->end_due_ns <= now) { /* due after every segment, so none is left behind it */
		pipe->end_due_ns = LINK_NEVER;
		pipe->end_arrived = true;
		happened |= PIPE_ARRIVED;
	}
	while ((acknowledgement = take_acknowledgement(pipe, now)) != NULL) {
		pipe->acknowledged = acknowledgement->end;
		ex_free_pool(acknowledgement);
		happened |= PIPE_ACKNOWLEDGED;
	}
	return happened;
}

uint64_t pipe_due(const struct pipe *pipe)
{
	uint64_t due = pipe->end_due_ns;

	if (!is_list_empty(&pipe->in_flight)) {
		struct segment *first =
			containing_record(pipe->in_flight.next, struct segment, entry);

		due = first->due_ns < due ? first->due_ns : due;
	}
	if (!is_list_empty(&pipe->acknowledgements)) {
		struct acknowledgement *first = containing_record(pipe->acknowledgements.next,
								  struct acknowledgement, entry);

		due = first->due_ns < due ? first->due_ns : due;
	}
	return due;
}
