/* Min-max NMSE of a road by an interior-point method, (P30): isac_torch.deployment.downlink_pilots.newton, where names and
   formulas are explained. */

static const double END_GAP = 1e-4, END_SLACK = 1e-3, MIXED_EVEN = 0.02, LEFT_FREE = 0.02, LEAST_START = 0.1, SHORTER = 3e-3;
static const double ROAD_KEPT = 0.1, ROAD_MOST = 0.1; /* newton._RULE */
enum { ROAD_STEPS = 60, ROAD_CUTS = 6 };

/* A^-1 of UE k, and J A^-1 of its rows. 0 where A is not positive definite. */
static int inverse_of(RoadNewton *n, int64_t k) {
    int64_t aps = n->road->aps, ues = n->road->ues;
    double *block = n->inverse + k * aps * n->wide;
    memset(block, 0, (size_t)(aps * n->wide) * sizeof(double));
    if (!n->locate) bend_strength(n, k, n->lead[k], block);
    bend_accuracy(n, k, n->lead[n->locate ? k : ues + k], block);
    for (int64_t m = 0; m < aps; m++) block[m * n->wide + m] += n->product[n->count + k * aps + m] + (n->shared ? SHORTER : 0.0);
    if (!inverted(aps, n->wide, block)) return 0;
    for (int64_t r = k * n->rows; r < (k + 1) * n->rows; r++)
        combine_d(aps, n->wide, n->slope + r * n->wide, block, n->pulled + r * n->wide);
    return 1;
}

/* J A^-1 J^T of UE k, added to the upper half of the matrix. */
static void add_block(RoadNewton *n, int64_t k) {
    int64_t aps = n->road->aps, first = n->count - aps;
    const double *share = n->lead + n->count + k * aps, *inverse = n->inverse + k * aps * n->wide;
    for (int64_t r = 0; r < n->rows; r++) {
        const double *pulled = n->pulled + (k * n->rows + r) * n->wide;
        double *line = n->matrix + constraint_of(n, k, r) * n->high;
        for (int64_t s = r; s < n->rows; s++)
            line[constraint_of(n, k, s)] += dot_d(n->wide, pulled, n->slope + (k * n->rows + s) * n->wide);
        for (int64_t m = 0; m < aps; m++) line[first + m] -= pulled[m] * share[m];
    }
    for (int64_t m = 0; m < aps; m++)
        for (int64_t l = m; l < aps; l++) n->matrix[(first + m) * n->high + first + l] += share[m] * inverse[m * n->wide + l] * share[l];
}

/* Newton's equations at the point, factorised. 0 where they are singular, or nobody waits any more. */
static int road_equations(RoadNewton *n) {
    for (int64_t i = 0; i < n->pairs; i++) n->product[i] = n->lead[i] * n->partner[i];
    n->residual = 0.0;
    for (int64_t i = 0; i < n->count; i++)
        n->residual += n->lead[i] * fabs(n->value[i] + n->raising[i] * n->level - n->partner[i]);
    memset(n->matrix, 0, (size_t)(n->count * n->high) * sizeof(double));
    for (int64_t k = 0; k < n->road->ues; k++) {
        if (ends(n->w->wanted, &n->w->stopped) || !inverse_of(n, k)) return 0;
        add_block(n, k);
    }
    for (int64_t i = 0; i < n->count; i++) n->matrix[i * n->high + i] += n->partner[i] / n->lead[i];
    if (!factorised(n->count, n->high, n->matrix)) return 0;
    memcpy(n->even, n->raising, (size_t)n->count * sizeof(double));
    substituted(n->count, n->high, n->matrix, n->even);
    return 1;
}

/* `direction` of newton._System: relative changes of dual variables and shares, and change of t. */
static double road_direction(void *system, const double *wish, double *change) {
    RoadNewton *n = system;
    int64_t aps = n->road->aps, first = n->count - aps;
    const double *share = n->lead + n->count, *slope = n->slope;
    double level = 1.0, size = 0.0;
    for (int64_t i = 0; i < n->count; i++)
        n->right[i] = n->partner[i] * (1.0 + (wish ? wish[i] : 0.0)) - n->value[i] - n->raising[i] * n->level;
    for (int64_t k = 0; k < n->road->ues && wish; k++) {
        for (int64_t m = 0; m < n->wide; m++) n->asked[m] = 0.0;
        for (int64_t m = 0; m < aps; m++) n->asked[m] = wish[n->count + k * aps + m] * n->product[n->count + k * aps + m];
        for (int64_t r = 0; r < n->rows; r++)
            n->right[constraint_of(n, k, r)] -= dot_d(n->wide, n->asked, n->pulled + (k * n->rows + r) * n->wide);
        for (int64_t m = 0; m < aps; m++)
            n->right[first + m] += share[k * aps + m] * dot_d(n->wide, n->asked, n->inverse + (k * aps + m) * n->wide);
    }
    substituted(n->count, n->high, n->matrix, n->right);
    for (int64_t i = 0; i < n->count; i++) level += n->raising[i] * n->right[i], size += n->raising[i] * n->even[i];
    level /= size;
    for (int64_t i = 0; i < n->count; i++) {
        n->right[i] -= level * n->even[i];
        change[i] = n->right[i] / n->lead[i] - 1.0;
    }
    for (int64_t k = 0; k < n->road->ues; k++) {
        for (int64_t m = 0; m < n->wide; m++) n->asked[m] = 0.0;
        for (int64_t r = 0; r < n->rows; r++, slope += n->wide)
            for (int64_t m = 0; m < aps; m++) n->asked[m] += n->right[constraint_of(n, k, r)] * slope[m];
        for (int64_t m = 0; m < aps; m++) {
            int64_t e = n->count + k * aps + m;
            n->asked[m] += (wish ? wish[e] * n->product[e] : 0.0) - n->right[first + m] * share[k * aps + m];
        }
        for (int64_t m = 0; m < aps; m++)
            change[n->count + k * aps + m] = dot_d(n->wide, n->asked, n->inverse + (k * aps + m) * n->wide);
    }
    return level;
}

