/* The one-shot network: isac_torch.nn.tracking.one_shot. Its products with the relations run over the nodes first, which gives
   the same sums in another order. */

/* Features of the links before their scaling, and the relations: `_inputs`. */
static void inputs(Work *w) {
    int64_t wide = w->wide;
    float *clutter = w->ffree, *all = w->fcap, *input = w->link_input, even = 1.0f / (float)w->links;
    for (int64_t o = 0; o < wide; o++) clutter[o] = all[o] = 0.0f;
    for (int64_t e = 0; e < w->links; e++) {
        float sum = 0.0f, largest = 0.0f, limit = w->flimit[e], *reach = w->part + e * wide;
        for (int64_t o = 0; o < wide; o++) {
            reach[o] = w->fheard[e * wide + o] * limit;
            clutter[o] += w->frequired[e * wide + o] * limit;
            all[o] += reach[o];
        }
        for (int64_t o = 0; o < w->nodes; o++) sum += reach[o], largest = mostf(largest, reach[o]);
        input[e] = w->fweight[e];
        input[w->column + e] = w->fsignal[e];
        input[2 * w->column + e] = sum;
        input[3 * w->column + e] = largest;
    }
    logarithms(4 * w->column, input);
    for (int64_t o = 0; o < wide; o++) {
        clutter[o] = 1.0f / mostf(clutter[o], TINY);
        all[o] = 1.0f / mostf(all[o], TINY);
    }
    for (int64_t e = 0; e < w->links; e++)
        for (int64_t o = 0; o < wide; o++) {
            int64_t i = e * wide + o;
            float reach = w->part[i];
            w->loud[i] = w->frequired[i] * w->flimit[e] * clutter[o] + reach / (1.0f + reach) * even;
            w->part[i] = reach * all[o];
        }
}

/* What links should know of the point: `_point_features`. */
static void link_features(Work *w, float per_watt) {
    float size = 0.0f;
    for (int64_t p = 0; p < w->nodes; p++) {
        float sum = 0.0f;
        for (int64_t e = w->first[p]; e < w->first[p + 1]; e++) sum += w->useful[e] - w->harm[e];
        for (int64_t e = w->first[p]; e < w->first[p + 1]; e++) {
            w->centred[e] = w->useful[e] - w->harm[e] - w->fshare[e] * sum;
            size += w->centred[e] * w->centred[e];
        }
    }
    size = mostf(sqrtf(size / (float)w->links), 1e-6f);
    float *out = w->link_extra;
    for (int64_t e = 0; e < w->links; e++) {
        out[e] = w->centred[e] / size;
        out[w->column + e] = w->useful[e] / size;
        out[2 * w->column + e] = w->harm[e] / size;
        out[3 * w->column + e] = w->fpower[e] / (w->flimit[e] * per_watt);
    }
    arsinh(3 * w->column, out);
    logarithms(w->column, out + 3 * w->column);
}

/* The same for nodes. */
static void node_features(Work *w, float per_watt, float nu) {
    float count = (float)w->ues, *heard = w->ffree, *sign = w->node_extra, *price = sign + w->tall, *held = price + w->tall;
    float *active = held + w->tall, *scale = active + w->tall, *over = scale + w->tall;
    combine_f(w->links, w->wide, w->fpower, w->fheard, heard);
    for (int64_t o = 0; o < w->nodes; o++) {
        sign[o] = o < w->ues ? 1.0f : -w->active[o];
        price[o] = w->price[o] * w->fscale[o] * count;
        held[o] = heldf(w->frow[o] / mostf(heard[o], TINY), -4.0f, 1.0f);
        active[o] = w->active[o];
        scale[o] = w->fscale[o] * count;
        over[o] = 1.0f + w->frow[o] / per_watt;
    }
    for (int64_t m = 0, o = w->nodes; m < w->aps; m++, o++) {
        sign[o] = held[o] = 0.0f;
        price[o] = nu * per_watt * w->tight[m];
        active[o] = w->tight[m];
        scale[o] = w->fload[m] / per_watt;
        over[o] = 1.0f;
    }
    arsinh(w->tall, price);
    logarithms(2 * w->tall, scale);
    for (int64_t i = 0; i < 2 * w->tall; i++) scale[i] *= 0.4f;
}

