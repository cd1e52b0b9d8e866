/* Memory descriptor lists: what a request reads or writes, and the promise that it is there. */
#include "io/io.h"

struct mdl *io_allocate_mdl(void *address, uint32_t length, struct irp *irp)
{
	struct mdl *mdl = ex_allocate_pool(sizeof(*mdl));
	struct mdl **link;

	if (mdl == NULL)
		return NULL;
	mdl->next = NULL;
	mdl->mapped_system_va = address;
	mdl->byte_count = length;
	mdl->mdl_flags = 0;
	if (irp != NULL) {
		for (link = &irp->mdl_address; *link != NULL; link = &(*link)->next)
			;
		*link = mdl;
	}
	return mdl;
}

void io_free_mdl(struct mdl *mdl)
{
	if (mdl->mdl_flags & MDL_PAGES_LOCKED)
		ke_bug_check("REQ-FREE-IN-USE", "an MDL is freed while its pages are locked");
	ex_free_pool(mdl);
}

ntstatus mm_probe_and_lock_pages(struct mdl *mdl, enum lock_operation operation)
{
	ntstatus status = ke_probe_pages(mdl->mapped_system_va, mdl->byte_count,
					 operation == IO_WRITE_ACCESS);

	if (nt_success(status))
		mdl->mdl_flags |= MDL_PAGES_LOCKED;
	return status;
}

void mm_build_mdl_for_non_paged_pool(struct mdl *mdl)
{
	mdl->mdl_flags |= MDL_PAGES_LOCKED;
}

void mm_unlock_pages(struct mdl *mdl)
{
	if (verifier_on)
		verifier_memory_freed(mdl, sizeof(*mdl), KE_HERE);
	if (!(mdl->mdl_flags & MDL_PAGES_LOCKED))
		ke_bug_check("MDL-MISUSE", "pages are unlocked that were not locked");
	mdl->mdl_flags &= (uint16_t)~MDL_PAGES_LOCKED;
}

ntstatus io_lock_buffer(struct irp *irp, void *address, uint32_t length,
			enum lock_operation operation)
{
	ntstatus status = STATUS_SUCCESS;
	struct mdl *mdl;

	if (length == 0)
		return STATUS_SUCCESS;
	mdl = io_allocate_mdl(address, length, NULL);
	if (mdl == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	if (ke_get_current_irql() == PASSIVE_LEVEL)
		status = mm_probe_and_lock_pages(mdl, operation);
	else
		mm_build_mdl_for_non_paged_pool(mdl);
	if (nt_success(status))
		irp->mdl_address = mdl;
	else
		io_free_mdl(mdl);
	return status;
}

void io_unlock_buffer(struct irp *irp)
{
	struct mdl *mdl, *next;

	for (mdl = irp->mdl_address; mdl != NULL; mdl = next) {
		next = mdl->next;
		mm_unlock_pages(mdl);
		io_free_mdl(mdl);
	}
	irp->mdl_address = NULL;
}
