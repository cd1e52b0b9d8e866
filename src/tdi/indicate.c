/* Events: what the transport lent, and gets back. */
#include "tdi/provider.h"

void tdi_return_chained_receives(void *const *tsdu_descriptors, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct tdi_loan *loan = tsdu_descriptors[i];

		loan->returned(loan);
	}
}
