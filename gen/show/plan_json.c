/* plan_json.c - `convoy plan --json`: the kernels of a plan as data.
 *
 * needs: a complete plan. sets: nothing. docs/plan.md has the keys. */
#include "json.h"
#include "why.h"
#include "words.h"

#include <stdlib.h>
#include <string.h>

static json_t *shape_json(Shape s)
{
    return json_pack("[i, i, i]", s.c, s.h, s.w);
}

/* The steps of chains in their order, in the words of `convoy plan`. */
static json_t *steps_json(const Plan *p, const Chain *c, int n)
{
    json_t *list = json_array();

    for (int w = 0; w < n; w++)
        for (int i = 0; i < c[w].n; i++) {
            const PixelPass *r = &c[w].pass[i];
            if (r->window >= 0)
                json_array_append_new(list, json_string(p->g->op[r->window].path));
            for (int j = 0; j < r->nstep; j++) {
                const char *text = plan_step_text(p, r, &r->step[j]);
                if (text)
                    json_array_append_new(list, json_string(text));
            }
        }
    return list;
}

static json_t *reads_json(const Plan *p, const Kernel *k)
{
    json_t *list = json_array();

    for (int i = 0; i < k->nport; i++) {
        const Tensor *root = &p->tensor[p->tensor[k->port[i].tensor].root];
        if (k->port[i].value)
            json_array_append_new(list, json_string(root->op == 0 ? "input" : p->g->op[root->stored_op].path));
    }
    return list;
}

static json_t *winograd_json(const Winograd *w)
{
    return json_pack("{s:b, s:i, s:i, s:i, s:i}", "winograd", 1, "tiles", w->tiles, "block", w->block, "images",
                     w->images, "transforms", w->made * LANES);
}

static json_t *core_pass_json(const Core *c, const Winograd *w)
{
    if (w)
        return winograd_json(w);
    const Tile *t = tile_main(c);
    return json_pack("{s:b, s:{s:i, s:i, s:i}}", "winograd", 0, "tile", "rows", t->rows, "cols", t->cols, "channels",
                     c->vectors * LANES);
}

/* Of an image, what the cost models give each pass: by its direct cores, and by Winograd, where that was looked at. */
static json_t *cycles_json(const Kernel *k)
{
    static const char *const name[] = {[PASS_FORWARD] = "forward", [PASS_DATA] = "data", [PASS_WEIGHTS] = "weights"};
    json_t *o = json_object();

    for (Pass i = PASS_FORWARD; i <= PASS_WEIGHTS; i++) {
        const double direct = kernel_direct_cycles(k, i), winograd = kernel_winograd_cycles(k, i);
        if (direct > 0)
            json_object_set_new(o, name[i],
                                json_pack("{s:I, s:o}", "direct", (json_int_t)direct, "winograd",
                                          winograd > 0 ? json_integer((json_int_t)winograd) : json_null()));
    }
    return o;
}

/* The core's three passes; null where a kernel has none that is unrolled. */
static json_t *core_json(const Kernel *k)
{
    if (k->rows)
        return json_pack("{s:s}", "name", k->w->core_name ? k->w->core_name : "product");
    if (!k->conv)
        return json_null();
    json_t *core = json_pack("{s:s, s:o}", "name", k->w->core_name, "forward",
                             core_pass_json(&k->w->forward, kernel_winograd(k, PASS_FORWARD)));
    const Winograd *by_data = kernel_winograd(k, PASS_DATA), *by_weights = kernel_winograd(k, PASS_WEIGHTS);
    json_t *data = json_array(), *weights; /* under a stride one for each class of pixels */
    for (int i = 0; i < k->conv->ndata && !by_data; i++)
        json_array_append_new(data, core_pass_json(&k->conv->data[i], NULL));
    if (by_data)
        json_array_append_new(data, winograd_json(by_data));
    if (!k->learns)
        weights = json_null();
    else if (by_weights)
        weights = winograd_json(by_weights);
    else
        weights = json_pack("{s:b, s:{s:i, s:i}, s:i}", "winograd", 0, "tile", "accumulators", k->conv->weight.nacc,
                            "channels", k->conv->weight.vectors * LANES, "images", k->conv->weight.images);
    json_object_set_new(core, "cycles", cycles_json(k));
    json_object_set_new(core, "data", data);
    json_object_set_new(core, "weights", weights);
    return core;
}

