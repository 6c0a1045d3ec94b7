/* Logarithms and inverse hyperbolic sines of many numbers in single precision, within 2e-7 of the value plus one. */

typedef int32_t vi __attribute__((vector_size(BYTES)));
typedef uint32_t vu __attribute__((vector_size(BYTES)));

/* log x of positive normal numbers: x = 2^e m with m about 1, and log m = 2 artanh((m - 1) / (m + 1)) by its series. */
static inline vf logarithm(vf x) {
    vi exponent = (vi)((vu)x - 0x3f3504f3u) >> 23; /* m from sqrt(1/2) on */
    vf m = (vf)((vu)x - ((vu)exponent << 23)), s = (m - 1.0f) / (m + 1.0f), y = s * s;
    vf series = 1.0f + y * (1.0f / 3.0f + y * (1.0f / 5.0f + y * (1.0f / 7.0f + y * (1.0f / 9.0f))));
    return __builtin_convertvector(exponent, vf) * 0.69314718f + 2.0f * s * series + (x - x); /* no number stays none */
}

/* x > y ? x : y, and x < y ? x : y, lane by lane: y where one is no number. */
static inline vf larger(vf x, vf y) {
    vi where = x > y;
    return (vf)(((vi)x & where) | ((vi)y & ~where));
}

static inline vf smaller(vf x, vf y) {
    vi where = x < y;
    return (vf)(((vi)x & where) | ((vi)y & ~where));
}

/* log x in place of x; `count` is a multiple of FLANES, as below. */
static void whole_logarithms(int64_t count, float *x) {
    for (int64_t i = 0; i < count; i += FLANES) *(vf *)(x + i) = logarithm(*(vf *)(x + i));
}

/* The same of x held between 1e-8 and 1e8. */
static void logarithms(int64_t count, float *x) {
    const vf low = (vf){0.0f} + 1e-8f, high = (vf){0.0f} + 1e8f;
    for (int64_t i = 0; i < count; i += FLANES)
        *(vf *)(x + i) = logarithm(smaller(high, larger(low, *(vf *)(x + i))));
}

/* arsinh x = sign(x) log(|x| + sqrt(x^2 + 1)) in place of x; beyond 1e18 as at 1e18. */
static void arsinh(int64_t count, float *x) {
    const vf most = (vf){0.0f} + 1e18f;
    for (int64_t i = 0; i < count; i += FLANES) {
        vf value = *(vf *)(x + i), size = smaller((vf)((vi)value & 0x7fffffff), most), root = size * size + 1.0f;
        float lane[FLANES];
        memcpy(lane, &root, sizeof lane);
        for (int b = 0; b < FLANES; b++) lane[b] = sqrtf(lane[b]);
        memcpy(&root, lane, sizeof lane);
        vf found = logarithm(size + root);
        *(vf *)(x + i) = (vf)((vi)found | ((vi)value & (int32_t)0x80000000)) + (value - value);
    }
}
