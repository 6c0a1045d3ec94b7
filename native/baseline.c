/* For any processor of the architecture. */
#include "core.h"
#include "level.h"

int allocate_baseline(int64_t count, const Drop *drops, const Model *model, int32_t *outcome) {
    return allocate_all(count, drops, model, outcome);
}
