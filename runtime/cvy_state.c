/* cvy_state.c - an instance of the network: its memory, drawing its weights, its checkpoints. A checkpoint is two files:
 * the weights (parameters and running statistics under PyTorch's names, so that they load into a PyTorch module), and
 * beside them the state that training needs to go on (momentum; where it stands, as metadata).
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
        cvy_error("a smaller --batch", "batch %d on %d threads needs more memory than can be addressed", batch, threads);
        return 0;
    }
    r->memory = cvy_alloc_aligned(bytes);
    r->net = r->memory ? m->init(r->memory, bytes, batch, threads) : NULL;
    if (r->memory && !r->net)
        cvy_error(NULL, "the network refused its memory (%zu bytes; batch %d, %d threads): a bug", bytes, batch, threads);
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

/* ---- layouts ---- */

int64_t cvy_layout_count(const struct cvy_layout *at)
{
    int64_t n = 1;
    for (int i = 0; i < at->ndim; i++)
        n *= at->dim[i];
    return n;
}

/* Calls for every element in C order: `place` is where it lies. The last dimension is the inner loop. */
#define EACH_ELEMENT(at, place, body)                                                                                         \
    do {                                                                                                                      \
        int idx_[4] = {0, 0, 0, 0}, last_ = (at)->ndim - 1;                                                                   \
        for (int64_t left_ = cvy_layout_count(at); left_ > 0; left_--) {                                                      \
            int64_t place = (at)->offset;                                                                                     \
            for (int d_ = 0; d_ <= last_; d_++)                                                                               \
                place += idx_[d_] / (at)->block[d_] * (at)->outer[d_] + idx_[d_] % (at)->block[d_] * (at)->inner[d_];         \
            body;                                                                                                             \
            for (int d_ = last_; d_ >= 0 && ++idx_[d_] == (at)->dim[d_]; d_--)                                                \
                idx_[d_] = 0;                                                                                                 \
        }                                                                                                                     \
    } while (0)

void cvy_gather(const float *base, const struct cvy_layout *at, float *out)
{
    EACH_ELEMENT(at, place, *out++ = base[place]);
}

void cvy_scatter(float *base, const struct cvy_layout *at, const float *in)
{
    EACH_ELEMENT(at, place, base[place] = *in++);
}

int cvy_is_param(const struct cvy_tensor *t)
{
    return t->role == CVY_WEIGHT || t->role == CVY_BIAS || t->role == CVY_GAMMA || t->role == CVY_BETA;
}

static float *base_of(const struct cvy_run *r, const struct cvy_tensor *t)
{
    return cvy_is_param(t) ? r->net->param : r->net->running;
}

void cvy_draw_weights(struct cvy_run *r, uint64_t seed)
{
    for (int i = 0; i < r->model->ntensor; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i];
        if (t->role == CVY_BATCHES) {
            r->net->batches[t->at.offset] = 0;
            continue;
        }
        float *base = base_of(r, t);
        uint64_t stream = cvy_name_hash(t->name), index = 0;
        if (t->draw == CVY_NORMAL) {
            EACH_ELEMENT(&t->at, place, base[place] = (float)(t->value * cvy_normal(seed, stream, index++)));
        } else if (t->draw == CVY_UNIFORM) {
            EACH_ELEMENT(&t->at, place, {
                uint32_t w[4];
                cvy_draw4(seed, stream, index++, w);
                base[place] = (float)(t->value * (2.0 * cvy_unit(w[0], w[1]) - 1.0));
            });
        } else {
            EACH_ELEMENT(&t->at, place, base[place] = t->value);
        }
    }
    if (r->net->momentum)
        memset(r->net->momentum, 0, (size_t)r->model->param_floats * sizeof *r->net->momentum);
}

/* ---- tensors in and out of files ---- */

/* Adds the tensors of an array that lies as the parameters do. */
static int add_params(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix, const float *base)
{
    for (int i = 0; i < r->model->ntensor; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i];
        if (!cvy_is_param(t))
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

int cvy_add_momentum(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix)
{
    return add_params(f, r, prefix, r->net->momentum);
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
            if (ok)
                *v = r->net->batches[t->at.offset];
        } else if (ok) {
            float *v = cvy_put_f32(f, name, t->at.ndim, t->at.dim);
            ok = v != NULL;
            if (ok)
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
            cvy_error(NULL, "'%s': tensor '%s' is a variance and holds a number below zero (element %zu)", f->path, name, i);
            ok = 0;
        }
    }
    if (ok)
        cvy_scatter(base, &t->at, v);
    free(v);
    return ok;
}

