/* One network at one time, what the compiled core is asked about, and the constants of a bundle.

   Python's isac_torch.deployment.native fills these structures; every field has eight bytes. Units are those of
   isac_torch.deployment.snapshot.Snapshot. Arrays are contiguous, the last axis fastest. */
#ifndef ISAC_CORE_H
#define ISAC_CORE_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN 32     /* width of the network's states */
#define INTERFACE 4   /* raised whenever a function's arguments change */
#define QUANTITIES 14 /* rows of isac_torch.deployment.card.UNITS */

typedef struct {
    int64_t aps, ues, targets, receivers, antennas, serving, sensing, listening;
    int64_t pilot_symbols;
    int64_t by_angles; /* 1: ue_azimuth and ue_elevation replace ue_position */
    int64_t product;   /* 1: echoes weaken by the product of the one-way gains, 0: by the radar equation */
    int64_t scatter_count, pointing_count;
    int64_t refine; /* 1: powers that are good are improved too */
    const double *tx_position;     /* [ap][3], m */
    const double *tx_orientation;  /* [ap], rad */
    const double *rx_position;     /* [rx][3], m */
    const double *target_position; /* [target][3], m */
    const double *ue_position;     /* [ue][3], m */
    const double *ue_azimuth;      /* [ue][ap], rad */
    const double *ue_elevation;    /* [ue][ap], rad */
    const double *ue_gain;         /* [ue][ap], linear */
    const double *pilot_power;     /* [ue], W */
    const double *ap_power;        /* [ap], W */
    const int64_t *pilot;          /* [ue] */
    const int64_t *serving_ap;     /* [ue][serving] */
    const int64_t *sensing_ap;     /* [target][sensing] */
    const int64_t *listening_ap;   /* [target][listening] */
    const double *scatter;         /* [node][3]: cosine, sine and weight of the quadrature over scatterers */
    const double *pointing;        /* the same over the error of a tracked angle */
    const double *basis;           /* [2N - 1][N * N]: turned matrices of the unit lags, propagation.arrays */
    double carrier_frequency, noise_power, sir_min;
    double *power;    /* [link], W */
    double *sinr;     /* [ue], linear */
    double *sir;      /* [target], linear; not written with fewer than two targets */
    double *quantity; /* [QUANTITIES], by which networks are told from those of the training */
    double *missed;   /* [2]: target whose constraint the network's powers meet least, and what they reach over SIR0 */
} Drop;

/* Constants of tracking.balancing.Constants, and the weights as isac_torch.deployment.native packs them. */
typedef struct {
    int64_t layers;
    const float *weights;
    double sensing_cap, least_net_gain, excess_at_zero, excess_cap, floor_share, least_share, least_own_gain;
} Model;

/* isac_torch.large.lags.ScatteringTable: a row of 3 (2N - 1) coefficients for each of `azimuths` + 1 directions, 0..2 pi. */
typedef struct {
    int64_t azimuths, width;
    double lowest; /* 1 - cos(TABLE_ELEVATION) */
    const double *value;
} Table;

/* Coefficients of the near pairs of points and sources, isac_torch.large.near: those of point k are first[k]..first[k+1]-1. */
typedef struct {
    int64_t points, sources, width;
    const int64_t *first;  /* [point + 1] */
    const int32_t *source; /* [pair] */
    const double *lags;    /* [pair][width] */
} Near;

/* One road of the downlink-pilot system: isac_torch.deployment.downlink_pilots.problem.RoadProblem, whose units these are. */
typedef struct {
    int64_t aps, ues;
    int64_t receiver;   /* LMMSE, PROJECTION or IGNORANT */
    int64_t orthogonal; /* 1: all pilots are */
    const double *gain, *estimate; /* [ue][ap] */
    const double *gram;            /* [2][ue][ue] */
    const double *same_pilot;      /* [ue][ue] */
    const double *fisher;          /* [3][ue][ap] */
    const double *crb_max;         /* [ue], m2 */
    const double *weight;          /* [ue] */
    const double *budget;          /* [ap], W */
    const double *serves;          /* [ue][ap]; NULL: all do */
    double *power;                 /* [ue][ap], W */
} Road;
enum { LMMSE = 0, PROJECTION = 1, IGNORANT = 2 };

/* The network of the roads as isac_torch.deployment.downlink_pilots.compiled packs it: columns padded with zeros to `wide`. */
typedef struct {
    int64_t hidden, wide, layers, refinements, steps;
    const double *weights;
} RoadModel;

/* Whether somebody still waits for the answer, isac_torch.deployment.patience; NULL where nobody says. */
typedef int (*Wanted)(void);

/* What is compiled for every level of the processor. */
typedef struct {
    int (*allocate)(int64_t count, const Drop *drops, const Model *model, Wanted wanted, int32_t *outcome);
    int (*road)(const Road *road, const RoadModel *model, Wanted wanted);
    int (*road_steps)(const Road *road, int locate, Wanted wanted);
    void (*received)(const Near *near, int64_t parts, const double *sent, double *out);
    void (*returned)(const Near *near, int64_t parts, const double *weight, double *out);
    void (*scattered)(int64_t pairs, const Table *table, const double *azimuth, const double *cos_elevation, double *out);
} Level;
extern const Level level_baseline, level_avx2, level_avx512;

/* What became of a drop: the network's powers are good, or the caller has to go on without the core, or they were improved,
   or repaired, as far as any powers can meet the sensing constraints. */
enum { SETTLED = 0, LEFT = 1, IMPROVED = 2, REPAIRED = 3, NEARLY = 4 };
/* What became of a road besides SETTLED and LEFT: its answer is no longer wanted. */
enum { STOPPED = 2 };

static inline double most(double a, double b) { return a > b ? a : b; }
static inline double least(double a, double b) { return a < b ? a : b; }
/* The larger one, or what is no number where either is, as numpy has it. */
static inline double upper(double a, double b) { return a > b || a != a ? a : b; }
static inline double lower(double a, double b) { return a < b || a != a ? a : b; }
static inline float mostf(float a, float b) { return a > b ? a : b; }
static inline float heldf(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

#endif
