/* export.c - a trained network for inference alone, as a folder of C or as one file: the layers' own files, as gen
 * emits them, around constant weights.
 *
 * needs: a complete plan and its folded weights (weights_fold). sets: the files of the exported folder. */
#include "emit.h"

#include "embedded.h"

#include <string.h>

typedef struct Export {
    const Plan *p;
    const char *name, *NAME;
    const float *folded;
    bool single;
    Rec *rec;
} Export;

static void line(const Export *e, const char *list, const char *text)
{
    rec_str(rec_add(e->rec, list), "line", text);
}

static void add_file(OutDir *out, const char *name, const Buf *b)
{
    outdir_add(out, name, b->text, b->len);
}

/* ---- weights ---- */

/* A part of a layer's weights: where it stands among all folded weights, its offset's name, what it is. */
typedef struct Section {
    int64_t at, n;
    const char *macro, *doc;
} Section;

static const char *folded_norms(const Export *e, const Kernel *k)
{
    Buf b = {0};

    buf_puts(&b, e->p->g->op[k->op].path);
    for (int i = 0; k->w && i < k->w->nfold; i++)
        buf_printf(&b, "%s%s", i ? ", " : " with ", e->p->g->op[k->w->fold[i]].path);
    if (k->w && k->w->nfold)
        buf_puts(&b, " folded in");
    return b.text;
}

/* What a layer needs of the folded weights: its own, and the norms that its stages apply. */
static Section *sections(const Export *e, const Kernel *k, int *count)
{
    const Plan *p = e->p;
    const Op *o = &p->g->op[k->op];
    const int in = o->in >= 0 ? p->g->op[o->in].shape.c / o->groups : 0, out = o->shape.c;
    const char *name = xprintf("%s_%s", e->NAME, upper(k->name));
    Section *s = NULL;
    int n = 0;

    if (k->w) {
        const char *rows = k->recurrent              ? xprintf("[%d in, %d hidden, biases]", in, out)
                           : k->kind == KERNEL_EMBED ? xprintf("[%d tokens]", p->g->spec->tokens)
                           : k->rows                 ? xprintf("[%d in]", blocks_of(in) * LANES)
                           : k->conv->plain || k->conv->lanewise
                               ? xprintf("[%d in][%d x %d]", in, o->kernel[0], o->kernel[1])
                               : xprintf("[%d in / 16][%d x %d][16 in]", blocks_of(in), o->kernel[0], o->kernel[1]);
        if (winograd_transformed(kernel_winograd(k, PASS_FORWARD)))
            rows = xprintf("[36, of Winograd][%d in]", blocks_of(in) * LANES);
        *PUSH(s, n) = (Section){k->w->fold_w, k->w->fold_floats, xprintf("%s_FOLDED", name),
                                k->kind == KERNEL_EMBED
                                    ? xprintf("%s: %s[%d out]", folded_norms(e, k), rows, blocks_of(out) * LANES)
                                    : xprintf("%s: [%d out / 16]%s[16 out]", folded_norms(e, k), blocks_of(out), rows)};
        if (!kernel_is_apart(k))
            *PUSH(s, n) = (Section){k->w->fold_b, (int64_t)blocks_of(out) * LANES, xprintf("%s_FOLDED_BIAS", name),
                                    xprintf("bias of %d", out)};
    }
    for (int i = 0; i < p->naffine; i++) {
        const int op = p->affine[i].op, channels = p->g->op[op].shape.c;
        if (emit_infer_applies(k, op))
            *PUSH(s, n) = (Section){p->affine[i].at, affine_floats(p, &p->affine[i]), affine_macro(p, op),
                                    xprintf(op_is_image_norm(p->g->op[op].kind) ? "%s: gamma, beta, of %d"
                                                                                : "%s: mean, scale, shift, of %d",
                                            p->g->op[op].path, channels)};
    }
    *count = n;
    return s;
}

static const char *array_name(const Export *e, const Kernel *k)
{
    return xprintf("%s_%s_folded", e->name, k->name);
}

enum { FLOAT_CHARS = 18 }; /* "-0x1.fffffep-126f," */