int cvy_load_weights(struct cvy_run *r, const char *path)
{
    struct cvy_tensors f, want = {0};
    int ok = cvy_tensors_open(&f, path) && cvy_add_weights(&want, r, "") && cvy_tensors_match(&f, &want);
    for (int i = 0; i < r->model->ntensor && ok; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i];
        int64_t n = 0;
        if (t->role != CVY_BATCHES) {
            ok = read_tensor(&f, t->name, t, base_of(r, t));
            continue;
        }
        ok = cvy_read_i64(&f, t->name, &n);
        if (ok && n < 0) {
            cvy_error(NULL, "'%s': tensor '%s' counts %" PRId64 " batches", path, t->name, n);
            ok = 0;
        }
        r->net->batches[t->at.offset] = n;
    }
    cvy_tensors_free(&f);
    cvy_tensors_free(&want);
    return ok;
}

char *cvy_state_path(const char *weights)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(weights), m = strlen(end);
    if (n > m && strcmp(weights + n - m, end) == 0)
        n -= m;
    return cvy_format("%.*s.state%s", (int)n, weights, end);
}

/* ---- progress as metadata ---- */

/* One row a field; all are written as text that reads back to the same bits. */
enum field_kind { FIELD_INT, FIELD_I64, FIELD_U64, FIELD_U32, FIELD_REAL };
struct field {
    const char *key;
    enum field_kind kind;
    size_t at;
    double lo, hi;
};
#define FIELD(kind, name, lo, hi) {#name, kind, offsetof(struct cvy_progress, name), lo, hi}
static const struct field fields[] = {
    FIELD(FIELD_I64, step, 0, 9e15),         FIELD(FIELD_I64, epoch, 0, 2e9),
    FIELD(FIELD_U64, seed, 0, 0),            FIELD(FIELD_I64, step_in_epoch, 0, 9e15),
    FIELD(FIELD_REAL, loss_sum, 0, 1e300),   FIELD(FIELD_REAL, correct_sum, 0, 1e15),
    FIELD(FIELD_REAL, seen, 0, 1e15),        FIELD(FIELD_INT, epochs, 0, 1e9),
    FIELD(FIELD_INT, batch, 1, 1e9),         FIELD(FIELD_REAL, lr, 0, 1e6),
    FIELD(FIELD_REAL, momentum, 0, 1),       FIELD(FIELD_REAL, weight_decay, 0, 1e6),
    FIELD(FIELD_INT, nesterov, 0, 1),        FIELD(FIELD_INT, decay_all, 0, 1),
    FIELD(FIELD_INT, one_cycle, 0, 1),       FIELD(FIELD_REAL, warmup, 0, 1),
    FIELD(FIELD_INT, train_images, 0, 2147483647), FIELD(FIELD_INT, test_images, 0, 2147483647),
    FIELD(FIELD_U32, data_crc, 0, 4294967295.0),
};
enum { NFIELDS = sizeof fields / sizeof *fields };

static int put_progress(struct cvy_tensors *f, const struct cvy_progress *p)
{
    int ok = 1;
    for (int i = 0; i < NFIELDS && ok; i++) {
        const void *v = (const char *)p + fields[i].at;
        switch (fields[i].kind) {
        case FIELD_INT: ok = cvy_put_meta(f, fields[i].key, "%d", *(const int *)v); break;
        case FIELD_I64: ok = cvy_put_meta(f, fields[i].key, "%" PRId64, *(const int64_t *)v); break;
        case FIELD_U64: ok = cvy_put_meta(f, fields[i].key, "%" PRIu64, *(const uint64_t *)v); break;
        case FIELD_U32: ok = cvy_put_meta(f, fields[i].key, "%" PRIu32, *(const uint32_t *)v); break;
        case FIELD_REAL: ok = cvy_put_meta(f, fields[i].key, "%.17g", *(const double *)v); break;
        }
    }
    return ok;
}

static int get_progress(const struct cvy_tensors *f, struct cvy_progress *p)
{
    memset(p, 0, sizeof *p);
    for (int i = 0; i < NFIELDS; i++) {
        const struct field *field = &fields[i];
        const char *text = cvy_get_meta(f, field->key);
        void *to = (char *)p + field->at;
        char *end = NULL;
        double v = 0;
        errno = 0;
        if (text && field->kind == FIELD_U64)
            *(uint64_t *)to = strtoull(text, &end, 10);
        else if (text)
            v = strtod(text, &end);
        if (!text || !*text || *end || errno == ERANGE || !isfinite(v) ||
            (field->kind != FIELD_U64 && (v < field->lo || v > field->hi)) ||
            (field->kind != FIELD_REAL && field->kind != FIELD_U64 && v != floor(v))) {
            cvy_error("it is not the state of a training; --init-from W starts a new one from the weights alone",
                      "'%s': its metadata has no valid '%s'", f->path, field->key);
            return 0;
        }
        switch (field->kind) {
        case FIELD_INT: *(int *)to = (int)v; break;
        case FIELD_I64: *(int64_t *)to = (int64_t)v; break;
        case FIELD_U32: *(uint32_t *)to = (uint32_t)v; break;
        case FIELD_REAL: *(double *)to = v; break;
        case FIELD_U64: break;
        }
    }
    return 1;
}

