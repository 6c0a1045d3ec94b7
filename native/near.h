/* Sparse products of large networks: isac_torch.large.near. A near pair of a point and a source has `width` lags. */

#define MOST_LAGS 127 /* of 64 antennas, the most that a snapshot may have */

/* What point k receives of one or two vectors over the sources: sum over its pairs of lags times what the source sends. */
static inline __attribute__((always_inline)) void received_at(
    const Near *near, int64_t k, int64_t width, const double *sent, const double *other, double *first, double *second) {
    double sum[MOST_LAGS + 1] = {0.0}, next[MOST_LAGS + 1] = {0.0};
    for (int64_t i = near->first[k]; i < near->first[k + 1]; i++) {
        const double *lags = near->lags + i * width;
        const int64_t from = near->source[i] * width;
        for (int64_t d = 0; d < width; d++) sum[d] += lags[d] * sent[from + d];
        if (other)
            for (int64_t d = 0; d < width; d++) next[d] += lags[d] * other[from + d];
    }
    for (int64_t d = 0; d < width; d++) *first += sum[d];
    for (int64_t d = 0; other && d < width; d++) *second += next[d];
}

static inline __attribute__((always_inline)) void received_by_all(
    const Near *near, int64_t width, int64_t parts, const double *sent, double *out) {
    const int64_t size = near->sources * width;
    int64_t part = 0;
    memset(out, 0, (size_t)(parts * near->points) * sizeof(double));
    for (; part + 2 <= parts; part += 2)
        for (int64_t k = 0; k < near->points; k++)
            received_at(near, k, width, sent + part * size, sent + (part + 1) * size, out + part * near->points + k,
                        out + (part + 1) * near->points + k);
    for (; part < parts; part++)
        for (int64_t k = 0; k < near->points; k++)
            received_at(near, k, width, sent + part * size, NULL, out + part * near->points + k, NULL);
}

/* What the weights of point k, one or two, add at the sources: its lags times each weight. */
static inline __attribute__((always_inline)) void returned_from(
    const Near *near, int64_t k, int64_t width, double weight, double second, double *out, double *other) {
    for (int64_t i = near->first[k]; i < near->first[k + 1]; i++) {
        const double *lags = near->lags + i * width;
        const int64_t to = near->source[i] * width;
        for (int64_t d = 0; d < width; d++) out[to + d] += weight * lags[d];
        if (other)
            for (int64_t d = 0; d < width; d++) other[to + d] += second * lags[d];
    }
}

static inline __attribute__((always_inline)) void returned_from_all(
    const Near *near, int64_t width, int64_t parts, const double *weight, double *out) {
    const int64_t size = near->sources * width;
    int64_t part = 0;
    for (; part + 2 <= parts; part += 2)
        for (int64_t k = 0; k < near->points; k++)
            returned_from(near, k, width, weight[part * near->points + k], weight[(part + 1) * near->points + k],
                          out + part * size, out + (part + 1) * size);
    for (; part < parts; part++)
        for (int64_t k = 0; k < near->points; k++)
            returned_from(near, k, width, weight[part * near->points + k], 0.0, out + part * size, NULL);
}

/* Four antennas, the usual number, have loops of a known length. */
static void received(const Near *near, int64_t parts, const double *sent, double *out) {
    if (near->width == 7) received_by_all(near, 7, parts, sent, out);
    else received_by_all(near, near->width, parts, sent, out);
}

static void returned(const Near *near, int64_t parts, const double *weight, double *out) {
    if (near->width == 7) returned_from_all(near, 7, parts, weight, out);
    else returned_from_all(near, near->width, parts, weight, out);
}

/* Interpolated between two rows of the table, a parabola in cos(elevation): `ScatteringTable._interpolated`. */
static inline __attribute__((always_inline)) void scattered_by_width(
    int64_t pairs, int64_t width, const Table *table, const double *azimuth, const double *cos_elevation, double *out) {
    const double turn = 2.0 * 3.14159265358979323846, last = (double)(table->azimuths - 1);
    for (int64_t i = 0; i < pairs; i++) {
        double place = (azimuth[i] - turn * floor(azimuth[i] / turn)) * ((double)table->azimuths / turn);
        int64_t below = (int64_t)most(least(place, last), 0.0);
        double part = place - (double)below, t = (1.0 - cos_elevation[i]) / table->lowest;
        const double *row = table->value + below * 3 * width, *next = row + 3 * width;
        for (int64_t d = 0; d < width; d++) {
            double constant = row[d] + (next[d] - row[d]) * part;
            double slope = row[width + d] + (next[width + d] - row[width + d]) * part;
            double curve = row[2 * width + d] + (next[2 * width + d] - row[2 * width + d]) * part;
            out[i * width + d] = constant + t * (slope + t * curve);
        }
    }
}

static void scattered(int64_t pairs, const Table *table, const double *azimuth, const double *cos_elevation, double *out) {
    if (table->width == 7) scattered_by_width(pairs, 7, table, azimuth, cos_elevation, out);
    else scattered_by_width(pairs, table->width, table, azimuth, cos_elevation, out);
}
