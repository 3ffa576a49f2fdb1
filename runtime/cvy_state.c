/* cvy_state.c - an instance of the network: its memory, drawing its weights, its tensors in and out of files
 * (parameters and running statistics under PyTorch's names, so that they load into a PyTorch module).
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_rng.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

int cvy_run_open(struct cvy_run *r, const struct cvy_model *m, int batch, int threads, int with_grad)
{
    memset(r, 0, sizeof *r);
    r->model = m;
    size_t bytes = m->arena_bytes(batch, threads);
    if (bytes == 0) {
        cvy_error("a smaller --batch", "batch %d on %d threads needs more memory than can be addressed", batch,
                  threads);
        return 0;
    }
    if (batch > 0 && batch < m->min_batch) {
        cvy_error(NULL, "batch %d: a norm of this network sees a single value then; %d at least", batch, m->min_batch);
        return 0;
    }
    r->memory = cvy_alloc_aligned(bytes);
    r->net = r->memory ? m->init(r->memory, bytes, batch, threads) : NULL;
    if (r->memory && !r->net)
        cvy_error(NULL, "the network refused its memory (%zu bytes; batch %d, %d threads): a bug", bytes, batch,
                  threads);
    if (r->net && with_grad) {
        r->grad = cvy_alloc_aligned((size_t)m->param_floats * sizeof *r->grad);
        r->net->grad = r->grad;
    }
    if (!r->net || (with_grad && !r->grad)) {
        cvy_run_close(r);
        return 0;
    }
    return 1;
}

void cvy_run_close(struct cvy_run *r)
{
    free(r->memory);
    free(r->grad);
    memset(r, 0, sizeof *r);
}

static float *base_of(const struct cvy_run *r, const struct cvy_tensor *t)
{
    return cvy_base(r->net, t);
}

/* ---- tensors in and out of files ---- */

/* Adds the tensors of an array that lies as the parameters do that learn. */
static int add_params(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix, const float *base)
{
    for (int i = 0; i < r->model->ntensor; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i];
        if (!cvy_learns(t))
            continue;
        char *name = cvy_format("%s%s", prefix, t->name);
        float *out = name ? cvy_put_f32(f, name, t->at.ndim, t->at.dim) : NULL;
        free(name);
        if (!out)
            return 0;
        if (base)
            cvy_gather(base, &t->at, out);
    }
    return 1;
}

/* NULL: of a network that is not there. */
static float *buffer_of(const struct cvy_net *net, int k)
{
    return net ? net->state + k * net->floats : NULL;
}

int cvy_add_buffers(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix)
{
    const struct cvy_optimiser *o = r->model->train.optimiser;
    int ok = 1;
    for (int k = 0; k < cvy_buffers(o) && ok; k++) {
        char *of = cvy_format("%s%s.", prefix, o->buffer[k]);
        ok = of && add_params(f, r, of, buffer_of(r->net, k));
        free(of);
    }
    return ok;
}

int cvy_add_grad(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix)
{
    return add_params(f, r, prefix, r->net->grad);
}

int cvy_add_weights(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix)
{
    for (int i = 0; i < r->model->ntensor; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i];
        char *name = cvy_format("%s%s", prefix, t->name);
        int ok = name != NULL;
        if (ok && t->role == CVY_BATCHES) {
            int64_t *v = cvy_put_i64(f, name);
            ok = v != NULL;
            if (ok && r->net)
                *v = r->net->batches[t->at.offset];
        } else if (ok) {
            float *v = cvy_put_f32(f, name, t->at.ndim, t->at.dim);
            ok = v != NULL;
            if (ok && r->net)
                cvy_gather(base_of(r, t), &t->at, v);
        }
        free(name);
        if (!ok)
            return 0;
    }
    return 1;
}

static int read_tensor(const struct cvy_tensors *f, const char *name, const struct cvy_tensor *t, float *base)
{
    size_t n = (size_t)cvy_layout_count(&t->at);
    float *v = cvy_alloc(n, sizeof *v);
    int ok = v && cvy_read_f32(f, name, v, n);
    for (size_t i = 0; ok && t->role == CVY_RUNNING_VAR && i < n; i++) {
        if (v[i] < 0.0f) {
            cvy_error(NULL, "'%s': tensor '%s' is a variance and holds a number below zero (element %zu)", f->path,
                      name, i);
            ok = 0;
        }
    }
    if (ok)
        cvy_scatter(base, &t->at, v);
    free(v);
    return ok;
}

