/* For any processor of the architecture. */
#include "core.h"
#include "level.h"

const Level level_baseline = {allocate_all, road_powers, road_steps, received, returned, scattered};
