/* Powers that miss sensing constraints, and powers that are to be better: isac_torch.deployment.repair and .mixture, for the
   expected SIR. */

#define SMALL 1e-12  /* mixture._TOLERANCE */
#define MOST_PIVOTS 1000
#define BEST_EFFORT 0.98 /* repair.BEST_EFFORT_SHARE */

/* Exchange a basic variable for one outside: `_pivot`. The table has `width` columns, its last row the dual variables. */
static void pivot(int64_t links, int64_t width, double *table, int64_t leaving, int64_t entering) {
    double *line = table + leaving * width, by = line[entering];
    for (int64_t c = 0; c < width; c++) line[c] = c == entering ? 1.0 / by : line[c] / by;
    for (int64_t r = 0; r <= links; r++) {
        double *row = table + r * width, part = row[entering];
        if (r == leaving) continue;
        for (int64_t c = 0; c < width; c++) row[c] = c == entering ? -part / by : row[c] - part * line[c];
    }
}

/* The link that leaves for the column `entering`; -1 where none can. */
static int64_t leaving(int64_t links, int64_t width, const double *table, const int64_t *basis, int64_t entering) {
    double smallest = INFINITY;
    int64_t best = -1;
    for (int64_t e = 0; e < links; e++) {
        const double *row = table + e * width;
        if (row[entering] > SMALL) smallest = least(smallest, most(row[width - 1], 0.0) / row[entering]);
    }
    for (int64_t e = 0; e < links; e++) {
        const double *row = table + e * width;
        int tied = row[entering] > SMALL && most(row[width - 1], 0.0) / row[entering] <= smallest * (1.0 + SMALL);
        if (tied && (best < 0 || basis[e] < basis[best])) best = e;
    }
    return best;
}

/* The dual simplex method on the table in `w->newton.table`: `_simplex`. The answer times the links' widths goes into `out`;
   0 where there is none. */
static int simplex(Work *w, double *out) {
    Newton *n = &w->newton;
    int64_t width = w->rows + 1;
    const double *price = n->table + w->links * width;
    for (int64_t e = 0; e < w->links; e++) n->basis[e] = e;
    for (int64_t l = 0; l < w->rows; l++) n->outside[l] = w->links + l;
    for (int count = 0;; count++) {
        int64_t entering = 0;
        for (int64_t l = 1; l < w->rows; l++)
            if (price[l] < price[entering]) entering = l;
        if (price[entering] >= -SMALL) break;
        int64_t row = leaving(w->links, width, n->table, n->basis, entering), kept;
        if (row < 0 || count == MOST_PIVOTS || (count % 16 == 15 && unwanted(w))) return 0;
        pivot(w->links, width, n->table, row, entering);
        kept = n->basis[row], n->basis[row] = n->outside[entering], n->outside[entering] = kept;
    }
    memset(out, 0, (size_t)w->links * sizeof(double));
    for (int64_t l = 0; l < w->rows; l++)
        if (n->outside[l] < w->links) out[n->outside[l]] = most(price[l], 0.0) / n->width[n->outside[l]];
    return 1;
}

/* What a watt of each link costs in `cost`: its share of the budget and what it takes from the weakest UEs: `with_rows`. */
static void costs(const Drop *drop, Work *w, const double *power, double *cost) {
    double weakest = measured(drop, w, power), sum = 0.0;
    for (int64_t o = 0; o < w->wide; o++) w->free[o] = 0.0;
    for (int64_t k = 0; k < w->ues; k++) {
        double weak = weakest / most(drop->sinr[k], 1e-30);
        sum += w->free[k] = weak * weak;
    }
    for (int64_t k = 0; k < w->ues; k++) w->free[k] /= most(sum, 1e-30) * w->own[k];
    for (int64_t e = 0; e < w->links; e++)
        cost[e] = 1.0 / w->limit[e] + dot_d(w->wide, w->free, w->heard + e * w->wide);
}

/* The linear program of the cheapest addition to `power` that meets `share` of SIR0: `mixture.cheapest`. The widths of the
   columns go into `w->newton.width`, the unit of the answer is returned. */
