/* The constraints of a road's interior-point method with their slopes and curvatures: `_Program` and `_Constraints` of
   isac_torch.deployment.downlink_pilots.newton, where names and formulas are explained. Constraints are those of the losses,
   unless only the localisation is sought, of the localisation, of the budgets; pairs are the constraints and the links. */

static const double END_MARGIN = 1e-5; /* newton._MARGIN */

typedef struct {
    const Road *road;
    RoadWork *w;
    int locate, shared;
    int64_t count, rows, pairs; /* constraints, those that the powers of one UE enter but for the budgets, pairs */
    int64_t wide, high;         /* APs and constraints, padded */
    double level, residual;
    double *lead, *partner, *product, *change, *wish; /* [pair] */
    double *value, *raising;                          /* [constraint] */
    double *slope, *pulled;                           /* [ue][row][wide]: J, and J A^-1 */
    double *inverse;                                  /* [ue][ap][wide]: A^-1 */
    double *matrix, *right, *even;                    /* [constraint][high], [high], [high] */
    double *asked, *root;                             /* [wide] */
} RoadNewton;

static size_t lay_out_newton_of(RoadNewton *n, Arena *arena) {
    const Road *road = n->road;
    int64_t ues = road->ues;
    n->rows = n->locate ? 1 : (road->orthogonal ? 2 : ues + 1);
    n->count = (n->locate ? 1 : 2) * ues + road->aps;
    n->pairs = n->count + ues * road->aps;
    n->wide = PADDED(road->aps);
    n->high = PADDED(n->count);
    double **by_pair[] = {&n->lead, &n->partner, &n->product, &n->change, &n->wish};
    double **by_row[] = {&n->value, &n->raising, &n->right, &n->even};
    for (size_t i = 0; i < sizeof by_pair / sizeof *by_pair; i++) *by_pair[i] = taken(arena, n->pairs, sizeof(double));
    for (size_t i = 0; i < sizeof by_row / sizeof *by_row; i++) *by_row[i] = taken(arena, n->high, sizeof(double));
    n->slope = taken(arena, ues * n->rows * n->wide, sizeof(double));
    n->pulled = taken(arena, ues * n->rows * n->wide, sizeof(double));
    n->inverse = taken(arena, ues * road->aps * n->wide, sizeof(double));
    n->matrix = taken(arena, n->count * n->high, sizeof(double));
    n->asked = taken(arena, n->wide, sizeof(double));
    n->root = taken(arena, n->wide, sizeof(double));
    return arena->used;
}

/* Which constraint row `r` of UE j is: the loss of j, or of UE r where pilots are correlated; last the localisation of j. */
static int64_t constraint_of(const RoadNewton *n, int64_t j, int64_t r) {
    if (r == n->rows - 1) return n->locate ? j : n->road->ues + j;
    return n->road->orthogonal ? j : r;
}

/* The slope of UE j's powers in the loss of UE k. */
static double *loss_slope(const RoadNewton *n, int64_t j, int64_t k) {
    return n->slope + (j * n->rows + (n->road->orthogonal ? 0 : k)) * n->wide;
}

/* p times the slope of UE k's log error in the powers of all UEs, off the slopes of its loss; w->rest and so on are those of k. */
static void less_error(RoadNewton *n, int64_t k) {
    const Road *road = n->road;
    const RoadWork *w = n->w;
    int64_t ues = road->ues, aps = road->aps;
    const double *gain = road->gain + k * aps, *re = w->rest, *im = re + ues, error = w->error[k];
    if (road->orthogonal) {
        double heard = 0.0, *slope = loss_slope(n, k, k);
        for (int64_t m = 0; m < aps; m++) heard += gain[m] * w->power[k * aps + m];
        for (int64_t m = 0; m < aps; m++) slope[m] -= gain[m] * w->power[k * aps + m] / (heard * (1.0 + heard));
        return;
    }
    for (int64_t j = 0; j < ues; j++) {
        double *slope = loss_slope(n, j, k);
        for (int64_t i = 0; i < ues; i++) {
            double coupled = (re[j] * re[i] + im[j] * im[i]) * road->same_pilot[j * ues + i] / error;
            for (int64_t m = 0; m < aps && coupled != 0.0; m++)
                slope[m] -= coupled * gain[m] * w->root[j * aps + m] * w->root[i * aps + m];
        }
    }
    if (road->receiver != IGNORANT) return;
    double pull = 2.0 * w->weights[k], heard = w->streams[k * ues + k], *slope = loss_slope(n, k, k);
    for (int64_t j = 0; j < ues; j++)
        for (int64_t i = 0; i < ues; i++) {
            double a = road->gram[k * ues + j], b = road->gram[(ues + k) * ues + j];
            pull -= 2.0 * (a * re[i] + b * im[i]) * w->streams[j * ues + i];
        }
    for (int64_t m = 0; m < aps; m++)
        slope[m] -= pull / ((1.0 + heard) * (1.0 + heard)) * gain[m] * w->power[k * aps + m] / error;
}

