/* Memory of one drop: every array of the core, laid out in one block. */

/* Vectors as long as the processor's registers: longer ones would live in memory. */
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define LANES (BYTES / 8)  /* numbers in a vector of double precision */
#define FLANES (BYTES / 4) /* and of single precision */
#define WIDE 16            /* rows over nodes are padded to a multiple: whole vectors of either */
#define PADDED(count) (((count) + WIDE - 1) / WIDE * WIDE)
#define MOST_LINKS 512 /* repair.MOST_LINKS */
typedef double vd __attribute__((vector_size(BYTES)));
typedef float vf __attribute__((vector_size(BYTES)));

/* Newton's method on one drop, see interior.h; and the linear program of repair.h, in the same order. */
typedef struct {
    int64_t ratios, rows, pairs;
    double level, residual;
    double share; /* of SIR0, that is asked for */
    double *lead, *partner, *product, *change, *wish;           /* [pair] */
    double *amplitude, *theta, *inverse, *asked, *cost, *before, *width, *mixture, *other; /* [link] */
    double *fixed, *slope, *weighted;                           /* [link][wide] */
    double *shared, *eased;                                     /* [ap][wide] */
    double *stiffness, *load;                                   /* [ap] */
    double *value;                                              /* [row] */
    double *right, *even;                                       /* [wide] */
    double *matrix;                                             /* [ratio][wide] */
    double *table;                                              /* [link + 1][target + 1] */
    int64_t *basis, *outside;                                   /* [link], [target] */
} Newton;

/* Sizes, indices and arrays of one drop. "node" axes hold the UEs, then the targets, and are padded with zeros to `wide`.
   Matrices over links and nodes have a row for each link. */
typedef struct {
    int64_t aps, ues, targets, nodes, wide, links, comm, lags, shared, rows;
    int64_t column, tall; /* links, and nodes with APs, padded like `wide` */
    int64_t *ap, *node, *first; /* of each link its AP and the node it serves; first link of each node, and the end */
    /* statistics */
    double *sin_azimuth, *cos_azimuth, *sin_elevation, *cos_elevation; /* [ap][node] */
    double *lag;      /* [ap][lag][wide] */
    double *sent;     /* [link][lag]: weights of the link's beam */
    double *mmse;     /* [comm][lag]: weights of Lambda, where pilots are shared */
    double *energy;   /* [comm]: tr Phi */
    double *leg;      /* [ap + rx][target] */
    double *back;     /* [target][target] */
    vd *matrix;       /* three matrices [antenna][antenna], of a link in each lane */
    double *signal;   /* [link], 1/sqrt(W) */
    double *heard;    /* [link][wide], 1/W at UEs, over the largest own echo at targets */
    double *required; /* [link][wide] */
    double *coherent; /* [link][wide], 1/sqrt(W); where pilots are shared */
    double *limit;    /* [link], W */
    /* balancing: d for the answer's own, f for the network's point */
    double *share, *root, *weight, *power, *load;                     /* [link], the last [ap] */
    double *noise, *floor, *cap, *scale, *free, *aim, *above, *own;   /* [wide] */
    double *answer, *pilot, *asks;                                    /* [node][wide], transposed: of a node, at a node */
    double *follow, *small, *square, *other;                          /* see balance.h */
    /* network */
    float *fsignal, *fheard, *frequired, *fcoherent, *flimit;
    float *fweight, *fshare, *froot, *fpower, *useful, *harm, *centred;
    float *famplitude, *fnoise, *fgain, *ffloor, *fcap, *fscale, *ffree, *active, *price, *fload, *tight, *line, *frow;
    float *fanswer, *fpilot, *fasks, *fsquare, *fother;
    float *link_input, *link_extra, *node_extra; /* [4][column], [4][column], [6][tall] */
    float *loud, *part;                          /* [link][wide]: relations to the nodes */
    float *link, *node_state, *link_norm, *node_norm, *link_sum, *node_sum, *gathered, *louder, *parted, *spread, *mixed;
    float *link_logit, *node_logit;
    Newton newton;
    Wanted wanted;
    int stopped; /* 1 once `wanted` has said no */
} Work;

