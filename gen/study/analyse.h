/* analyse.h - from a study's trainings to what they say. All of it is a function of the Study alone. */
#ifndef CONVOY_ANALYSE_H
#define CONVOY_ANALYSE_H

#include "decide.h"
#include "study.h"

/* One seed of a variant: its trainings at adjacent rates, of which validation picked one. */
typedef struct Counted {
    const Training *run; /* the one that counts; NULL: all diverged */
    double score;        /* points; of one that failed, guessing's */
} Counted;

/* The seeds that every variant (of a role) has whole: rounds. */
typedef struct Rounds {
    int64_t *seed;
    int n;
    Counted *of; /* of[round * variants + variant] */
} Rounds;

/* A pair at one rate, whatever was picked. */
typedef struct AtRate {
    double rate;
    int n;             /* seeds that both have there, screening ones among them */
    bool has_interval; /* three or more, and they vary */
    Interval at;       /* 95 %, by itself */
    int diverged_a, diverged_b;
} AtRate;

typedef struct Comparison {
    Pair pair;
    int n;
    double *diff;       /* points, a round each */
    double correlation; /* of the two variants' scores over seeds; NaN where there is none */
    Verdict verdict;
    Interval here;   /* of folds: for these very rows, where the verdict is for rows like these */
    Interval others; /* of a fixed test set: for other rows like these, where the verdict is for these */
    bool has_others; /* the answers of all rounds are known */
    AtRate *rate;
    int nrate;
} Comparison;

typedef struct Summary { /* of a variant, over the rounds */
    double mean, sd;
    int failed, diverged, trained; /* seeds; trainings, of all roles */
    double centre;                 /* of its rates; 0: not known yet */
    int edge;                      /* -1, 1: the best rate is the grid's lowest, its highest */
} Summary;

typedef struct Analysis {
    const Study *s;
    Rounds rounds, longer;
    double level;      /* of the primary pair's interval */
    bool interim;      /* the planned seeds are not all there */
    Comparison *pair;  /* as in the study */
    Comparison *again; /* the primary pair at twice the epochs; NULL: not trained */
    Summary *variant;
    int null_claimed, positive_missed; /* pairs of those kinds; missed counts only where seeds are all there */
} Analysis;

Analysis *analyse(const Study *s);

/* The mean score on validation of a variant's screen at each rate, rates rising, diverged ones as guessing. */
typedef struct RateScore {
    double rate, score, squares; /* points; the sum of squared deviations from the mean */
    int n, diverged;
} RateScore;
int screen_scores(const Study *s, int variant, RateScore **to);

/* Where the rates of a variant's rounds stand, by its screen: a power of the factor, by which the header's rate is
 * multiplied. *more: the screen's grid should first grow by one rate on that side (-1, 1), 0: no. *edge as in Summary.
 */
int screen_centre(const Study *s, int variant, int *more, int *edge);
double grid_rate(const Study *s, int power); /* the header's rate times the factor to that power */

#endif
