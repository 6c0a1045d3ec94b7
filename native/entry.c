/* What isac_torch.deployment.native calls: the level of this processor, and drops by it. No state; any thread may call. */
#include "core.h"

int allocate_baseline(int64_t count, const Drop *drops, const Model *model, int32_t *outcome);
int allocate_avx2(int64_t count, const Drop *drops, const Model *model, int32_t *outcome);
int allocate_avx512(int64_t count, const Drop *drops, const Model *model, int32_t *outcome);

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

/* Bytes of the structures, by which the caller knows that it speaks of the same ones. */
int64_t isac_sizes(void) { return (int64_t)(sizeof(Drop) * 1000 + sizeof(Model)); }

/* Allocate `count` drops at a level of at most `isac_level()`; outcome[i] is SETTLED or LEFT. -1 where memory is short. */
int isac_allocate(int level, int64_t count, const Drop *drops, const Model *model, int32_t *outcome) {
#ifdef __x86_64__
    if (level == 2) return allocate_avx512(count, drops, model, outcome);
    if (level == 1) return allocate_avx2(count, drops, model, outcome);
#endif
    return level == 0 ? allocate_baseline(count, drops, model, outcome) : -1;
}
