/* The network of the downlink-pilot system: isac_torch.deployment.downlink_pilots.network, in double precision as there. */

static const double TINY_FEATURE = 1e-20, NOTHING = 1e-30, FEATURE_RANGE = 4.0;

/* In dB over the mean, in spreads, held. */
static inline double standardised(double value, double mean, double spread) {
    double level = (10.0 * log10(upper(value, TINY_FEATURE)) - mean) / spread;
    return lower(upper(level, -FEATURE_RANGE), FEATURE_RANGE);
}

/* Untrained directions. */
static void road_start(const Road *road, RoadWork *w) {
    int64_t aps = road->aps;
    for (int64_t m = 0; m < aps; m++) w->sum[m] = 0.0;
    for (int64_t k = 0; k < road->ues; k++) {
        double total = 0.0;
        for (int64_t m = 0; m < aps; m++) total += sqrt(upper(road->estimate[k * aps + m], 1e-30));
        for (int64_t m = 0; m < aps; m++) {
            w->logits[k * aps + m] = 0.5 * log(upper(road->estimate[k * aps + m], 1e-30)) - 1.5 * log(total);
            w->sum[m] += w->logits[k * aps + m];
        }
    }
    for (int64_t k = 0; k < road->ues; k++)
        for (int64_t m = 0; m < aps; m++) w->logits[k * aps + m] -= w->sum[m] / (double)road->ues;
}

/* Each AP's budget in equal parts over the UEs that it serves, in w->power. */
static void even_powers(const Road *road, RoadWork *w) {
    for (int64_t m = 0; m < road->aps; m++) {
        double served = road->serves ? 0.0 : (double)road->ues;
        for (int64_t k = 0; k < road->ues && road->serves; k++) served += road->serves[k * road->aps + m];
        for (int64_t k = 0; k < road->ues; k++) {
            int64_t e = k * road->aps + m;
            w->power[e] = (road->serves ? road->serves[e] : 1.0) * (road->budget[m] / upper(served, 1.0));
        }
    }
}

/* `_features` of links, UEs and APs. */
static void road_features(const Road *road, RoadWork *w) {
    int64_t aps = road->aps, ues = road->ues;
    const double *x = road->fisher, *y = x + w->links;
    for (int64_t m = 0; m < aps; m++) w->sum[m] = 0.0, w->top[m] = -INFINITY;
    for (int64_t k = 0; k < ues; k++)
        for (int64_t m = 0; m < aps; m++) {
            double energy = road->estimate[k * aps + m] * road->budget[m];
            w->sum[m] += energy;
            w->top[m] = upper(energy, w->top[m]);
        }
    even_powers(road, w);
    for (int64_t k = 0; k < ues; k++) {
        double energies = 0.0, traces = 0.0, *node = w->input.ue + k * UE_INPUTS;
        for (int64_t m = 0; m < aps; m++) {
            int64_t e = k * aps + m;
            energies += road->estimate[e] * road->budget[m];
            traces += (x[e] + y[e]) * road->budget[m];
        }
        for (int64_t m = 0; m < aps; m++) {
            int64_t e = k * aps + m;
            double energy = road->estimate[e] * road->budget[m], trace = (x[e] + y[e]) * road->budget[m];
            double *link = w->input.link + e * LINK_INPUTS;
            link[0] = standardised(energy, 30.0, 15.0);
            link[1] = standardised(energy / upper(energies / (double)aps, NOTHING), 0.0, 10.0);
            link[2] = standardised(energy / upper(w->sum[m] / (double)ues, NOTHING), 0.0, 10.0);
            link[3] = standardised(road->gain[e] / road->estimate[e] - 1.0, 0.0, 10.0);
            link[4] = standardised(trace / upper(traces / (double)aps, NOTHING), 0.0, 10.0);
            link[5] = standardised(0.5 * trace * road->crb_max[k], 0.0, 10.0);
        }
        node[0] = standardised(energies, 30.0, 15.0);
        node[1] = standardised(exp(-quality_at(road, k, w->power + k * aps, w->accurate + k * aps)), 0.0, 5.0);
        node[2] = standardised(road->weight[k], 0.0, 10.0);
        node[3] = (double)ues / 4.0;
    }
    for (int64_t m = 0; m < aps; m++) {
        w->input.ap[AP_INPUTS * m] = (double)ues / 4.0;
        w->input.ap[AP_INPUTS * m + 1] = standardised(w->top[m] / upper(w->sum[m] / (double)ues, NOTHING), 0.0, 10.0);
    }
}

