/* Mean squared error of a UE's channel estimate where pilots are correlated or shared: RoadProblem.error, eqs. (P5)-(P7).
   Complex arrays have all real parts first. */

/* Cov(a_kj, a_ki) of the streams j and i as UE k hears them, (P5). */
static void streams_at(const Road *road, int64_t k, RoadWork *w) {
    const double *gain = road->gain + k * road->aps;
    for (int64_t j = 0; j < road->ues; j++)
        for (int64_t i = 0; i <= j; i++) {
            const double *left = w->root + j * road->aps, *right = w->root + i * road->aps;
            double sum = 0.0;
            if (road->same_pilot[j * road->ues + i] != 0.0)
                for (int64_t m = 0; m < road->aps; m++) sum += left[m] * gain[m] * right[m];
            w->streams[j * road->ues + i] = w->streams[i * road->ues + j] = sum;
        }
}

/* w->weights of the solution of (I + G S)^T x = row k of S by elimination; 0 where a pivot vanishes. */
static int solved_weights(const Road *road, int64_t k, RoadWork *w) {
    int64_t n = road->ues;
    double *re = w->joint, *im = re + n * n, *x = w->weights, *y = x + n;
    memset(re, 0, (size_t)(2 * n * n) * sizeof(double));
    for (int64_t i = 0; i < n; i++) {
        for (int64_t q = 0; q < n; q++)
            for (int64_t j = 0; j < n && w->streams[q * n + i] != 0.0; j++) { /* row i of the transposed matrix */
                re[i * n + j] += road->gram[j * n + q] * w->streams[q * n + i];
                im[i * n + j] += road->gram[(n + j) * n + q] * w->streams[q * n + i];
            }
        re[i * n + i] += 1.0;
        x[i] = w->streams[k * n + i];
        y[i] = 0.0;
    }
    for (int64_t c = 0; c < n; c++) {
        int64_t pivot = c;
        for (int64_t i = c + 1; i < n; i++)
            if (fabs(re[i * n + c]) + fabs(im[i * n + c]) > fabs(re[pivot * n + c]) + fabs(im[pivot * n + c])) pivot = i;
        for (int64_t j = c; j < n && pivot != c; j++) {
            double a = re[c * n + j], b = im[c * n + j];
            re[c * n + j] = re[pivot * n + j], im[c * n + j] = im[pivot * n + j];
            re[pivot * n + j] = a, im[pivot * n + j] = b;
        }
        double a = x[c], b = y[c];
        x[c] = x[pivot], y[c] = y[pivot];
        x[pivot] = a, y[pivot] = b;
        a = re[c * n + c], b = im[c * n + c];
        double size = a * a + b * b;
        if (size == 0.0) return 0;
        for (int64_t i = c + 1; i < n; i++) {
            double p = re[i * n + c], q = im[i * n + c], s = (p * a + q * b) / size, t = (q * a - p * b) / size;
            if (s == 0.0 && t == 0.0) continue;
            for (int64_t j = c + 1; j < n; j++) {
                re[i * n + j] -= s * re[c * n + j] - t * im[c * n + j];
                im[i * n + j] -= s * im[c * n + j] + t * re[c * n + j];
            }
            x[i] -= s * x[c] - t * y[c];
            y[i] -= s * y[c] + t * x[c];
        }
    }
    for (int64_t c = n - 1; c >= 0; c--) {
        double p = x[c], q = y[c], a = re[c * n + c], b = im[c * n + c], size = a * a + b * b;
        for (int64_t j = c + 1; j < n; j++) {
            p -= re[c * n + j] * x[j] - im[c * n + j] * y[j];
            q -= re[c * n + j] * y[j] + im[c * n + j] * x[j];
        }
        x[c] = (p * a + q * b) / size;
        y[c] = (q * a - p * b) / size;
    }
    return 1;
}

/* Weights of the receiver of UE k, (P6a)-(P6c). */
static int receiver_weights(const Road *road, int64_t k, RoadWork *w) {
    int64_t n = road->ues;
    const double *re = road->gram + k * n, *im = re + n * n, *row = w->streams + k * n;
    if (road->receiver == LMMSE) return solved_weights(road, k, w);
    memset(w->weights, 0, (size_t)(2 * n) * sizeof(double));
    if (road->receiver == IGNORANT) {
        w->weights[k] = row[k] / (1.0 + row[k]);
        return 1;
    }
    double observed = 1.0, real = 0.0, imaginary = 0.0;
    for (int64_t j = 0; j < n; j++) {
        real += re[j] * row[j], imaginary += im[j] * row[j];
        for (int64_t i = 0; i < n; i++) observed += (re[j] * re[i] + im[j] * im[i]) * w->streams[j * n + i];
    }
    w->weights[k] = real / observed;
    w->weights[n + k] = -imaginary / observed;
    return 1;
}

/* The error of UE k at the powers whose square roots are w->root; 0 where there are no weights. */
static int correlated_error(const Road *road, int64_t k, RoadWork *w, double *error) {
    int64_t n = road->ues;
    const double *x = w->weights, *y = x + n;
    double *re = w->rest, *im = re + n, value = 0.0;
    streams_at(road, k, w);
    if (!receiver_weights(road, k, w)) return 0;
    for (int64_t j = 0; j < n; j++) {
        double real = 0.0, imaginary = 0.0;
        for (int64_t q = 0; q < n; q++) {
            double a = road->gram[q * n + j], b = road->gram[(n + q) * n + j];
            real += x[q] * a - y[q] * b;
            imaginary += x[q] * b + y[q] * a;
        }
        value += real * x[j] + imaginary * y[j]; /* noise */
        re[j] = (j == k) - real, im[j] = -imaginary;
    }
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++) value += (re[j] * re[i] + im[j] * im[i]) * w->streams[j * n + i];
    *error = value;
    return 1;
}