/* ---- checkpoints ---- */

static int put_scaling(struct cvy_tensors *f, const struct cvy_model *m)
{
    char mean[2048] = "", std[2048] = "";
    size_t a = 0, b = 0;
    for (int c = 0; c < m->channels && a < sizeof mean - 32 && b < sizeof std - 32; c++) {
        const char *comma = c ? ", " : "";
        a += (size_t)snprintf(mean + a, sizeof mean - a, "%s%.9g", comma, m->train.mean ? m->train.mean[c] : 0.0);
        b += (size_t)snprintf(std + b, sizeof std - b, "%s%.9g", comma, m->train.std ? m->train.std[c] : 1.0);
    }
    return cvy_put_meta(f, "mean", "%s", mean) && cvy_put_meta(f, "std", "%s", std);
}

static int all_finite(const struct cvy_tensors *f)
{
    for (int i = 0; i < f->n; i++) {
        const struct cvy_entry *e = &f->entry[i];
        for (size_t k = 0; e->dtype == CVY_F32 && k < e->end / sizeof(float); k++) {
            if (!isfinite(((const float *)e->data)[k])) {
                cvy_error("a smaller --lr may help", "'%s' holds a number that is not finite: not saved", e->name);
                return 0;
            }
        }
    }
    return 1;
}

int cvy_save(const struct cvy_run *r, const char *path, const struct cvy_progress *p)
{
    struct cvy_tensors w = {0}, s = {0};
    struct cvy_out out[2] = {{0}, {0}};
    char *state = cvy_state_path(path);
    int ok = state && cvy_put_meta(&w, "format", "pt") && cvy_put_meta(&w, "convoy", "%s", r->model->name) &&
             put_scaling(&w, r->model) && cvy_put_meta(&w, "epoch", "%" PRId64, p->epoch) &&
             cvy_put_meta(&w, "step", "%" PRId64, p->step) && cvy_add_weights(&w, r, "") && all_finite(&w) &&
             cvy_put_meta(&s, "convoy", "%s", r->model->name) && put_progress(&s, p) &&
             cvy_add_momentum(&s, r, "momentum.") && all_finite(&s);
    ok = ok && cvy_out_open(&out[0], path) && cvy_out_open(&out[1], state) && cvy_tensors_write(&w, &out[0]) &&
         cvy_tensors_write(&s, &out[1]) && cvy_out_commit(out, 2);
    cvy_out_drop(&out[0]);
    cvy_out_drop(&out[1]);
    cvy_tensors_free(&w);
    cvy_tensors_free(&s);
    free(state);
    return ok;
}

int cvy_load_state(struct cvy_run *r, const char *path, struct cvy_progress *p, int64_t *step)
{
    struct cvy_tensors f, want = {0};
    int ok = cvy_tensors_open(&f, path) && add_params(&want, r, "momentum.", NULL) && cvy_tensors_match(&f, &want);
    for (int i = 0; i < r->model->ntensor && ok; i++) {
        const struct cvy_tensor *t = &r->model->tensor[i];
        if (!cvy_is_param(t))
            continue;
        char *name = cvy_format("momentum.%s", t->name);
        ok = name && read_tensor(&f, name, t, r->net->momentum);
        free(name);
    }
    if (ok && p)
        ok = get_progress(&f, p);
    if (ok && step) {
        const char *text = cvy_get_meta(&f, "step");
        char *end;
        errno = 0;
        long long v = text ? strtoll(text, &end, 10) : 0;
        if (text && (!*text || *end || errno || v < 0)) {
            cvy_error(NULL, "'%s': its metadata holds the step '%.40s'", path, text);
            ok = 0;
        }
        *step = v;
    }
    cvy_tensors_free(&f);
    cvy_tensors_free(&want);
    return ok;
}

int cvy_load_resume(struct cvy_run *r, const char *weights, struct cvy_progress *p)
{
    struct cvy_tensors f = {0};
    char *state = cvy_state_path(weights);
    int ok = state && cvy_load_state(r, state, p, NULL) && cvy_load_weights(r, weights) && cvy_tensors_open(&f, weights);
    if (ok) {
        const char *text = cvy_get_meta(&f, "step");
        char step[32];
        snprintf(step, sizeof step, "%" PRId64, p->step);
        if (!text || strcmp(text, step) != 0) {
            cvy_error("the weights were replaced, or the machine went down between the two; --init-from W starts a new "
                      "training from the weights alone",
                      "'%s' (step %s) and '%s' (step %s) do not belong together", weights, text ? text : "unknown", state, step);
            ok = 0;
        }
    }
    cvy_tensors_free(&f);
    free(state);
    return ok;
}
