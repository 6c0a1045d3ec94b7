/* The last word on powers: isac_torch.deployment.guard, and what tells networks from those of the training, .card.

   Equations (14) and (19) of docs/physics.md. Whatever is not plainly good is left to the caller, with all its cases. */

#define ROW_TOLERANCE 1e-6 /* repair.ROW_TOLERANCE */
#define TIE 1e-3           /* guard._TIE */
#define LARGEST 1e30       /* guard._LARGEST */
#define OUTAGE_SINR 1e-3   /* isac_torch.outage */
#define NO_PATH 1.001e-20  /* snapshot.NO_PATH_GAIN, and a little */

/* Amplitude that link powers in `root` of sqrt(W) bring coherently from each node to each UE: `w->pilot` [node][wide]. */
static void coherent_sums(Work *w, const double *root) {
    memset(w->pilot, 0, (size_t)(w->nodes * w->wide) * sizeof(double));
    for (int64_t e = 0; e < w->comm; e++)
        for (int64_t o = 0; o < w->wide; o++)
            w->pilot[w->node[e] * w->wide + o] += w->coherent[e * w->wide + o] * root[e];
}

/* sum over nodes of the squares of `w->pilot` at UE k. */
static double coherent_power(const Work *w, int64_t k) {
    double sum = 0.0;
    for (int64_t j = 0; j < w->ues; j++) sum += w->pilot[j * w->wide + k] * w->pilot[j * w->wide + k];
    return sum;
}

/* Whether some link brings nothing of its UE's signal: gains that count as no path, deployment.coverage.without_unheard. */
static int unheard(const Drop *drop, const Work *w) {
    int found = 0;
    for (int64_t e = 0; e < w->comm; e++) found |= !(drop->ue_gain[w->node[e] * drop->aps + w->ap[e]] > NO_PATH);
    return found;
}

static double decibel(double x) { return 10.0 * log10(most(x, 1e-30)); }

/* Whether a UE is in outage, and the quantities of `card.quantities`. */
static int in_outage(const Drop *drop, Work *w) {
    double weakest = DBL_MAX, strongest = 0.0, spread = 0.0, shared = 0.0, disturbed = 0.0, small = DBL_MAX, large = 0.0;
    int outage = 0;
    for (int64_t e = 0; e < w->links; e++) {
        small = least(small, w->limit[e]), large = most(large, w->limit[e]);
        w->root[e] = sqrt(w->limit[e]);
    }
    combine_d(w->links, w->wide, w->limit, w->heard, w->free);
    if (w->shared) coherent_sums(w, w->root);
    for (int64_t k = 0; k < w->ues; k++) {
        double best = 0.0, worst = DBL_MAX, amplitude = 0.0;
        for (int64_t e = w->first[k]; e < w->first[k + 1]; e++) {
            double reached = w->signal[e] * w->signal[e] * w->limit[e];
            best = most(best, reached), worst = least(worst, reached);
            amplitude += w->signal[e] * w->root[e];
        }
        outage |= !(amplitude * amplitude >= OUTAGE_SINR);
        weakest = least(weakest, best), strongest = most(strongest, best);
        spread = most(spread, best / most(worst, 1e-30));
        disturbed = most(disturbed, w->free[k]);
        if (w->shared) shared = most(shared, coherent_power(w, k));
    }
    double sizes[] = {(double)w->aps, (double)w->ues, (double)w->targets, (double)drop->serving,
                      (double)(w->targets ? drop->sensing : 0), (double)w->ues / (double)w->aps};
    double linear[] = {1.0 + shared, weakest, strongest, spread, large / small, disturbed};
    for (int i = 0; i < 6; i++) drop->quantity[i] = sizes[i], drop->quantity[6 + i] = decibel(linear[i]);
    return outage;
}

