/* Max-min SINR by an interior-point method, for the expected SIR: isac_torch.deployment.interior and newton, driven as
   isac_torch.interior_point does, one network at a time. Names and formulas are explained there.

   "ratios" are the UEs, then the targets with a constraint; rows are those and the APs; pairs the rows and the links. */

#define EVEN 0.05 /* start: share of equal powers mixed into the given ones, */
#define BELOW 0.1 /* and of each budget that is left free */
#define SLACK 0.1
#define FREE 0.05
#define GAP 0.02 /* repair._GAP */
#define STEPS 24 /* repair._STEPS */
#define ROOM 1e-7
#define MOST_CENTRAL 0.5 /* interior._RULE */

/* The slopes of all rows in the relative powers, and the powers it starts from, between `given` and even ones: `_program`. */
static void program(const Drop *drop, Work *w, const double *given) {
    Newton *n = &w->newton;
    double *power = n->lead + n->rows;
    memset(w->load, 0, (size_t)w->aps * sizeof(double));
    for (int64_t e = 0; e < w->links; e++) w->load[w->ap[e]] += 1.0;
    for (int64_t e = 0; e < w->links; e++) {
        power[e] = (1.0 - BELOW) * ((1.0 - EVEN) * given[e] / w->limit[e] + EVEN / w->load[w->ap[e]]);
        w->power[e] = power[e] * w->limit[e];
    }
    double unit = sqrt(measured(drop, w, w->power));
    for (int64_t e = 0; e < w->links; e++) n->amplitude[e] = w->signal[e] * sqrt(w->limit[e]) / unit;
    for (int64_t o = 0; o < w->wide; o++) n->right[o] = 0.0;
    for (int64_t e = 0; e < w->links; e++)
        for (int64_t o = 0; o < w->wide; o++) {
            double heard = w->heard[e * w->wide + o], row = heard - (1.0 + ROOM) * n->share * w->required[e * w->wide + o];
            n->fixed[e * w->wide + o] = (o < w->ues ? -heard : row) * w->limit[e];
            n->right[o] = most(n->right[o], fabs(n->fixed[e * w->wide + o]));
        }
    for (int64_t o = 0; o < w->wide; o++) n->right[o] = o < w->ues ? 1.0 : (o < n->ratios ? 1.0 / n->right[o] : 0.0);
    for (int64_t e = 0; e < w->links; e++)
        for (int64_t o = 0; o < w->wide; o++) n->fixed[e * w->wide + o] *= n->right[o];
}

/* What UEs of a pilot hear coherently of each other, taken off the slopes of their rows. */
static void coherent_slopes(Work *w, const double *power) {
    for (int64_t e = 0; e < w->comm; e++) w->root[e] = sqrt(power[e] * w->limit[e]);
    coherent_sums(w, w->root);
    for (int64_t e = 0; e < w->comm; e++) {
        const double *sum = w->pilot + w->node[e] * w->wide, *own = w->coherent + e * w->wide;
        double *slope = w->newton.slope + e * w->wide;
        for (int64_t k = 0; k < w->ues; k++) slope[k] -= own[k] * w->root[e] * sum[k];
    }
}

/* Slopes of the UEs' and targets' rows in the logarithms of the powers, values of all rows, and theta: `_rows`. */
static void rows(Work *w) {
    Newton *n = &w->newton;
    const double *power = n->lead + n->rows;
    for (int64_t e = 0; e < w->links; e++)
        for (int64_t o = 0; o < w->wide; o++) n->slope[e * w->wide + o] = n->fixed[e * w->wide + o] * power[e];
    if (w->shared) coherent_slopes(w, power);
    for (int64_t o = 0; o < w->wide; o++) n->right[o] = 0.0;
    for (int64_t e = 0; e < w->links; e++)
        for (int64_t o = 0; o < w->wide; o++) n->right[o] += n->slope[e * w->wide + o];
    for (int64_t l = w->ues; l < n->ratios; l++) n->value[l] = n->right[l];
    for (int64_t o = 0; o < w->wide; o++) n->right[o] = o < w->ues ? 1.0 / (1.0 - n->right[o]) : 1.0; /* over what is unwanted */
    for (int64_t e = 0; e < w->links; e++)
        for (int64_t o = 0; o < w->wide; o++) n->slope[e * w->wide + o] *= n->right[o];
    for (int64_t k = 0; k < w->ues; k++) {
        double total = 0.0;
        for (int64_t e = w->first[k]; e < w->first[k + 1]; e++) total += n->theta[e] = n->amplitude[e] * sqrt(power[e]);
        for (int64_t e = w->first[k]; e < w->first[k + 1]; e++) n->slope[e * w->wide + k] += n->theta[e] /= total;
        n->value[k] = log(total * total * n->right[k]) - n->level;
    }
    for (int64_t m = n->ratios; m < n->rows; m++) n->value[m] = 1.0;
    for (int64_t e = 0; e < w->links; e++) n->value[n->ratios + w->ap[e]] -= power[e];
}

