/* Balancing steps (P31)-(P32): isac_torch.deployment.downlink_pilots.balancing, with constants of `merit`. */

static const double SPENT = 8.0, FIRST_DUAL = -1.2, LEAST_DUAL = -7.0, MOST_DUAL = 3.0, MOST_EXCESS = 1.0, LEAST_VALUE = 1e-9;
static const double FIRST_PACE[4] = {1.0, 1.5, 0.005, 1.0};

/* Logarithms of shares that sum to one over the UEs, in each of `columns` columns, in place of `value`. */
static void normalise(const Road *road, int64_t columns, double *value, RoadWork *w) {
    for (int64_t m = 0; m < columns; m++) w->top[m] = -INFINITY, w->sum[m] = 0.0;
    for (int64_t k = 0; k < road->ues; k++)
        for (int64_t m = 0; m < columns; m++) w->top[m] = upper(value[k * columns + m], w->top[m]);
    for (int64_t k = 0; k < road->ues; k++)
        for (int64_t m = 0; m < columns; m++) {
            value[k * columns + m] -= w->top[m];
            w->sum[m] += exp(value[k * columns + m]);
        }
    for (int64_t m = 0; m < columns; m++) w->sum[m] = log(w->sum[m]);
    for (int64_t k = 0; k < road->ues; k++)
        for (int64_t m = 0; m < columns; m++) value[k * columns + m] -= w->sum[m];
}

/* One step of the dual variables and of the shares from the point at the shares. */
static void balancing_step(const Road *road, const double *pace, RoadWork *w) {
    double by[4], highest = largest_loss(road, w);
    for (int i = 0; i < 4; i++) by[i] = exp(pace[i]) * FIRST_PACE[i];
    for (int64_t k = 0; k < road->ues; k++) {
        double excess = lower(upper(by[2] - w->accuracy[k], -MOST_EXCESS), MOST_EXCESS);
        w->log_lambda[k] += by[0] * (w->loss[k] - highest);
        w->log_mu[k] = lower(upper(w->log_mu[k] + by[1] * excess, LEAST_DUAL), MOST_DUAL);
    }
    normalise(road, 1, w->log_lambda, w);
    for (int64_t k = 0; k < road->ues; k++) {
        double lambda = exp(w->log_lambda[k]), mu = exp(w->log_mu[k]);
        for (int64_t e = k * road->aps; e < (k + 1) * road->aps; e++) {
            double value = lambda * w->strength[e] + mu * w->accurate[e];
            w->share[e] += by[3] * (log(upper(value, LEAST_VALUE)) - w->share[e]);
        }
    }
    normalise(road, road->aps, w->share, w);
}

/* The point at the shares, which are kept as the best where its score is higher than `highest`; 0 where there is none. */
static int compared(const Road *road, RoadWork *w, double *highest) {
    for (int64_t e = 0; e < w->links; e++) w->logits[e] = w->share[e] + SPENT;
    if (!point_at(road, w->logits, w)) return 0;
    double score = score_of(road, w);
    if (score > *highest) {
        *highest = score;
        memcpy(w->best, w->logits, (size_t)w->links * sizeof(double));
    }
    return 1;
}

/* From w->logits and first dual variables in w->log_lambda and w->log_mu to the best logits in w->best. */
static int balanced_road(const Road *road, const RoadModel *model, const double *pace, RoadWork *w) {
    double highest = -INFINITY;
    memcpy(w->share, w->logits, (size_t)w->links * sizeof(double));
    normalise(road, road->aps, w->share, w);
    for (int64_t e = 0; e < w->links; e++) w->best[e] = w->share[e] + SPENT; /* where no score is finite */
    normalise(road, 1, w->log_lambda, w);
    for (int64_t k = 0; k < road->ues; k++) w->log_mu[k] += FIRST_DUAL;
    for (int64_t step = 0; step < model->steps; step++, pace += 4) {
        if (ends(w->wanted, &w->stopped) || !compared(road, w, &highest)) return 0;
        balancing_step(road, pace, w);
    }
    return compared(road, w, &highest);
}