static void set_rows(int64_t rows, const float *bias, float *out) {
    for (int64_t i = 0; i < rows; i++) memcpy(out + i * HIDDEN, bias, HIDDEN * sizeof(float));
}

static void rectify(int64_t rows, float *x) {
    for (int64_t i = 0; i < rows * HIDDEN; i++) x[i] = x[i] > 0.0f ? x[i] : 0.0f;
}

static void add_rows(int64_t rows, const float *more, float *x) {
    for (int64_t i = 0; i < rows * HIDDEN; i++) x[i] += more[i];
}

static void layer_norm(int64_t rows, const float *x, const float *gain, const float *offset, float *out) {
    enum { PARTS = HIDDEN / FLANES };
    vf by[PARTS], plus[PARTS], line[PARTS];
    memcpy(by, gain, sizeof by);
    memcpy(plus, offset, sizeof plus);
    for (int64_t i = 0; i < rows * HIDDEN; i += HIDDEN) {
        vf sum = {0.0f}, square = {0.0f};
        memcpy(line, x + i, sizeof line);
        for (int h = 0; h < PARTS; h++) sum += line[h];
        float mean = total_of(sum) / HIDDEN;
        for (int h = 0; h < PARTS; h++) line[h] -= mean, square += line[h] * line[h];
        float scale = 1.0f / sqrtf(total_of(square) / HIDDEN + 1e-5f);
        for (int h = 0; h < PARTS; h++) line[h] = line[h] * scale * by[h] + plus[h];
        memcpy(out + i, line, sizeof line);
    }
}

/* New states of the nodes: what the links of each relation bring, one product each. */
static void node_update(Work *w, const float *weight) {
    int64_t all = w->nodes + w->aps, h = HIDDEN;
    const float *itself = weight, *extra = itself + h * h, *whose = extra + 6 * h, *bias = whose + 3 * h * h;
    memset(w->gathered, 0, (size_t)(all * h) * sizeof(float));
    memset(w->louder, 0, (size_t)(w->nodes * h) * sizeof(float));
    memset(w->parted, 0, (size_t)(w->nodes * h) * sizeof(float));
    for (int64_t e = 0; e < w->links; e++) {
        add_rows(1, w->link_norm + e * h, w->gathered + w->node[e] * h);
        add_rows(1, w->link_norm + e * h, w->gathered + (w->nodes + w->ap[e]) * h);
    }
    add_product(w->nodes, w->links, w->loud, 1, w->wide, w->link_norm, w->louder);
    add_product(w->nodes, w->links, w->part, 1, w->wide, w->link_norm, w->parted);
    set_rows(all, bias, w->node_sum);
    add_product(all, h, w->node_norm, h, 1, itself, w->node_sum);
    add_product(all, 6, w->node_extra, 1, w->tall, extra, w->node_sum);
    add_product(all, h, w->gathered, h, 1, whose, w->node_sum);
    add_product(w->nodes, h, w->louder, h, 1, whose + h * h, w->node_sum);
    add_product(w->nodes, h, w->parted, h, 1, whose + 2 * h * h, w->node_sum);
    rectify(all, w->node_sum);
}

