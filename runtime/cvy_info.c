/* cvy_info.c - `NAME info`: what the network is and what it costs. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_settings.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

static int64_t count_params(const struct cvy_model *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->ntensor; i++) {
        if (cvy_is_param(&m->tensor[i]))
            n += cvy_layout_count(&m->tensor[i].at);
    }
    return n;
}

int cvy_json_hyper(json_t *o, const struct cvy_optimiser *of, const double hyper[CVY_HYPERS])
{
    int ok = 1;
    for (int k = 0; k < cvy_hypers(of); k++)
        ok &= json_object_set_new(o, of->hyper[k].name,
                                  of->hyper[k].off ? json_boolean(hyper[k] != 0) : json_real(hyper[k])) == 0;
    return ok;
}

int cvy_json_settings(json_t *o, const double setting[CVY_SETTINGS])
{
    int ok = 1;
    for (int k = 0; k < CVY_SETTINGS; k++)
        ok &= json_object_set_new(o, cvy_settings[k].name,
                                  cvy_settings[k].kind == CVY_WHOLE_NUMBER ? json_integer((json_int_t)setting[k])
                                                                           : json_real(setting[k])) == 0;
    return ok;
}

/* The spec's train section; NULL where memory is out. */
static json_t *training_json(const struct cvy_model *m)
{
    const struct cvy_train *t = &m->train;
    json_t *mean = json_array(), *std = json_array();
    int ok = 1;

    for (int c = 0; c < m->channels; c++)
        ok &= json_array_append_new(mean, json_real((double)t->mean[c])) == 0 &&
              json_array_append_new(std, json_real((double)t->std[c])) == 0;
    json_t *o = json_pack("{s:s, s:i, s:i, s:s, s:f, s:f, s:b, s:s, s:s, s:I, s:o, s:o}", "data", t->data, "epochs",
                          t->epochs, "batch", t->batch, "optimizer", t->optimiser->name, "lr", t->lr, "weight_decay",
                          t->weight_decay, "decay_all", t->decay_all, "schedule", t->schedule, "augment",
                          t->augment ? t->augment : "", "seed", (json_int_t)t->seed, "mean", mean, "std", std);
    if (ok && o && cvy_json_settings(o, t->setting) && cvy_json_hyper(o, t->optimiser, t->hyper))
        return o;
    json_decref(o);
    return NULL;
}

static int print_info_json(const struct cvy_model *m, int batch, int threads)
{
    json_t *tensors = json_array();
    int ok = 1;
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        json_t *shape = json_array();
        for (int d = 0; d < t->at.ndim; d++)
            ok &= json_array_append_new(shape, json_integer(t->at.dim[d])) == 0;
        ok &= json_array_append_new(tensors, json_pack("{s:s, s:o, s:b}", "name", t->name, "shape", shape, "trained",
                                                       cvy_learns(t))) == 0;
    }
    json_t *o = json_pack("{s:s, s:s?, s:s?, s:s?, s:[i, i, i], s:i, s:I, s:I, s:I, s:i, s:i, s:I, s:I, s:o, s:o}",
                          "network", m->name, "order", m->order, "target", m->target, "spec_hash", m->spec_hash,
                          "input", m->channels, m->height, m->width, "classes", m->classes, "parameters",
                          (json_int_t)count_params(m), "forward_flops_an_image", (json_int_t)m->flops,
                          "stored_bytes_an_image", (json_int_t)m->stored_bytes, "batch", batch, "threads", threads,
                          "arena_bytes", (json_int_t)m->arena_bytes(batch, threads), "inference_arena_bytes",
                          (json_int_t)m->arena_bytes(0, threads), "train", training_json(m), "tensors", tensors);
    if (!ok) {
        json_decref(o);
        o = NULL;
    }
    return cvy_json_print(o, JSON_INDENT(2) | JSON_PRESERVE_ORDER) ? 0 : 1;
}

int cvy_command_info(int argc, char **argv, const struct cvy_model *m)
{
    int json = 0, batch = m->train.batch > 0 ? m->train.batch : 64, threads = cvy_processors();
    struct cvy_option option[] = {
        {CVY_FLAG, "--json", NULL, &json, 0, 0, "for scripts", 0},
        {CVY_INT, "--batch", "N", &batch, 1, 1048576, "images per step", 0},
        {CVY_INT, "--threads", "N", &threads, 1, 1024, "", 0},
        {CVY_SECTION, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    int parsed = cvy_options_parse(argc, argv, 2, "info", option);
    if (parsed < 0) {
        printf("usage: %s info [--json] [--batch N] [--threads N]\n\nWhat the network is, and the memory that it "
               "takes.\n\n",
               m->name);
        cvy_options_help(option);
        return 0;
    }
    if (parsed == 0)
        return 2;
    if (json)
        return print_info_json(m, batch, threads);
    printf("network       %s%s%s\n", m->name, m->order ? ", " : "", m->order ? m->order : "");
    printf("target        %s\n", m->target ? m->target : "unknown");
    printf("spec          %s\n", m->spec_hash ? m->spec_hash : "unknown");
    printf("input         %d x %d x %d\n", m->channels, m->height, m->width);
    printf("%s       %d\n", cvy_learns_classes(m) ? "classes" : "outputs", m->classes);
    printf("parameters    %" PRId64 "\n", count_params(m));
    printf("forward       %.3f MFLOP per image\n", (double)m->flops / 1e6);
    printf("stored        %" PRId64 " bytes per image, from forward for backward\n", m->stored_bytes);
    printf("memory        %.2f MB to train (batch %d, %d threads), %.2f MB to infer\n\n",
           (double)m->arena_bytes(batch, threads) / 1e6, batch, threads, (double)m->arena_bytes(0, threads) / 1e6);
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        printf("  %-36s [", t->name);
        for (int d = 0; d < t->at.ndim; d++)
            printf("%s%d", d ? ", " : "", t->at.dim[d]);
        printf("]%s\n", cvy_learns(t) ? "" : "  (not trained)");
    }
    return 0;
}
