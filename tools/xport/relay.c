/*
 * The relay of a wan
 *
 * Two lines, one for each direction, carry packets from one TUN device to the other. A packet is
 * stamped when it is read; it is due when the line has clocked it out, at the rate of the wan and
 * behind all packets before it, and half a round trip has passed after that. Packets never
 * overtake one another, so a line is a queue and only its first packet needs a timer.
 *
 * Why TCP behaves here as on a long cable: a device hands over whole TSO packets, up to 64 KiB of
 * data with a virtio_net_hdr that tells how to segment it and which checksum is still missing.
 * The relay writes the same bytes into the other device, where the stack takes them as received
 * by a NIC with the same offloads. One read and one write move 64 KiB, and nothing is computed
 * about the data. The rate counts the bytes of such a packet, its headers once.
 *
 * A line keeps packets back to back in blocks of 1 MiB: one is filled, at the tail, and one is
 * emptied, at the head. An emptied block goes on a stack from which the next one to fill is
 * taken, so that in steady state nothing is allocated and the memory in use stays as small as
 * what is under way, which for many links is what fits a processor's cache. (A ring as long as
 * the longest queue would stream through all of itself.)
 *
 *      head                              tail
 *     +------------------------+        +------------------------+
 *     | taken ... |p|p|p|p|p|p | -----> | p|p|p|p|p| room        |    spare: [] -> []
 *     +------------------------+        +------------------------+
 *
 * A queue is limited in bytes; a packet that finds it full is dropped, as at a router.
 *
 * Being woken up takes tens of microseconds, and each packet would be late twice by that: when it
 * is read and when it is delivered. The relay measures how late its sleeps end; it dates a packet
 * that ended one back by as much, and wakes up earlier by as much for one that is due.
 *
 * The process has one thread and sleeps in one ppoll(), until the next packet is due or there is
 * something to read: from the devices, from the control socket, or the end of the parent. Each
 * turn is bounded, so that a flood in one direction delays neither the other one nor control. The
 * control socket serves one client at a time and gives each of them a second.
 *
 * It needs no clean-up: the devices, the namespaces and the name of the control socket are all
 * held by descriptors, so they end with the process, by whatever means that ends.
 */

#include "relay.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	PACKET_MAX = 65535 + sizeof(struct virtio_net_hdr),
	BLOCK_BYTES = 1 << 20,
	SPARE_BLOCKS_WHEN_IDLE = 4,
	TURN_PACKETS = 16,
};

#define NS_PER_SECOND UINT64_C(1000000000)
#define NEVER UINT64_MAX
#define CLIENT_PATIENCE_NS NS_PER_SECOND
#define WAKE_UP_MAX_NS UINT64_C(100000)
#define QUEUE_MIN (UINT64_C(8) << 20)
#define QUEUE_MAX (UINT64_C(256) << 20)

struct packet {
	uint64_t due_ns;
	uint32_t length;
	unsigned char bytes[]; /* a virtio_net_hdr, then the IP packet */
};

struct block {
	struct block *next;
	size_t taken;  /* what lies before this offset has been delivered */
	size_t filled; /* what lies before this one has been received */
	alignas(struct packet) unsigned char bytes[BLOCK_BYTES];
};

struct line {
	int in;
	int out;
	struct block *head;
	struct block *tail;
	uint64_t clocked_out_ns; /* when the last packet received has left the clock */
	uint64_t delay_ns;
	uint64_t rate_bits_per_second;
	uint64_t queue_limit;
	struct wan_traffic traffic;

	struct block *spare;
	unsigned spares;
	unsigned char scratch[PACKET_MAX]; /* where packets end when there is no memory */
};

