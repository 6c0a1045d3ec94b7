/* The predictor-corrector step of isac_torch.interior_point, for one problem. */

#define BOUNDARY 0.95 /* interior_point.Rule */
#define CENTRALITY 1e-3
#define CUT 0.8

/* `interior_point.Iterate` and the rule of its steps; the last five have an entry a pair, dual variables of constraints first. */
typedef struct {
    int64_t pairs;
    double residual, kept, most; /* what the conditions lack, and `residual` and `most` of the rule */
    int cuts;
    double *lead, *partner, *product, *change, *wish;
} Pairs;

/* Relative changes of `lead` that ask the products for `wish` times what they are, NULL for zero; the change of t. */
typedef double (*Direction)(void *system, const double *wish, double *change);

/* Longest step along which everything positive stays so; `partner` changes by what products are asked for, less `change`. */
static double longest(int64_t pairs, const double *wish, const double *change) {
    double lowest = 0.0;
    for (int64_t i = 0; i < pairs; i++) {
        double partner = (wish ? wish[i] : 0.0) - 1.0 - change[i];
        lowest = least(lowest, least(change[i], partner));
    }
    return 1.0 / most(-lowest, 1e-12);
}

/* Whether a step of a length leaves every product above a part of their mean. */
static int central(const Pairs *p, double length) {
    double sum = 0.0, smallest = INFINITY;
    for (int64_t i = 0; i < p->pairs; i++) {
        double moved = p->product[i] * (1.0 + length * p->change[i]) * (1.0 + length * (p->wish[i] - 1.0 - p->change[i]));
        sum += moved;
        smallest = least(smallest, moved);
    }
    return smallest >= CENTRALITY * sum / (double)p->pairs;
}

/* One step of `lead` and `partner`: `advance`. How far t moves. */
static double advanced(const Pairs *p, Direction direction, void *system) {
    double total = 0.0, ahead = 0.0, *change = p->change, *wish = p->wish;
    direction(system, NULL, change);
    double length = least(longest(p->pairs, NULL, change), 1.0);
    for (int64_t i = 0; i < p->pairs; i++) {
        total += p->product[i];
        ahead += p->product[i] * (1.0 + length * change[i]) * (1.0 + length * (-1.0 - change[i]));
    }
    double left = least(ahead / total, 1.0), share = most(left * left * left, least(p->kept * p->residual / total, p->most));
    double aim = share * total / (double)p->pairs;
    for (int64_t i = 0; i < p->pairs; i++) wish[i] = aim / p->product[i] - change[i] * (-1.0 - change[i]);
    double level = direction(system, wish, change);
    length = least(BOUNDARY * longest(p->pairs, wish, change), 1.0);
    for (int cut = 0; cut < p->cuts && !central(p, length); cut++) length *= CUT;
    for (int64_t i = 0; i < p->pairs; i++) {
        p->lead[i] *= 1.0 + length * change[i];
        p->partner[i] *= 1.0 + length * (wish[i] - 1.0 - change[i]);
    }
    return length * level;
}
