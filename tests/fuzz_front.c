/* fuzz_front.c - damaged specs through the front end: each must end in a graph or in an error, never in a crash or a
 * bug.
 *
 *   fuzz_front TESTS_DIR [COUNT [SEED]]
 *
 * Begins with the specs of tests/golden and tests/errors, and damages them: bytes, spans, lines of other specs, words
 * that matter. Where a graph comes out, the spec is written, read back, and must be the same. A child does the work,
 * since the front end never frees; the spec that ended one is printed and kept. Best under the sanitizers (./dev test
 * --sanitize). */
#define _GNU_SOURCE
#include "files.h"
#include "graph.h"
#include "read.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 200, MAX_TEXT = 1 << 16 };

static const char *const words[] = {"conv",
                                    "linear",
                                    "bn",
                                    "act",
                                    "relu",
                                    "leaky_relu(0.1)",
                                    "maxpool(2)",
                                    "maxpool(3,2,1)",
                                    "avgpool(2x1)",
                                    "drop(0.5)",
                                    "flatten",
                                    "global_avg_pool",
                                    "classes",
                                    "order: ",
                                    "name: ",
                                    "out: ",
                                    "kernel: ",
                                    "stride: ",
                                    "padding: ",
                                    "input: [",
                                    "- ",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ": ",
                                    "\n  - ",
                                    "-",
                                    "(",
                                    ")",
                                    ",",
                                    "&a",
                                    "*a",
                                    "!!str ",
                                    "|\n",
                                    ">\n",
                                    "---\n",
                                    "...\n",
                                    "? ",
                                    "\"",
                                    "'",
                                    "#",
                                    "%YAML 1.2\n",
                                    "<<: ",
                                    "2147483647",
                                    "-1",
                                    "0",
                                    "99999999999999999999",
                                    "1e999",
                                    "nan",
                                    ".inf",
                                    "0x7f",
                                    "1048576",
                                    "65536",
                                    "1e-320",
                                    "null",
                                    "~",
                                    "true",
                                    "\t",
                                    "\r\n",
                                    "\xef\xbb\xbf",
                                    "\xc3\x28",
                                    "\xf0\x9f\x98\x80",
                                    "\xe2\x80\xae",
                                    "*/",
                                    "//",
                                    "\"\\0\"",
                                    "\"\\e[31m\"",
                                    "groups: depthwise",
                                    "groups: 2",
                                    "dilation: 3",
                                    "stage: {",
                                    "stage: {residual: [conv, conv: {order: conv}], ",
                                    "concat: [[], [conv: 4]]",
                                    "layers: [conv: 4]",
                                    "repeat: 3",
                                    "repeat: 4096",
                                    "stride: group",
                                    "shortcut: pad",
                                    "shortcut: {order: conv, always: true}",
                                    "shortcut_from: pre",
                                    "pre: bn-act",
                                    "post: act",
                                    "transition: [conv: 3]",
                                    "zero_gamma: true",
                                    "recompute: 2",
                                    "only: {2: {order: conv}, 2.conv1: {out: 3}}",
                                    "train: {",
                                    "batch: 1",
                                    "preset: fastai-conv_layer",
                                    "preset: timm-PreActBasic",
                                    "preset: monai-Convolution",
                                    "bn_1st: false",
                                    "adn: NDA",
                                    "drop: 0.2",
                                    "order: [conv, norm, act]",
                                    "bias: unless_norm",
                                    "init: {conv: kaiming_normal(0.1)}",
                                    "general_relu(0.1,0.4,6)",
                                    "eps: ",
                                    "momentum: "};

static char **seed_text;
static size_t *seed_len;
static int nseed, nvalid; /* the valid ones come first */

static uint64_t state;

static uint64_t rnd(uint64_t below) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return below ? (z ^ (z >> 31)) % below : 0;
}