/* `Leaks`: how far each link disturbs each UE at full power. */
static void road_leaks(const Road *road, RoadWork *w) {
    int64_t ues = road->ues, aps = road->aps;
    for (int64_t k = 0; k < ues; k++) {
        double sum = 0.0, *level = w->level + k * w->links, *part = w->part + k * w->links;
        for (int64_t j = 0; j < ues; j++) {
            double re = road->gram[k * ues + j], im = road->gram[(ues + k) * ues + j], squared = k == j ? 0.0 : re * re + im * im;
            for (int64_t m = 0; m < aps; m++) {
                part[j * aps + m] = squared * (road->gain[k * aps + m] * road->budget[m]);
                sum += part[j * aps + m];
            }
        }
        sum = upper(sum, 1e-30);
        for (int64_t e = 0; e < w->links; e++) {
            level[e] = part[e] / (1.0 + part[e]);
            part[e] /= sum;
        }
    }
}

/* `_point_features` at w->logits; 0 where there is no point. */
static int road_extras(const Road *road, RoadWork *w) {
    if (!point_at(road, w->logits, w)) return 0;
    double highest = largest_loss(road, w) * (10.0 / log(10.0)), aps = (double)road->aps;
    for (int64_t m = 0; m < road->aps; m++) w->extra.ap[m] = 0.0;
    for (int64_t k = 0; k < road->ues; k++) {
        w->extra.ue[UE_EXTRAS * k] = upper(w->loss[k] * (10.0 / log(10.0)) - highest, -10.0) / 3.0;
        w->extra.ue[UE_EXTRAS * k + 1] = standardised(exp(-w->accuracy[k]), 0.0, 5.0);
        for (int64_t m = 0; m < road->aps; m++) {
            int64_t e = k * road->aps + m;
            double *link = w->extra.link + e * LINK_EXTRAS;
            link[0] = standardised(w->power[e] / road->budget[m], -5.0, 5.0);
            link[1] = standardised(w->strength[e] * aps, -3.0, 7.0);
            link[2] = standardised(w->accurate[e] * aps, -3.0, 7.0);
            w->extra.ap[m] += w->power[e];
        }
    }
    for (int64_t m = 0; m < road->aps; m++) w->extra.ap[m] /= road->budget[m];
    return 1;
}

static void repeat_row(int64_t rows, int64_t wide, const double *row, double *out) {
    for (int64_t i = 0; i < rows; i++) memcpy(out + i * wide, row, (size_t)wide * sizeof(double));
}

static void add_d(int64_t count, const double *more, double *x) {
    for (int64_t i = 0; i < count; i++) x[i] += more[i];
}

static void rectify_d(int64_t count, double *x) {
    for (int64_t i = 0; i < count; i++) x[i] = upper(x[i], 0.0);
}

/* relu(inputs weight + bias) in `out`; the weights after those read. */
static const double *road_encoded(
    int64_t rows, int64_t inputs, const double *input, const double *weight, int64_t wide, double *out) {
    const double *bias = weight + inputs * wide;
    repeat_row(rows, wide, bias, out);
    add_product_d(rows, inputs, input, inputs, 1, wide, weight, out);
    rectify_d(rows * wide, out);
    return bias + wide;
}

/* `_norm`; columns from `hidden` on stay zero, as their weights are. */
static void norm_d(int64_t rows, const RoadModel *model, const double *x, const double *weight, double *out) {
    int64_t wide = model->wide, hidden = model->hidden;
    for (int64_t i = 0; i < rows; i++, x += wide, out += wide) {
        double mean = 0.0, square = 0.0;
        for (int64_t h = 0; h < hidden; h++) mean += x[h];
        mean *= 1.0 / (double)hidden;
        for (int64_t h = 0; h < hidden; h++) square += (x[h] - mean) * (x[h] - mean);
        double spread = sqrt(square * (1.0 / (double)hidden) + 1e-5);
        for (int64_t h = 0; h < wide; h++) out[h] = (x[h] - mean) / spread * weight[h] + weight[wide + h];
    }
}