/* The last two quantities: of the target with the worst best link its own echo over the others', and SIR0. */
static void echo_quantities(const Drop *drop, const Work *w) {
    double ratio = DBL_MAX;
    for (int64_t l = w->ues; l < w->ues + w->rows; l++) {
        double best = 0.0;
        for (int64_t e = 0; e < w->links; e++) {
            double cross = w->required[e * w->wide + l] / drop->sir_min;
            best = most(best, most(w->heard[e * w->wide + l], 1e-30) / most(cross, 1e-30));
        }
        ratio = least(ratio, best);
    }
    drop->quantity[12] = w->rows ? decibel(ratio) : 0.0;
    drop->quantity[13] = w->rows ? decibel(drop->sir_min) : 0.0;
}

/* Powers within the budgets in `drop->power`: `repair.within_budget`. 0 where they are no powers. */
static int kept(const Drop *drop, Work *w) {
    int good = 1;
    memset(w->load, 0, (size_t)w->aps * sizeof(double));
    for (int64_t e = 0; e < w->links; e++) w->load[w->ap[e]] += w->power[e];
    for (int64_t m = 0; m < w->aps; m++) good &= w->load[m] < LARGEST;
    for (int64_t e = 0; e < w->links; e++) {
        double load = w->load[w->ap[e]], limit = w->limit[e], power = w->power[e] * (limit / most(load, limit));
        drop->power[e] = power;
        good &= power >= 0.0;
    }
    return good;
}

/* SINR and SIR of powers (W), and in `w->own` what each UE hears besides its own; the smallest SINR. */
static double measured(const Drop *drop, Work *w, const double *power) {
    double weakest = DBL_MAX;
    for (int64_t e = 0; e < w->links; e++) w->root[e] = sqrt(power[e]);
    combine_d(w->links, w->wide, power, w->heard, w->free);
    combine_d(w->links, w->wide, power, w->required, w->aim);
    if (w->shared) coherent_sums(w, w->root);
    for (int64_t k = 0; k < w->ues; k++) {
        double amplitude = 0.0;
        w->own[k] = 1.0 + w->free[k] + (w->shared ? coherent_power(w, k) : 0.0);
        for (int64_t e = w->first[k]; e < w->first[k + 1]; e++) amplitude += w->signal[e] * w->root[e];
        drop->sinr[k] = amplitude * amplitude / w->own[k];
        weakest = least(weakest, drop->sinr[k]);
    }
    for (int64_t l = 0; l < w->rows; l++)
        drop->sir[l] = w->free[w->ues + l] / most(w->aim[w->ues + l] / drop->sir_min, DBL_MIN);
    return weakest;
}

/* Largest relative shortfall of a sensing constraint, at `w->newton.share` of SIR0, at the powers that were measured last:
   `problem.violations`. */
static double shortfall(const Drop *drop, const Work *w) {
    double worst = 0.0, asked = w->newton.share * drop->sir_min;
    for (int64_t l = 0; l < w->rows; l++) {
        double lacks = 1.0 - (drop->sir[l] + DBL_MIN) / (asked + DBL_MIN);
        worst = lacks <= worst ? worst : lacks;
    }
    return worst;
}

/* Powers within the budgets, measured; 1 where all UEs are served: `guard`. */
static int served(const Drop *drop, Work *w) {
    int good = kept(drop, w);
    measured(drop, w, drop->power);
    for (int64_t k = 0; k < w->ues; k++) good &= drop->sinr[k] > 0.0 && drop->sinr[k] <= DBL_MAX;
    for (int64_t l = 0; l < w->rows; l++) good &= drop->sir[l] >= 0.0; /* no NaN */
    return good;
}

/* Whether the network's powers miss a sensing constraint; the first of those missed most, and how far, goes into
   `drop->missed`. */
static int missed(const Drop *drop, const Work *w) {
    double smallest = INFINITY;
    for (int64_t l = 0; l < w->rows; l++) smallest = least(drop->sir[l] / drop->sir_min, smallest);
    drop->missed[1] = smallest;
    for (int64_t l = w->rows - 1; l >= 0; l--)
        if (drop->sir[l] / drop->sir_min <= smallest * (1.0 + TIE)) drop->missed[0] = (double)l;
    return !(smallest >= 1.0 - ROW_TOLERANCE);
}
