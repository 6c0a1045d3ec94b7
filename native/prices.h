/* The balanced point where every UE asks for the same, and the gradient of its common SINR: isac_torch.nn.tracking.prices, in
   single precision as the exported network computes it. Matrices over nodes are transposed, as in balance.h. */

#define ITERATIONS 4   /* of the fixed point: one_shot._ITERATIONS */
#define DOUBLINGS 3    /* squarings of the map of the dual variables */
#define OWN_GAIN 0.01f /* prices._CONSTANTS.least_own_gain */
#define TINY 1e-20f

static float extra_at_zero(const Model *model) { return (float)log1p(exp(model->excess_at_zero)); }

/* The coefficients in single precision, and the untrained weights of the links: `one_shot.start_weights`. */
static void start_weights(Work *w) {
    for (int64_t i = 0; i < w->links * w->wide; i++) {
        w->fheard[i] = (float)w->heard[i];
        w->frequired[i] = (float)w->required[i];
    }
    for (int64_t i = 0; w->shared && i < w->links * w->wide; i++) w->fcoherent[i] = (float)w->coherent[i];
    for (int64_t e = 0; e < w->links; e++) {
        int64_t at = e * w->wide + w->node[e];
        float cross = w->frequired[at], ratio = w->fheard[at] * cross / mostf(cross * cross, TINY);
        w->fsignal[e] = (float)w->signal[e];
        w->flimit[e] = (float)w->limit[e];
        w->fweight[e] = heldf(w->fsignal[e] + ratio * ratio, 1e-12f, 1e12f);
    }
}

/* Shares, amplitudes and the matrix A of the point: `tracking.balancing.terms`. */
static void point_terms(const Model *model, Work *w) {
    int64_t wide = w->wide;
    size_t bytes = (size_t)(w->nodes * wide) * sizeof(float);
    memset(w->fanswer, 0, bytes);
    memset(w->fpilot, 0, bytes);
    for (int64_t p = 0; p < w->nodes; p++) {
        float sum = 0.0f, amplitude = 0.0f, *answer = w->fanswer + p * wide, *pilot = w->fpilot + p * wide;
        for (int64_t e = w->first[p]; e < w->first[p + 1]; e++) sum += w->fweight[e];
        for (int64_t e = w->first[p]; e < w->first[p + 1]; e++) {
            const float *heard = w->fheard + e * wide, *required = w->frequired + e * wide;
            float share = w->fshare[e] = mostf(w->fweight[e] / sum, (float)model->least_share);
            w->froot[e] = sqrtf(share);
            amplitude += w->fsignal[e] * w->froot[e];
            for (int64_t o = 0; o < wide; o++) answer[o] += (heard[o] - required[o]) * share;
            for (int64_t o = 0; w->shared && o < wide; o++) pilot[o] += w->fcoherent[e * wide + o] * w->froot[e];
        }
        for (int64_t o = 0; w->shared && o < wide; o++) answer[o] += pilot[o] * pilot[o];
        w->famplitude[p] = mostf(amplitude, 1e-10f);
    }
}

/* What nodes ask for, and the bounds of targets. */
static void point_asks(const Model *model, Work *w) {
    float extra = extra_at_zero(model), above = expf(extra);
    memset(w->fasks, 0, (size_t)(w->nodes * w->wide) * sizeof(float));
    for (int64_t o = 0; o < w->nodes; o++) {
        float own = o < w->ues ? 0.0f : w->fanswer[o * w->wide + o], amplitude = w->famplitude[o];
        w->fnoise[o] = o < w->ues ? above / (amplitude * amplitude) : 0.0f;
        w->fgain[o] = own > OWN_GAIN ? 1.0f / own : 0.0f;
        w->ffloor[o] = own != 0.0f ? (float)model->floor_share * extra : 0.0f;
        w->fcap[o] = (float)model->sensing_cap + (o < w->ues ? 1e12f : 0.0f);
    }
    for (int64_t p = 0; p < w->nodes; p++)
        for (int64_t o = 0; o < w->nodes; o++)
            w->fasks[p * w->wide + o] = p == o && p >= w->ues ? 0.0f : w->fanswer[p * w->wide + o] * (w->fnoise[o] - w->fgain[o]);
}

/* Power of each AP over its budget at `w->fscale`; the largest. */
static float point_load(Work *w) {
    float largest = 0.0f;
    memset(w->fload, 0, (size_t)w->aps * sizeof(float));
    for (int64_t e = 0; e < w->links; e++) w->fload[w->ap[e]] += w->fshare[e] / w->flimit[e] * w->fscale[w->node[e]];
    for (int64_t m = 0; m < w->aps; m++) largest = mostf(largest, w->fload[m]);
    return largest;
}

