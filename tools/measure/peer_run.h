/*
 * What the programs of the table "messages over loopback" of tools/bench have in common, so that
 * all are measured alike.
 *
 *   PROGRAM TOOL stream|bulk|pingpong MESSAGE_BYTES CONNECTIONS SECONDS
 *
 * Two processes. The parent receives, or asks: it has the clock. The child sends, or answers. A
 * message begins with a struct peer_head; what follows the head is never looked at. Both know the
 * size of the run's messages.
 *
 * stream and bulk: the child fills the connections, a turn of 64 KiB to each, until the parent says
 * that it has seen enough; then each connection gets one message more, which is marked as the last.
 * The parent counts for SECONDS, after a warm-up of a fifth of that which begins when each
 * connection has brought a message. It goes on taking messages until it has the last of every
 * connection, and fails when one is missing, is there twice, or is out of order within its
 * connection.
 *
 * pingpong: the parent sends a message, has it back, and sends the next; it keeps every round trip.
 *
 * The parent prints one line of JSON. Any failure ends both processes, with words on stderr.
 *
 * A program is a table of struct peer_tool and a main that calls peer_main. All four functions run
 * in a process of their own kind, forked before any of them, so that a library (or the executive of
 * xport) starts in each process afresh. They call peer_fail for everything that goes wrong.
 */
#ifndef XPORT_MEASURE_PEER_RUN_H
#define XPORT_MEASURE_PEER_RUN_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <string.h>

enum { PEER_TURN_BYTES = 64 << 10, PEER_CLOCK_BYTES = 64 << 10 };

struct peer_head {
	uint64_t sequence; /* within its connection, from 0 */
	uint32_t connection;
	uint32_t last; /* 1: of its connection */
};

struct peer_run;

/* Those of a work that the tool can't do are NULL. */
struct peer_tool {
	const char *name;
	void (*receive)(struct peer_run *run); /* peer_tell_port; peer_received while run->open */
	void (*send)(struct peer_run *run);    /* peer_take_turns */
	void (*ping)(struct peer_run *run);    /* peer_tell_port; peer_ask_rounds */
	void (*echo)(struct peer_run *run);    /* sends back all, up to and with the last */
};

/* What both processes see. */
struct peer_shared {
	atomic_bool enough;   /* the parent's word to the child */
	atomic_bool complete; /* the parent has had the last of everything */
	uint64_t sent;	      /* the child's, read when it has ended */
};

struct peer_run {
	const struct peer_tool *tool;
	const char *work;
	uint32_t message_bytes;
	uint32_t connections;
	double seconds;
	uint16_t port; /* where the parent listens, on 127.0.0.1; the child's from the beginning */
	void *state;   /* the tool's own */

	uint32_t silent;		  /* connections whose first message has not come */
	uint32_t open;			  /* connections whose last message has not come */
	uint64_t *sequence;		  /* by connection: of the next message */
	uint64_t messages;		  /* received, or sent, in all */
	uint32_t unclocked;		  /* bytes received since the clock was read */
	bool last;			  /* what is stamped now is a connection's last */
	uint32_t next;			  /* the connection whose turn is next */
	uint64_t warm_from, begun, ended; /* ns */
	uint64_t messages_begun, messages_ended;
	uint64_t *rounds; /* ns, of each round trip */
	uint32_t round_count;
	struct peer_head question; /* the head of what was asked, at `asked` ns */
	uint64_t asked;

	struct peer_shared *shared;
	int port_pipe[2];
	int child; /* its process, in the parent; 0 in the child */
};

typedef void peer_turn(struct peer_run *run, uint32_t connection, uint32_t messages);
typedef void peer_round(struct peer_run *run, void *message);

int peer_main(int argc, char **argv, const struct peer_tool *tools, unsigned tool_count);

/* Says WHAT went wrong, and errno's reason, unless it is 0; ends both processes. */
noreturn void peer_fail(struct peer_run *run, const char *what);

/* Whether this is the tool that is run, where one function serves several. */
static inline bool peer_is(const struct peer_run *run, const char *tool)
{
	return strcmp(run->tool->name, tool) == 0;
}

void *peer_allocate(struct peer_run *run, uint64_t bytes); /* zeros */

/* One message, or as many as BYTES hold. Written, as untouched zeros would be one cached page. */
void *peer_allocate_messages(struct peer_run *run, uint64_t bytes);

/* The parent, as soon as it listens. */
void peer_tell_port(struct peer_run *run, uint16_t port);

/*
 * The child: whose turn is next, and of how many messages. When it is enough each connection has
 * one turn more, of one message; then there is 0. peer_take_turns calls TURN for all of them; who
 * is called back when a turn has gone out asks for the next himself.
 */
uint32_t peer_next_turn(struct peer_run *run, uint32_t *connection);
void peer_take_turns(struct peer_run *run, peer_turn *turn);

/* The child, where a library drops what is still under way when it is closed. */
void peer_wait_until_complete(struct peer_run *run);

/*
 * The parent of a ping-pong: calls ROUND, which sends the message and receives it into its place,
 * until the time is over. Or, who is called back with the answer: peer_begin_round stamps the
 * message that is about to be sent, and the clock is running; peer_end_round takes what came back,
 * and is false when it was the last.
 */
void peer_ask_rounds(struct peer_run *run, peer_round *round);
void peer_begin_round(struct peer_run *run, struct peer_head *message);
bool peer_end_round(struct peer_run *run, const struct peer_head *message);

void peer_look_at_clock(struct peer_run *run);

static inline void peer_stamp(struct peer_run *run, uint32_t connection, void *message)
{
	struct peer_head *head = message;

	*head = (struct peer_head){run->sequence[connection]++, connection, run->last};
	run->messages++;
}

static inline void peer_received(struct peer_run *run, const struct peer_head *head)
{
	if (head->connection >= run->connections ||
	    head->sequence != run->sequence[head->connection]++) {
		errno = 0;
		peer_fail(run, "a message is lost, doubled or out of order");
	}
	run->silent -= head->sequence == 0;
	run->open -= head->last;
	run->messages++;
	run->unclocked += run->message_bytes;
	if (run->unclocked >= PEER_CLOCK_BYTES) /* seldom: reading it takes longer than a message */
		peer_look_at_clock(run);
}

#endif
