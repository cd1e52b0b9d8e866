#ifndef XPORT_DEMO_H
#define XPORT_DEMO_H

/*
 * The demo: one file over one link with a real round trip, once for each way of sending.
 *
 *   cmd_demo.c      the options, the file, the order of things
 *   demo_table.c    what is printed of a row
 *   demo_wan.c      a row over the wan: two processes, one on each side, kernel TCP between them
 *   demo_link.c     a row over the simulated link: two threads of one executive
 *   demo_socket.c   the plain socket program that the rows are compared with
 *
 * A function that can fail returns 0, or -1 with one line in row->error or `error`.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <nettle/sha2.h>

enum demo_mode { DEMO_SOCKET, DEMO_SYNC, DEMO_ASYNC };

/* What all rows share. */
struct demo {
	int fd; /* the file */
	uint64_t file_bytes;
	uint32_t block_bytes;
	uint64_t rtt_asked_ns;
	uint64_t rate_bits_per_second; /* 0: no limit */
	uint64_t rtt_ns;	       /* as measured on the idle link, the least of several */
	char wan_name[32];
};

struct demo_row {
	enum demo_mode mode;
	uint32_t depth;
	uint64_t limit_bytes; /* of the file are sent */

	/* What came of it. */
	uint64_t bytes;
	double total_seconds; /* from the first send to the last byte acknowledged or received */
	double seconds;	      /* of the window in which bytes_per_second was taken */
	double bytes_per_second;
	double effective_depth;
	bool window_too_short;
	double stolen_seconds;		    /* the machine did not run for so long meanwhile */
	uint8_t sha256[SHA256_DIGEST_SIZE]; /* of what arrived */
	char error[160];
};

enum { DEMO_DEEPEST = 64 };

/* A row that lost more of its time than this to other machines on the same hardware is repeated. */
#define DEMO_STOLEN_SHARE 0.005

/* Blocks before the window of a row opens, and at least as many in it. */
uint64_t demo_warm_up_blocks(const struct demo_row *row);

/* From what a sender measured to what a row shows. */
struct send_report;
void demo_take_report(struct demo_row *row, const struct send_report *report);

/* What the link can carry of the row, in bytes a second; 0: no more can be said than by trying. */
double demo_predict(const struct demo *demo, const struct demo_row *row);

/* Prints rows one by one, all against the synchronous one, as a table or as a JSON array. */
struct demo_printer {
	bool json;
	bool begun;
	const char *transport; /* "tcp" or "link" */
	double sync_rate;      /* bytes a second; set before the first row */
};

void demo_print_row(struct demo_printer *printer, const struct demo *demo,
		    const struct demo_row *row, bool sha256_match);
void demo_print_end(const struct demo_printer *printer);

/*
 * Lets people watch the demo's counters, and prints how. Returns the process to give to the second,
 * which ends what was begun; -1 when that is nothing.
 */
pid_t demo_watch_begin(void);
void demo_watch_end(pid_t daemon);

/* The least of several round trips of one byte. */
int demo_wan_measure_rtt(const struct demo *demo, uint64_t *rtt_ns, char *error, size_t size);
int demo_link_measure_rtt(const struct demo *demo, uint64_t *rtt_ns, char *error, size_t size);

/* Sends the row's part of the file and fills the rest of *row in. */
int demo_wan_row(const struct demo *demo, struct demo_row *row);
int demo_link_row(const struct demo *demo, struct demo_row *row);

/*
 * The plain socket program. It listens on, or connects to, `address` (IPv4, in dots) and `port`,
 * and sends the file block by block, or receives it; the receiver takes the figures, because a send
 * is over as soon as the kernel has copied it.
 */
int demo_socket_listen(const char *address, uint16_t port);
int demo_socket_connect(const char *address, uint16_t port);
int demo_socket_send(int socket_fd, const struct demo *demo, struct demo_row *row);
int demo_socket_receive(int socket_fd, const struct demo *demo, struct demo_row *row);

/* One byte there and back, many times: the side that asks, and the side that answers. */
int demo_socket_ping(int socket_fd, uint64_t *rtt_ns);
void demo_socket_echo(int socket_fd);

#endif
