/* What isac_torch.deployment.native and isac_torch.large call: the level of this processor, and work by it. No state; any
   thread may call. A level is at most `isac_level()`. */
#include "core.h"

/* 0: baseline, 1: AVX2, 2: AVX-512. */
int isac_level(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

static const Level *at(int level) {
#ifdef __x86_64__
    if (level == 2) return &level_avx512;
    if (level == 1) return &level_avx2;
#endif
    (void)level;
    return &level_baseline;
}

/* Bytes of the structures and the version of the functions, by which the caller knows that it speaks of the same ones. */
int64_t isac_sizes(void) {
    const size_t sizes[] = {sizeof(Drop), sizeof(Model), sizeof(Near), sizeof(Table), sizeof(Road), sizeof(RoadModel)};
    int64_t total = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total = 1000 * total + (int64_t)sizes[i];
    return 10 * total + INTERFACE;
}

/* Allocate `count` drops; outcome[i] is SETTLED or LEFT and so on. -1 where memory is short, 1 where the answers are no longer
   wanted and hold nothing of use. */
int isac_allocate(
    int level, int64_t count, const Drop *drops, const Model *model, Wanted wanted, int32_t *outcome) {
    return at(level)->allocate(count, drops, model, wanted, outcome);
}

/* The powers that the network gives to one road: SETTLED; LEFT where they are no finite numbers or memory is short; STOPPED. */
int isac_road(int level, const Road *road, const RoadModel *model, Wanted wanted) {
    return at(level)->road(road, model, wanted);
}

/* Newton's steps on the powers of one road, in their place: towards the best localisation, or a smaller largest NMSE. SETTLED;
   LEFT where they leave the numbers of double precision or memory is short; STOPPED. */
int isac_road_steps(int level, const Road *road, int locate, Wanted wanted) {
    return at(level)->road_steps(road, locate, wanted);
}

/* out[part][point] = sum over the pairs of a point of lags times sent[part][source]. */
void isac_received(int level, const Near *near, int64_t parts, const double *sent, double *out) {
    at(level)->received(near, parts, sent, out);
}

/* out[part][source][lag] += sum over the pairs of a source of weight[part][point] times lags. */
void isac_returned(int level, const Near *near, int64_t parts, const double *weight, double *out) {
    at(level)->returned(near, parts, weight, out);
}

/* Lags of local scattering of unit gain from the table, out[pair][lag]; azimuth in rad. */
void isac_scattered(
    int level, int64_t pairs, const Table *table, const double *azimuth, const double *cos_elevation, double *out) {
    at(level)->scattered(pairs, table, azimuth, cos_elevation, out);
}

/* Pilots of `count` UEs, each with its `near` nearest UEs, itself included, nearest first: isac_torch.large.sets.local_pilots.
   pilot[ue] is -1 at first; `free` has a place for each pilot. */
void isac_deal_pilots(
    int64_t count, int64_t near, int64_t pilots, const int64_t *index, const double *gap, double *free, int64_t *pilot) {
    for (int64_t turn = 0; turn < 2 * count; turn++) {
        int64_t ue = turn % count, best = 0;
        pilot[ue] = -1;
        for (int64_t p = 0; p < pilots; p++) free[p] = INFINITY;
        for (int64_t j = near - 1; j >= 0; j--) { /* farthest first, so that the nearest user of a pilot is written last */
            int64_t used = pilot[index[ue * near + j]];
            if (used >= 0) free[used] = gap[ue * near + j];
        }
        for (int64_t p = 1; p < pilots; p++)
            if (free[p] > free[best]) best = p;
        pilot[ue] = best;
    }
}