/* All constraints but x >= 0 at the shares of the budgets, at t = 0: `constraints`. 0 where there is no error of some UE. */
static int constraints(RoadNewton *n) {
    const Road *road = n->road;
    RoadWork *w = n->w;
    int64_t ues = road->ues, aps = road->aps, first = n->count - aps;
    const double *share = n->lead + n->count;
    memset(n->slope, 0, (size_t)(ues * n->rows * n->wide) * sizeof(double));
    for (int64_t m = 0; m < aps; m++) n->value[first + m] = 1.0;
    for (int64_t k = 0, e = 0; k < ues; k++)
        for (int64_t m = 0; m < aps; m++, e++) {
            n->value[first + m] -= share[e];
            w->power[e] = upper(share[e] * road->budget[m] * (road->serves ? road->serves[e] : 1.0), TINY_POWER);
            w->root[e] = sqrt(w->power[e]);
        }
    for (int64_t i = 0; i < n->count; i++) n->raising[i] = i < ues ? -1.0 : 0.0;
    for (int64_t k = 0; k < ues; k++) {
        double quality = quality_at(road, k, w->power + k * aps, w->accurate + k * aps);
        memcpy(n->slope + (k * n->rows + n->rows - 1) * n->wide, w->accurate + k * aps, (size_t)aps * sizeof(double));
        n->value[constraint_of(n, k, n->rows - 1)] = n->locate ? quality : quality - END_MARGIN;
        if (n->locate) continue;
        if (!loss_at(road, k, w)) return 0;
        n->value[k] = -w->loss[k];
        add_d(aps, w->strength + k * aps, loss_slope(n, k, k));
        less_error(n, k);
    }
    return 1;
}

/* `dual` times -p (second derivative) p of the log of UE k's strength, added to its block: `_strength`. */
static void bend_strength(RoadNewton *n, int64_t k, double dual, double *block) {
    const Road *road = n->road;
    int64_t aps = road->aps, begin = k * aps;
    const double *power = n->w->power + begin, *slope = n->w->strength + begin;
    double total = 0.0, value = 0.0;
    for (int64_t m = 0; m < aps; m++) {
        n->root[m] = sqrt(road->estimate[begin + m] * power[m]);
        total += n->root[m];
        value += road->gain[begin + m] * power[m];
    }
    value += total * total;
    for (int64_t m = 0; m < aps; m++) {
        for (int64_t l = 0; l < aps; l++)
            block[m * n->wide + l] += dual * (slope[m] * slope[l] - 0.5 / value * n->root[m] * n->root[l]);
        block[m * n->wide + m] += dual * 0.5 * total * n->root[m] / value;
    }
}

/* The same of log(Gamma / CRB): `_accuracy`. */
static void bend_accuracy(RoadNewton *n, int64_t k, double dual, double *block) {
    const Road *road = n->road;
    int64_t aps = road->aps, links = road->ues * aps;
    const double *power = n->w->power + k * aps, *slope = n->w->accurate + k * aps;
    const double *x = road->fisher + k * aps, *y = x + links, *c = y + links;
    double xx = 0.0, yy = 0.0, xy = 0.0;
    for (int64_t m = 0; m < aps; m++) xx += x[m] * power[m], yy += y[m] * power[m], xy += c[m] * power[m];
    double determinant = xx * yy - xy * xy;
    for (int64_t m = 0; m < aps; m++) {
        double by_trace = (x[m] + y[m]) * power[m] / (xx + yy), by_determinant = slope[m] + by_trace;
        for (int64_t l = 0; l < aps; l++) {
            double trace = (x[l] + y[l]) * power[l] / (xx + yy);
            double second = power[m] * power[l] * (x[m] * y[l] + x[l] * y[m] - 2.0 * c[m] * c[l]) / determinant;
            block[m * n->wide + l] += dual * (by_determinant * (slope[l] + trace) - second - by_trace * trace);
        }
    }
}