/* A tensor of the network out of the file; a count that is not there is zero. */
static int load_as(struct cvy_run *r, const struct cvy_tensors *f, const struct cvy_tensor *t, const char *name)
{
    int64_t n = 0;
    if (t->role != CVY_BATCHES)
        return read_tensor(f, name, t, base_of(r, t));
    if (!cvy_read_i64(f, name, &n))
        return 0;
    if (n < 0) {
        cvy_error(NULL, "'%s': tensor '%s' counts %" PRId64 " batches", f->path, name, n);
        return 0;
    }
    r->net->batches[t->at.offset] = n;
    return 1;
}
static int load_tensor(struct cvy_run *r, const struct cvy_tensors *f, const struct cvy_tensor *t)
{
    return load_as(r, f, t, t->name);
}

int cvy_load_weights(struct cvy_run *r, const char *path, enum cvy_taking how)
{
    struct cvy_tensors f, want = {0};
    int ok = cvy_tensors_open(&f, path) && cvy_add_weights(&want, r, "") &&
             cvy_identity_accept(&f, &want, r->model->identity, how);
    for (int i = 0; i < r->model->ntensor && ok; i++)
        ok = load_tensor(r, &f, &r->model->tensor[i]);
    cvy_tensors_free(&f);
    cvy_tensors_free(&want);
    return ok;
}

static size_t op_len(const char *tensor)
{
    const char *dot = strrchr(tensor, '.');
    return dot ? (size_t)(dot - tensor) : 0;
}

/* Whether all tensors of one op, tensor[from..to) of the network, are in the file, of its shapes and of an op like this
 * one. */
static int op_is_there(const struct cvy_run *r, const struct cvy_tensors *f, const struct cvy_tensors *want, int from,
                       int to, const char *same)
{
    int op = same ? cvy_identity_op_of(r->model->identity, r->model->tensor[from].name) : -1;
    int there = op < 0 || same[op];
    for (int i = from; i < to && there; i++) {
        const struct cvy_entry *e = cvy_tensors_find(f, want->entry[i].name);
        there = e ? cvy_entry_fits(e, &want->entry[i]) : want->entry[i].dtype == CVY_I64;
    }
    return there;
}

static int load_partial(struct cvy_run *r, struct cvy_tensors *f, const struct cvy_tensors *want, const char *same)
{
    enum { SHOWN = 6 };
    int taken = 0, anew = 0, ok = 1;
    char names[1024] = "";
    size_t len = 0;
    cvy_tensors_unwrap(f, want);
    for (int i = 0, end; i < want->n && ok; i = end) {
        const char *name = want->entry[i].name;
        size_t n = op_len(name);
        for (end = i + 1;
             end < want->n && op_len(want->entry[end].name) == n && memcmp(want->entry[end].name, name, n) == 0;)
            end++;
        if (op_is_there(r, f, want, i, end, same)) {
            taken++;
            for (int k = i; k < end && ok; k++)
                ok = load_tensor(r, f, &r->model->tensor[k]);
        } else if (anew++ < SHOWN && len < sizeof names) {
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%.*s", len ? ", " : "",
                                    (int)(n < 120 ? n : 120), name);
        }
    }
    if (ok && !taken)
        cvy_error(NULL, "'%s' has nothing that this network has, too", f->path);
    else if (ok)
        cvy_note("'%s': %d of %d ops with parameters are taken%s%s%s", f->path, taken, taken + anew,
                 anew ? "; drawn anew: " : "", names, anew > SHOWN ? ", ..." : "");
    return ok && taken;
}

int cvy_load_partial(struct cvy_run *r, const char *path, int force)
{
    struct cvy_tensors f, want = {0};
    int lines = 0;
    while (r->model->identity && r->model->identity[lines])
        lines++;
    char *same = cvy_alloc((size_t)lines, 1);
    int ok = same && cvy_tensors_open(&f, path);
    if (same && ok && cvy_add_weights(&want, r, "")) {
        enum cvy_likeness like = cvy_identity_ops(&f, r->model->identity, same);
        ok = like != CVY_UNREADABLE && load_partial(r, &f, &want, like == CVY_SAME && !force ? same : NULL);
    } else {
        ok = 0;
    }
    if (same)
        cvy_tensors_free(&f);
    cvy_tensors_free(&want);
    free(same);
    return ok;
}

