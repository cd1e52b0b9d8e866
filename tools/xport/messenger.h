#ifndef XPORT_MESSENGER_H
#define XPORT_MESSENGER_H

/*
 * What the verbs of messages have in common: NIDs, and a node that calls one peer or is called.
 *
 * A NID is made of an IPv4 address, so that is what a peer has here; who says nothing else is known
 * by his address on the network @tcp.
 */

#include "nal/lnet.h"
#include "xport.h"

enum {
	MESSAGE_PORTAL =
		63, /* where files are delivered: the last, which no service of Lustre's has */
	MOST_NIDS = LNET_MOST_ADDRESSES - 1,
};

/* As the values of xport.h: XPORT_OK, or XPORT_USAGE with a line printed. */
int parse_nid(const char *what, const char *text, uint64_t *nid);

/* Whom to call, as whom. */
struct correspondent {
	struct transport_address address;
	uint64_t nid;
	uint64_t own_nid;
};

/*
 * Takes the IPv4 address of the list; NIDs that are 0 become those of the two ends of a connection
 * with it. XPORT_OK, or XPORT_FAILED with a line printed.
 */
int find_correspondent(struct correspondent *correspondent, const struct address_list *list);

/*
 * The NIDs by which a listener at this address can be called: its own, or if it is any address,
 * those of all that this machine has. How many, up to MOST_NIDS.
 */
uint32_t find_own_nids(const struct transport_address *local, uint64_t nids[MOST_NIDS]);

struct messenger {
	struct device_object *device;
	struct lnet_node *node;
	struct ksock_peer *peer; /* NULL: there is none */
};

/*
 * A node with these options, whose device is made here and counted in options->segment, and the
 * correspondent (NULL: none) as its peer. In a quarter of the timeout without a message it says
 * that it is alive, which is how a peer whose machine is gone is noticed. Leaves nothing behind on
 * failure. A thread.
 */
ntstatus messenger_open(struct messenger *messenger, struct lnet_options *options,
			const struct correspondent *correspondent);
void messenger_close(struct messenger *messenger);

/* ---- The two verbs' way with messages; see message_send.c and message_recv.c ----------------- */

int send_message(int argc, char **argv);
int receive_message(int argc, char **argv);

#endif
