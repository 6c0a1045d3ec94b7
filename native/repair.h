/* Powers that miss sensing constraints, and powers that are to be better: isac_torch.deployment.repair and .mixture, for the
   expected SIR. What no powers meet is left to the caller. */

#define SMALL 1e-12  /* mixture._TOLERANCE */
#define MOST_PIVOTS 200

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

/* The dual simplex method on the table in `w->newton.table`: `_simplex`. 0 where there is no answer within the pivots. */
static int simplex(Work *w, int64_t *basis, int64_t *outside) {
    double *table = w->newton.table;
    int64_t width = w->rows + 1;
    const double *price = table + w->links * width;
    for (int64_t e = 0; e < w->links; e++) basis[e] = e;
    for (int64_t l = 0; l < w->rows; l++) outside[l] = w->links + l;
    for (int count = 0; count < MOST_PIVOTS; count++) {
        int64_t entering = 0;
        for (int64_t l = 1; l < w->rows; l++)
            if (price[l] < price[entering]) entering = l;
        if (price[entering] >= -SMALL) return 1;
        int64_t row = leaving(w->links, width, table, basis, entering), kept;
        if (row < 0) return 0;
        pivot(w->links, width, table, row, entering);
        kept = basis[row], basis[row] = outside[entering], outside[entering] = kept;
    }
    return 0;
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

/* The linear program of the cheapest addition to `power`: `mixture.cheapest`. The widths of the columns stay in
   `w->newton.width`, the size of the answer is returned, 0 where nothing is missing. */
static double table_of(Work *w, const double *power, const double *cost) {
    Newton *n = &w->newton;
    int64_t width = w->rows + 1;
    double size = 1e-300, dearest = 1e-300;
    for (int64_t e = 0; e < w->links; e++) n->width[e] = 0.0;
    for (int64_t l = 0; l < w->rows; l++) {
        double largest = 1e-300, reached = 0.0;
        for (int64_t e = 0; e < w->links; e++) {
            int64_t i = e * w->wide + w->ues + l;
            double row = n->table[e * width + l] = w->heard[i] - (1.0 + ROOM) * w->required[i];
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

/* `drop->power` plus the cheapest powers that meet every constraint: `with_rows`. 0 where none are found. */
static int with_rows(const Drop *drop, Work *w) {
    Newton *n = &w->newton;
    costs(drop, w, drop->power, n->cost);
    double size = table_of(w, drop->power, n->cost);
    if (!simplex(w, n->basis, n->outside)) return 0;
    for (int64_t l = 0; l < w->rows; l++) {
        int64_t e = n->outside[l];
        double added = n->table[w->links * (w->rows + 1) + l];
        if (e < w->links) drop->power[e] += size * most(added, 0.0) / n->width[e];
    }
    full_power(drop, w);
    measured(drop, w, drop->power);
    return shortfall(drop, w) <= ROW_TOLERANCE;
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

/* Powers that meet every constraint, and with a good smallest SINR: `repair`. 0 where none are found. */
static int repaired(const Drop *drop, Work *w) { return with_rows(drop, w) && improved(drop, w); }