/* v as the shortest hexadecimal constant that is v. Returns its end. */
static char *put_float(char *to, float v)
{
    static const char digit[] = "0123456789abcdef";
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    int exponent = (int)(bits >> 23 & 255) - 127;
    uint32_t mantissa = bits & 0x7fffff;

    if (v == 0) {
        const char *zero = bits ? "-0.0f" : "0";
        const size_t n = strlen(zero);
        memcpy(to, zero, n);
        return to + n;
    }
    if (exponent == -127)
        for (exponent = -126; !(mantissa & 0x800000); exponent--) /* denormal */
            mantissa <<= 1;
    mantissa = (mantissa & 0x7fffff) << 1; /* six digits */
    if (bits >> 31)
        *to++ = '-';
    memcpy(to, "0x1", 3);
    to += 3;
    if (mantissa)
        *to++ = '.';
    for (; mantissa; mantissa = mantissa << 4 & 0xffffff)
        *to++ = digit[mantissa >> 20];
    *to++ = 'p';
    if (exponent < 0)
        *to++ = '-';
    exponent = exponent < 0 ? -exponent : exponent;
    if (exponent >= 100)
        *to++ = '1';
    if (exponent >= 10)
        *to++ = digit[exponent / 10 % 10];
    *to++ = digit[exponent % 10];
    *to++ = 'f';
    return to;
}

static void put_floats(Buf *to, const float *v, int64_t n)
{
    enum { WIDTH = 116 };
    char text[WIDTH + FLOAT_CHARS + 8], *at = text;

    for (int64_t i = 0; i < n; i++) {
        char one[FLOAT_CHARS + 1];
        const size_t len = (size_t)(put_float(one, v[i]) - one);
        if (at - text + (ptrdiff_t)len + 2 > WIDTH) {
            *at++ = '\n';
            buf_add(to, text, (size_t)(at - text));
            at = text;
        }
        if (at == text) {
            memcpy(at, "   ", 3);
            at += 3;
        }
        *at++ = ' ';
        memcpy(at, one, len);
        at += len;
        *at++ = ',';
    }
    if (at > text) {
        *at++ = '\n';
        buf_add(to, text, (size_t)(at - text));
    }
}

/* A layer's weights, with what each part is. */
static void weights(const Export *e, const Kernel *k, Buf *to)
{
    int64_t total = 0;
    int n;
    const Section *s = sections(e, k, &n);

    for (int i = 0; i < n; i++)
        total += s[i].n;
    if (n == 0) /* a pass that knows no numbers */
        return;
    buf_puts(to, "/* The layer's weights: hexadecimal, so that they are exact. */\n#if defined "
                 "__GNUC__\n__attribute__((aligned(64)))\n#endif\n");
    buf_printf(to, "%sconst float %s[%lld] = {\n", e->single ? "static " : "", array_name(e, k), (long long)total);
    for (int i = 0; i < n; i++) {
        buf_printf(to, "    /* %s */\n", s[i].doc);
        put_floats(to, e->folded + s[i].at, s[i].n);
    }
    buf_puts(to, "};\n");
}

/* ---- the record ---- */

/* The network, a line a layer; its prototypes and arrays; where in them the weights stand. */
static void layers(const Export *e)
{
    const Plan *p = e->p;
    int64_t state = 0;
    int used = 0;

    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        int64_t at = 0;
        int n;
        const char *array = array_name(e, k);
        const Section *section = sections(e, k, &n);
        for (int j = 0; j < n; j++) {
            Rec *r = rec_add(e->rec, "offsets");
            if (section[j].at + section[j].n > p->fold_floats || section[j].n % LANES)
                BUG("weights of %s at %lld, %lld floats", k->name, (long long)section[j].at, (long long)section[j].n);
            rec_str(r, "name", section[j].macro);
            rec_int(r, "at", at);
            at += section[j].n;
        }
        used += !k->w ? n : kernel_is_apart(k) ? n - 1 : n - 2;
        if (n)
            rec_fmt(rec_add(e->rec, "arrays"), "decl", "extern const float %s[%lld]", array, (long long)at);
        rec_fmt(rec_add(e->rec, "prototypes"), "decl", "void %s_infer(%s)", kernel_struct(p, k),
                emit_infer_parameters(p, k));
        if (p->splits)
            emit_infer_line(p, i, array, rec_add(e->rec, "infer"));
        else
            line(e, "infer",
                 emit_infer_call(
                     p, k,
                     (InferArgs){array, "x", p->stream ? "0" : "i", "s", "length ? length + i : NULL", state, NULL}));
        state += p->stream ? emit_state_floats(k) : 0;
    }
    const Shape in = p->g->op[0].shape;
    rec_int(e->rec, "splits", p->splits);
    rec_int(e->rec, "input_floats", (int64_t)in.c * in.h * in.w);
    emit_infer_places(p, e->rec, "places");
    rec_str(e->rec, "result", emit_infer_result(p));
    if (used != p->naffine)
        BUG("%d norms applied, %d planned", used, p->naffine);
}

