/* Products of small dense matrices: blocks of results stay in registers. */

typedef float vf_anywhere __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef double vd_anywhere __attribute__((vector_size(BYTES), aligned(8), may_alias));

/* Two vectors of `rows` rows of out += left right at once; left(i, p) is at i * row + p * column. */
static inline __attribute__((always_inline)) void block_f(
    int rows, int64_t count, const float *left, int64_t row, int64_t column, const float *right, float *out) {
    vf first[6], second[6];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        first[i] = *(const vf_anywhere *)(out + i * HIDDEN);
        second[i] = *(const vf_anywhere *)(out + i * HIDDEN + FLANES);
    }
    for (int64_t p = 0; p < count; p++) {
        vf line = *(const vf_anywhere *)(right + p * HIDDEN), next = *(const vf_anywhere *)(right + p * HIDDEN + FLANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            float by = left[i * row + p * column];
            first[i] += by * line;
            second[i] += by * next;
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        *(vf_anywhere *)(out + i * HIDDEN) = first[i];
        *(vf_anywhere *)(out + i * HIDDEN + FLANES) = second[i];
    }
}

/* out += left right, where right and out have HIDDEN columns. */
static void add_product(
    int64_t rows, int64_t count, const float *left, int64_t row, int64_t column, const float *right, float *out) {
    for (int64_t part = 0; part < HIDDEN; part += 2 * FLANES) {
        int64_t i = 0;
        for (; i + 6 <= rows; i += 6) block_f(6, count, left + i * row, row, column, right + part, out + i * HIDDEN + part);
        for (; i + 2 <= rows; i += 2) block_f(2, count, left + i * row, row, column, right + part, out + i * HIDDEN + part);
        for (; i < rows; i++) block_f(1, count, left + i * row, row, column, right + part, out + i * HIDDEN + part);
    }
}

/* Two vectors of `rows` rows of out += left right in double precision, where right and out have rows of `wide` entries. */
static inline __attribute__((always_inline)) void block_d(
    int rows, int64_t count, const double *left, int64_t row, int64_t column, int64_t wide, const double *right, double *out) {
    vd first[6], second[6];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        first[i] = *(const vd *)(out + i * wide);
        second[i] = *(const vd *)(out + i * wide + LANES);
    }
    for (int64_t p = 0; p < count; p++) {
        vd line = *(const vd_anywhere *)(right + p * wide), next = *(const vd_anywhere *)(right + p * wide + LANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            double by = left[i * row + p * column];
            first[i] += by * line;
            second[i] += by * next;
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        *(vd *)(out + i * wide) = first[i];
        *(vd *)(out + i * wide + LANES) = second[i];
    }
}

/* out += left right in double precision; `wide` is a multiple of WIDE, and out begins at a whole vector. */
static void add_product_d(
    int64_t rows, int64_t count, const double *left, int64_t row, int64_t column, int64_t wide, const double *right,
    double *out) {
    for (int64_t part = 0; part < wide; part += 2 * LANES) {
        int64_t i = 0;
        for (; i + 6 <= rows; i += 6)
            block_d(6, count, left + i * row, row, column, wide, right + part, out + i * wide + part);
        for (; i + 2 <= rows; i += 2)
            block_d(2, count, left + i * row, row, column, wide, right + part, out + i * wide + part);
        for (; i < rows; i++) block_d(1, count, left + i * row, row, column, wide, right + part, out + i * wide + part);
    }
}

/* Sum of the lanes, by halves. */
static inline float total_of(vf lanes) {
    typedef float four __attribute__((vector_size(16)));
    four part[BYTES / 16], sum;
    memcpy(part, &lanes, sizeof part);
    sum = part[0];
    for (int i = 1; i < BYTES / 16; i++) sum += part[i];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* out = matrix matrix for a square matrix whose rows have `stride` entries, a multiple of WIDE, zeros after the last. */
static void square_d(int64_t size, int64_t stride, const double *matrix, double *out) {
    for (int64_t begin = 0; begin < stride; begin += LANES) {
        int64_t i = 0;
        for (; i + 4 <= size; i += 4) {
            vd a = {0.0}, b = a, c = a, d = a;
            const double *left = matrix + i * stride;
            for (int64_t p = 0; p < size; p++) {
                vd line = *(const vd *)(matrix + p * stride + begin);
                a += left[p] * line;
                b += left[stride + p] * line;
                c += left[2 * stride + p] * line;
                d += left[3 * stride + p] * line;
            }
            vd *to = (vd *)(out + i * stride + begin);
            to[0] = a, to[stride / LANES] = b, to[2 * stride / LANES] = c, to[3 * stride / LANES] = d;
        }
        for (; i < size; i++) {
            vd a = {0.0};
            for (int64_t p = 0; p < size; p++) a += matrix[i * stride + p] * *(const vd *)(matrix + p * stride + begin);
            *(vd *)(out + i * stride + begin) = a;
        }
    }
}

/* out[i] = sum_p left[p] matrix[p][i], rows of `stride` entries, a multiple of WIDE. */
static void combine_d(int64_t rows, int64_t stride, const double *left, const double *matrix, double *out) {
    for (int64_t begin = 0; begin < stride; begin += LANES) {
        vd sum = {0.0};
        for (int64_t p = 0; p < rows; p++) sum += left[p] * *(const vd *)(matrix + p * stride + begin);
        *(vd *)(out + begin) = sum;
    }
}

/* The same in single precision. */
static void square_f(int64_t size, int64_t stride, const float *matrix, float *out) {
    for (int64_t begin = 0; begin < stride; begin += FLANES) {
        int64_t i = 0;
        for (; i + 4 <= size; i += 4) {
            vf sum[4] = {{0.0f}, {0.0f}, {0.0f}, {0.0f}};
            for (int64_t p = 0; p < size; p++) {
                vf line = *(const vf *)(matrix + p * stride + begin);
                for (int r = 0; r < 4; r++) sum[r] += matrix[(i + r) * stride + p] * line;
            }
            for (int r = 0; r < 4; r++) *(vf *)(out + (i + r) * stride + begin) = sum[r];
        }
        for (; i < size; i++) {
            vf sum = {0.0f};
            for (int64_t p = 0; p < size; p++) sum += matrix[i * stride + p] * *(const vf *)(matrix + p * stride + begin);
            *(vf *)(out + i * stride + begin) = sum;
        }
    }
}

static void combine_f(int64_t rows, int64_t stride, const float *left, const float *matrix, float *out) {
    for (int64_t begin = 0; begin < stride; begin += FLANES) {
        vf sum = {0.0f};
        for (int64_t p = 0; p < rows; p++) sum += left[p] * *(const vf *)(matrix + p * stride + begin);
        *(vf *)(out + begin) = sum;
    }
}

/* sum_i left[i] right[i] over `count` entries, a multiple of FLANES. */
static float dot_f(int64_t count, const float *left, const float *right) {
    vf sum = {0.0f};
    for (int64_t i = 0; i < count; i += FLANES) sum += *(const vf *)(left + i) * *(const vf *)(right + i);
    return total_of(sum);
}