/* Whether the computation is to end: asked between drops, solutions for an active set, pivots and Newton steps; and between
   the layers, balancing steps and UEs of a road. */
static int ends(Wanted wanted, int *stopped) {
    if (wanted && !*stopped) *stopped = !wanted();
    return *stopped;
}

static int unwanted(Work *w) { return ends(w->wanted, &w->stopped); }

typedef struct {
    char *base; /* NULL while bytes are counted */
    size_t used;
} Arena;

static void *taken(Arena *arena, int64_t count, size_t size) {
    size_t bytes = ((size_t)count * size + 63) / 64 * 64 + 64; /* room for whole vectors at the end */
    void *place = arena->base ? arena->base + arena->used : NULL;
    arena->used += bytes;
    return place;
}

#define REALS(name, count) w->name = taken(arena, (count), sizeof(double))
#define FLOATS(name, count) w->name = taken(arena, (count), sizeof(float))

static void sizes_of(const Drop *drop, Work *w) {
    w->aps = drop->aps;
    w->ues = drop->ues;
    w->targets = drop->targets;
    w->nodes = w->ues + w->targets;
    w->wide = PADDED(w->nodes);
    w->comm = drop->ues * drop->serving;
    w->links = w->comm + drop->targets * drop->sensing;
    w->column = PADDED(w->links);
    w->tall = PADDED(w->nodes + w->aps);
    w->lags = 2 * drop->antennas - 1;
    w->rows = w->targets > 1 ? w->targets : 0;
    w->shared = 0;
    for (int64_t k = 0; k < w->ues; k++)
        for (int64_t j = 0; j < k; j++) w->shared |= drop->pilot[k] == drop->pilot[j];
}

static void lay_out_statistics(const Drop *drop, Arena *arena, Work *w) {
    int64_t pairs = w->aps * w->nodes, entries = w->links * w->wide, square = drop->antennas * drop->antennas;
    w->ap = taken(arena, w->links, sizeof(int64_t));
    w->node = taken(arena, w->links, sizeof(int64_t));
    w->first = taken(arena, w->nodes + 1, sizeof(int64_t));
    REALS(sin_azimuth, pairs);
    REALS(cos_azimuth, pairs);
    REALS(sin_elevation, pairs);
    REALS(cos_elevation, pairs);
    REALS(lag, w->aps * w->lags * w->wide);
    REALS(sent, w->links * w->lags);
    REALS(mmse, w->shared ? w->comm * w->lags : 0);
    REALS(energy, w->comm);
    REALS(leg, (w->aps + drop->receivers) * w->targets);
    REALS(back, w->targets * w->targets);
    w->matrix = taken(arena, 3 * square, sizeof(vd));
    REALS(signal, w->links);
    REALS(heard, entries);
    REALS(required, entries);
    REALS(coherent, w->shared ? entries : 0);
    REALS(limit, w->links);
}

static void lay_out_balance(Arena *arena, Work *w) {
    int64_t square = w->nodes * w->wide;
    REALS(share, w->links);
    REALS(root, w->links);
    REALS(weight, w->links);
    REALS(power, w->links);
    REALS(load, w->aps);
    REALS(noise, w->wide);
    REALS(floor, w->wide);
    REALS(cap, w->wide);
    REALS(scale, w->wide);
    REALS(free, w->wide);
    REALS(aim, w->wide);
    REALS(above, w->wide);
    REALS(own, w->wide);
    REALS(answer, square);
    REALS(pilot, square);
    REALS(asks, square);
    REALS(follow, w->targets * w->ues);
    REALS(small, w->targets * w->targets);
    REALS(square, square);
    REALS(other, square);
}

