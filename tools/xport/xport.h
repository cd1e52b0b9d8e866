#ifndef XPORT_XPORT_H
#define XPORT_XPORT_H

/*
 * xport - the command. main.c has the table of verbs; each verb is a cmd_*.c that parses its own
 * options and does its job with the parts beside it:
 *
 *   endpoint.h   a device, a local address and a connection, opened and closed together
 *   sender.h     a file or memory over a connection, one send at a time or many at once
 *   receiver.h   what arrives on a connection, into a descriptor
 *   serve.h      many senders at once, each into a file of its own
 *   directory.h  received files by their senders' addresses
 *   received.h   what came of a reception, in words and as JSON
 *   output.h     a file that appears under its name only when it is whole
 *   listener.h   what the peer says, for a sender
 *   monitor.h    a thread that looks at a running transfer: progress, and silence
 *   progress.h   the line on the terminal
 *   interrupt.h  what happens on Ctrl-C
 *   messenger.h  nodes that exchange messages, and the two verbs' other way, with --message
 *   message_file.h   a file that comes so, across the ends of processes
 *   counters.h   what others can watch meanwhile
 *   lab.h        the labs, and how an answer becomes a program
 *   mounts.h     where xportfs is mounted, and whether it answers
 *
 * A verb returns the exit status. Whatever goes wrong is one line on standard error, printed where
 * it is found, by fail() or usage(), whose result is passed up.
 */

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tdi/tdi.h"

enum {
	XPORT_OK = 0,
	XPORT_FAILED = 1, /* the job could not be done */
	XPORT_USAGE = 2,  /* the command line made no sense; nothing was begun */
};

/* argv[0] is the verb. cmd_wan is in wan.h, cmd_lab in lab.h. */
int cmd_send(int argc, char **argv);
int cmd_recv(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_ping(int argc, char **argv);
int cmd_rules(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_sim(int argc, char **argv); /* and replay */

/* ---- Errors -------------------------------------------------------------------------------- */

/* The verb that the lines of fail() and usage() begin with. Static storage; set once by main. */
void set_verb(const char *verb);

/* Prints "xport VERB: " and the message; returns XPORT_FAILED. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for a command line that makes no sense, with where to read on; XPORT_USAGE. */
int usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- The command line ---------------------------------------------------------------------- */

/* Whether one of the options is --help, and whether one is this. */
bool wants_help(int argc, char **argv);
bool wants(int argc, char **argv, const char *option);

/*
 * The next option of `table`, as getopt_long gives it; -1 after the last, '?' when a line about a
 * wrong one has been printed. The first call of a verb is with `first` true. short_options begins
 * with ':'.
 */
int next_option(int argc, char **argv, const char *short_options, const struct option *table,
		bool first);

/*
 * Values. Each prints a line that names `what` and returns XPORT_USAGE when the text is not one or
 * is out of range, with the result untouched; otherwise XPORT_OK.
 */

/* A number of bytes: "65536", "64K" or "64KiB", "1M", "2G"; the units are powers of 1024. */
int parse_size(const char *what, const char *text, uint64_t minimum, uint64_t maximum,
	       uint64_t *bytes);
int parse_count(const char *what, const char *text, uint64_t minimum, uint64_t maximum,
		uint64_t *count);
/* "30s", "500ms"; "0s" is for ever, which *nanoseconds tells as 0. */
int parse_timeout(const char *what, const char *text, uint64_t *nanoseconds);

/* The addresses that a name stands for, best first. */
struct address_list {
	unsigned count; /* at least one */
	struct transport_address addresses[8];
};

/*
 * "HOST:PORT", "[IPV6]:PORT" or ":PORT", which is any address of this machine when `to_listen`,
 * else this machine. Returns XPORT_USAGE when it is none of them, XPORT_FAILED when the host is
 * not known; both with a line printed.
 */
int parse_address(const char *what, const char *text, bool to_listen, struct address_list *list);

/* ---- Figures in words ---------------------------------------------------------------------- */

/* By value, so that several can stand in one printf: format_rate(x).text. */
struct text {
	char text[72];
};

struct text format_bytes(uint64_t bytes);	  /* "1.07 GB", "17 bytes": decimal units */
struct text format_size(uint64_t bytes);	  /* "256 KiB": as one would type it, exact */
struct text format_rate(double bytes_per_second); /* "812 MB/s" */
struct text format_seconds(double seconds);	  /* "1.24 s", "350 ms", "2 min 05 s" */
struct text format_address(const struct transport_address *address); /* "[::1]:4444" */

/* The string in quotes, as JSON wants it. Bytes that are not UTF-8 become U+FFFD. */
void print_json_string(FILE *stream, const char *string);

#endif
