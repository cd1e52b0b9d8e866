/* The library verifier-on: programs linked with it check the rules. */
#include "verifier/verifier.h"

const bool verifier_on = true;
