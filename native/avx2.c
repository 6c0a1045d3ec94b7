/* For x86-64 processors with AVX2; empty elsewhere. */
#include "core.h"
#ifdef __x86_64__
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "level.h"

const Level level_avx2 = {allocate_all, road_powers, road_steps, received, returned, scattered};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
