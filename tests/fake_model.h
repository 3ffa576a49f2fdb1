/* fake_model.h - a network written by hand for the runtime's tests: softmax regression on 1 x 12 x 12 images, with a
 * "norm" that only counts and averages, so that every kind of tensor is there. Its weights lie in blocks of 16 classes,
 * as emitted networks' do. */
#ifndef FAKE_MODEL_H
#define FAKE_MODEL_H

#include "../runtime/cvy_model.h"

extern struct cvy_model fake_model; /* not const: tests vary its train section */
extern const struct cvy_bench fake_bench;
extern const struct cvy_tracer fake_tracer;
extern int fake_break_at;  /* forward returns NaN at this step; -1: never */
extern int fake_signal_at; /* forward raises fake_signal at this step; -1: never */
extern int fake_signal;    /* SIGINT */

#endif
