/* The rules: what must hold, in one sentence each, and the page of the book about it. */
#include <string.h>

#include "verifier/verifier.h"

const struct verifier_rule verifier_rules[] = {
	/* ---- Requests ---- */
	{"REQ-DOUBLE-COMPLETE", "01-request",
	 "A request is completed once, by the driver that holds it."},
	{"REQ-COMPLETE-PENDING", "01-request",
	 "A request is completed with its final status, never with STATUS_PENDING."},
	{"REQ-COMPLETE-WITH-LOCK", "01-request",
	 "No spin lock is held when a request is completed, for completion routines run then."},
	{"REQ-CANCEL-SET-ON-COMPLETE", "01-request",
	 "A request that is completed has no cancel routine any more."},
	{"REQ-QUEUED-NOT-MARKED", "01-request",
	 "A request is marked pending before it can be cancelled or taken from a queue."},
	{"REQ-PENDING-NOT-MARKED", "01-request",
	 "A dispatch routine that returns STATUS_PENDING has marked the request pending before "
	 "anybody could complete it."},
	{"REQ-COMPLETED-RETURNS-PENDING", "01-request",
	 "A dispatch routine that completes an unmarked request returns the status that it "
	 "completed it with."},
	{"REQ-MARKED-NOT-PENDING", "01-request",
	 "Only the driver that owns the location marks a request pending, and its dispatch routine "
	 "then returns STATUS_PENDING, even if the request is completed meanwhile."},
	{"REQ-PENDING-NOT-PROPAGATED", "01-request",
	 "A completion routine that finds pending_returned set and lets the walk go on marks the "
	 "request pending."},
	{"REQ-LOST", "01-request",
	 "A request always has an owner: a dispatch routine that returns a final status has "
	 "completed the request, and a creator's completion routine takes it back."},
	{"REQ-STATUS-MISMATCH", "01-request",
	 "A final status that a dispatch routine returns is the one that the request was "
	 "completed with."},
	{"REQ-FREE-IN-USE", "01-request",
	 "What a request needs is freed once, and not while a driver holds the request: the "
	 "request itself, its MDLs, and the memory that they describe."},
	{"REQ-REUSE-IN-FLIGHT", "01-request",
	 "A request is used again only when it is back with its creator."},
	{"REQ-STALE-COMPLETION-CTX", "03-send-async",
	 "The context of a completion routine lives until the routine runs."},
	{"REQ-STACK-EXHAUSTED", "01-request",
	 "A request has a stack location for each driver that it passes."},
	{"REQ-STACK-IOSB", "02-send-sync",
	 "A thread that sends a request of io_build_device_io_control_request waits for it, "
	 "because "
	 "the event and the status block are on its stack."},
	{"MDL-MISUSE", "01-request", "Pages are unlocked once for each time they were locked."},

	/* ---- What events show and lend ---- */
	{"RX-TAKEN-TOO-MUCH", "06-receive",
	 "A receive handler takes at most the bytes that it was shown, for only these can be "
	 "looked at."},
	{"RX-LOAN-MISUSE", "06-receive",
	 "What a chained receive handler has kept is returned before its endpoint is closed."},

	/* ---- Messages ---- */
	{"MSG-GIVEN-TWICE", "07-message",
	 "A message is given to the message layer again only after it was called back."},
	{"MSG-PAYLOAD-SHORT", "07-message",
	 "The pieces of a payload hold as many bytes as its length says."},
	{"MSG-RESUME-MISUSE", "07-message",
	 "The owner of a portal resumes a connection once for each time that he has answered "
	 "STATUS_PENDING."},
	{"MSG-PEER-KEPT", "07-message",
	 "Every peer that was found is given back before its node is shut down."},

	/* ---- Memory and references ---- */
	{"REF-UNDERFLOW", "03-send-async",
	 "Each reference is dropped once, and only who holds one may add another."},
	{"POOL-DOUBLE-FREE", "00-executive", "Pool memory is freed once."},
	{"POOL-BAD-FREE", "00-executive", "Only what was allocated from the pool is freed to it."},
	{"POOL-WRITE-AFTER-FREE", "00-executive", "Nobody writes to pool memory that was freed."},
	{"LEAK-AT-UNLOAD", "00-executive",
	 "When a run ends all memory is freed, all requests are completed, all threads were waited "
	 "for, no timer is armed and no interrupt connected."},

	/* ---- Levels and locks ---- */
	{"IRQL-TOO-HIGH", "00-executive",
	 "An operation is called at an IRQL that it allows; only threads at PASSIVE_LEVEL wait."},
	{"IRQL-CHANGED", "00-executive",
	 "IRQL is raised upwards and lowered downwards, and a routine returns at the IRQL at which "
	 "it was called."},
	{"WORK-ITEM-WAITS", "00-executive",
	 "A work item does not wait: it would keep its processor from all the others."},
	{"LOCK-MISUSE", "00-executive",
	 "A spin lock is initialised, acquired by one who does not hold it, and released by its "
	 "holder before the routine that holds it returns."},
	{"LOCK-ORDER", "90-verifier",
	 "Locks that are held together are always taken in the same order."},
	{"LOCK-IRQ-UNSAFE", "90-verifier",
	 "A lock that an interrupt service routine uses is never held where an interrupt can "
	 "come."},

	/* ---- The executive's other objects ---- */
	{"INTERRUPT-MISUSE", "00-executive",
	 "An interrupt is disconnected once, with a DPC for its own processor."},
	{"THREAD-WAITED-TWICE", "00-executive", "A thread is waited for once."},
	{"NO-SUCH-PROCESSOR", "00-executive",
	 "DPCs, work items and interrupts are for a processor that exists."},
	{"NO-ALTERNATIVE", "00-executive", "A choice has one alternative at least."},
	{"NOT-RUNNING", "00-executive", "The executive's operations are called within ke_run."},
	{"RUN-TWICE", "00-executive", "One executive runs in a process at a time."},
	{"OUT-OF-LANES", "00-executive",
	 "The simulator has room for every context that lives at once."},
	{"HOST", "00-executive", "The machine does what it promises."},
};

const unsigned verifier_rule_count = sizeof(verifier_rules) / sizeof(verifier_rules[0]);

const struct verifier_rule *verifier_find_rule(const char *name)
{
	for (unsigned i = 0; i < verifier_rule_count; i++)
		if (strcmp(verifier_rules[i].name, name) == 0)
			return &verifier_rules[i];
	return NULL;
}
