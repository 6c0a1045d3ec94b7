/* Memory of one road of the downlink-pilot system. Rows of the network's states have `wide` entries. */

/* Numbers of every link, UE and AP. */
typedef struct {
    double *link, *ue, *ap;
} Tokens;

typedef struct {
    int64_t links, wide;
    /* a point, road_point.h */
    double *power;                  /* [link], W */
    double *strength, *accurate;    /* [link]: elasticities of a UE's strength and accuracy */
    double *loss, *accuracy, *error; /* [ue] */
    double *root;                   /* [link] */
    double *streams;                /* [ue][ue], and below what road_error.h needs; none where pilots are orthogonal */
    double *joint, *weights, *rest; /* [2][ue][ue], [2][ue], [2][ue] */
    /* balancing, road_balance.h */
    double *logits, *share, *best; /* [link] */
    double *log_lambda, *log_mu;   /* [ue] */
    double *top, *sum;             /* [ap] */
    /* network, road_network.h */
    double *level, *part; /* [ue][link]: Leaks; none where pilots are orthogonal */
    Tokens input, extra, state, norm, new;
    double *gathered, *louder, *parted; /* [ue][wide] */
    double *reached, *mixed;            /* [ap][wide], [link][wide] */
    Wanted wanted;
    int stopped; /* 1 once `wanted` has said no */
} RoadWork;

enum { LINK_INPUTS = 6, UE_INPUTS = 4, AP_INPUTS = 2, LINK_EXTRAS = 3, UE_EXTRAS = 2, AP_EXTRAS = 1 };

static Tokens tokens_of(const Road *road, Arena *arena, int64_t link, int64_t ue, int64_t ap) {
    Tokens found;
    found.link = taken(arena, road->ues * road->aps * link, sizeof(double));
    found.ue = taken(arena, road->ues * ue, sizeof(double));
    found.ap = taken(arena, road->aps * ap, sizeof(double));
    return found;
}

/* Every pointer of a point, or, where the arena has no block yet, how many bytes they need. */
static size_t lay_out_point(const Road *road, Arena *arena, RoadWork *w) {
    int64_t square = road->orthogonal ? 0 : road->ues * road->ues;
    double **by_link[] = {&w->power, &w->strength, &w->accurate, &w->root};
    double **by_ue[] = {&w->loss, &w->accuracy, &w->error};
    w->links = road->ues * road->aps;
    for (size_t i = 0; i < sizeof by_link / sizeof *by_link; i++) *by_link[i] = taken(arena, w->links, sizeof(double));
    for (size_t i = 0; i < sizeof by_ue / sizeof *by_ue; i++) *by_ue[i] = taken(arena, road->ues, sizeof(double));
    REALS(top, road->aps);
    REALS(sum, road->aps);
    REALS(streams, square);
    REALS(joint, 2 * square);
    REALS(weights, 2 * road->ues);
    REALS(rest, 2 * road->ues);
    return arena->used;
}

/* The same of balancing and network. */
static size_t lay_out_road(const Road *road, const RoadModel *model, Arena *arena, RoadWork *w) {
    int64_t square = road->orthogonal ? 0 : road->ues * road->ues, wide = model->wide;
    double **by_link[] = {&w->logits, &w->share, &w->best};
    double **by_ue[] = {&w->log_lambda, &w->log_mu};
    double **rows[] = {&w->gathered, &w->louder, &w->parted};
    w->wide = wide;
    for (size_t i = 0; i < sizeof by_link / sizeof *by_link; i++) *by_link[i] = taken(arena, w->links, sizeof(double));
    for (size_t i = 0; i < sizeof by_ue / sizeof *by_ue; i++) *by_ue[i] = taken(arena, road->ues, sizeof(double));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i] = taken(arena, road->ues * wide, sizeof(double));
    REALS(level, square * road->aps);
    REALS(part, square * road->aps);
    REALS(reached, road->aps * wide);
    REALS(mixed, w->links * wide);
    w->input = tokens_of(road, arena, LINK_INPUTS, UE_INPUTS, AP_INPUTS);
    w->extra = tokens_of(road, arena, LINK_EXTRAS, UE_EXTRAS, AP_EXTRAS);
    w->state = tokens_of(road, arena, wide, wide, wide);
    w->norm = tokens_of(road, arena, wide, wide, wide);
    w->new = tokens_of(road, arena, wide, wide, wide);
    return arena->used;
}
