/* For x86-64 processors with AVX2; empty elsewhere. */
#include "core.h"
#ifdef __x86_64__
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "level.h"

int allocate_avx2(int64_t count, const Drop *drops, const Model *model, int32_t *outcome) {
    return allocate_all(count, drops, model, outcome);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
