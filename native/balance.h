/* Balanced powers: isac_torch.tracking.balancing and isac_torch.deployment.balance, with matrices transposed, so that a row
   holds what one node does to all others. */

#define SOLVES 6           /* most solutions for an active set; what is not settled then is left to the caller */
#define RIDGED (1.0 + 1e-9)
#define SINGULAR 1e-6 /* smallest pivot, over the largest entry, of equations whose solution can be trusted */

/* The equations at the shares of `w->share`: `terms`, with the excess and floors of the nodes' logits. */
static void terms(const Drop *drop, const Model *model, Work *w) {
    int64_t ues = w->ues, wide = w->wide;
    size_t bytes = (size_t)(w->nodes * wide) * sizeof(double);
    memset(w->answer, 0, bytes);
    memset(w->pilot, 0, bytes);
    memset(w->asks, 0, bytes);
    for (int64_t p = 0; p < w->nodes; p++) {
        double amplitude = 0.0, *answer = w->answer + p * wide, *pilot = w->pilot + p * wide;
        w->own[p] = 0.0;
        for (int64_t e = w->first[p]; e < w->first[p + 1]; e++) {
            const double *heard = w->heard + e * wide, *required = w->required + e * wide, share = w->share[e];
            for (int64_t o = 0; o < wide; o++) answer[o] += (heard[o] - required[o]) * share;
            for (int64_t o = 0; w->shared && o < wide; o++) pilot[o] += w->coherent[e * wide + o] * w->root[e];
            amplitude += w->signal[e] * w->root[e];
            w->own[p] += heard[p] * share;
            w->weight[e] = share / w->limit[e];
        }
        for (int64_t o = 0; w->shared && o < wide; o++) answer[o] += pilot[o] * pilot[o];
        amplitude = most(amplitude, 1e-10);
        double logit = w->node_logit[p] + model->excess_at_zero;
        double extra = logit > 0.0 ? logit + log1p(exp(-logit)) : log1p(exp(logit));
        w->noise[p] = p < ues ? exp(least(extra, model->excess_cap)) / (amplitude * amplitude) : 0.0;
        w->floor[p] = p < ues || answer[p] == 0.0 ? 0.0 : model->floor_share * extra;
        w->cap[p] = model->sensing_cap + (p < ues ? 1e12 : 0.0);
    }
    (void)drop;
}

/* What nodes ask for, of a watt of each other one: `Terms.asks`. */
static void asked(const Model *model, Work *w) {
    for (int64_t o = 0; o < w->nodes; o++) {
        double own = w->answer[o * w->wide + o];
        double enough = most(model->least_net_gain * w->own[o], model->least_own_gain);
        w->above[o] = o < w->ues ? w->noise[o] : -((own > enough ? 1.0 : 0.0) / most(own, enough));
    }
    for (int64_t p = 0; p < w->nodes; p++) {
        double *asks = w->asks + p * w->wide, *answer = w->answer + p * w->wide;
        for (int64_t o = 0; o < w->nodes; o++) asks[o] = answer[o] * w->above[o];
        if (p >= w->ues) asks[p] = 0.0;
    }
}

/* Shares from the logits of the links: `balanced_power`. */
static void shares(const Model *model, Work *w) {
    for (int64_t p = 0; p < w->nodes; p++) {
        int64_t begin = w->first[p], end = w->first[p + 1];
        double largest = -DBL_MAX, sum = 0.0;
        for (int64_t e = begin; e < end; e++) largest = most(largest, w->link_logit[e]);
        for (int64_t e = begin; e < end; e++) sum += w->share[e] = exp(w->link_logit[e] - largest);
        for (int64_t e = begin; e < end; e++) {
            w->share[e] = most(w->share[e] / sum, model->least_share);
            w->root[e] = sqrt(w->share[e]);
        }
    }
}

/* Power of each AP over its budget, and the AP with the largest. */
static int64_t busiest(Work *w) {
    int64_t best = 0;
    memset(w->load, 0, (size_t)w->aps * sizeof(double));
    for (int64_t e = 0; e < w->links; e++) w->load[w->ap[e]] += w->weight[e] * w->scale[w->node[e]];
    for (int64_t m = 1; m < w->aps; m++)
        if (w->load[m] > w->load[best]) best = m;
    return best;
}

/* One step of the fixed point, `wanted`; 1 where no node's power moves. */
static int wanted(Work *w, double load, double *level) {
    double total = 0.0;
    int settled = 1;
    combine_d(w->nodes, w->wide, w->scale, w->asks, w->free);
    for (int64_t o = 0; o < w->ues; o++) total += w->free[o] += w->noise[o] * load;
    *level = 1.0 / total;
    for (int64_t o = 0; o < w->nodes; o++) {
        double aim = most(least(w->free[o], w->cap[o]), w->floor[o]);
        w->aim[o] = o < w->ues ? aim / total : aim;
        settled &= fabs(w->aim[o] - w->scale[o]) <= 1e-7 * w->scale[o] + 1e-15;
    }
    return settled;
}

