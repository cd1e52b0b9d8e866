/* The harness in the simulator: each seed is another schedule. */
#include "private.h"

const char lab_executive[] = "simulator";
const unsigned lab_repetitions = 500;
const bool lab_can_repeat = true;
