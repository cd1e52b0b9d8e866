#include "lab.h"
const struct lab lab_under_check;
