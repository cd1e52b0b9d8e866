/* Publishing, with the one segment where a signal can find it; see counters.h. */
#include "counters.h"

#include <pthread.h>
#include <unistd.h>

#include "stat/publish.h"
#include "xport.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards both */
static struct stat_publication publication;
static bool ending;

struct stat_segment *counters_publish(const char *name)
{
	pthread_mutex_lock(&lock);
	if (!ending)
		stat_publish(&publication, name);
	pthread_mutex_unlock(&lock);
	return publication.segment;
}

void counters_withdraw(void)
{
	pthread_mutex_lock(&lock);
	if (!ending)
		stat_withdraw(&publication);
	pthread_mutex_unlock(&lock);
}

/* The memory stays: other threads still count. */
void counters_withdraw_any(void)
{
	pthread_mutex_lock(&lock);
	ending = true;
	if (publication.segment != NULL)
		unlink(publication.path);
	pthread_mutex_unlock(&lock);
}

int run_counted(const char *name, struct stat_segment **segment, ke_thread_routine *main,
		void *context)
{
	static const struct ke_options executive = {0};
	ntstatus status;

	if (name != NULL)
		*segment = counters_publish(name);
	status = ke_run(&executive, main, context);
	if (name != NULL)
		counters_withdraw();
	return nt_success(status) ? XPORT_OK
				  : fail("cannot start the executive: the system is out of "
					 "threads or memory");
}
