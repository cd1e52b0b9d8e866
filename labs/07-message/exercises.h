/* What the two files of the exercises share. */
#ifndef XPORT_LABS_EXERCISES_H
#define XPORT_LABS_EXERCISES_H

#include "caller.h"

enum { LAST = 0xf00d }; /* the handle of a PUT behind all others */

/* PUTs go to a new place of so many bytes, in pieces that are full of zeros. */
void place_at(struct scene *scene, struct sheet *sheet, uint32_t length, bool pages);

/* What was said comes to its end: the next to be heard is the ACK of an empty PUT behind it. */
void expect_order(struct scene *scene, int rule);

/* The owner who has said PENDING resumes. */
void resume(struct scene *scene);

/* answers.c */
ke_thread_routine is_acknowledged, is_replied, has_pages, has_pages_by_version_2, lends_pages,
	is_swapped, is_checked, is_spoilt, is_no_message, is_for_another, ends, is_closed;

#endif