/* What a stream keeps: whole blocks. */
static int64_t state_floats(const Plan *p)
{
    int64_t n = 0;

    for (int i = 0; i < p->ninfer && p->stream; i++)
        n += emit_state_floats(&p->infer[i]);
    return n;
}

static void totals(const Export *e)
{
    const Plan *p = e->p;
    const Spec *s = p->g->spec;
    const Shape in = p->g->op[0].shape;
    const int64_t state = state_floats(p), scratch = (p->scratch_infer + 15) / 16 * 16 + state;
    Rec *r = e->rec;
    Buf vec = {0};

    emit_vec(p->target, &vec);
    rec_str(r, "name", e->name);
    rec_str(r, "NAME", e->NAME);
    rec_str(r, "licence", EMITTED_LICENCE);
    rec_str(r, "version", CONVOY_VERSION);
    rec_str(r, "hash", emit_spec_hash(s));
    rec_str(r, "order", emit_orders(p->g));
    rec_str(r, "target", p->target->name);
    rec_str(r, "macro", p->target->macro);
    rec_fmt(r, "compile", "cc -O%s%s%s -c %s%s", p->g->spec->unroll == UNROLL_NONE ? "s" : "2",
            *p->target->flags ? " " : "", p->target->flags, e->single ? e->name : "*", ".c");
    rec_fmt(r, "totals", "%lld parameters, %lld FLOPs per image, norms folded; %s", (long long)p->g->weights,
            (long long)p->g->flops,
            strcmp(p->target->standard, "c99") == 0 ? "strict C99" : "for processors that have these instructions");
    rec_str(r, "shape", emit_input_text(p->g));
    rec_int(r, "c", in.c);
    if (s->tokens)
        rec_int(r, "tokens", s->tokens);
    rec_int(r, "h", in.h);
    rec_int(r, "w", in.w);
    rec_int(r, "lengths", s->lengths);
    rec_str(r, "length", s->lengths ? ", const int *length" : "");
    rec_int(r, "classes", s->classes);
    rec_str(r, "mean", emit_channel_list(s->train.mean, in.c));
    rec_str(r, "std", emit_channel_list(s->train.std, in.c));
    rec_int(r, "fixed_bytes", 128); /* the struct on a line of its own, and what aligning it may cost */
    rec_int(r, "thread_bytes", 4 * scratch);
    rec_int(r, "scratch", scratch);
    if (p->stream)
        rec_int(r, "state", state);
    rec_fmt(r, "vec_hash", "0x%.8su", emit_hash(vec.text));
    emit_part(r, "part_api", "api");
    emit_part(r, "part_offsets", "export_offsets");
    emit_part(r, "part_body", "export_body");
}

/* ---- as a folder ---- */

static void expand_file(const Export *e, OutDir *out, const char *name, const char *template)
{
    Buf b = {0};

    template_expand(template, "n", e->rec, &b);
    add_file(out, name, &b);
}

/* Whether kernel i has a core, and none before it has that one. */
static bool new_core(const Plan *p, int i)
{
    const WeightPart *w = p->infer[i].w;

    for (int j = 0; w && j < i; j++)
        if (p->infer[j].w && strcmp(p->infer[j].w->core_name, w->core_name) == 0)
            return false;
    return w != NULL;
}

/* What cvy_vec.h includes. */
enum { CARRIED = 2 };
static const char *const carried[CARRIED] = {"runtime/cvy_float.h", "runtime/cvy_shared.h"};