static double table_of(Work *w, const double *power, double share) {
    Newton *n = &w->newton;
    int64_t width = w->rows + 1;
    const double *cost = n->cost;
    double size = 1e-300, dearest = 1e-300;
    for (int64_t e = 0; e < w->links; e++) n->width[e] = 0.0;
    for (int64_t l = 0; l < w->rows; l++) {
        double largest = 1e-300, reached = 0.0;
        for (int64_t e = 0; e < w->links; e++) {
            int64_t i = e * w->wide + w->ues + l;
            double row = n->table[e * width + l] = w->heard[i] - share * w->required[i];
            largest = most(largest, fabs(row));
            reached += row * power[e];
        }
        n->table[w->links * width + l] = reached / largest;
        size = most(size, fabs(reached / largest));
        for (int64_t e = 0; e < w->links; e++) {
            double row = n->table[e * width + l] /= largest;
            n->width[e] = most(n->width[e], fabs(row));
        }
    }
    for (int64_t e = 0; e < w->links; e++)
        if (n->width[e] > SMALL) dearest = most(dearest, cost[e] / n->width[e]);
    for (int64_t e = 0; e < w->links; e++) {
        int used = n->width[e] > SMALL; /* a link of no use gets a row of zeros, which never leaves */
        for (int64_t l = 0; l < w->rows; l++) n->table[e * width + l] *= used ? 1.0 / n->width[e] : 0.0;
        n->table[e * width + w->rows] = used ? cost[e] / n->width[e] / dearest : 1.0;
    }
    for (int64_t l = 0; l < w->rows; l++) n->table[w->links * width + l] /= size;
    n->table[w->links * width + w->rows] = 0.0;
    return size;
}

/* `drop->power` by one factor, so that the busiest AP sends its budget and none sends more: `full_power`. */
static void full_power(const Drop *drop, Work *w) {
    double busiest = 0.0;
    memset(w->load, 0, (size_t)w->aps * sizeof(double));
    for (int64_t e = 0; e < w->links; e++) w->load[w->ap[e]] += drop->power[e];
    for (int64_t m = 0; m < w->aps; m++) busiest = most(busiest, w->load[m] / drop->ap_power[m]);
    for (int64_t e = 0; e < w->links; e++) w->power[e] = drop->power[e] / busiest;
    kept(drop, w);
}

/* `drop->power` plus the cheapest powers that meet `share` of SIR0, in `out`: `_cheapest_addition`. 0 where there are none. */
static int addition(const Drop *drop, Work *w, double share, double *out) {
    double unit = table_of(w, drop->power, share);
    if (!simplex(w, out)) return 0;
    int finite = 1;
    for (int64_t e = 0; e < w->links; e++) {
        out[e] = drop->power[e] + unit * out[e];
        finite &= isfinite(out[e]) != 0;
    }
    return finite;
}

/* The smallest echo of a target over what `power` requires of it: `mixture._ratio`. Both stay in `w->free` and `w->aim`. */
static double ratio_of(Work *w, const double *power) {
    double smallest = INFINITY;
    combine_d(w->links, w->wide, power, w->heard, w->free);
    combine_d(w->links, w->wide, power, w->required, w->aim);
    for (int64_t o = w->ues; o < w->ues + w->rows; o++) smallest = least(smallest, w->free[o] / most(w->aim[o], 1e-300));
    return smallest;
}

/* The mixture that maximises the smallest gain over `ratio`, each over what was required last: `_best_mixture`. */
static int best_mixture(Work *w, double ratio, double *out) {
    Newton *n = &w->newton;
    int64_t width = w->rows + 1;
    double largest = 1e-300, sum = 1e-300;
    for (int64_t e = 0; e < w->links; e++) {
        const double *heard = w->heard + e * w->wide + w->ues, *required = w->required + e * w->wide + w->ues;
        n->width[e] = 0.0;
        for (int64_t l = 0; l < w->rows; l++) n->width[e] = most(n->width[e], heard[l] + required[l]);
        for (int64_t l = 0; l < w->rows; l++) {
            double payoff = (heard[l] - ratio * required[l]) / most(w->aim[w->ues + l], 1e-300);
            n->table[e * width + l] = n->width[e] > 0.0 ? payoff / n->width[e] : 0.0;
            largest = most(largest, fabs(n->table[e * width + l]));
        }
    }
    for (int64_t e = 0; e < w->links; e++) {
        for (int64_t l = 0; l < w->rows; l++)
            n->table[e * width + l] = n->width[e] > 0.0 ? n->table[e * width + l] / largest + 2.0 : 0.0;
        n->table[e * width + w->rows] = 1.0;
    }
    for (int64_t l = 0; l <= w->rows; l++) n->table[w->links * width + l] = l < w->rows ? -1.0 : 0.0;
    if (!simplex(w, out)) return 0;
    for (int64_t e = 0; e < w->links; e++) sum += out[e];
    for (int64_t e = 0; e < w->links; e++) out[e] /= sum;
    return 1;
}