/* x in place of the right side of A x = b with rows of `sides` entries, by elimination with pivots; 0 where A is nearly singular. */
static int solve(int64_t size, int64_t sides, double *a, double *b) {
    double largest = 0.0;
    for (int64_t i = 0; i < size * size; i++) largest = most(largest, fabs(a[i]));
    for (int64_t i = 0; i < size; i++) {
        int64_t pivot = i;
        for (int64_t r = i + 1; r < size; r++)
            if (fabs(a[r * size + i]) > fabs(a[pivot * size + i])) pivot = r;
        if (!(fabs(a[pivot * size + i]) > SINGULAR * largest)) return 0;
        for (int64_t c = 0; pivot != i && c < size; c++) {
            double kept = a[i * size + c];
            a[i * size + c] = a[pivot * size + c], a[pivot * size + c] = kept;
        }
        for (int64_t c = 0; pivot != i && c < sides; c++) {
            double kept = b[i * sides + c];
            b[i * sides + c] = b[pivot * sides + c], b[pivot * sides + c] = kept;
        }
        for (int64_t r = i + 1; r < size; r++) {
            double part = a[r * size + i] / a[i * size + i];
            for (int64_t c = i; c < size; c++) a[r * size + c] -= part * a[i * size + c];
            for (int64_t c = 0; c < sides; c++) b[r * sides + c] -= part * b[i * sides + c];
        }
    }
    for (int64_t i = size - 1; i >= 0; i--)
        for (int64_t c = 0; c < sides; c++) {
            double sum = b[i * sides + c];
            for (int64_t r = i + 1; r < size; r++) sum -= a[i * size + r] * b[r * sides + c];
            b[i * sides + c] = sum / a[i * size + i];
        }
    return 1;
}

/* `follow` [target][ue] of the active set, tau = follow t; 0 where there is none. */
static int followers(Work *w) {
    int64_t k = w->ues, count = w->targets;
    for (int64_t l = 0; l < count; l++) {
        int held = w->free[k + l] != w->aim[k + l];
        for (int64_t t = 0; t < count; t++) {
            double asks = held ? 0.0 : w->asks[(k + t) * w->wide + k + l];
            w->small[l * count + t] = (l == t ? RIDGED : 0.0) - asks;
        }
        for (int64_t j = 0; j < k; j++) w->follow[l * k + j] = held ? w->aim[k + l] : w->asks[j * w->wide + k + l];
    }
    return solve(count, k, w->small, w->follow);
}

/* The dominant eigenvector of the UEs' equations in `w->free`, by squaring: `_solved`. `busy` sends the largest load. */
static void dominant(Work *w, int64_t busy, double level) {
    int64_t k = w->ues, wide = (k + WIDE - 1) / WIDE * WIDE;
    double *from = w->square, *to = w->other;
    memset(from, 0, (size_t)(k * wide) * sizeof(double));
    for (int64_t p = 0; p < w->nodes; p++) {
        w->own[p] = 0.0;
        for (int64_t e = w->first[p]; e < w->first[p + 1]; e++) w->own[p] += w->ap[e] == busy ? w->weight[e] : 0.0;
    }
    for (int64_t j = 0; j < k; j++)
        for (int64_t i = 0; i < k; i++) from[j * wide + i] = w->asks[j * w->wide + i] + w->noise[i] * w->own[j];
    for (int64_t l = 0; l < w->targets; l++)
        for (int64_t i = 0; i < k; i++) {
            double through = w->asks[(k + l) * w->wide + i] + w->noise[i] * w->own[k + l];
            for (int64_t j = 0; j < k; j++) from[j * wide + i] += through * w->follow[l * k + j];
        }
    for (int64_t i = 0; i < k * wide; i++) from[i] *= level;
    for (int squarings = k <= 128 ? 8 : 5; squarings > 0; squarings--) {
        square_d(k, wide, from, to);
        double *kept = from;
        from = to, to = kept;
    }
    combine_d(k, wide, w->scale, from, w->free);
}

/* The next powers, which meet the active set exactly; 0 where there are none. */
static int solved(const Work *w) {
    double total = 0.0, sum = 0.0;
    int finite = 1;
    for (int64_t i = 0; i < w->ues; i++) total += w->free[i];
    for (int64_t i = 0; i < w->ues; i++) sum += w->free[i] = most(w->free[i] / total, 0.1 * w->scale[i]);
    for (int64_t l = 0; l < w->targets; l++) {
        double target = 0.0;
        for (int64_t j = 0; j < w->ues; j++) target += w->follow[l * w->ues + j] * w->free[j];
        w->aim[w->ues + l] = most(target, w->floor[w->ues + l]) / sum;
    }
    for (int64_t i = 0; i < w->ues; i++) w->aim[i] = w->free[i] / sum;
    for (int64_t o = 0; o < w->nodes; o++) finite &= isfinite(w->aim[o]) != 0;
    for (int64_t o = 0; finite && o < w->nodes; o++) w->scale[o] = w->aim[o];
    return finite;
}

/* Powers (W) in `w->power` from the network's logits: `balanced_power`. 0 where they do not settle. */
static int balance(const Drop *drop, const Model *model, Work *w) {
    double total = 0.0, level;
    shares(model, w);
    terms(drop, model, w);
    asked(model, w);
    for (int64_t k = 0; k < w->ues; k++) total += w->fscale[k];
    for (int64_t o = 0; o < w->nodes; o++) w->scale[o] = w->fscale[o] / total;
    for (int solves = 0;; solves++) {
        int64_t busy = busiest(w);
        if (wanted(w, w->load[busy], &level)) break;
        if (solves == SOLVES || unwanted(w) || !followers(w)) return 0;
        dominant(w, busy, level);
        if (!solved(w)) return 0;
    }
    double load = w->load[busiest(w)];
    for (int64_t e = 0; e < w->links; e++) w->power[e] = w->share[e] * w->scale[w->node[e]] / load;
    return 1;
}
