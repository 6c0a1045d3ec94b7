/* The whole core for one level of the processor: included once for each, after its target has been set. */
#include "work.h"
#include "lags.h"
#include "statistics.h"
#include "products.h"
#include "elementary.h"
#include "balance.h"
#include "prices.h"
#include "network.h"
#include "judge.h"
#include "symmetric.h"
#include "interior_point.h"
#include "interior.h"
#include "repair.h"
#include "near.h"
#include "road_work.h"
#include "road_error.h"
#include "road_point.h"
#include "road_balance.h"
#include "road_network.h"
#include "road_program.h"
#include "road_newton.h"

/* One drop, in the memory of `arena`. */
static int allocate_one(const Drop *drop, const Model *model, Arena *arena, Work *w) {
    sizes_of(drop, w);
    lay_out(drop, arena, w);
    coefficients(drop, w);
    int outage = in_outage(drop, w);
    echo_quantities(drop, w);
    if (outage || unheard(drop, w)) return LEFT;
    network(model, w);
    if (!balance(drop, model, w) || !served(drop, w)) return LEFT;
    w->newton.share = 1.0;
    if (missed(drop, w)) return repaired(drop, w);
    if (!drop->refine) return SETTLED;
    return improved(drop, w) ? IMPROVED : LEFT;
}

/* Bytes that the largest of some drops needs. */
static size_t most_bytes(int64_t count, const Drop *drops) {
    size_t largest = 0;
    for (int64_t i = 0; i < count; i++) {
        Work work;
        Arena nothing = {NULL, 0};
        sizes_of(drops + i, &work);
        size_t bytes = lay_out(drops + i, &nothing, &work);
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* A block for `bytes` bytes, and nothing taken of it; its base is NULL where memory is short. */
static Arena block_of(size_t bytes) {
    size_t whole = (bytes + 63) / 64 * 64;
    Arena arena = {aligned_alloc(64, whole), 0};
#ifdef UNWRITTEN_IS_NAN /* of the tests: a number that is read before it is written shows in the answer */
    if (arena.base) memset(arena.base, 0xff, whole);
#endif
    return arena;
}

/* All drops one after the other; -1 where there is no memory for them, 1 where they are no longer wanted. */
static int allocate_all(int64_t count, const Drop *drops, const Model *model, Wanted wanted, int32_t *outcome) {
    Arena arena = block_of(most_bytes(count, drops));
    Work work;
    work.wanted = wanted;
    work.stopped = 0;
    if (!arena.base) return -1;
    for (int64_t i = 0; i < count && !unwanted(&work); i++) outcome[i] = allocate_one(drops + i, model, &arena, &work);
    free(arena.base);
    return work.stopped;
}

/* The network's powers for one road. */
static int road_powers(const Road *road, const RoadModel *model, Wanted wanted) {
    RoadWork work = {.wanted = wanted};
    Arena nothing = {NULL, 0};
    lay_out_point(road, &nothing, &work);
    Arena arena = block_of(lay_out_road(road, model, &nothing, &work));
    if (!arena.base) return LEFT;
    lay_out_point(road, &arena, &work);
    lay_out_road(road, model, &arena, &work);
    int outcome = road_network(road, model, &work) ? SETTLED : (work.stopped ? STOPPED : LEFT);
    free(arena.base);
    return outcome;
}

/* Newton's steps on the powers of one road. */
static int road_steps(const Road *road, int locate, Wanted wanted) {
    RoadWork work = {.wanted = wanted};
    RoadNewton newton = {.road = road, .w = &work, .locate = locate};
    Arena nothing = {NULL, 0};
    lay_out_point(road, &nothing, &work);
    Arena arena = block_of(lay_out_newton_of(&newton, &nothing));
    if (!arena.base) return LEFT;
    lay_out_point(road, &arena, &work);
    lay_out_newton_of(&newton, &arena);
    int outcome = road_solved(&newton) ? SETTLED : (work.stopped ? STOPPED : LEFT);
    free(arena.base);
    return outcome;
}
