/* Publishing, with the one segment where a signal can find it; see counters.h. */
#include "counters.h"

#include <pthread.h>
#include <unistd.h>

#include "stat/publish.h"

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