/* New states of the APs; the weights after those read. */
static const double *road_ap_update(const Road *road, const RoadModel *model, const double *weight, RoadWork *w) {
    int64_t aps = road->aps, wide = model->wide, h = model->hidden;
    const double *heard = weight + h * wide, *extra = heard + h * wide, *bias = extra + AP_EXTRAS * wide;
    memset(w->reached, 0, (size_t)(aps * wide) * sizeof(double));
    for (int64_t k = 0; k < road->ues; k++) add_d(aps * wide, w->norm.link + k * aps * wide, w->reached);
    for (int64_t i = 0; i < aps * wide; i++) w->reached[i] /= 8.0;
    repeat_row(aps, wide, bias, w->new.ap);
    add_product_d(aps, h, w->norm.ap, wide, 1, wide, weight, w->new.ap);
    add_product_d(aps, h, w->reached, wide, 1, wide, heard, w->new.ap);
    add_product_d(aps, AP_EXTRAS, w->extra.ap, AP_EXTRAS, 1, wide, extra, w->new.ap);
    rectify_d(aps * wide, w->new.ap);
    return bias + wide;
}

/* New states of the UEs; the weights after those read. */
static const double *road_ue_update(const Road *road, const RoadModel *model, const double *weight, RoadWork *w) {
    int64_t ues = road->ues, wide = model->wide, h = model->hidden;
    const double *extra = weight + h * wide, *own = extra + UE_EXTRAS * wide, *level = own + h * wide, *part = level + h * wide;
    const double *bias = part + h * wide;
    memset(w->gathered, 0, (size_t)(ues * wide) * sizeof(double));
    for (int64_t e = 0; e < w->links; e++) add_d(wide, w->norm.link + e * wide, w->gathered + e / road->aps * wide);
    for (int64_t i = 0; i < ues * wide; i++) w->gathered[i] *= 1.0 / (double)road->aps;
    repeat_row(ues, wide, bias, w->new.ue);
    add_product_d(ues, h, w->norm.ue, wide, 1, wide, weight, w->new.ue);
    add_product_d(ues, UE_EXTRAS, w->extra.ue, UE_EXTRAS, 1, wide, extra, w->new.ue);
    add_product_d(ues, h, w->gathered, wide, 1, wide, own, w->new.ue);
    if (!road->orthogonal) {
        memset(w->louder, 0, (size_t)(ues * wide) * sizeof(double));
        memset(w->parted, 0, (size_t)(ues * wide) * sizeof(double));
        add_product_d(ues, w->links, w->level, w->links, 1, wide, w->norm.link, w->louder);
        add_product_d(ues, w->links, w->part, w->links, 1, wide, w->norm.link, w->parted);
        for (int64_t i = 0; i < ues * wide; i++) w->louder[i] /= (double)w->links;
        add_product_d(ues, h, w->louder, wide, 1, wide, level, w->new.ue);
        add_product_d(ues, h, w->parted, wide, 1, wide, part, w->new.ue);
    }
    rectify_d(ues * wide, w->new.ue);
    return bias + wide;
}

