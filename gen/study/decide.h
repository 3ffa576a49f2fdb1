/* decide.h - what paired differences say: one sentence, read off one interval. */
#ifndef CONVOY_DECIDE_H
#define CONVOY_DECIDE_H

#include "stats.h"

/* Two variants, and what their paired seeds gave. Scores, differences and the margin are points: percent of the test
 * rows. */
typedef struct Question {
    const char *a, *b;  /* names; a difference is b's score minus a's */
    const double *diff; /* n of them, a counted seed each */
    int n;
    double score_a, score_b;  /* means over the seeds */
    int failed_a, failed_b;   /* seeds of which every rate diverged */
    double margin;            /* what matters, above 0 */
    double level, next_level; /* of this interval; of the one that more seeds would have */
    double again;             /* as t_interval() */
    double guessing;          /* the score of the largest class alone */
    double rows;              /* to test */
    double score_rows;        /* as many as the score's standard error is of */
    const char *where;        /* "on these 10000 test rows, at 6 epochs" */
} Question;

typedef enum Answer {
    ANSWER_FEW,      /* fewer than three seeds */
    ANSWER_NOTHING,  /* nothing was learned */
    ANSWER_FAILED,   /* seeds failed: no interval */
    ANSWER_SAME,     /* the differences do not vary: no interval */
    ANSWER_BETTER,   /* by more than the margin, or maybe more */
    ANSWER_EASY,     /* too near to a faultless score for a margin to mean something */
    ANSWER_SLIGHTLY, /* better, by less than the margin */
    ANSWER_EQUAL,    /* the difference is less than the margin, either way */
    ANSWER_UNCLEAR,
    ANSWERS
} Answer;
extern const char *const answer_names[ANSWERS]; /* for JSON */

typedef struct Verdict {
    Answer answer;
    int better; /* 1: b, -1: a, 0: neither */
    bool has_interval;
    Interval at; /* mean and sd are set without an interval, too */
    int won;     /* seeds in which b was better */
    int lost;
    double flips; /* two-sided p of sign flips; NaN: fewer than 8 differences, or more than 20 */
    int runs;     /* ANSWER_UNCLEAR: seeds in all that would tell; 0: more seeds would not */
    double rows;  /* ... test rows in all that would; 0: seeds would do */
    const char *sentence;
} Verdict;

Verdict decide(const Question *q);

/* A difference in points, with as many decimals as it takes to tell it from 0 and from the margin; two at the least. */
const char *points_text(double v, double margin);

#endif