static int load_buffers(struct cvy_run *r, const struct cvy_tensors *f)
{
    const struct cvy_optimiser *o = r->model->train.optimiser;
    int ok = 1;
    for (int i = 0; i < r->model->ntensor * cvy_buffers(o) && ok; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i % r->model->ntensor];
        const int k = i / r->model->ntensor;
        if (!cvy_learns(t))
            continue;
        char *name = cvy_format("%s.%s", o->buffer[k], t->name);
        ok = name && read_tensor(f, name, t, buffer_of(r->net, k));
        free(name);
    }
    return ok;
}

int cvy_has_ema(const struct cvy_model *m, const struct cvy_tensors *f)
{
    char *name = cvy_format("%s%s", CVY_EMA_PREFIX, m->tensor[0].name);
    const int has = name && cvy_tensors_find(f, name) != NULL;
    free(name);
    return has;
}

int cvy_load_ema(struct cvy_run *r, const struct cvy_tensors *f)
{
    int ok = 1;
    for (int i = 0; i < r->model->ntensor && ok; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i];
        char *name = cvy_format("%s%s", CVY_EMA_PREFIX, t->name);
        ok = name && load_as(r, f, t, name);
        free(name);
    }
    return ok;
}

int cvy_match_state(const struct cvy_model *m, struct cvy_tensors *f, int with_weights)
{
    struct cvy_run none = {.model = m};
    struct cvy_tensors want = {0};
    int ok = (!with_weights || cvy_add_weights(&want, &none, "")) && cvy_add_buffers(&want, &none, "") &&
             (!cvy_has_ema(m, f) || cvy_add_weights(&want, &none, CVY_EMA_PREFIX)) && cvy_tensors_match(f, &want);
    cvy_tensors_free(&want);
    return ok;
}

int cvy_load_kept(struct cvy_run *r, const struct cvy_tensors *f, int with_weights)
{
    int ok = 1;
    for (int i = 0; i < r->model->ntensor && ok && with_weights; i++)
        ok = load_tensor(r, f, &r->model->tensor[i]);
    return ok && load_buffers(r, f);
}

int cvy_load_state(struct cvy_run *r, const char *path, int64_t *step)
{
    struct cvy_tensors f;
    int ok = cvy_tensors_open(&f, path);
    const int with_weights = ok && cvy_tensors_find(&f, r->model->tensor[0].name) != NULL; /* a training's own state */
    ok = ok && cvy_match_state(r->model, &f, with_weights) && cvy_load_kept(r, &f, 0);
    const char *text = ok ? cvy_get_meta(&f, "step") : NULL;
    *step = 0;
    if (text && !cvy_parse_i64(text, 0, INT64_MAX, step)) {
        cvy_error(NULL, "'%s': its metadata holds the step '%.40s'", path, text);
        ok = 0;
    }
    cvy_tensors_free(&f);
    return ok;
}

/* ---- weights kept aside ---- */

static void copy_weights(const struct cvy_model *m, struct cvy_net *to, const struct cvy_net *from)
{
    memcpy(to->param, from->param, (size_t)m->param_floats * sizeof *to->param);
    memcpy(to->running, from->running, (size_t)m->running_floats * sizeof *to->running);
    memcpy(to->batches, from->batches, (size_t)m->nbatches * sizeof *to->batches);
}

int cvy_keep(struct cvy_kept *k, const struct cvy_run *r)
{
    const struct cvy_model *m = r->model;
    struct cvy_net *to = &k->net;
    if (!k->run.net) {
        to->param = cvy_alloc((size_t)m->param_floats, sizeof *to->param);
        to->running = cvy_alloc((size_t)m->running_floats, sizeof *to->running);
        to->batches = cvy_alloc((size_t)m->nbatches, sizeof *to->batches);
        k->run.model = m;
        k->run.net = to;
        k->run.rows = r->rows;
    }
    if (!to->param || !to->running || !to->batches)
        return 0;
    copy_weights(m, to, r->net);
    return 1;
}

void cvy_put_back(const struct cvy_kept *k, const struct cvy_run *r)
{
    copy_weights(r->model, r->net, &k->net);
}

void cvy_kept_free(struct cvy_kept *k)
{
    free(k->net.param);
    free(k->net.running);
    free(k->net.batches);
    memset(k, 0, sizeof *k);
}