/* Steps of the damped fixed point from equal powers; the common SINR. */
static float point_scales(Work *w) {
    float total = 1.0f;
    for (int64_t o = 0; o < w->nodes; o++) w->fscale[o] = 1.0f / (float)w->ues;
    for (int64_t o = w->nodes; o < w->wide; o++) w->fscale[o] = w->fnoise[o] = w->fgain[o] = 0.0f;
    for (int step = 0; step < ITERATIONS; step++) {
        float load = point_load(w);
        combine_f(w->nodes, w->wide, w->fscale, w->fasks, w->ffree);
        total = 0.0f;
        for (int64_t o = 0; o < w->nodes; o++) {
            w->ffree[o] += w->fnoise[o] * load;
            if (o >= w->ues) w->ffree[o] = 0.5f * w->ffree[o] + 0.5f * w->fscale[o];
            if (o < w->ues) total += w->ffree[o];
        }
        for (int64_t o = 0; o < w->nodes; o++) {
            float aim = mostf(w->ffree[o] < w->fcap[o] ? w->ffree[o] : w->fcap[o], w->ffloor[o]);
            w->fscale[o] = o < w->ues ? aim / total : aim;
        }
    }
    return 1.0f / total;
}

/* Dual variables of the nodes in `w->price`; the one of the busiest AP's budget is returned: `_prices`. */
static float prices(Work *w, float level) {
    int64_t wide = w->wide;
    float *from = w->fsquare, *to = w->fother, size = 0.0f, nu = 0.0f;
    memset(from, 0, (size_t)(w->nodes * wide) * sizeof(float));
    for (int64_t p = 0; p < w->nodes; p++) {
        float line = 0.0f;
        for (int64_t e = w->first[p]; e < w->first[p + 1]; e++) line += w->tight[w->ap[e]] * (w->fshare[e] / w->flimit[e]);
        w->line[p] = line;
        for (int64_t o = 0; o < w->nodes; o++) {
            float passed = (w->fasks[p * wide + o] + w->fnoise[o] * line) * (o < w->ues ? level : 1.0f);
            from[p * wide + o] = w->active[o] != 0.0f ? passed : (p < w->ues ? w->ffloor[o] : 0.0f);
        }
    }
    for (int i = 0; i < DOUBLINGS; i++) {
        square_f(w->nodes, wide, from, to);
        float *kept = from;
        from = to, to = kept;
    }
    for (int64_t o = w->nodes; o < wide; o++) w->line[o] = w->price[o] = 0.0f;
    for (int64_t p = 0; p < w->nodes; p++) w->price[p] = dot_f(wide, from + p * wide, w->line);
    for (int64_t k = 0; k < w->ues; k++) size += fabsf(w->price[k]) * w->fscale[k];
    for (int64_t o = 0; o < w->nodes; o++) w->price[o] /= mostf(size, TINY);
    for (int64_t k = 0; k < w->ues; k++) nu += w->price[k] * w->fnoise[k];
    return nu * level;
}

/* The two parts of the gradient in the logarithm of each link's power. */
static void gradient(Work *w, float level, float nu) {
    int64_t wide = w->wide;
    for (int64_t o = 0; o < wide; o++) w->ffree[o] = 0.0f;
    for (int64_t o = 0; o < w->nodes; o++)
        w->ffree[o] = w->price[o] * w->fnoise[o] * level - w->price[o] * w->active[o] * w->fgain[o];
    for (int64_t e = 0; e < w->links; e++) {
        int64_t p = w->node[e];
        float net = dot_f(wide, w->ffree, w->fheard + e * wide) - dot_f(wide, w->ffree, w->frequired + e * wide);
        float shared = 0.0f;
        for (int64_t k = 0; w->shared && k < w->ues; k++)
            shared += w->price[k] * w->fnoise[k] * level * w->fpilot[p * wide + k] * w->fcoherent[e * wide + k];
        w->fpower[e] = w->fshare[e] * w->fscale[p];
        w->harm[e] = (net + nu * w->tight[w->ap[e]] / w->flimit[e]) * w->fpower[e] + shared * w->froot[e] * w->fscale[p];
        w->useful[e] = w->price[p] * w->fscale[p] / w->famplitude[p] * (w->fsignal[e] * w->froot[e]);
    }
}

/* The point: `priced_point`. Returns 1 / W, `per_watt`, and the dual variable of the busiest AP's budget in `nu`. */
static float priced_point(const Model *model, Work *w, float *nu) {
    point_terms(model, w);
    point_asks(model, w);
    float level = point_scales(w);
    for (int64_t o = 0; o < w->nodes; o++)
        w->active[o] = w->ffree[o] > w->ffloor[o] && w->ffree[o] < w->fcap[o] ? 1.0f : 0.0f;
    float per_watt = point_load(w);
    for (int64_t m = 0; m < w->aps; m++) w->tight[m] = w->fload[m] >= per_watt ? 1.0f : 0.0f;
    *nu = prices(w, level);
    gradient(w, level, *nu);
    combine_f(w->nodes, w->wide, w->fscale, w->fanswer, w->frow);
    return per_watt;
}