static void folder(const Export *e, OutDir *out)
{
    const Plan *p = e->p;

    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        Buf b = {0}, core = {0};
        emit_layer_file(p, NULL, k, &b);
        weights(e, k, &b);
        add_file(out, xprintf("%s_%s.c", e->name, k->name), &b);
        if (!new_core(p, i))
            continue;
        emit_core_file(p, k, NULL, false, &core);
        add_file(out, xprintf("core_%s.h", k->w->core_name), &core);
    }
    Buf vec = {0};
    emit_vec(p->target, &vec);
    for (int i = 0; i < CARRIED; i++) {
        const struct Embedded *file = embedded_find(carried[i]);
        outdir_add(out, file->name, file->text, file->len);
    }
    add_file(out, "runtime/cvy_vec.h", &vec);
    expand_file(e, out, xprintf("%s_layout.h", e->name), "export_layout");
    expand_file(e, out, xprintf("%s_net.c", e->name), "export_net_file");
}

/* ---- as one file ---- */

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* Adds a text line by line: without #include "..." and the guard around a core, its functions static. */
static void add_inlined(const Export *e, const char *text, size_t len, Buf *to)
{
    const char *const end = text + len, *const function = xprintf("void %s_", e->name);
    bool guard = false;

    while (text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *next = nl ? nl + 1 : end;
        const size_t n = (size_t)(next - text);
        static const char *const guards[] = {"#ifndef CORE_", "#define CORE_"};
        bool opens = false;
        for (size_t i = 0; i < sizeof guards / sizeof *guards; i++)
            opens |= begins(text, guards[i]);
        guard |= opens;
        const bool closes = guard && next == end && begins(text, "#endif");
        if (!opens && !closes && !begins(text, "#include \"")) {
            if (begins(text, function))
                buf_puts(to, "CVY_KEEP ");
            buf_add(to, text, n);
        }
        text = next;
    }
}

static void single_file(const Export *e, OutDir *out)
{
    const Plan *p = e->p;
    Buf b = {0}, vec = {0};

    emit_vec(p->target, &vec);
    template_expand("export_single", "n", e->rec, &b);
    buf_puts(&b, "\n");
    for (int i = 0; i < CARRIED; i++)
        add_inlined(e, embedded_find(carried[i])->text, embedded_find(carried[i])->len, &b);
    add_inlined(e, vec.text, vec.len, &b);
    buf_puts(&b, "\n");
    template_expand("export_offsets", "n", e->rec, &b);
    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        Buf text = {0};
        buf_puts(&b, "\n");
        if (new_core(p, i)) {
            emit_core_file(p, k, NULL, false, &text);
            add_inlined(e, text.text, text.len, &b);
        }
        Buf layer = {0};
        emit_layer_file(p, NULL, k, &layer);
        add_inlined(e, layer.text, layer.len, &b);
        weights(e, k, &b);
    }
    buf_puts(&b, "\n/* ---- the network, unrolled: a line per layer ---- */\n");
    template_expand("export_body", "n", e->rec, &b);
    add_file(out, xprintf("%s.c", e->name), &b);
}

/* What a file has for itself is called after the network: two of such files may be included in one. */
static void name_by_network(Plan *p, const char *name)
{
    Kernel *own = xalloc(sizeof *own * (size_t)(p->ninfer + 1));

    for (int i = 0; i < p->ninfer; i++) {
        own[i] = p->infer[i];
        own[i].tag = xprintf("%s_%s", name, own[i].tag);
        if (!own[i].w)
            continue;
        own[i].w = xalloc(sizeof *own[i].w);
        *own[i].w = *p->infer[i].w;
        own[i].w->core_name = xprintf("%s_%s", name, own[i].w->core_name);
    }
    p->infer = own;
}

void emit_export(const Plan *p, const float *folded, bool single, OutDir *out)
{
    const char *name = p->g->spec->name;
    Plan own = *p;
    const Export export = {&own, name, upper(name), folded, single, rec_new()}, *e = &export;

    if (single)
        name_by_network(&own, name);

    template_load();
    totals(e);
    layers(e);
    expand_file(e, out, xprintf("%s.h", name), "export_header");
    if (single)
        single_file(e, out);
    else
        folder(e, out);
}
