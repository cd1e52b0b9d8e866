/* The record of a run: its deviations, its choices, its steps. Written for the explorer. */
#include "ke/sim/executive.h"

#include <signal.h>

void ke_sim_set_plan(const struct ke_sim_plan *plan, struct ke_sim_record *record)
{
	sim_state.plan = plan;
	sim_state.record = record;
}

void ke_sim_stop_at(uint64_t step)
{
	sim_state.stop_at = step;
}

void sim_note_choice(const struct sim_choice *choice, unsigned index)
{
	struct ke_sim_record *record = sim_state.record;
	const struct sim_lane *lane = sim_state.current;

	if (record->alternatives && record->choice_count < record->choice_room)
		record->alternatives[record->choice_count] = (uint16_t)choice->alternatives;
	record->choice_count++;
	if (index == 0)
		return;
	if (record->deviation_count < record->deviation_room)
		record->deviations[record->deviation_count] =
			(struct ke_sim_deviation){.ordinal = (uint32_t)sim_state.choices,
						  .turn = lane->turn,
						  .lane = (uint16_t)lane->id,
						  .nth = lane->nth,
						  .index = index};
	record->deviation_count++;
}

static bool could_go_on(const struct sim_lane *lane)
{
	return lane->state == SIM_READY || (lane->state == SIM_PINNED && !lane->spins_on);
}

void sim_note_event(const struct sim_lane *lane, struct sim_lane *next)
{
	struct ke_sim_record *record = sim_state.record;
	struct ke_sim_event *event;

	if (sim_state.stop_at == sim_state.steps)
		raise(SIGTRAP);
	if (!record || !record->events)
		return;
	if (record->event_count < record->event_room) {
		event = &record->events[record->event_count];
		*event = (struct ke_sim_event){
			.time_ns = sim_state.now_ns,
			.what = sim_operation_name(next->operation),
			.kind = next->id == 0 ? "main" : sim_kind_name(next->kind),
			.file = next->site ? next->site->file : NULL,
			.line = next->site ? next->site->line : 0,
			.lane = (uint16_t)next->id,
			.irql = next->irql,
			.processor =
				next->state == SIM_PINNED ? (uint8_t)next->processor->number : 255,
			.switched = next != lane,
			.preempted = next != lane && could_go_on(lane),
		};
	}
	record->event_count++;
}
