/* Nodes for the verbs of messages, see messenger.h. */
#include "messenger.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp/tcp.h"

/* ---- NIDs ---------------------------------------------------------------------------------- */

int parse_nid(const char *what, const char *text, uint64_t *nid)
{
	uint64_t value;

	if (!nt_success(lnet_text_to_nid(text, &value)) || value == LNET_NID_LO_0)
		return usage("%s '%s' is no NID; write 10.0.0.1@tcp", what, text);
	*nid = value;
	return XPORT_OK;
}

static uint64_t nid_of(struct in_addr address)
{
	return lnet_make_nid(lnet_make_net(SOCKLND, 0), ntohl(address.s_addr));
}

static struct sockaddr_in socket_address(const struct transport_address *address)
{
	struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons(address->port)};

	memcpy(&result.sin_addr, address->address, sizeof(result.sin_addr));
	return result;
}

/* Which of this machine's addresses a packet to the peer would have: no packet is sent for that. */
static int find_local_address(const struct sockaddr_in *peer, struct in_addr *local)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)peer, sizeof(*peer)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&name, &length) < 0)
		error = errno;
	close(fd);
	if (error == 0)
		*local = name.sin_addr;
	return error;
}

int find_correspondent(struct correspondent *correspondent, const struct address_list *list)
{
	struct sockaddr_in peer;
	struct in_addr local;
	unsigned i = 0;
	int error;

	while (i < list->count && list->addresses[i].address_type != TDI_ADDRESS_TYPE_IP)
		i++;
	if (i == list->count)
		return fail("%s is no IPv4 address, of which NIDs are made",
			    format_address(&list->addresses[0]).text);
	correspondent->address = list->addresses[i];
	peer = socket_address(&correspondent->address);
	if (correspondent->nid == 0)
		correspondent->nid = nid_of(peer.sin_addr);
	if (correspondent->own_nid != 0)
		return XPORT_OK;
	error = find_local_address(&peer, &local);
	if (error != 0)
		return fail("cannot find a way to %s: %s",
			    format_address(&correspondent->address).text, strerror(error));
	correspondent->own_nid = nid_of(local);
	return XPORT_OK;
}

static uint32_t add_nid(uint64_t nids[MOST_NIDS], uint32_t count, uint64_t nid)
{
	for (uint32_t i = 0; i < count; i++)
		if (nids[i] == nid)
			return count;
	if (count < MOST_NIDS)
		nids[count++] = nid;
	return count;
}

uint32_t find_own_nids(const struct transport_address *local, uint64_t nids[MOST_NIDS])
{
	struct sockaddr_in name = socket_address(local);
	struct ifaddrs *interfaces;
	uint32_t count = 0;

	if (name.sin_addr.s_addr != INADDR_ANY)
		return add_nid(nids, 0, nid_of(name.sin_addr));
	if (getifaddrs(&interfaces) < 0)
		return 0;
	for (struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&name, i->ifa_addr, sizeof(name));
		count = add_nid(nids, count, nid_of(name.sin_addr));
	}
	freeifaddrs(interfaces);
	return count;
}

/* ---- Nodes --------------------------------------------------------------------------------- */

static void delete_device(struct device_object *device)
{
	ke_flush_queued_dpcs();
	tcp_delete_device(device);
}

ntstatus messenger_open(struct messenger *messenger, struct lnet_options *options,
			const struct correspondent *correspondent)
{
	const struct tcp_options tcp = {.timeout_ns = options->timeout_ns,
					.segment = options->segment};
	ntstatus status;

	options->keepalive_ns = options->timeout_ns / 4;
	*messenger = (struct messenger){.device = tcp_create_device(&tcp)};
	if (messenger->device == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	options->device = messenger->device;
	messenger->node = lnet_startup(options, &status);
	if (messenger->node == NULL) {
		delete_device(messenger->device);
		return status;
	}
	if (correspondent == NULL)
		return STATUS_SUCCESS;
	messenger->peer = ksocknal_find_peer(lnet_find_ni(messenger->node, correspondent->own_nid),
					     correspondent->nid, &correspondent->address);
	if (messenger->peer != NULL)
		return STATUS_SUCCESS;
	messenger_close(messenger);
	return STATUS_INSUFFICIENT_RESOURCES;
}

void messenger_close(struct messenger *messenger)
{
	if (messenger->peer != NULL)
		ksocknal_put_peer(messenger->peer);
	lnet_shutdown(messenger->node);
	delete_device(messenger->device);
}