/* Slacks from the powers, kept off zero, and dual variables that make all products the same: `_start`. */
static void start(Work *w) {
    Newton *n = &w->newton;
    double sum = 0.0;
    n->level = log(0.5);
    rows(w);
    for (int64_t i = 0; i < n->rows; i++) {
        double smallest = i < w->ues ? SLACK : FREE;
        if (i >= w->ues && i < n->ratios) {
            smallest = 0.0;
            for (int64_t e = 0; e < w->links; e++) smallest += SLACK * fabs(n->slope[e * w->wide + i]);
        }
        n->partner[i] = most(n->value[i], smallest);
    }
    for (int64_t k = 0; k < w->ues; k++) sum += 1.0 / n->partner[k];
    for (int64_t i = 0; i < n->rows; i++) n->lead[i] = 1.0 / sum / n->partner[i];
    for (int64_t i = n->rows; i < n->pairs; i++) n->partner[i] = 1.0 / sum / n->lead[i];
}

/* The APs' part of Newton's equations, which leaves those of the ratios: `shared` and `stiffness`, by AP. */
static void without_aps(Work *w) {
    Newton *n = &w->newton;
    const double *power = n->lead + n->rows;
    memset(n->shared, 0, (size_t)(w->aps * w->wide) * sizeof(double));
    for (int64_t m = 0; m < w->aps; m++) n->stiffness[m] = n->partner[n->ratios + m] / n->lead[n->ratios + m];
    for (int64_t e = 0; e < w->links; e++) {
        double *shared = n->shared + w->ap[e] * w->wide;
        for (int64_t o = 0; o < w->wide; o++) shared[o] -= n->weighted[e * w->wide + o] * power[e];
        n->stiffness[w->ap[e]] += power[e] * power[e] * n->inverse[e];
    }
    for (int64_t m = 0; m < w->aps; m++)
        for (int64_t o = 0; o < w->wide; o++)
            n->eased[m * w->wide + o] = -n->shared[m * w->wide + o] / n->stiffness[m];
}

/* Newton's equations at the point, factorised: `_system`. 0 where they are singular. */
static int equations(Work *w) {
    Newton *n = &w->newton;
    const double *power = n->lead + n->rows;
    rows(w);
    for (int64_t i = 0; i < n->pairs; i++) n->product[i] = n->lead[i] * n->partner[i];
    for (int64_t e = 0; e < w->links; e++) {
        double curvature = n->product[n->rows + e] + (e < w->comm ? 0.5 * n->lead[w->node[e]] * n->theta[e] : 0.0);
        n->inverse[e] = 1.0 / curvature;
        for (int64_t o = 0; o < w->wide; o++) n->weighted[e * w->wide + o] = n->slope[e * w->wide + o] * n->inverse[e];
    }
    without_aps(w);
    memset(n->matrix, 0, (size_t)(n->ratios * w->wide) * sizeof(double));
    add_gram_d(w->links, n->ratios, w->wide, n->weighted, n->slope, n->matrix);
    add_gram_d(w->aps, n->ratios, w->wide, n->eased, n->shared, n->matrix);
    for (int64_t i = 0; i < n->ratios; i++) n->matrix[i * w->wide + i] += n->partner[i] / n->lead[i];
    double short_of = 0.0, dear = 0.0;
    for (int64_t i = 0; i < n->rows; i++) short_of += n->lead[i] * fabs(n->value[i] - n->partner[i]);
    for (int64_t e = 0; e < w->links; e++) {
        double earned = n->product[n->rows + e] - n->lead[n->ratios + w->ap[e]] * power[e];
        for (int64_t i = 0; i < n->ratios; i++) earned += n->lead[i] * n->slope[e * w->wide + i];
        dear += fabs(earned);
    }
    n->residual = most(short_of, dear);
    if (!factorised(n->ratios, w->wide, n->matrix)) return 0;
    for (int64_t o = 0; o < w->wide; o++) n->even[o] = o < w->ues ? 1.0 : 0.0;
    substituted(n->ratios, w->wide, n->matrix, n->even);
    return 1;
}