/* What is added to the links' states, in w->mixed; the weights after those read. */
static const double *road_link_update(const Road *road, const RoadModel *model, const double *weight, RoadWork *w) {
    int64_t aps = road->aps, ues = road->ues, wide = model->wide, h = model->hidden;
    const double *from_ap = weight + h * wide, *level = from_ap + h * wide, *part = level + h * wide, *own = part + h * wide;
    const double *extra = own + h * wide, *bias = extra + LINK_EXTRAS * wide, *mix = bias + wide;
    memset(w->gathered, 0, (size_t)(ues * wide) * sizeof(double));
    add_product_d(ues, h, w->new.ue, wide, 1, wide, weight, w->gathered);
    memset(w->reached, 0, (size_t)(aps * wide) * sizeof(double));
    add_product_d(aps, h, w->new.ap, wide, 1, wide, from_ap, w->reached);
    repeat_row(w->links, wide, bias, w->new.link);
    for (int64_t k = 0; k < ues; k++) {
        add_d(aps * wide, w->reached, w->new.link + k * aps * wide);
        for (int64_t m = 0; m < aps; m++) add_d(wide, w->gathered + k * wide, w->new.link + (k * aps + m) * wide);
    }
    if (!road->orthogonal) {
        memset(w->louder, 0, (size_t)(ues * wide) * sizeof(double));
        memset(w->parted, 0, (size_t)(ues * wide) * sizeof(double));
        add_product_d(ues, h, w->new.ue, wide, 1, wide, level, w->louder);
        add_product_d(ues, h, w->new.ue, wide, 1, wide, part, w->parted);
        for (int64_t i = 0; i < ues * wide; i++) {
            w->louder[i] /= (double)ues;
            w->parted[i] *= (double)aps; /* links over UEs */
        }
        add_product_d(w->links, ues, w->level, 1, w->links, wide, w->louder, w->new.link);
        add_product_d(w->links, ues, w->part, 1, w->links, wide, w->parted, w->new.link);
    }
    add_product_d(w->links, h, w->norm.link, wide, 1, wide, own, w->new.link);
    add_product_d(w->links, LINK_EXTRAS, w->extra.link, LINK_EXTRAS, 1, wide, extra, w->new.link);
    rectify_d(w->links * wide, w->new.link);
    repeat_row(w->links, wide, mix + h * wide, w->mixed);
    add_product_d(w->links, h, w->new.link, wide, 1, wide, mix, w->mixed);
    return mix + h * wide + wide;
}

/* One layer; the weights after those read. */
static const double *road_layer(const Road *road, const RoadModel *model, const double *weight, RoadWork *w) {
    int64_t wide = model->wide;
    norm_d(w->links, model, w->state.link, weight, w->norm.link);
    norm_d(road->ues, model, w->state.ue, weight + 2 * wide, w->norm.ue);
    norm_d(road->aps, model, w->state.ap, weight + 4 * wide, w->norm.ap);
    weight = road_ap_update(road, model, weight + 6 * wide, w);
    weight = road_ue_update(road, model, weight, w);
    weight = road_link_update(road, model, weight, w);
    add_d(w->links * wide, w->mixed, w->state.link);
    add_d(road->ues * wide, w->new.ue, w->state.ue);
    add_d(road->aps * wide, w->new.ap, w->state.ap);
    return weight;
}

/* Add to w->logits what a head reads of the links; the weights after those read. */
static const double *road_head(const double *weight, RoadWork *w) {
    for (int64_t e = 0; e < w->links; e++) w->logits[e] += dot_d(w->wide, w->state.link + e * w->wide, weight) + weight[w->wide];
    return weight + 2 * w->wide;
}

/* The road's powers; 0 where they are no finite numbers, or the answer is no longer wanted. */
static int road_network(const Road *road, const RoadModel *model, RoadWork *w) {
    int64_t wide = model->wide;
    road_start(road, w);
    road_features(road, w);
    if (!road->orthogonal) road_leaks(road, w);
    const double *weight = road_encoded(w->links, LINK_INPUTS, w->input.link, model->weights, wide, w->state.link);
    weight = road_encoded(road->ues, UE_INPUTS, w->input.ue, weight, wide, w->state.ue);
    weight = road_encoded(road->aps, AP_INPUTS, w->input.ap, weight, wide, w->state.ap);
    if (!road_extras(road, w)) return 0;
    for (int64_t layer = 0; layer < model->layers + model->refinements; layer++) {
        if (ends(w->wanted, &w->stopped) || (layer >= model->layers && !road_extras(road, w))) return 0;
        weight = road_layer(road, model, weight, w);
        if (layer + 1 >= model->layers) weight = road_head(weight, w);
    }
    for (int64_t k = 0; k < road->ues; k++) { /* the dual variables' weights: two rows and the row of their biases */
        w->log_lambda[k] = dot_d(wide, w->state.ue + k * wide, weight) + weight[2 * wide];
        w->log_mu[k] = dot_d(wide, w->state.ue + k * wide, weight + wide) + weight[2 * wide + 1];
    }
    if (!balanced_road(road, model, weight + 3 * wide, w)) return 0;
    powers_of(road, w->best, w);
    for (int64_t e = 0; e < w->links; e++) {
        if (!isfinite(w->best[e]) || !isfinite(w->power[e])) return 0;
        road->power[e] = w->power[e];
    }
    return 1;
}