struct relay {
	struct relay_setup setup;
	struct line from[RELAY_SIDES]; /* from[RELAY_A] leads from a to b */
	uint64_t wake_up_ns;	       /* how late a sleep usually ends */
	uint64_t client_until_ns;      /* when the client has to have asked */
	int client;
	bool ending;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void close_if_open(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The room that a packet of `length` bytes takes in a block, which keeps the next one aligned. */
static size_t packet_room(size_t length)
{
	size_t align = alignof(struct packet);

	return (sizeof(struct packet) + length + align - 1) / align * align;
}

/* Four times what the link itself holds, to let TCP find its window before it sees a loss. */
static uint64_t queue_limit(uint64_t rtt_ns, uint64_t rate_bits_per_second)
{
	double limit = 4.0 * (double)rate_bits_per_second / 8 * (double)rtt_ns / NS_PER_SECOND;

	if (rate_bits_per_second == 0 || limit > (double)QUEUE_MAX)
		return QUEUE_MAX;
	return limit < (double)QUEUE_MIN ? QUEUE_MIN : (uint64_t)limit;
}

static void line_init(struct line *line, const struct relay_setup *setup, int from, int to)
{
	line->in = setup->tun[from];
	line->out = setup->tun[to];
	line->delay_ns = setup->rtt_ns / 2;
	line->rate_bits_per_second = setup->rate_bits_per_second;
	line->queue_limit = queue_limit(setup->rtt_ns, setup->rate_bits_per_second);
}

/* From the kernel and not malloc(), which would keep what a burst has needed. */
static struct block *block_map(void)
{
	void *block = mmap(NULL, sizeof(struct block), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return block == MAP_FAILED ? NULL : block;
}

/* Room for the largest packet at the tail, or NULL when there is no memory. */
static struct packet *line_room(struct line *line)
{
	struct block *block = line->tail;

	if (!block || BLOCK_BYTES - block->filled < packet_room(PACKET_MAX)) {
		block = line->spare;
		if (block) {
			line->spare = block->next;
			line->spares--;
		} else {
			block = block_map();
			if (!block)
				return NULL;
		}
		block->next = NULL;
		block->taken = block->filled = 0;
		if (line->tail)
			line->tail->next = block;
		else
			line->head = block;
		line->tail = block;
	}
	return (struct packet *)(block->bytes + block->filled);
}

/* Keeps a packet that was read into line_room() and had come `late_ns` before. */
static void line_append(struct line *line, struct packet *packet, size_t length, uint64_t late_ns)
{
	uint64_t bytes = length - sizeof(struct virtio_net_hdr);
	uint64_t clock = now_ns() - late_ns;

	if (line->traffic.queued + bytes > line->queue_limit) {
		line->traffic.dropped++;
		return;
	}
	if (line->rate_bits_per_second != 0) {
		if (clock < line->clocked_out_ns)
			clock = line->clocked_out_ns;
		clock += bytes * 8 * NS_PER_SECOND / line->rate_bits_per_second;
		line->clocked_out_ns = clock;
	}
	packet->due_ns = clock + line->delay_ns;
	packet->length = (uint32_t)length;
	line->tail->filled += packet_room(length);
	line->traffic.queued += bytes;
}

/*
 * Takes packets from the device, at most one turn's, the first of which has waited for `late_ns`.
 * Returns -1 when the device is lost.
 */
static int line_receive(struct line *line, uint64_t late_ns)
{
	for (int i = 0; i < TURN_PACKETS; i++, late_ns = 0) {
		struct packet *packet = line_room(line);
		void *bytes = packet ? packet->bytes : line->scratch;
		ssize_t length = read(line->in, bytes, PACKET_MAX);

		if (length < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		if ((size_t)length <= sizeof(struct virtio_net_hdr))
			continue;
		if (packet)
			line_append(line, packet, (size_t)length, late_ns);
		else
			line->traffic.dropped++;
	}
	return 0;
}

/* The empty head block becomes a spare one. */
static void line_retire_head(struct line *line)
{
	struct block *block = line->head;

	line->head = block->next;
	block->next = line->spare;
	line->spare = block;
	line->spares++;
}

/* The line has run empty: fill its block from the start again, give back what a burst has left. */
static void line_rest(struct line *line)
{
	line->head->taken = line->head->filled = 0;
	while (line->spares > SPARE_BLOCKS_WHEN_IDLE) {
		struct block *block = line->spare;

		line->spare = block->next;
		line->spares--;
		munmap(block, sizeof(*block));
	}
}

static struct packet *line_first(struct line *line)
{
	struct block *block = line->head;

	if (block && block->taken == block->filled && block->next) {
		line_retire_head(line);
		block = line->head;
	}
	if (!block || block->taken == block->filled)
		return NULL;
	return (struct packet *)(block->bytes + block->taken);
}

/* Delivers what is due by `now`, at most one turn's packets. Returns when the next one is due. */
static uint64_t line_deliver(struct line *line, uint64_t now)
{

	for (int i = 0;; i++) {
		struct packet *packet = line_first(line);
		uint64_t bytes;

		if (!packet)
			return NEVER;
		if (packet->due_ns > now || i == TURN_PACKETS)
			return packet->due_ns;
		bytes = packet->length - sizeof(struct virtio_net_hdr);
		/* A TUN device takes all of a packet or none, and never makes the writer wait. */
		if (write(line->out, packet->bytes, packet->length) < 0) {
			line->traffic.dropped++;
		} else {
			line->traffic.packets++;
			line->traffic.bytes += bytes;
		}
		line->traffic.queued -= bytes;
		line->head->taken += packet_room(packet->length);
		if (line->traffic.queued == 0)
			line_rest(line);
	}
}

static void line_free(struct line *line)
{
	while (line->head)
		line_retire_head(line);
	while (line->spare) {
		struct block *block = line->spare;

		line->spare = block->next;
		munmap(block, sizeof(*block));
	}
}

/* Sends the answer with `count` descriptors. A client that has gone does not matter. */
static void relay_answer(struct relay *relay, const int *descriptors, unsigned count)
{
	struct relay_answer answer = {0};
	alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {0};
	struct iovec vector = {&answer, sizeof(answer)};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

	answer.version = RELAY_VERSION;
	answer.descriptors = count;
	answer.status.rtt_ns = relay->setup.rtt_ns;
	answer.status.rate_bits_per_second = relay->setup.rate_bits_per_second;
	answer.status.relay_pid = getpid();
	answer.status.a_to_b = relay->from[RELAY_A].traffic;
	answer.status.b_to_a = relay->from[RELAY_B].traffic;
	if (count > 0) {
		struct cmsghdr *header;

		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
	}
	sendmsg(relay->client, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void relay_serve(struct relay *relay)
{
	char request;
	ssize_t length = recv(relay->client, &request, sizeof(request), MSG_DONTWAIT);
	int descriptors[2] = {-1, relay->setup.user_namespace};
	unsigned count = descriptors[1] < 0 ? 1 : 2;

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length == sizeof(request)) {
		switch (request) {
		case RELAY_ENTER_A:
		case RELAY_ENTER_B:
			descriptors[0] = relay->setup.net_namespace[request == RELAY_ENTER_B];
			relay_answer(relay, descriptors, count);
			break;
		case RELAY_STATUS:
			relay_answer(relay, NULL, 0);
			break;
		case RELAY_DOWN:
			relay_answer(relay, NULL, 0);
			relay->ending = true;
			return; /* this connection stays open till all else is closed */
		}
	}
	close_if_open(&relay->client);
}

/* Lets in the next client, if it is this user. Others can find the socket, but not use it. */
static void relay_accept(struct relay *relay)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	relay->client = accept4(relay->setup.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (relay->client < 0)
		return;
	relay->client_until_ns = now_ns() + CLIENT_PATIENCE_NS;
	if (getsockopt(relay->client, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
	    peer.uid != geteuid())
		close_if_open(&relay->client);
}

/*
 * Waiting ends late, by the time that an interrupt and a switch take on this machine, and so
 * would every packet. What is usual is learnt here; a processor that was busy with something
 * else says nothing about it, hence the bound.
 */
static void relay_learn_wake_up(struct relay *relay, uint64_t late_ns)
{
	if (late_ns > WAKE_UP_MAX_NS)
		late_ns = WAKE_UP_MAX_NS;
	if (relay->wake_up_ns == 0)
		relay->wake_up_ns = late_ns;
	relay->wake_up_ns = (15 * relay->wake_up_ns + late_ns) / 16;
}

/* Sleeps until `due_ns` or until a descriptor is ready. Returns how long, then, that has been. */
static uint64_t relay_sleep(struct relay *relay, struct pollfd *ready, nfds_t count,
			    uint64_t due_ns)
{
	uint64_t start = now_ns();
	uint64_t wait = due_ns > start ? due_ns - start : 0;
	struct timespec timeout = {
		.tv_sec = (time_t)(wait / NS_PER_SECOND),
		.tv_nsec = (long)(wait % NS_PER_SECOND),
	};
	int ready_count = ppoll(ready, count, due_ns == NEVER ? NULL : &timeout, NULL);
	uint64_t end = now_ns();

	if (ready_count == 0 && wait > 0)
		relay_learn_wake_up(relay, end - due_ns);
	/* Had it been ready at once, ppoll() would have returned sooner than anything wakes up. */
	return ready_count > 0 && end - start > relay->wake_up_ns ? relay->wake_up_ns : 0;
}

/* One turn: waits until `due_ns` at most, receives what has come, and serves. */
static void relay_turn(struct relay *relay, uint64_t due_ns)
{
	enum { CLIENT = RELAY_SIDES, LISTENER, PARENT, COUNT };
	int listener = relay->client < 0 ? relay->setup.listener : -1; /* one client at a time */
	struct pollfd ready[COUNT] = {
		[RELAY_A] = {.fd = relay->setup.tun[RELAY_A], .events = POLLIN},
		[RELAY_B] = {.fd = relay->setup.tun[RELAY_B], .events = POLLIN},
		[CLIENT] = {.fd = relay->client, .events = POLLIN},
		[LISTENER] = {.fd = listener, .events = POLLIN},
		[PARENT] = {.fd = relay->setup.parent, .events = POLLIN},
	};
	uint64_t late_ns = relay_sleep(relay, ready, COUNT, due_ns);

	for (int side = 0; side < RELAY_SIDES; side++)
		if (ready[side].revents && line_receive(&relay->from[side], late_ns) < 0)
			relay->ending = true;
	if (ready[PARENT].revents)
		relay->ending = true;
	if (ready[LISTENER].revents)
		relay_accept(relay);
	if (ready[CLIENT].revents)
		relay_serve(relay);
}

/* Delivers what is due. Returns when to wake up for the next packet. */
static uint64_t relay_deliver(struct relay *relay)
{
	/* What is due within the time of a wake-up would be late after another sleep. */
	uint64_t soon = now_ns() + relay->wake_up_ns;
	uint64_t due_ns = NEVER;

	for (int side = 0; side < RELAY_SIDES; side++) {
		uint64_t line_due_ns = line_deliver(&relay->from[side], soon);

		if (line_due_ns < due_ns)
			due_ns = line_due_ns;
	}
	return due_ns == NEVER ? NEVER : due_ns - relay->wake_up_ns;
}

static void relay_loop(struct relay *relay)
{
	while (!relay->ending) {
		uint64_t wake_ns = relay_deliver(relay);

		if (relay->client >= 0 && relay->client_until_ns <= now_ns())
			close_if_open(&relay->client);
		if (relay->client >= 0 && relay->client_until_ns < wake_ns)
			wake_ns = relay->client_until_ns;
		relay_turn(relay, wake_ns);
	}
}

void relay_run(const struct relay_setup *setup)
{
	static struct relay relay;

	memset(&relay, 0, sizeof(relay));
	relay.setup = *setup;
	relay.client = -1;
	line_init(&relay.from[RELAY_A], setup, RELAY_A, RELAY_B);
	line_init(&relay.from[RELAY_B], setup, RELAY_B, RELAY_A);
	/* The default slack of 50 us would be added to every delay. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	prctl(PR_SET_NAME, "xport-relay");
	relay_loop(&relay);

	for (int side = 0; side < RELAY_SIDES; side++) {
		line_free(&relay.from[side]);
		close_if_open(&relay.setup.tun[side]);
		close_if_open(&relay.setup.net_namespace[side]);
	}
	close_if_open(&relay.setup.user_namespace);
	close_if_open(&relay.setup.listener);
	close_if_open(&relay.setup.parent);
	/* Last, because its end tells the client who asked for this that all the rest is gone. */
	close_if_open(&relay.client);
}