/* What the rows lack: the right side of Newton's equations, of ratios and APs. */
static void right_side(Work *w, const double *wish) {
    Newton *n = &w->newton;
    const double *power = n->lead + n->rows;
    for (int64_t o = 0; o < w->wide; o++) n->right[o] = 0.0;
    for (int64_t m = 0; m < w->aps; m++) n->load[m] = 0.0;
    if (wish) {
        for (int64_t e = 0; e < w->links; e++) n->asked[e] = wish[n->rows + e] * n->product[n->rows + e];
        combine_d(w->links, w->wide, n->asked, n->weighted, n->right);
        for (int64_t e = 0; e < w->links; e++) n->load[w->ap[e]] -= n->inverse[e] * n->asked[e] * power[e];
    }
    for (int64_t i = 0; i < n->rows; i++) {
        double *right = i < n->ratios ? n->right + i : n->load + i - n->ratios;
        *right = n->partner[i] * (1.0 + (wish ? wish[i] : 0.0)) - n->value[i] - *right;
    }
    for (int64_t m = 0; m < w->aps; m++) {
        n->load[m] /= n->stiffness[m];
        for (int64_t i = 0; i < n->ratios; i++) n->right[i] -= n->shared[m * w->wide + i] * n->load[m];
    }
}

/* Relative changes of `lead` that ask the products for `wish` times what they are, NULL for zero; change of the level. */
static double direction(void *system, const double *wish, double *change) {
    Work *w = system;
    Newton *n = &w->newton;
    const double *power = n->lead + n->rows;
    double sum = 1.0, size = 0.0;
    right_side(w, wish);
    substituted(n->ratios, w->wide, n->matrix, n->right);
    for (int64_t k = 0; k < w->ues; k++) sum -= n->right[k], size += n->even[k];
    double level = sum / size;
    for (int64_t o = 0; o < w->wide; o++) n->right[o] = o < n->ratios ? n->right[o] + level * n->even[o] : 0.0;
    for (int64_t m = 0; m < w->aps; m++)
        for (int64_t i = 0; i < n->ratios; i++) n->load[m] += n->eased[m * w->wide + i] * n->right[i];
    for (int64_t i = 0; i < n->rows; i++)
        change[i] = (i < n->ratios ? n->right[i] : n->load[i - n->ratios]) / n->lead[i] - 1.0;
    for (int64_t e = 0; e < w->links; e++) {
        double pull = (wish ? n->asked[e] : 0.0) - n->load[w->ap[e]] * power[e];
        change[n->rows + e] = n->inverse[e] * (pull + dot_d(w->wide, n->right, n->slope + e * w->wide));
    }
    return level;
}

/* One predictor-corrector step. */
static void advance(Work *w) {
    Newton *n = &w->newton;
    Pairs pairs = {n->pairs, n->residual, 1.0, MOST_CENTRAL, 0, n->lead, n->partner, n->product, n->change, n->wish};
    n->level += advanced(&pairs, direction, w);
}

/* Smallest SINR within the budgets, in the program's units; what a missed constraint lacks, negative: `_reached`. */
static double reached(const Work *w) {
    const Newton *n = &w->newton;
    double weakest = DBL_MAX, crowded = DBL_MAX, lacking = 0.0;
    for (int64_t k = 0; k < w->ues; k++) weakest = least(weakest, n->value[k]);
    for (int64_t l = w->ues; l < n->ratios; l++) lacking = least(lacking, n->value[l]);
    for (int64_t m = n->ratios; m < n->rows; m++) crowded = least(crowded, n->value[m]);
    return lacking < 0.0 ? lacking : exp(n->level + weakest) / most(1.0 - crowded, 1.0);
}

/* Powers (W) of a smallest SINR near the largest in place of `power`: `ascend`. 0 where the steps do not settle: then rounding
   decides where they end. */
static int ascend(const Drop *drop, Work *w, double *power) {
    Newton *n = &w->newton;
    double best = -INFINITY;
    program(drop, w, power);
    start(w);
    for (int step = 0;; step++) {
        if (unwanted(w) || !equations(w)) return 0;
        double found = reached(w), left = n->residual, total = 0.0;
        for (int64_t i = 0; i < n->pairs; i++) total += n->product[i];
        left = most(left, total);
        for (int64_t e = 0; found > best && e < w->links; e++) power[e] = n->lead[n->rows + e] * w->limit[e];
        best = found > best ? found : best;
        if (left <= GAP && found > 0.0) return 1;
        if (step == STEPS || !isfinite(left + found)) return 0;
        advance(w);
    }
}
