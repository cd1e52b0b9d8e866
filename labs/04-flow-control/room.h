/*
 * What the exercises of lab 04 send through: a transport with a buffer, that answers pieces as it
 * is told to, and looks at each for what it must not be.
 *
 * The sends of an exercise are BLOCK bytes each, and together a stream in which every byte tells
 * where it belongs. So of a piece that comes the transport knows what it has to be.
 */
#ifndef XPORT_LABS_ROOM_H
#define XPORT_LABS_ROOM_H

#include "tdi/stream.h"

/* The rules of the handout. */
enum {
	RULE_UNBUFFERED = 1,
	RULE_PIECE,
	RULE_ONE_PIECE,
	RULE_PENDING,
	RULE_SHORT,
	RULE_REFUSED,
	RULE_WAITS,
	RULE_NEWS_COUNTS,
	RULE_NO_PROMISE,
	RULE_NO_LOCK,
	RULE_ONE_CALL,
	RULE_END,
};

enum { BLOCK = 10, HELD_MOST = 4 };

/* When the transport answers a piece. */
enum when { AT_ONCE, PENDING_AT_ONCE, FROM_DPC, FROM_TIMER, HELD };

struct answer {
	ntstatus status;
	uint32_t bytes; /* that it takes */
};

struct room {
	struct device_object device;
	struct file_object file; /* a connection on it */
	struct tdi_send_window window;
	struct kspin_lock lock;
	enum when when;
	const struct answer *script; /* of the next pieces; those after them are taken whole */
	uint32_t script_length;
	bool tells;    /* news follows a short or refused piece, or overtakes its answer */
	int busy_rule; /* to blame for a piece that comes while another is under way */

	uint32_t taken; /* the stream so far, what has failed included */
	bool told;	/* there was news since the last piece began */
	bool full;	/* that was short or refused, and there was none */
	int32_t pieces; /* so far */
	int32_t owned;	/* now */
	struct kdpc news;
	struct held *held[HELD_MOST];
	uint32_t held_first, held_end;
};

/* With a window on it. It takes all of every piece until it has a script. */
void open_room(struct room *room, enum when when, bool buffers);
void close_room(struct room *room);

/* The next pieces are answered so. */
#define set_script(room, answers)                                                                  \
	((room)->script_length = sizeof(answers) / sizeof((answers)[0]), (room)->script = (answers))

/* HELD: answers the piece that is held longest. */
void let_go(struct room *room);

/* There is room again: tells the window, whether it waits for that or not. */
void tell_news(struct room *room);

/* The bytes of the stream from an offset on. */
void fill_stream(char *buffer, uint32_t offset, uint32_t length);

#endif