/* Powers that serve the worst constraint best in `w->newton.mixture`, and what they reach of SIR0 at all targets:
   `mixture.best_ratio`. Negative where the method fails. */
static double best_ratio(Work *w) {
    Newton *n = &w->newton;
    for (int64_t e = 0; e < w->links; e++) n->mixture[e] = 1.0 / (double)w->links;
    double ratio = ratio_of(w, n->mixture);
    for (int round = 0; round < 30; round++) {
        if (unwanted(w) || !best_mixture(w, ratio, n->other)) return -1.0;
        double found = ratio_of(w, n->other), before = ratio;
        if (!(found > ratio)) break;
        memcpy(n->mixture, n->other, (size_t)w->links * sizeof(double));
        ratio = found;
        if (found <= before * (1.0 + 1e-9)) break;
    }
    return ratio;
}

/* `drop->power` plus the cheapest powers that meet `w->newton.share` of every constraint: `with_rows`. 0 where there are none. */
static int with_rows(const Drop *drop, Work *w) {
    Newton *n = &w->newton;
    costs(drop, w, drop->power, n->cost);
    if (!addition(drop, w, (1.0 + ROOM) * n->share, n->other)) return 0;
    if (1.0 - ratio_of(w, n->other) / n->share > ROW_TOLERANCE) return 0;
    memcpy(drop->power, n->other, (size_t)w->links * sizeof(double));
    full_power(drop, w);
    return 1;
}

/* The same where no powers meet the constraints: at most BEST_EFFORT of what any reach, which goes into `w->newton.share`. */
static int as_far_as_any(const Drop *drop, Work *w) {
    Newton *n = &w->newton;
    double ratio = best_ratio(w);
    if (!(ratio > 0.0)) return 0;
    n->share = BEST_EFFORT * least(ratio, 1.0);
    const double *found = addition(drop, w, n->share, n->other) ? n->other : n->mixture;
    if (1.0 - ratio_of(w, found) <= ROW_TOLERANCE) n->share = 1.0;
    memcpy(drop->power, found, (size_t)w->links * sizeof(double));
    full_power(drop, w);
    return 1;
}

/* Better powers in place of `drop->power`, which meet the constraints and stay where none are found: `improved`.
   0 where the method fails. */
static int improved(const Drop *drop, Work *w) {
    Newton *n = &w->newton;
    if (w->links > MOST_LINKS) return 1;
    memcpy(n->before, drop->power, (size_t)w->links * sizeof(double));
    double before = measured(drop, w, drop->power);
    if (!ascend(drop, w, drop->power)) return 0;
    full_power(drop, w);
    double after = measured(drop, w, drop->power);
    if (shortfall(drop, w) > ROW_TOLERANCE) after = with_rows(drop, w) ? measured(drop, w, drop->power) : -1.0;
    if (!(after > before)) {
        memcpy(drop->power, n->before, (size_t)w->links * sizeof(double));
        measured(drop, w, drop->power);
    }
    return 1;
}

/* Powers that meet every constraint, as far as any can, and with a good smallest SINR: `repair`. */
static int repaired(const Drop *drop, Work *w) {
    if (!with_rows(drop, w) && !as_far_as_any(drop, w)) return LEFT;
    if (!improved(drop, w)) return LEFT;
    return w->newton.share < 1.0 ? NEARLY : REPAIRED;
}
