/* Symmetric systems of Newton's method: Gram matrices, and the Cholesky factor in the upper half. Rows have `stride` entries, a
   multiple of WIDE, zeros after the last; what is below the diagonal is not read. */

/* out[a][b] += sum_p left[p][a] right[p][b], from the block of the diagonal on. */
static void add_gram_d(int64_t count, int64_t rows, int64_t stride, const double *left, const double *right, double *out) {
    int64_t a = 0;
    for (; a + 4 <= rows; a += 4)
        for (int64_t begin = a / LANES * LANES; begin < stride; begin += LANES) {
            vd sum[4];
            for (int r = 0; r < 4; r++) sum[r] = *(const vd *)(out + (a + r) * stride + begin);
            for (int64_t p = 0; p < count; p++) {
                vd line = *(const vd *)(right + p * stride + begin);
                for (int r = 0; r < 4; r++) sum[r] += left[p * stride + a + r] * line;
            }
            for (int r = 0; r < 4; r++) *(vd *)(out + (a + r) * stride + begin) = sum[r];
        }
    for (; a < rows; a++)
        for (int64_t begin = a / LANES * LANES; begin < stride; begin += LANES) {
            vd sum = *(const vd *)(out + a * stride + begin);
            for (int64_t p = 0; p < count; p++) sum += left[p * stride + a] * *(const vd *)(right + p * stride + begin);
            *(vd *)(out + a * stride + begin) = sum;
        }
}

/* sum_i left[i] right[i] over `count` entries, a multiple of LANES. */
static double dot_d(int64_t count, const double *left, const double *right) {
    vd lanes = {0.0};
    double sum = 0.0;
    for (int64_t i = 0; i < count; i += LANES) lanes += *(const vd_anywhere *)(left + i) * *(const vd_anywhere *)(right + i);
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}

/* A = U^T U in place of the upper half; 0 where A is not positive definite. */
static int factorised(int64_t size, int64_t stride, double *a) {
    for (int64_t i = 0; i < size; i++) {
        double *line = a + i * stride, square = line[i];
        if (!(square > 0.0 && square <= DBL_MAX)) return 0;
        double by = 1.0 / sqrt(square);
        for (int64_t c = i / LANES * LANES; c < stride; c += LANES) *(vd *)(line + c) *= by;
        for (int64_t r = i + 1; r < size; r++) {
            double part = line[r], *row = a + r * stride;
            for (int64_t c = r / LANES * LANES; c < stride; c += LANES) *(vd *)(row + c) -= part * *(const vd *)(line + c);
        }
    }
    return 1;
}

/* The solution of U^T U x = b in place of b. */
static void substituted(int64_t size, int64_t stride, const double *u, double *b) {
    for (int64_t i = 0; i < size; i++) {
        const double *line = u + i * stride;
        b[i] /= line[i];
        for (int64_t c = i + 1; c < size; c++) b[c] -= line[c] * b[i];
    }
    for (int64_t i = size - 1; i >= 0; i--) {
        const double *line = u + i * stride;
        double sum = b[i];
        for (int64_t c = i + 1; c < size; c++) sum -= line[c] * b[c];
        b[i] = sum / line[i];
    }
}

/* The inverse of a symmetric positive definite matrix, both halves of it, in its place; 0 where it is none. */
static int inverted(int64_t size, int64_t stride, double *a) {
    for (int64_t i = 0; i < size; i++) {
        double *line = a + i * stride, pivot = line[i];
        if (!(pivot > 0.0 && pivot <= DBL_MAX)) return 0;
        line[i] = 1.0;
        for (int64_t c = 0; c < stride; c += LANES) *(vd *)(line + c) *= 1.0 / pivot;
        for (int64_t r = 0; r < size; r++) {
            double *row = a + r * stride, part = row[i];
            if (r == i) continue;
            row[i] = 0.0;
            for (int64_t c = 0; c < stride; c += LANES) *(vd *)(row + c) -= part * *(const vd *)(line + c);
        }
    }
    return 1;
}
