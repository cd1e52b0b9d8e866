/* The harness on the host executive: repetition is all that varies the schedule. */
#include "private.h"

const char lab_executive[] = "host";
const unsigned lab_repetitions = 20;
const bool lab_can_repeat = false;
