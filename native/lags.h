/* Lags of every channel and beam: isac_torch.propagation.correlation and .arrays; equations (4), (5) and (9) of docs/physics.md. */

/* Sines and cosines of azimuth from broadside and elevation at which each AP sees each node. */
static void see(Work *w, int64_t i, double sin_azimuth, double cos_azimuth, double sin_elevation, double cos_elevation) {
    w->sin_azimuth[i] = sin_azimuth;
    w->cos_azimuth[i] = cos_azimuth;
    w->sin_elevation[i] = sin_elevation;
    w->cos_elevation[i] = cos_elevation;
}

static void see_position(Work *w, int64_t i, const double *from, const double *to, double orientation, double so, double co) {
    double x = to[0] - from[0], y = to[1] - from[1], z = to[2] - from[2];
    double plane = sqrt(x * x + y * y), ray = sqrt(x * x + y * y + z * z);
    if (plane < 1e-100) { /* above or below, or nearly: squares may vanish that angles do not */
        double azimuth = atan2(y, x) - orientation, elevation = atan2(z, hypot(x, y));
        see(w, i, sin(azimuth), cos(azimuth), sin(elevation), cos(elevation));
    } else {
        see(w, i, (y * co - x * so) / plane, (x * co + y * so) / plane, z / ray, plane / ray);
    }
}

static void angles(const Drop *drop, Work *w) {
    for (int64_t m = 0; m < w->aps; m++) {
        const double *from = drop->tx_position + 3 * m;
        double orientation = drop->tx_orientation[m], so = sin(orientation), co = cos(orientation);
        for (int64_t o = 0; o < w->nodes; o++) {
            int64_t i = m * w->nodes + o, k = o * drop->aps + m;
            if (o >= w->ues) {
                see_position(w, i, from, drop->target_position + 3 * (o - w->ues), orientation, so, co);
            } else if (drop->by_angles) {
                double azimuth = drop->ue_azimuth[k], elevation = drop->ue_elevation[k];
                see(w, i, sin(azimuth), cos(azimuth), sin(elevation), cos(elevation));
            } else {
                see_position(w, i, from, drop->ue_position + 3 * o, orientation, so, co);
            }
        }
    }
}

/* Cosine and sine of 2u for |u| <= pi/2: Taylor's series of a quarter of the angle, which is doubled twice. */
static inline void cosine_sine(vd u, vd *cosine, vd *sine) {
    vd x = 0.5 * u, y = x * x;
    vd s = -1.0 / 39916800.0 + y * (1.0 / 6227020800.0 + y * (-1.0 / 1307674368000.0));
    s = x * (1.0 + y * (-1.0 / 6.0 + y * (1.0 / 120.0 + y * (-1.0 / 5040.0 + y * (1.0 / 362880.0 + y * s)))));
    vd c = 1.0 / 479001600.0 + y * (-1.0 / 87178291200.0 + y * (1.0 / 20922789888000.0));
    c = 1.0 + y * (-0.5 + y * (1.0 / 24.0 + y * (-1.0 / 720.0 + y * (1.0 / 40320.0 + y * (-1.0 / 3628800.0 + y * c)))));
    vd s2 = 2.0 * s * c, c2 = 1.0 - 2.0 * s * s;
    *sine = 2.0 * s2 * c2;
    *cosine = 1.0 - 2.0 * s2 * s2;
}

/* E exp(j pi d scale sin(angle + delta)) of a direction in each lane for d = 1, 2, ..., N - 1: `_mean_response`.

   sine and cosine are those of the angles times pi/2 scale; real and imag hold N - 1 vectors. */
static inline __attribute__((always_inline)) void mean_response(
    int64_t antennas, int64_t count, const double *rule, vd sine, vd cosine, vd *real, vd *imag) {
    const vd zero = {0.0};
    for (int64_t d = 0; d < antennas - 1; d++) real[d] = imag[d] = zero;
    if (antennas < 2) return;
    for (int64_t q = 0; q < count; q++) {
        double weight = rule[3 * q + 2];
        vd c, s, c_before = zero + 1.0, s_before = zero, next;
        cosine_sine(rule[3 * q] * sine + rule[3 * q + 1] * cosine, &c, &s);
        vd twice = 2.0 * c;
        real[0] += weight * c;
        imag[0] += weight * s;
        for (int64_t d = 1; d < antennas - 1; d++) {
            next = twice * c - c_before, c_before = c, c = next;
            next = twice * s - s_before, s_before = s, s = next;
            real[d] += weight * c;
            imag[d] += weight * s;
        }
    }
}

