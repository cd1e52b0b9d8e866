/*
 * Lab 07: your part of src/nal/message.c and src/nal/portal.c. See README.md. Only these functions
 * are yours; graft puts each in place of the one of the same name.
 */
#include "nal/private.h"

/* ---- message.c: headers -------------------------------------------------------------------- */

/* The header that is wanted, when all of it is there. */
static const void *whole_header(struct ksock_conn *conn, struct feed *feed)
{
	(void)conn;
	(void)feed;
	ke_bug_check("NOT-WRITTEN", "whole_header is yours to write");
}

static void noop_came(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "noop_came is yours to write");
}

static enum step message_came(struct ksock_conn *conn, const void *bytes)
{
	(void)conn;
	(void)bytes;
	ke_bug_check("NOT-WRITTEN", "message_came is yours to write");
}

static enum step lnet_header_came(struct ksock_conn *conn, const void *bytes)
{
	(void)conn;
	(void)bytes;
	ke_bug_check("NOT-WRITTEN", "lnet_header_came is yours to write");
}

/* ---- message.c: what comes behind a header --------------------------------------------------- */

static enum step parse(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "parse is yours to write");
}

/* A piece of the payload goes where it belongs. */
static void place(struct ksock_conn *conn, const unsigned char *bytes, uint32_t length)
{
	(void)conn;
	(void)bytes;
	(void)length;
	ke_bug_check("NOT-WRITTEN", "place is yours to write");
}

static enum step payload_state(struct ksock_conn *conn, struct feed *feed)
{
	(void)conn;
	(void)feed;
	ke_bug_check("NOT-WRITTEN", "payload_state is yours to write");
}

/* The whole message is there: whoever it is for is told, and what it asks for is done. */
static enum step finish_message(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "finish_message is yours to write");
}

/* ---- message.c: a turn ----------------------------------------------------------------------- */

/* The stream has come to its end, or broken. */
static void stream_ended(struct ksock_conn *conn, ntstatus reason)
{
	(void)conn;
	(void)reason;
	ke_bug_check("NOT-WRITTEN", "stream_ended is yours to write");
}

enum ksock_rx_result ksocknal_process_receive(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "ksocknal_process_receive is yours to write");
}

/* ---- portal.c ------------------------------------------------------------------------------ */

static void reply(struct ksock_conn *conn, const struct lnet_portal *portal,
		  const struct lnet_payload *from)
{
	(void)conn;
	(void)portal;
	(void)from;
	ke_bug_check("NOT-WRITTEN", "reply is yours to write");
}

static void get_came(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "get_came is yours to write");
}

static void ack_came(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "ack_came is yours to write");
}

static ntstatus put_comes(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "put_comes is yours to write");
}

static ntstatus reply_comes(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "reply_comes is yours to write");
}

/* All of it has come (or `status`: why not). STATUS_PENDING: call again after lnet_resume. */
ntstatus lnet_finalize(struct ksock_conn *conn, ntstatus status)
{
	(void)conn;
	(void)status;
	ke_bug_check("NOT-WRITTEN", "lnet_finalize is yours to write");
}