static void load(const char *path)
{
    size_t len;
    char *text = file_read(path, MAX_TEXT / 2, &len);
    if (!text)
        return;
    int n = nseed;
    *PUSH(seed_len, n) = len;
    *PUSH(seed_text, nseed) = text;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void load_folder(const char *dir, const char *inside)
{
    const char **names = NULL;
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && (inside || strstr(e->d_name, ".yaml")))
            *PUSH(names, n) = xprintf("%s/%s%s", dir, e->d_name, inside ? inside : "");
    if (d)
        closedir(d);
    if (n)
        qsort(names, (size_t)n, sizeof *names, by_string);
    for (int i = 0; i < n; i++)
        load(names[i]);
}

/* Replaces `cut` bytes at `at` by `n` bytes. */
static size_t splice(char *text, size_t len, size_t at, size_t cut, const char *with, size_t n)
{
    if (at > len)
        at = len;
    if (cut > len - at)
        cut = len - at;
    if (len - cut + n > MAX_TEXT)
        return len;
    char *copy = malloc(n + 1);
    if (!copy)
        return len;
    memcpy(copy, with, n);
    memmove(text + at + n, text + at + cut, len - at - cut);
    memcpy(text + at, copy, n);
    free(copy);
    return len - cut + n;
}

/* The spec number `index`: a seed, damaged one to eight times; or noise. */
static size_t damaged(uint64_t seed, uint64_t index, char *text)
{
    state = seed * 0x100000001b3u + index;
    rnd(0);
    size_t len;
    if (rnd(50) == 0) {
        len = rnd(400);
        for (size_t i = 0; i < len; i++)
            text[i] = (char)(rnd(4) ? 32 + rnd(95) : rnd(256));
        return len;
    }
    int s = (int)rnd((uint64_t)(rnd(2) ? nvalid : nseed));
    len = seed_len[s];
    memcpy(text, seed_text[s], len);
    for (uint64_t k = rnd(2) ? 1 : 2 + rnd(8); k > 0; k--) {
        size_t at = rnd(len + 1), other, n;
        const char *w;
        char byte;
        switch (rnd(7)) {
        case 0:
            byte = (char)rnd(256);
            len = splice(text, len, at, 1, &byte, 1);
            break;
        case 1:
            len = splice(text, len, at, rnd(12), "", 0);
            break;
        case 2:
            n = rnd(40);
            other = rnd(len + 1);
            n = n > len - other ? len - other : n;
            len = splice(text, len, at, 0, text + other, n);
            break;
        case 3: /* a line of another spec, in place of one of this */
            s = (int)rnd((uint64_t)nseed);
            other = rnd(seed_len[s] + 1);
            while (other > 0 && seed_text[s][other - 1] != '\n')
                other--;
            n = strcspn(seed_text[s] + other, "\n");
            while (at > 0 && text[at - 1] != '\n')
                at--;
            len = splice(text, len, at, rnd(2) ? 0 : rnd(60), seed_text[s] + other, n);
            break;
        case 4: /* the same again, many times */
            n = rnd(8);
            n = n > len - at ? len - at : n;
            for (int i = (int)rnd(60); i > 0; i--)
                len = splice(text, len, at, 0, text + at, n);
            break;
        default:
            w = words[rnd(sizeof words / sizeof *words)];
            len = splice(text, len, at, rnd(2) ? rnd(10) : 0, w, strlen(w));
        }
    }
    return len;
}

static const char *dump_of(const Spec *s, void (*print)(const Spec *, FILE *))
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        exit(3);
    print(s, f);
    if (fclose(f) != 0)
        exit(3);
    const char *copy = xstrdup(text);
    free(text);
    return copy;
}

