/* The library verifier-off: programs linked with it do not. */
#include "verifier/verifier.h"

const bool verifier_on = false;