/* The same with sums that stay in registers for four antennas. */
static void mean_response_of(
    int64_t antennas, int64_t count, const double *rule, vd sine, vd cosine, vd *real, vd *imag) {
    if (antennas == 4) {
        vd re[3], im[3];
        mean_response(4, count, rule, sine, cosine, re, im);
        for (int d = 0; d < 3; d++) real[d] = re[d], imag[d] = im[d];
    } else {
        mean_response(antennas, count, rule, sine, cosine, real, imag);
    }
}

typedef double vd_anywhere __attribute__((vector_size(BYTES), aligned(8), may_alias));

/* The first lanes of a vector. */
static void put(double *to, int64_t lanes, vd from) {
    if (lanes == LANES) *(vd_anywhere *)to = from;
    else
        for (int64_t b = 0; b < lanes; b++) to[b] = from[b];
}

/* Lags at AP m of the nodes `begin` to `end`: of C of UEs, eq. (5) times the gain, or of a a^H of targets, eq. (4). */
static void lags_of(const Drop *drop, Work *w, int64_t m, int64_t begin, int64_t end, int64_t count, const double *rule) {
    double *row = w->lag + m * w->lags * w->wide;
    int64_t n = drop->antennas;
    vd *real = w->matrix, *imag = w->matrix + n;
    for (; begin < end; begin += LANES) {
        vd sine = {0.0}, cosine = {0.0}, gain = {0.0};
        int64_t lanes = end - begin < LANES ? end - begin : LANES;
        for (int64_t b = 0; b < lanes; b++) {
            int64_t i = m * w->nodes + begin + b;
            double scale = M_PI_2 * w->cos_elevation[i];
            sine[b] = scale * w->sin_azimuth[i];
            cosine[b] = scale * w->cos_azimuth[i];
            gain[b] = begin < w->ues ? drop->ue_gain[(begin + b) * drop->aps + m] : 1.0;
        }
        mean_response_of(n, count, rule, sine, cosine, real, imag);
        put(row + begin, lanes, gain);
        for (int64_t d = 1; d < n; d++) {
            put(row + d * w->wide + begin, lanes, gain * real[d - 1]);
            put(row + (n - 1 + d) * w->wide + begin, lanes, gain * imag[d - 1]);
        }
    }
}

static void all_lags(const Drop *drop, Work *w) {
    static const double exactly[] = {1.0, 0.0, 1.0}; /* no spread: one node of a quadrature */
    angles(drop, w);
    memset(w->lag, 0, (size_t)(w->aps * w->lags * w->wide) * sizeof(double));
    for (int64_t m = 0; m < w->aps; m++) {
        lags_of(drop, w, m, 0, w->ues, drop->scatter_count, drop->scatter);
        lags_of(drop, w, m, w->ues, w->nodes, 1, exactly);
    }
}

/* Weights of the beams at targets, eq. (9): the double average is a product of two single ones, see `pointing_lags`. */
static void pointing_weights(const Drop *drop, Work *w) {
    int64_t n = drop->antennas;
    vd *first_real = w->matrix, *first_imag = first_real + n, *real = w->matrix + 2 * n, *imag = real + n;
    for (int64_t begin = w->comm; begin < w->links; begin += LANES) {
        vd sum_sine = {0.0}, sum_cosine = {0.0}, gap_sine = {0.0}, gap_cosine = {0.0};
        int64_t lanes = w->links - begin < LANES ? w->links - begin : LANES;
        for (int64_t b = 0; b < lanes; b++) {
            int64_t i = w->ap[begin + b] * w->nodes + w->node[begin + b];
            double sa = w->sin_azimuth[i], ca = w->cos_azimuth[i], se = w->sin_elevation[i], ce = w->cos_elevation[i];
            sum_sine[b] = 0.5 * M_PI_2 * (sa * ce + ca * se);
            sum_cosine[b] = 0.5 * M_PI_2 * (ca * ce - sa * se);
            gap_sine[b] = 0.5 * M_PI_2 * (sa * ce - ca * se);
            gap_cosine[b] = 0.5 * M_PI_2 * (ca * ce + sa * se);
        }
        mean_response_of(n, drop->pointing_count, drop->pointing, sum_sine, sum_cosine, first_real, first_imag);
        mean_response_of(n, drop->pointing_count, drop->pointing, gap_sine, gap_cosine, real, imag);
        for (int64_t b = 0; b < lanes; b++) {
            double *sent = w->sent + (begin + b) * w->lags;
            sent[0] = 1.0;
            for (int64_t d = 1; d < n; d++) {
                double times = 2.0 * (double)(n - d) / (double)n;
                double r1 = first_real[d - 1][b], i1 = first_imag[d - 1][b], r2 = real[d - 1][b], i2 = imag[d - 1][b];
                sent[d] = times * (r1 * r2 - i1 * i2);
                sent[n - 1 + d] = times * (r1 * i2 + i1 * r2);
            }
        }
    }
}
