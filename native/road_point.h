/* What is known at some powers of a road: isac_torch.deployment.downlink_pilots.merit, whose constants these are. */

static const double SILENCE = -6.0, STRICT_WEIGHT = 30.0, STRICT_MARGIN = 1e-5, LEAST_ACCURACY = 1e-6, TINY_POWER = 1e-300;

/* Powers by logits: each AP's budget by a softmax over its links and the option to keep power back. */
static void powers_of(const Road *road, const double *logits, RoadWork *w) {
    for (int64_t m = 0; m < road->aps; m++) w->top[m] = SILENCE;
    for (int64_t k = 0, e = 0; k < road->ues; k++)
        for (int64_t m = 0; m < road->aps; m++, e++) {
            w->power[e] = road->serves && !(road->serves[e] > 0.0) ? -INFINITY : logits[e];
            w->top[m] = upper(w->power[e], w->top[m]);
        }
    for (int64_t m = 0; m < road->aps; m++) w->sum[m] = exp(SILENCE - w->top[m]);
    for (int64_t k = 0, e = 0; k < road->ues; k++)
        for (int64_t m = 0; m < road->aps; m++, e++) {
            w->power[e] = exp(w->power[e] - w->top[m]);
            w->sum[m] += w->power[e];
        }
    for (int64_t k = 0, e = 0; k < road->ues; k++)
        for (int64_t m = 0; m < road->aps; m++, e++) {
            w->power[e] = w->power[e] / w->sum[m] * road->budget[m];
            if (road->serves) w->power[e] = upper(w->power[e] * road->serves[e], TINY_POWER);
        }
}

static inline double finite_or_zero(double x) { return isfinite(x) ? x : 0.0; }

/* log w NMSE of UE k and the elasticities of its strength: `strength`, `error`. */
static int loss_at(const Road *road, int64_t k, RoadWork *w) {
    int64_t begin = k * road->aps;
    const double *gain = road->gain + begin, *estimate = road->estimate + begin, *power = w->power + begin;
    double total = 0.0, heard = 0.0, *part = w->strength + begin, *error = w->error + k;
    for (int64_t m = 0; m < road->aps; m++) {
        part[m] = sqrt(estimate[m] * power[m]);
        total += part[m];
        heard += gain[m] * power[m];
    }
    double value = total * total + heard;
    for (int64_t m = 0; m < road->aps; m++) part[m] = finite_or_zero((total * part[m] + gain[m] * power[m]) / value);
    if (road->orthogonal)
        *error = heard * (1.0 / (1.0 + heard));
    else if (!correlated_error(road, k, w, error))
        return 0;
    w->loss[k] = log(road->weight[k] * *error / value);
    return 1;
}

/* log(Gamma / CRB) of UE k and its elasticities: `quality`. */
static double quality_at(const Road *road, int64_t k, const double *power, double *part) {
    const double *x = road->fisher + k * road->aps, *y = x + road->ues * road->aps, *cross = y + road->ues * road->aps;
    double xx = 0.0, yy = 0.0, xy = 0.0;
    for (int64_t m = 0; m < road->aps; m++) xx += x[m] * power[m], yy += y[m] * power[m], xy += cross[m] * power[m];
    double trace = xx + yy, determinant = xx * yy - xy * xy;
    double by_xx = yy / determinant - 1.0 / trace, by_yy = xx / determinant - 1.0 / trace, by_xy = 2.0 * xy / determinant;
    for (int64_t m = 0; m < road->aps; m++)
        part[m] = finite_or_zero(power[m] * (by_xx * x[m] + by_yy * y[m] - by_xy * cross[m]));
    return determinant > 0.0 ? log(road->crb_max[k] * determinant / trace) : -INFINITY;
}

/* `Point` at the powers of logits; 0 where there is no error of some UE, or, with many UEs, nobody waits any more. */
static int point_at(const Road *road, const double *logits, RoadWork *w) {
    powers_of(road, logits, w);
    for (int64_t e = 0; e < w->links && !road->orthogonal; e++) w->root[e] = sqrt(w->power[e]);
    for (int64_t k = 0; k < road->ues; k++) {
        if (!loss_at(road, k, w) || (k % 32 == 31 && ends(w->wanted, &w->stopped))) return 0;
        w->accuracy[k] = quality_at(road, k, w->power + k * road->aps, w->accurate + k * road->aps);
    }
    return 1;
}

static double largest_loss(const Road *road, const RoadWork *w) {
    double largest = -INFINITY;
    for (int64_t k = 0; k < road->ues; k++) largest = upper(w->loss[k], largest);
    return largest;
}

/* By which points are compared; -inf where it is not finite. */
static double score_of(const Road *road, const RoadWork *w) {
    double missing = 0.0;
    for (int64_t k = 0; k < road->ues; k++)
        missing += upper(STRICT_MARGIN - upper(w->accuracy[k], log(LEAST_ACCURACY)), 0.0);
    double score = -largest_loss(road, w) - STRICT_WEIGHT * missing;
    return isfinite(score) ? score : -INFINITY;
}