static json_t *stored_json(const Plan *p, const Kernel *k)
{
    const Tensor *nd = k->tensor >= 0 ? &p->tensor[k->tensor] : NULL;

    if (!nd || nd->op == 0 || !nd->stored)
        return json_null();
    return json_pack("{s:s, s:o, s:I, s:s, s:s}", "tensor", p->g->op[nd->stored_op].path, "shape",
                     shape_json(nd->shape[0]), "bytes", (json_int_t)plan_tensor_bytes(p, nd), "until",
                     nd->kept         ? "backward"
                     : nd->recomputed ? "made again"
                                      : "forward",
                     "why", nd->why);
}

/* Of a stage that stands in this kernel: why it does not in the one before. */
static void add_reasons(const Plan *p, int op, bool *told, json_t *list)
{
    static const char *const about[] = {"not before", "sum there", "why a pass", NULL};

    if (op < 0 || told[op])
        return;
    told[op] = true;
    const Story s = why_tell(p, op);
    for (int i = 0; i < s.n; i++)
        for (int j = 0; about[j]; j++)
            if (strcmp(s.fact[i].about, about[j]) == 0)
                json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "stage", p->g->op[op].path, "about", about[j],
                                                      "why", s.fact[i].text));
}

static json_t *reasons_json(const Plan *p, const Kernel *k)
{
    json_t *list = json_array();
    bool *told = xalloc(sizeof *told * (size_t)p->g->nop);

    for (int w = 0; w <= k->nin; w++) {
        const Chain *c = w < k->nin ? &k->before[w] : kernel_chain(k, CHAIN_AFTER);
        for (int i = 0; i < c->n; i++) {
            add_reasons(p, c->pass[i].window, told, list);
            for (int j = 0; j < c->pass[i].nstep; j++)
                add_reasons(p, c->pass[i].step[j].op, told, list);
        }
    }
    add_reasons(p, k->op, told, list);
    return list;
}

/* The norms inside a recurrent op's steps, by place. */
static json_t *norms_json(const Plan *p, const Kernel *k)
{
    const Op *o = &p->g->op[k->op];
    json_t *places = json_object();

    for (int i = 0; i < k->recurrent->nnorm; i++)
        json_object_set_new(places, place_info[k->recurrent->norm[i].place].name,
                            json_string(place_norm_text(o->kind, o->arg, k->recurrent->norm[i].place)));
    return places;
}

static json_t *kernel_json(const Plan *p, const Kernel *k)
{
    const KernelWords words = plan_words(p, k);
    const bool weights = k->w != NULL;
    json_t *passes = json_array();

    if (k->has_forward)
        json_array_append_new(passes, json_string("forward"));
    if (k->has_backward)
        json_array_append_new(passes, json_string("backward"));
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", k->name, "kind", words.kind,
                          "op", p->g->op[k->op].path, "passes", passes, "reads", reads_json(p, k), "prologue",
                          steps_json(p, k->before, k->nin), "core", core_json(k), "epilogue",
                          steps_json(p, kernel_chain(k, CHAIN_AFTER), weights ? 1 : 0), "stored", stored_json(p, k),
                          "not_fused", reasons_json(p, k));
    if (k->recurrent && k->recurrent->nnorm)
        json_object_set_new(o, "norms", norms_json(p, k));
    if (k->recurrent)
        json_object_set_new(
            o, "steps",
            json_pack("{s:i, s:I}", "count", k->recurrent->steps, "stored_bytes", (json_int_t)recurrent_kept_bytes(k)));
    if (k->w && !k->learns)
        json_object_set_new(o, "frozen", json_true());
    return o;
}

bool plan_json(const Plan *p, FILE *to)
{
    json_t *kernels = json_array(), *norms = json_array();

    for (int i = 0; i < p->nkernel; i++)
        json_array_append_new(kernels, kernel_json(p, &p->kernel[i]));
    for (int i = 0; i < p->nnorm; i++)
        json_array_append_new(
            norms, json_pack("{s:s, s:s}", "norm", p->g->op[p->norm[i].op].path, "inference", p->norm[i].inference));
    json_t *root =
        json_pack("{s:s, s:s, s:i, s:I, s:o, s:o}", "network", p->g->spec->name, "target", p->target->name, "pieces",
                  p->pieces, "stored_bytes", (json_int_t)p->stored_bytes, "kernels", kernels, "norms", norms);
    return json_print(root, JSON_INDENT(2), to);
}
