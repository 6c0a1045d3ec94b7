/* For x86-64 processors with AVX512; empty elsewhere. */
#include "core.h"
#ifdef __x86_64__
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw")
#endif
#include "level.h"

const Level level_avx512 = {allocate_all, road_powers, road_steps, received, returned, scattered};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