/* Something for --set: mostly nonsense. */
static const char *assignment(void)
{
    static const char *const keys[] = {"act",
                                       "order",
                                       "train.lr",
                                       "train.batch",
                                       "conv1.order",
                                       "conv2.out",
                                       "linear1.name",
                                       "bn1.eps",
                                       "drop1.p",
                                       "maxpool1.k",
                                       "act1.kind",
                                       "layers",
                                       "input",
                                       "name",
                                       "a.b.c",
                                       "",
                                       ".",
                                       "stem.bias",
                                       "s1.2.conv1.order",
                                       "s2.3.order",
                                       "s1.conv2.kernel",
                                       "d1.1.b2.conv1.out",
                                       "stage5.b1.conv1.act",
                                       "stage7.stage1.2.conv1.bias",
                                       "mb.conv9.out",
                                       "s1.2.3.out",
                                       "d1.transition.conv1.out",
                                       "s1.repeat",
                                       "s2.only",
                                       "s1..conv1.out"};
    Buf b = {0};
    buf_printf(&b, "%s=", keys[rnd(sizeof keys / sizeof *keys)]);
    for (uint64_t n = rnd(4); n > 0; n--)
        buf_puts(&b, words[rnd(sizeof words / sizeof *words)]);
    return b.text;
}

/* 1 where it is a network, 0 where it is an error. */
static int run(const char *text, size_t len, FILE *null)
{
    Source src = {.path = "fuzz.yaml", .text = text, .len = len};
    diag_source(&src);
    Node *tree = memchr(text, 0, len) ? NULL : yaml_parse(text, len, (Mark){1, 1, 1});
    for (int i = 0; tree && rnd(4) == 0 && i < 5; i++)
        yaml_override(tree, assignment(), i);
    Spec *spec = tree && !diag_errors() ? spec_read(tree) : NULL;
    Graph *g = spec ? graph_build(spec) : NULL;
    if (g && !grad_build(g))
        g = NULL;
    bool bad = diag_flush(null);
    if (!g != bad && !memchr(text, 0, len))
        BUG("an error that nobody reported, or a graph in spite of one");
    if (!g)
        return 0;
    graph_dump(g, null);
    const char *written = dump_of(spec, spec_write);
    Node *again = yaml_parse(written, strlen(written), (Mark){1, 1, 1});
    Spec *back = again ? spec_read(again) : NULL;
    if (diag_flush(null) || !back || strcmp(dump_of(spec, spec_dump), dump_of(back, spec_dump)) != 0)
        BUG("written and read back it is another spec:\n%s", written);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: fuzz_front TESTS_DIR [COUNT [SEED]]\n");
        return 2;
    }
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000, seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    load_folder(xprintf("%s/golden", argv[1]), NULL);
    load_folder(xprintf("%s/../specs", argv[1]), NULL);
    nvalid = nseed;
    load_folder(xprintf("%s/errors", argv[1]), "/spec.yaml");
    uint64_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static char text[MAX_TEXT + 1];
    if (nvalid < 1 || nseed < 10 || shared == MAP_FAILED) {
        fprintf(stderr, "fuzz_front: no seeds in %s\n", argv[1]);
        return 2;
    }
    for (uint64_t from = 0; from < count; from += BATCH) {
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            FILE *null = fopen("/dev/null", "w");
            if (!null)
                _exit(3);
            alarm(120);
            for (uint64_t i = from; i < from + BATCH && i < count; i++) {
                shared[0] = i;
                size_t len = damaged(seed, i, text);
                text[len] = '\0';
                shared[1] += (uint64_t)run(text, len, null);
            }
            _exit(0);
        }
        int status;
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("fuzz_front");
            return 2;
        }
        if (status != 0) {
            size_t len = damaged(seed, shared[0], text);
            printf("seed %llu, spec %llu ended with status %d:\n%.*s\n", (unsigned long long)seed,
                   (unsigned long long)shared[0], status, (int)len, text);
            return 1;
        }
    }
    printf("%llu damaged specs, seed %llu: %llu were still networks, none crashed\n", (unsigned long long)count,
           (unsigned long long)seed, (unsigned long long)shared[1]);
    return 0;
}