static void lay_out_network(Arena *arena, Work *w) {
    int64_t entries = w->links * w->wide, square = w->nodes * w->wide, all = w->nodes + w->aps;
    float **by_link[] = {&w->fsignal, &w->flimit, &w->fweight, &w->fshare, &w->froot, &w->fpower, &w->useful, &w->harm,
                         &w->centred, &w->link_logit};
    float **by_node[] = {&w->famplitude, &w->fnoise, &w->fgain, &w->ffloor, &w->fcap, &w->fscale, &w->ffree, &w->active,
                         &w->price, &w->line, &w->frow, &w->node_logit};
    float **squares[] = {&w->fanswer, &w->fpilot, &w->fasks, &w->fsquare, &w->fother};
    float **matrices[] = {&w->fheard, &w->frequired, &w->loud, &w->part};
    float **link_states[] = {&w->link, &w->link_norm, &w->link_sum, &w->mixed};
    float **node_states[] = {&w->node_state, &w->node_norm, &w->node_sum, &w->gathered, &w->louder, &w->parted, &w->spread};
    for (size_t i = 0; i < sizeof by_link / sizeof *by_link; i++) *by_link[i] = taken(arena, w->links, sizeof(float));
    for (size_t i = 0; i < sizeof by_node / sizeof *by_node; i++) *by_node[i] = taken(arena, w->wide, sizeof(float));
    for (size_t i = 0; i < sizeof squares / sizeof *squares; i++) *squares[i] = taken(arena, square, sizeof(float));
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) *matrices[i] = taken(arena, entries, sizeof(float));
    for (size_t i = 0; i < sizeof link_states / sizeof *link_states; i++)
        *link_states[i] = taken(arena, w->links * HIDDEN, sizeof(float));
    for (size_t i = 0; i < sizeof node_states / sizeof *node_states; i++)
        *node_states[i] = taken(arena, all * HIDDEN, sizeof(float));
    FLOATS(fcoherent, w->shared ? entries : 0);
    FLOATS(fload, w->aps);
    FLOATS(tight, w->aps);
    FLOATS(link_input, w->column * 4);
    FLOATS(link_extra, w->column * 4);
    FLOATS(node_extra, w->tall * 6);
}

static void lay_out_newton(Arena *arena, Work *w) {
    Newton *n = &w->newton;
    int64_t links = w->links <= MOST_LINKS ? w->links : 0, entries = links * w->wide; /* no steps for more links */
    n->ratios = w->ues + w->rows;
    n->rows = n->ratios + w->aps;
    n->pairs = n->rows + w->links;
    double **by_pair[] = {&n->lead, &n->partner, &n->product, &n->change, &n->wish};
    double **by_link[] = {&n->amplitude, &n->theta, &n->inverse, &n->asked, &n->cost, &n->before, &n->width,
                         &n->mixture, &n->other};
    double **matrices[] = {&n->fixed, &n->slope, &n->weighted};
    for (size_t i = 0; i < sizeof by_pair / sizeof *by_pair; i++) *by_pair[i] = taken(arena, n->pairs, sizeof(double));
    for (size_t i = 0; i < sizeof by_link / sizeof *by_link; i++) *by_link[i] = taken(arena, w->links, sizeof(double));
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) *matrices[i] = taken(arena, entries, sizeof(double));
    n->shared = taken(arena, w->aps * w->wide, sizeof(double));
    n->eased = taken(arena, w->aps * w->wide, sizeof(double));
    n->stiffness = taken(arena, w->aps, sizeof(double));
    n->load = taken(arena, w->aps, sizeof(double));
    n->value = taken(arena, n->rows, sizeof(double));
    n->right = taken(arena, w->wide, sizeof(double));
    n->even = taken(arena, w->wide, sizeof(double));
    n->matrix = taken(arena, n->ratios * w->wide, sizeof(double));
    n->table = taken(arena, (w->links + 1) * (w->rows + 1), sizeof(double));
    n->basis = taken(arena, w->links, sizeof(int64_t));
    n->outside = taken(arena, w->rows, sizeof(int64_t));
}

/* Every pointer of `w`, or, where the arena has no block yet, how many bytes they need. */
static size_t lay_out(const Drop *drop, Arena *arena, Work *w) {
    arena->used = 0;
    lay_out_statistics(drop, arena, w);
    lay_out_balance(arena, w);
    lay_out_network(arena, w);
    lay_out_newton(arena, w);
    return arena->used;
}
