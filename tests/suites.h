/* The suites of this program; each stage's file registers its own. */
#ifndef XPORT_TESTS_SUITES_H
#define XPORT_TESTS_SUITES_H

struct ground;

void register_suites(void);

void register_ke_suite(void);
void register_verifier_request_suite(void);
void register_verifier_lock_suite(void);
void register_verifier_message_suite(void);
void register_verifier_receive_suite(void);
void register_io_suite(void);
void register_send_suite(void);
void register_window_suite(void);
void register_receive_suite(void);
void register_wire_suite(void);
void register_message_suite(void);
void register_message_peer_suite(void);
void register_message_bad_suite(void);
void register_scheduler_suite(void);
void register_stat_suite(void);
void register_counters_suite(void);
void register_link_suites(void);
void register_stream_suite(const struct ground *more);	 /* also on this transport; or NULL */
void register_delivery_suite(const struct ground *more); /* likewise */
void register_stream_tcp_suite(void);			 /* host only: the same, on tcp too */
void register_tcp_suites(void);				 /* host only */
void register_tcp_refusal_suite(void);			 /* host only */
void register_idle_suite(void);				 /* host only */
void register_publish_suite(void);			 /* host only */
void register_read_suite(void);				 /* host only */

#endif