/* Shares inside the budgets, slacks kept off zero, dual variables that make all products the same: `_start`. */
static int road_newton_start(RoadNewton *n) {
    const Road *road = n->road;
    int64_t ues = road->ues, aps = road->aps, first = n->count - aps;
    double lowest = INFINITY, sum = 0.0, *share = n->lead + n->count;
    for (int64_t k = 0, e = 0; k < ues; k++)
        for (int64_t m = 0; m < aps; m++, e++)
            share[e] = (1.0 - LEFT_FREE) * ((1.0 - MIXED_EVEN) * road->power[e] / road->budget[m] + MIXED_EVEN / (double)ues);
    if (!constraints(n)) return 0;
    for (int64_t k = 0; k < ues; k++) lowest = lower(n->value[k], lowest);
    n->level = lowest - LEAST_START;
    for (int64_t i = 0; i < n->count; i++) {
        double value = n->value[i] + n->raising[i] * n->level;
        n->partner[i] = i < first ? upper(value, LEAST_START) : value;
        sum -= n->raising[i] / n->partner[i];
    }
    for (int64_t i = 0; i < n->count; i++) n->lead[i] = 1.0 / sum / n->partner[i];
    for (int64_t i = n->count; i < n->pairs; i++) n->partner[i] = 1.0 / sum / n->lead[i];
    return 1;
}

/* The smallest of the values that are to be large; -inf where the others are not met. */
static double road_reached(const RoadNewton *n) {
    int64_t ues = n->road->ues, first = n->count - n->road->aps;
    double goal = INFINITY;
    for (int64_t i = ues; i < n->count; i++)
        if (!(n->value[i] >= (i < first ? -0.9 * END_MARGIN : 0.0))) return -INFINITY;
    for (int64_t k = 0; k < ues; k++) goal = lower(n->value[k], goal);
    return goal;
}

/* Better powers in place of `power`, where there are: `_solved`. 0 where the steps leave the numbers of double precision. */
static int road_solved(RoadNewton *n) {
    const Road *road = n->road;
    int64_t ues = road->ues, aps = road->aps;
    Pairs pairs = {n->pairs, 0.0, ROAD_KEPT, ROAD_MOST, ROAD_CUTS, n->lead, n->partner, n->product, n->change, n->wish};
    double highest = -INFINITY;
    n->shared = 0;
    for (int64_t k = 0; k < ues; k++)
        for (int64_t j = 0; j < k; j++) n->shared |= road->same_pilot[k * ues + j] != 0.0;
    if (!n->locate) {
        for (int64_t e = 0; e < n->w->links; e++) {
            n->w->power[e] = upper(road->power[e] * (road->serves ? road->serves[e] : 1.0), TINY_POWER);
            n->w->root[e] = sqrt(n->w->power[e]);
        }
        for (int64_t k = 0; k < ues; k++)
            if (!loss_at(road, k, n->w)) return 0;
        highest = -largest_loss(road, n->w);
    }
    if (!road_newton_start(n)) return 0;
    for (int step = 0;; step++) {
        if (!road_equations(n)) return 0;
        double goal = road_reached(n), total = 0.0;
        for (int64_t i = 0; i < n->pairs; i++) total += n->product[i];
        if (goal > highest) {
            highest = goal;
            for (int64_t e = 0; e < n->w->links; e++)
                road->power[e] = n->lead[n->count + e] * road->budget[e % aps] * (road->serves ? road->serves[e] : 1.0);
        }
        double left = most(total, n->residual);
        if ((left <= END_GAP && goal > -INFINITY) || (n->locate && highest > END_SLACK)) return 1;
        if (!isfinite(left)) return 0;
        if (step == ROAD_STEPS) return 1; /* they did not settle: the best so far, as there */
        pairs.residual = n->residual;
        n->level += advanced(&pairs, road_direction, n);
        if (!constraints(n)) return 0;
    }
}
