/* Estimates, and the coefficients of the power problem: isac_torch.tracking.channel, .communication and .sensing;
   equations (6)-(8), (10)-(13) and (16)-(18) of docs/physics.md. */

/* Lags of C and of Gamma, eq. (6), of a serving link in each lane. */
static void observe(const Drop *drop, const Work *w, const int64_t *link, vd *own, vd *received) {
    for (int64_t t = 0; t < w->lags; t++) {
        vd c = {0.0}, g = {0.0};
        for (int b = 0; b < LANES; b++) {
            int64_t k = w->node[link[b]];
            const double *row = w->lag + (w->ap[link[b]] * w->lags + t) * w->wide;
            c[b] = row[k];
            double sum = (double)drop->pilot_symbols * drop->pilot_power[k] * row[k] + (t ? 0.0 : drop->noise_power);
            for (int64_t j = 0; w->shared && j < w->ues; j++)
                if (j != k && drop->pilot[j] == drop->pilot[k])
                    sum += (double)drop->pilot_symbols * drop->pilot_power[j] * row[j];
            g[b] = sum;
        }
        own[t] = c;
        received[t] = g;
    }
}

/* The turned matrices of some lags, `propagation.arrays.turned`. */
static void turned(int64_t n, const double *basis, const vd *lags, vd *matrix) {
    const vd zero = {0.0};
    for (int64_t a = 0; a < n * n; a++) matrix[a] = zero;
    for (int64_t t = 0; t < 2 * n - 1; t++)
        for (int64_t a = 0; a < n * n; a++)
            if (basis[t * n * n + a] != 0.0) matrix[a] += basis[t * n * n + a] * lags[t];
}

/* Numbers with tr(T X) = sum_t out_t lag_t for any T, `propagation.arrays.weights_of`. */
static void weights_of(int64_t n, const double *basis, const vd *matrix, vd *out) {
    for (int64_t t = 0; t < 2 * n - 1; t++) {
        vd sum = {0.0};
        for (int64_t a = 0; a < n * n; a++)
            if (basis[t * n * n + a] != 0.0) sum += basis[t * n * n + a] * matrix[a];
        out[t] = sum;
    }
}

/* G = L L^T in place of its lower half. */
static void cholesky(int64_t n, vd *g) {
    for (int64_t a = 0; a < n; a++)
        for (int64_t b = 0; b <= a; b++) {
            vd sum = g[a * n + b];
            for (int64_t c = 0; c < b; c++) sum -= g[a * n + c] * g[b * n + c];
            if (a == b)
                for (int lane = 0; lane < LANES; lane++) sum[lane] = sqrt(sum[lane]);
            g[a * n + b] = a == b ? sum : sum / g[b * n + b];
        }
}

/* L^-1 X in place of X, then, where `whole`, L^-T of that. */
static void substitute(int64_t n, const vd *l, vd *x, int whole) {
    for (int64_t a = 0; a < n; a++)
        for (int64_t c = 0; c < n; c++) {
            vd sum = x[a * n + c];
            for (int64_t b = 0; b < a; b++) sum -= l[a * n + b] * x[b * n + c];
            x[a * n + c] = sum / l[a * n + a];
        }
    for (int64_t a = n - 1; whole && a >= 0; a--)
        for (int64_t c = 0; c < n; c++) {
            vd sum = x[a * n + c];
            for (int64_t b = a + 1; b < n; b++) sum -= l[b * n + a] * x[b * n + c];
            x[a * n + c] = sum / l[a * n + a];
        }
}

/* Y^T Y. */
static void squared(int64_t n, const vd *y, vd *out) {
    for (int64_t a = 0; a < n; a++)
        for (int64_t b = 0; b <= a; b++) {
            vd sum = {0.0};
            for (int64_t c = 0; c < n; c++) sum += y[c * n + a] * y[c * n + b];
            out[a * n + b] = out[b * n + a] = sum;
        }
}

/* tr Phi of the estimates, eq. (8), the weights of the beams Phi / tr Phi and, where pilots are shared, of Lambda, eq. (7). */
static void estimates(const Drop *drop, Work *w) {
    int64_t n = drop->antennas, size = n * n;
    vd *x = w->matrix, *g = x + size, *phi = g + size, own[127], received[127], weight[127];
    for (int64_t begin = 0; begin < w->comm; begin += LANES) {
        int64_t link[LANES];
        vd pilot = {0.0}, trace = {0.0};
        for (int64_t b = 0; b < LANES; b++) {
            link[b] = begin + b < w->comm ? begin + b : w->comm - 1;
            pilot[b] = (double)drop->pilot_symbols * drop->pilot_power[w->node[link[b]]];
        }
        observe(drop, w, link, own, received);
        turned(n, drop->basis, own, x);
        turned(n, drop->basis, received, g);
        cholesky(n, g);
        substitute(n, g, x, 0);
        squared(n, x, phi);
        for (int64_t a = 0; a < n; a++) trace += phi[a * n + a];
        weights_of(n, drop->basis, phi, weight);
        for (int64_t b = 0; b < LANES; b++) w->energy[link[b]] = pilot[b] * trace[b];
        for (int64_t t = 0; t < w->lags; t++)
            for (int64_t b = 0; b < LANES; b++) w->sent[link[b] * w->lags + t] = weight[t][b] / trace[b];
        if (!w->shared) continue;
        turned(n, drop->basis, own, x);
        substitute(n, g, x, 1);
        weights_of(n, drop->basis, x, weight);
        for (int64_t t = 0; t < w->lags; t++)
            for (int64_t b = 0; b < LANES; b++) w->mmse[link[b] * w->lags + t] = pilot[b] * weight[t][b];
    }
}

