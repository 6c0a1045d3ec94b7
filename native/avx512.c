/* For x86-64 processors with AVX512; empty elsewhere. */
#include "core.h"
#ifdef __x86_64__
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw")
#endif
#include "level.h"

int allocate_avx512(int64_t count, const Drop *drops, const Model *model, int32_t *outcome) {
    return allocate_all(count, drops, model, outcome);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
