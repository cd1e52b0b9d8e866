#include "stream_client.h"
#include "suites.h"

void register_suites(void)
{
	register_ke_suite();
	register_idle_suite();
	register_stat_suite();
	register_verifier_lock_suite();
	register_io_suite();
	register_verifier_request_suite();
	register_verifier_message_suite();
	register_verifier_receive_suite();
	register_send_suite();
	register_window_suite();
	register_receive_suite();
	register_stream_tcp_suite();
	register_wire_suite();
	register_message_suite();
	register_message_peer_suite();
	register_message_bad_suite();
	register_scheduler_suite();
	register_delivery_suite(&tcp_ground);
	register_counters_suite();
	register_link_suites();
	register_tcp_suites();
	register_tcp_refusal_suite();
	register_publish_suite();
	register_read_suite();
}