/* What the links read of the nodes' new states. The nodes' part of the product is taken before it is spread over the links. */
static void link_update(Work *w, const float *weight, const float *mix) {
    int64_t all = w->nodes + w->aps, h = HIDDEN;
    const float *itself = weight, *extra = itself + h * h, *whose = extra + 4 * h, *bias = whose + 3 * h * h;
    memset(w->spread, 0, (size_t)(all * h) * sizeof(float));
    memset(w->louder, 0, (size_t)(w->nodes * h) * sizeof(float));
    memset(w->parted, 0, (size_t)(w->nodes * h) * sizeof(float));
    add_product(all, h, w->node_sum, h, 1, whose, w->spread);
    add_product(w->nodes, h, w->node_sum, h, 1, whose + h * h, w->louder);
    add_product(w->nodes, h, w->node_sum, h, 1, whose + 2 * h * h, w->parted);
    set_rows(w->links, bias, w->link_sum);
    for (int64_t e = 0; e < w->links; e++) {
        add_rows(1, w->spread + w->node[e] * h, w->link_sum + e * h);
        add_rows(1, w->spread + (w->nodes + w->ap[e]) * h, w->link_sum + e * h);
    }
    add_product(w->links, h, w->link_norm, h, 1, itself, w->link_sum);
    add_product(w->links, 4, w->link_extra, 1, w->column, extra, w->link_sum);
    add_product(w->links, w->nodes, w->loud, w->wide, 1, w->louder, w->link_sum);
    add_product(w->links, w->nodes, w->part, w->wide, 1, w->parted, w->link_sum);
    rectify(w->links, w->link_sum);
    set_rows(w->links, mix + h * h, w->mixed);
    add_product(w->links, h, w->link_sum, h, 1, mix, w->mixed);
}

/* The first states; the weights after those read. */
static const float *encoded(Work *w, const float *weight) {
    int64_t all = w->nodes + w->aps;
    set_rows(w->links, weight + 4 * HIDDEN, w->link);
    add_product(w->links, 4, w->link_input, 1, w->column, weight, w->link);
    rectify(w->links, w->link);
    weight += 5 * HIDDEN;
    set_rows(all, weight + 6 * HIDDEN, w->node_state);
    add_product(all, 6, w->node_extra, 1, w->tall, weight, w->node_state);
    rectify(all, w->node_state);
    return weight + 7 * HIDDEN;
}

static float head(const float *state, const float *weight) {
    vf sum = {0.0f}, x, y;
    for (int h = 0; h < HIDDEN; h += FLANES) {
        memcpy(&x, state + h, sizeof x);
        memcpy(&y, weight + h, sizeof y);
        sum += x * y;
    }
    return total_of(sum) + weight[HIDDEN];
}

/* Logits of the links and of the nodes, and a start for balancing in `w->fscale`: `OneShotNetwork.directions`. */
static void network(const Model *model, Work *w) {
    int64_t all = w->nodes + w->aps, h = HIDDEN;
    float nu, per_watt;
    start_weights(w);
    per_watt = priced_point(model, w, &nu);
    link_features(w, per_watt);
    node_features(w, per_watt, nu);
    inputs(w);
    const float *weight = encoded(w, model->weights);
    for (int64_t layer = 0; layer < model->layers; layer++) {
        const float *to_node = weight + 4 * h, *to_link = to_node + 4 * h * h + 7 * h, *mix = to_link + 4 * h * h + 5 * h;
        layer_norm(w->links, w->link, weight, weight + h, w->link_norm);
        layer_norm(all, w->node_state, weight + 2 * h, weight + 3 * h, w->node_norm);
        node_update(w, to_node);
        link_update(w, to_link, mix);
        add_rows(w->links, w->mixed, w->link);
        add_rows(all, w->node_sum, w->node_state);
        weight = mix + h * h + h;
    }
    memcpy(w->link_logit, w->fweight, (size_t)w->links * sizeof(float));
    whole_logarithms(w->column, w->link_logit);
    for (int64_t e = 0; e < w->links; e++) w->link_logit[e] += head(w->link + e * h, weight);
    for (int64_t o = 0; o < w->nodes; o++) w->node_logit[o] = head(w->node_state + o * h, weight + h + 1);
}
