/* found.c - what an import gathers: records, classes, notes, facts. */
#include "import.h"
#include "runtime.h"

#include <stdarg.h>
#include <string.h>

const char *const split_words[SPLITS] = {"train", "valid", "test"};

enum {
    MOST_CLASSES = 1 << 16, /* more are names of something else */
    MOST_NOTES = 10000,     /* kept; the others are counted */
};

Record *record(const Import *m, int i)
{
    return &m->chunk[i / CHUNK][i % CHUNK];
}

Record *record_add(Import *m, const char *name, size_t len)
{
    if (m->n == INT32_MAX - 1) {
        cvy_error(NULL, "'%s' holds more than %d rows", m->src, m->n);
        return NULL;
    }
    if (m->n % CHUNK == 0)
        *PUSH(m->chunk, m->nchunk) = xalloc(CHUNK * sizeof(Record));
    Record *r = record(m, m->n);
    *r = (Record){.split = SPLIT_OPEN, .label = -1};
    if (!texts_put(&m->names, name, len, &r->name))
        return NULL;
    m->n++;
    return r;
}

const char *record_name(Import *m, int i)
{
    Buf b = {0};
    if (!texts_get(&m->names, record(m, i)->name, &b))
        return "?";
    char *plain = xalloc(4 * b.len + 1);
    return cvy_plain(b.text, plain, 4 * b.len + 1);
}

int class_of(Import *m, const char *name)
{
    const int known = names_find(&m->class_table, name);
    if (known)
        return known - 1;
    if (m->nclass == MOST_CLASSES) {
        cvy_error("what stands for the class is something else, then: see --label, --labels, --label-regex",
                  "'%s' has more than %d classes", m->src, MOST_CLASSES);
        return -1;
    }
    const char *kept = xstrdup(name);
    *PUSH(m->class_name, m->nclass) = kept;
    *names_at(&m->class_table, kept) = m->nclass;
    return m->nclass - 1;
}

void note(Import *m, NoteKind kind, const char *name, const char *fmt, ...)
{
    char text[600], plain[2400];
    if (m->note_count[kind]++ >= MOST_NOTES)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    Note *n = PUSH(m->note, m->nnote);
    *n = (Note){.kind = kind, .text = xstrdup(cvy_plain(text, plain, sizeof plain))};
    n->name = xstrdup(cvy_plain(name, plain, sizeof plain));
}

void fact(Import *m, const char *what, const char *flag, const char *fmt, ...)
{
    char text[2000], plain[4000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *PUSH(m->fact, m->nfact) = (Fact){what, xstrdup(cvy_plain(text, plain, sizeof plain)), flag};
}

static uint64_t mixed(uint64_t v)
{
    v = (v ^ v >> 32) * UINT64_C(0xd6e8feb86659fd93);
    v = (v ^ v >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return v ^ v >> 32;
}

uint64_t hash_of(const void *p, size_t bytes)
{
    const char *from = p;
    uint64_t h = mixed(bytes + 1);
    for (; bytes; from += 8) {
        uint64_t word = 0;
        const size_t n = bytes < 8 ? bytes : 8;
        memcpy(&word, from, n);
        h = mixed(h ^ word) + UINT64_C(0x9e3779b97f4a7c15);
        bytes -= n;
    }
    return h;
}

bool pixels_shape(const Import *m, int64_t count, int shape[3], bool *bad)
{
    enum { LEAST_SIDE = 8 };
    int side = 0, used = 0;
    *bad = false;
    if (m->o->shape) {
        const bool read = sscanf(m->o->shape, "%6dx%6dx%6d%n", &shape[0], &shape[1], &shape[2], &used) == 3 &&
                          !m->o->shape[used] && shape[0] > 0 && shape[1] > 0 && shape[2] > 0;
        *bad = !read || (int64_t)shape[0] * shape[1] * shape[2] != count;
        if (!read)
            cvy_error("as in --shape 3x32x32", "--shape: '%s' is no CxHxW", m->o->shape);
        else if (*bad)
            cvy_error(NULL, "--shape %s does not fit: a row of '%s' has %lld numbers", m->o->shape, m->src,
                      (long long)count);
        return !*bad;
    }
    if (m->o->features || count > 1 << 24)
        return false;
    while ((int64_t)side * side < count)
        side++;
    shape[0] = 1;
    shape[1] = shape[2] = side;
    return side >= LEAST_SIDE && (int64_t)side * side == count;
}

int rows_of(const Import *m, int class, Split s)
{
    return class < 0 ? m->count[s] : m->class_count[class * SPLITS + (int)s];
}

/* ---- numbers to learn ---- */

void target_names(Import *m, const char **name, int n)
{
    m->regression = true;
    m->target = name;
    m->ntarget = n;
}

bool target_put(Import *m, int i, const float *v)
{
    const size_t bytes = (size_t)m->ntarget * sizeof *v;

    memcpy(&record(m, i)->label, v, sizeof *v);
    return m->ntarget == 1 || ((m->targets.fd >= 0 || spool_open(&m->targets, m->folder)) &&
                               spool_put(&m->targets, v, bytes, (uint64_t)i * bytes));
}