/* sum_t weight_t lag_t at every node. */
static void traces(const Work *w, int64_t m, const double *weight, double *out) {
    const double *row = w->lag + m * w->lags * w->wide;
    for (int64_t begin = 0; begin < w->wide; begin += LANES) {
        vd sum = {0.0};
        for (int64_t t = 0; t < w->lags; t++) sum += weight[t] * *(const vd *)(row + t * w->wide + begin);
        *(vd *)(out + begin) = sum;
    }
}

/* a, eq. (10), N, eqs. (11) and (12), and how each link lights each target, eq. (16). */
static void communication(const Drop *drop, Work *w) {
    for (int64_t e = 0; e < w->links; e++) {
        double *row = w->heard + e * w->wide;
        w->limit[e] = drop->ap_power[w->ap[e]];
        w->signal[e] = e < w->comm ? sqrt(w->energy[e] / drop->noise_power) : 0.0;
        traces(w, w->ap[e], w->sent + e * w->lags, row);
        for (int64_t k = 0; k < w->ues; k++) row[k] /= drop->noise_power;
    }
}

/* c, eq. (13). */
static void coherence(const Drop *drop, Work *w) {
    memset(w->coherent, 0, (size_t)(w->links * w->wide) * sizeof(double));
    for (int64_t e = 0; e < w->comm; e++) {
        int64_t j = w->node[e];
        double *row = w->coherent + e * w->wide, size = sqrt(w->energy[e] * drop->noise_power);
        traces(w, w->ap[e], w->mmse + e * w->lags, row);
        for (int64_t k = 0; k < w->wide; k++) {
            int heard = k < w->ues && k != j && drop->pilot[k] == drop->pilot[j];
            row[k] = heard ? sqrt(drop->pilot_power[k] / drop->pilot_power[j]) * (row[k] / size) : 0.0;
        }
    }
}

/* One of the two factors of an echo's gain, eq. (17), over the distance from an AP to a target. */
static double echo_leg(const Drop *drop, const double *from, const double *to) {
    double x = to[0] - from[0], y = to[1] - from[1], z = to[2] - from[2], square = most(x * x + y * y + z * z, 100.0);
    if (drop->product) {
        double loss = 22.0 * log10(sqrt(square)) + 28.0 + 20.0 * log10(drop->carrier_frequency / 1e9);
        return pow(10.0, -loss / 10.0);
    }
    return 299792458.0 / drop->carrier_frequency / (pow(4.0 * M_PI, 1.5) * square);
}

/* How echoes of each target come back to the receive APs that listen for each row's target. */
static void ways_back(const Drop *drop, Work *w) {
    for (int64_t i = 0; i < w->aps + drop->receivers; i++)
        for (int64_t t = 0; t < w->targets; t++) {
            const double *from = i < w->aps ? drop->tx_position + 3 * i : drop->rx_position + 3 * (i - w->aps);
            w->leg[i * w->targets + t] = echo_leg(drop, from, drop->target_position + 3 * t);
        }
    for (int64_t l = 0; l < w->targets; l++)
        for (int64_t t = 0; t < w->targets; t++) {
            double sum = 0.0;
            for (int64_t r = 0; r < drop->listening; r++)
                sum += w->leg[(w->aps + drop->listening_ap[l * drop->listening + r]) * w->targets + t];
            w->back[l * w->targets + t] = sum;
        }
}

/* S and SIR0 I over the largest own echo of each constraint, eq. (18); zeros where fewer than two targets are tracked. */
static void echoes(const Drop *drop, Work *w) {
    int64_t count = w->targets;
    memset(w->required, 0, (size_t)(w->links * w->wide) * sizeof(double));
    if (!w->rows) {
        for (int64_t e = 0; e < w->links; e++)
            for (int64_t o = w->ues; o < w->nodes; o++) w->heard[e * w->wide + o] = 0.0;
        return;
    }
    ways_back(drop, w);
    for (int64_t e = 0; e < w->links; e++) {
        double *lit = w->heard + e * w->wide + w->ues, *required = w->required + e * w->wide + w->ues;
        for (int64_t t = 0; t < count; t++) lit[t] *= w->leg[w->ap[e] * count + t];
        for (int64_t l = 0; l < count; l++) {
            double sum = 0.0;
            for (int64_t t = 0; t < count; t++) sum += t == l ? 0.0 : w->back[l * count + t] * lit[t];
            required[l] = sum;
        }
    }
    for (int64_t l = 0; l < count; l++) {
        double largest = 0.0, own = w->back[l * count + l];
        for (int64_t e = 0; e < w->links; e++) largest = most(largest, own * w->heard[e * w->wide + w->ues + l]);
        for (int64_t e = 0; e < w->links; e++) {
            int64_t i = e * w->wide + w->ues + l;
            w->heard[i] = own * w->heard[i] / largest;
            w->required[i] = w->required[i] / largest * drop->sir_min;
        }
    }
}

/* Coefficients of a drop: `channel_statistics` and `network_problem`. */
static void coefficients(const Drop *drop, Work *w) {
    for (int64_t e = 0; e < w->links; e++) {
        int64_t s = e - w->comm;
        w->ap[e] = e < w->comm ? drop->serving_ap[e] : drop->sensing_ap[s];
        w->node[e] = e < w->comm ? e / drop->serving : w->ues + s / drop->sensing;
    }
    for (int64_t o = 0; o <= w->nodes; o++)
        w->first[o] = o <= w->ues ? o * drop->serving : w->comm + (o - w->ues) * drop->sensing;
    all_lags(drop, w);
    estimates(drop, w);
    pointing_weights(drop, w);
    communication(drop, w);
    if (w->shared) coherence(drop, w);
    echoes(drop, w);
}
