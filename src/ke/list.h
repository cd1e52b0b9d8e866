/*
 * Doubly linked lists with the entries inside the objects, as NT has them. These are for lists that
 * one context owns or that a lock guards; a list that is shared without a lock of its owner's goes
 * through ex_interlocked_* of ke.h, and through those only.
 */
#ifndef XPORT_KE_LIST_H
#define XPORT_KE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_entry {
	struct list_entry *next; /* Flink */
	struct list_entry *prev; /* Blink */
};

#define containing_record(address, type, field) ((type *)((char *)(address)-offsetof(type, field)))

static inline void initialize_list_head(struct list_entry *head)
{
	head->next = head->prev = head;
}

static inline bool is_list_empty(const struct list_entry *head)
{
	return head->next == head;
}

/* Links entry between prev and prev's successor. */
static inline void insert_list_after(struct list_entry *prev, struct list_entry *entry)
{
	entry->prev = prev;
	entry->next = prev->next;
	prev->next->prev = entry;
	prev->next = entry;
}

static inline void insert_tail_list(struct list_entry *head, struct list_entry *entry)
{
	insert_list_after(head->prev, entry);
}

static inline void insert_head_list(struct list_entry *head, struct list_entry *entry)
{
	insert_list_after(head, entry);
}

/* Unlinks the entry and leaves it linked to itself, so that a second removal does no harm. */
static inline void remove_entry_list(struct list_entry *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	initialize_list_head(entry);
}

/* The first entry, unlinked, or NULL. */
static inline struct list_entry *remove_head_list(struct list_entry *head)
{
	struct list_entry *entry = head->next;

	if (entry == head)
		return NULL;
	remove_entry_list(entry);
	return entry;
}

/* Moves all of source's entries to the tail of head; source ends empty. */
static inline void append_tail_list(struct list_entry *head, struct list_entry *source)
{
	if (is_list_empty(source))
		return;
	source->next->prev = head->prev;
	head->prev->next = source->next;
	source->prev->next = head;
	head->prev = source->prev;
	initialize_list_head(source);
}

#endif
