"""Networks in users' programs: `convoy export` in every form, the example, and emitted networks as libraries.

    test_export.py --convoy build/gen/convoy [WORD...]      only the checks whose name holds a WORD

Needs Python's own library and a C compiler. Every form of an exported network must answer as `predict` of the program
emitted for the same target does, to 1e-6 of the largest logit; across targets to 1e-5, since not all of them have a fused
multiply-add."""
import array
import concurrent.futures
import glob
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys

import methods
import quick
from methods import check

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
TINY = """\
name: fashion
input: [1, 28, 28]
classes: 10
order: conv-bn-relu
layers:
  - conv: {out: 8, stride: 2}
  - conv: {out: 24, stride: 2}
  - global_avg_pool
  - linear: classes
train: {data: shapes, epochs: 1, batch: 32, lr: 0.1, schedule: constant}
"""


def spawn(*words, env=None, cwd=None, limit=None):
    """Runs a command; (status, stdout, stderr)."""
    def before():
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    full = dict(os.environ, **(env or {}))
    for key in ("MAKEFLAGS", "MAKELEVEL", "CFLAGS", "CC"):
        if key not in (env or {}):
            full.pop(key, None)
    p = subprocess.run(words, env=full, cwd=cwd, preexec_fn=before, capture_output=True, text=True, errors="replace",
                       stdin=subprocess.DEVNULL, timeout=600)
    return p.returncode, p.stdout, p.stderr


def run(*words, **more):
    status, out, err = spawn(*words, **more)
    check(status == 0, f"{' '.join(words)}: status {status}\n{out}{err}")
    return out


def floats(path):
    a = array.array("f")
    with open(path, "rb") as f:
        a.frombytes(f.read())
    return a


def put(path, data):
    with open(path, "w" if isinstance(data, str) else "wb") as f:
        f.write(data)
    return path


def npy(path, data, kind, shape):
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(11 + len(head)) % 64) + "\n"
    return put(path, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)


def read_npy(path):
    with open(path, "rb") as f:
        data = f.read()
    a = array.array("f")
    a.frombytes(data[10 + struct.unpack("<H", data[8:10])[0]:])
    return a


def tensors_write(path, tensors):
    """name -> (dtype, shape, bytes), in that order."""
    head, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    return put(path, struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values()))


def drawn(convoy, spec, draw):
    """Weights of that network, as `tensors_write` takes them. draw: a random.Random."""
    tensors = {}
    for name, shape in re.findall(r"^param (\S+) +(\[.*?\])", run(convoy, "check", spec, "-d", "graph"), re.M):
        shape = json.loads(shape)
        n = math.prod(shape)
        if name.endswith("num_batches_tracked"):
            tensors[name] = "I64", shape, struct.pack("<q", 7)
            continue
        fan = n // shape[0] if shape else 1
        value = ((lambda: 0.1 + abs(draw.gauss(0, 1))) if name.endswith("running_var") else
                 (lambda: draw.gauss(0, 1.5 / fan ** 0.5)) if len(shape) > 1 else
                 (lambda: draw.gauss(0.5, 1)))  # gammas of either sign
        tensors[name] = "F32", shape, array.array("f", (value() for _ in range(n))).tobytes()
    return tensors


# All ways in which kernels are split: by rows, tiles and channels, with a pool behind them, and one that is not.
PARTS = """\
name: parts
input: [3, 160, 148]
classes: 5
order: conv-bn-relu
layers:
  - conv: 16
  - stage: {repeat: 2, out: 16, residual: [conv, conv: {order: conv-bn}], post: act}
  - conv: {out: 48, stride: 2}
  - conv: {out: 96, order: conv-bn-relu-maxpool(2)}
  - conv: {out: 96, kernel: 1}
  - conv: {out: 160}
  - global_avg_pool
  - linear: classes
train: {data: shapes}
"""
PARTS_DRIVER = """\
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int most;
static int counted(void)
{
    const int n = omp_get_num_threads();
#pragma omp critical
    most = n > most ? n : most;
    return n;
}
#define omp_get_num_threads counted
#include "parts.c"

enum { IMAGES = 6, INPUT = 3 * 160 * 148 };

int main(void)
{
    static float x[IMAGES * INPUT], once[IMAGES * 5], y[IMAGES * 5];
    static const int threads[] = {1, 2, 3, 5};

    for (int i = 0; i < IMAGES * INPUT; i++)
        x[i] = (float)(i * 7919L % 1009) / 500 - 1;
    for (int k = 0; k < 4; k++) {
        void *memory = malloc(PARTS_ARENA_BYTES(threads[k]));
        struct parts *net = memory ? parts_init(memory, PARTS_ARENA_BYTES(threads[k]), threads[k]) : NULL;
        if (!net)
            return 1;
        for (int n = 1; n <= IMAGES; n++) {
            most = 0;
            memset(y, 0, sizeof y);
            parts_infer(net, x, k == 0 && n == IMAGES ? once : y, n);
            if (k > 0 && (memcmp(y, once, sizeof(float) * 5 * n) != 0 || (n == 1 && most != threads[k])))
                return printf("%d threads, %d images, %d together: other bytes\\n", threads[k], n, most), 1;
        }
        free(memory);
    }
    if (once[0] == once[1])
        return 1;
    puts("the same bytes on 1, 2, 3, 5 threads");
    return 0;
}
"""

STREAM_LAYERS = """\
  - lstm: {hidden: 20, return: all}
  - tanh
  - bn
  - gru: {hidden: 17, return: all, norm: {recurrent: ln}}
  - lstm: {hidden: 18, return: all, norm: {input: {kind: bn, statistics: step}, recurrent: {kind: bn, steps: 3}, cell: bn, hidden: bn}}
  - rnn: {hidden: 7, return: all, norm: {sum: bn}}
  - conv: {out: 9, kernel: 1, order: conv-bn-relu}
  - stage: {concat: [[rnn: 6], [gru: {hidden: 8, reset: before}], [lstm: {hidden: 16, norm: {cell: ln, hidden: ln}}]]}
  - linear: {out: 12, order: linear-relu}
  - linear: classes
"""
STREAM_DRIVER = """\
#include "%(name)s.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    static float room[%(NAME)s_STATE + 1], x[%(NAME)s_CHANNELS], y[%(NAME)s_CLASSES];
    float *const state = room + 1; /* at no vector's place */
    void *memory = malloc(%(NAME)s_ARENA_BYTES(1));
    struct %(name)s *net = %(name)s_init(memory, %(NAME)s_ARENA_BYTES(1), 1);
    FILE *f = fopen(argv[1], "rb");
    if (argc != 4 || !net || !f)
        return 2;
    if (fread(state, sizeof *state, %(NAME)s_STATE, f) != %(NAME)s_STATE && ftell(f) != 0)
        return 3;
    fclose(f);
    f = fopen(argv[2], "rb");
    if (!f || fread(x, sizeof *x, %(NAME)s_CHANNELS, f) != %(NAME)s_CHANNELS || fclose(f))
        return 4;
    if (%(name)s_step(net, NULL, x, y) != -1 || %(name)s_step(NULL, state, x, y) != -1 || %(name)s_step(net, state, NULL, y) != -1 || %(name)s_step(net, state, x, y))
        return 5;
    f = fopen(argv[1], "wb");
    if (!f || fwrite(state, sizeof *state, %(NAME)s_STATE, f) != %(NAME)s_STATE || fclose(f))
        return 6;
    f = fopen(argv[3], "wb");
    if (!f || fwrite(y, sizeof *y, %(NAME)s_CLASSES, f) != %(NAME)s_CLASSES || fclose(f))
        return 7;
    free(memory);
    return 0;
}
"""


class Net:
    """A spec, random weights for it, and what the emitted program says of random images."""

    def __init__(self, test, spec, n=9, emit=True):
        self.test, self.spec = test, spec
        facts = json.loads(run(test.convoy, "check", spec, "--json"))
        self.name, self.shape, self.classes, self.n = facts["name"], facts["input"], facts["classes"], n
        self.dir = os.path.join(test.dir, self.name)
        os.makedirs(self.dir, exist_ok=True)
        self.random = random.Random(self.name)
        self.tensors = drawn(test.convoy, spec, self.random)
        self.weights = tensors_write(self.path("w.safetensors"), self.tensors)
        count = n * self.shape[0] * self.shape[1] * self.shape[2]
        drawn_x = (lambda: self.random.randrange(facts["tokens"])) if "tokens" in facts else (lambda: self.random.gauss(0, 1))
        self.x = array.array("f", (drawn_x() for _ in range(count))).tobytes()
        put(self.path("x.f32"), self.x)
        if emit:
            run(test.convoy, "gen", spec, "-o", self.path("gen"), "--target", "portable")
            run("make", "-C", self.path("gen"), *quick.MAKE, *quick.whole(self.path("gen")))
            self.logits = self.predict(self.weights, self.x, "<f4", n)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def predict(self, weights, data, kind, n):
        x, y = self.path("x.npy"), self.path("y.npy")
        npy(x, data, kind, (n, *self.shape))
        run(self.path("gen", self.name), "predict", "--weights", weights, "--input", x, "-o", y)
        return read_npy(y)

    def export(self, to, *options, weights=None):
        to = self.path(to)
        run(self.test.convoy, "export", self.spec, "--weights", weights or self.weights, "-o", to, *options)
        return to

    def agrees(self, y, what, tolerance=1e-6):
        check(len(y) == len(self.logits), f"{what}: {len(y)} logits")
        largest = max(abs(v) for v in self.logits)
        apart = max(abs(a - b) for a, b in zip(y, self.logits)) / largest
        check(apart <= tolerance, f"{what}: logits differ from predict's by {apart:.3g} of the largest")


EXPORT_DRIVER = """\
#include "%(name)s.h"
#include "%(name)s.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    enum { PIXELS = %(NAME)s_CHANNELS * %(NAME)s_HEIGHT * %(NAME)s_WIDTH };
    const float mean[] = %(NAME)s_MEAN, sd[] = %(NAME)s_STD;
    const int n = atoi(argv[1]), threads = atoi(argv[2]);
    const size_t bytes = %(NAME)s_ARENA_BYTES(threads);
    char *memory = (char *)malloc(bytes + 3);
    float *x = (float *)malloc(sizeof(float) * n * PIXELS), *y = (float *)malloc(sizeof(float) * n * %(NAME)s_CLASSES);
    FILE *in = fopen(argv[3], "rb"), *out = fopen(argv[4], "wb");
    if (argc != 5 || !memory || !x || !y || !in || !out || fread(x, sizeof(float) * PIXELS, n, in) != (size_t)n)
        return 2;
    if (sizeof mean / sizeof *mean != %(NAME)s_CHANNELS || sizeof sd / sizeof *sd != %(NAME)s_CHANNELS)
        return 3;
    if (%(name)s_init(NULL, bytes, threads) || %(name)s_init(memory, bytes - 1, threads) || %(name)s_init(memory, bytes, 0)
        || %(name)s_init(memory, 0, 1) || %(name)s_init(memory, bytes, 4097))
        return 4;
    struct %(name)s *net = %(name)s_init(memory + 3, bytes, threads);
    if (!net)
        return 5;
    %(name)s_infer(net, x, y, n);
    %(name)s_infer(net, x, y, 0);
    %(name)s_infer(net, x, y, 1); /* by itself as among others */
    if (fwrite(y, sizeof(float) * %(NAME)s_CLASSES, n, out) != (size_t)n || fclose(out) != 0)
        return 6;
    free(memory), free(x), free(y), fclose(in);
    return 0;
}
"""

LIBRARY_DRIVER = """\
%(includes)s
#include <stdio.h>
#include <stdlib.h>

static void fail(const char *what) { fprintf(stderr, "%%s\\n", what); exit(1); }

static void *take(const char *path, size_t bytes)
{
    FILE *f = fopen(path, "rb");
    void *data = malloc(bytes);
    if (!f || !data || fread(data, 1, bytes, f) != bytes || getc(f) != EOF) fail(path);
    fclose(f);
    return data;
}

/* The numbers of all tensors one after another, each in C order, to where the model says. */
static void load(const struct cvy_model *m, struct cvy_net *net, const char *path, size_t floats)
{
    float *const all = (float *)take(path, 4 * floats);
    const float *from = all;
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        const struct cvy_layout *at = &t->at;
        if (t->role == CVY_BATCHES) continue;
        float *base = (t->role == CVY_RUNNING_MEAN || t->role == CVY_RUNNING_VAR ? net->running : net->param) + at->offset;
        int d[4] = {0, 0, 0, 0}, k = 0;
        while (k >= 0) {
            int64_t to = 0;
            for (k = 0; k < at->ndim; k++) to += d[k] / at->block[k] * at->outer[k] + d[k] %% at->block[k] * at->inner[k];
            base[to] = *from++;
            for (k = at->ndim - 1; k >= 0 && ++d[k] == at->dim[k]; k--) d[k] = 0;
        }
    }
    if (from != all + floats) fail("another number of weights");
    free(all);
}
%(functions)s
int main(int argc, char **argv)
{
    (void)argc;
%(calls)s
    return 0;
}
"""

LIBRARY_NET = """
static void use_%(name)s(char **argv)
{
    const int n = %(n)d, threads = 2;
    const size_t bytes = %(NAME)s_ARENA_BYTES(0, threads);
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes)) fail("memory");
    if (%(name)s_init(memory, bytes - 1, 0, threads) || %(name)s_init(NULL, bytes, 0, threads)
        || %(name)s_init((char *)memory + 4, bytes, 0, threads))
        fail("init takes anything");
    struct %(name)s *net = %(name)s_init(memory, bytes, 0, threads);
    if (!net) fail("init");
    load(&%(name)s_model, (struct cvy_net *)net, argv[1], %(floats)d);
    %(name)s_fold(net);
    float *x = (float *)take(argv[2], sizeof(float) * n * %(NAME)s_CHANNELS * %(NAME)s_HEIGHT * %(NAME)s_WIDTH);
    float *y = (float *)malloc(sizeof(float) * n * %(NAME)s_CLASSES);
    if (!y) fail("memory");
    const struct cvy_batch batch = {x, NULL, NULL, n};
    %(name)s_infer(net, &batch, y);
    FILE *f = fopen(argv[3], "wb");
    if (!f || fwrite(y, sizeof(float) * %(NAME)s_CLASSES, n, f) != (size_t)n || fclose(f) != 0) fail(argv[3]);
    free(x), free(y), free(memory);
}
"""


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.dir = os.path.abspath(convoy), folder
        self.cc = [c for c in ("gcc", "clang") if shutil.which(c)] or ["cc"]
        self.cxx = next((c for c in ("g++", "c++", "clang++") if shutil.which(c)), None)
        self.nets, self.skipped = {}, []

    def skip(self, why):
        if why not in self.skipped:
            self.skipped.append(why)
            print(f"skipped: {why}", flush=True)

    def net(self, name):
        if name not in self.nets:
            spec = put(os.path.join(self.dir, "fashion.yaml"), TINY) if name == "fashion" else os.path.join(HERE, "twin", name + ".yaml")
            self.nets[name] = Net(self, spec)
        return self.nets[name]

    def run_export(self, net, cc, sources, flags, tag, threads=(1,), tolerance=1e-6):
        """Compiles the driver with the exported sources in their folder; the logits with each number of threads."""
        suffix = "cc" if "++" in cc[0] else "c"
        names = {"name": net.name, "NAME": net.name.upper()}
        main, prog, y = (net.path(f"{cc[0]}_{part}") for part in (f"driver.{suffix}", "driver", "y.f32"))
        put(main, EXPORT_DRIVER % names)
        run(*cc, *flags, "-I" + os.path.dirname(sources[0]), "-o", prog, main, *sources, "-lm")
        results = []
        for k in threads:
            run(prog, str(net.n), str(k), net.path("x.f32"), y)
            results.append(floats(y))
            net.agrees(results[-1], f"{tag}, {k} threads", tolerance)
        return results

    def openmp(self, cc):
        source = put(os.path.join(self.dir, f"omp_{cc}.c"), "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
        return spawn(cc, "-fopenmp", source, "-o", os.path.join(self.dir, f"omp_{cc}"))[0] == 0

    def each_compiler(self, use):
        """use(cc) of all compilers, at the same time."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(use, self.cc))

    # ---- export ----

    def agrees(self, name):
        net = self.net(name)
        folder = sorted(glob.glob(net.export("folder") + "/*.c"))
        single = [net.export("single", "--single-file") + f"/{net.name}.c"]
        check(sorted(f for f in os.listdir(net.path("single")) if f[0] != ".") == [f"{net.name}.c", f"{net.name}.h"],
              "a single file is two files")

        def forms(cc):
            optimised, bits = name == "edges", []  # the others are compiled without
            first, last = cc == self.cc[0] or optimised, cc == self.cc[-1] or optimised  # each compiler has all forms of one network, and half of the others'
            if last:
                bits += self.run_export(net, [cc], single, ["-O2" if optimised else "-O0", *STRICT], f"single file, {cc}")
                bits += self.run_export(net, [cc], single, ["-O0", "-DCVY_SCALAR", *STRICT], f"plain C99, {cc}")
            if first:
                bits += self.run_export(net, [cc], folder, ["-O1" if optimised else "-O0", *STRICT], f"folder, {cc}")
            if first and self.openmp(cc):
                bits += self.run_export(net, [cc], single, ["-O0", "-fopenmp", *STRICT], f"OpenMP, {cc}", threads=(1, 2, 5))
            elif first:
                self.skip(f"OpenMP with {cc} missing")
            check(all(b == bits[0] for b in bits), f"{cc}: forms differ in their bytes")
        self.each_compiler(forms)

    def test_export_edges(self):
        self.agrees("edges")

    def test_export_image_norms(self):
        self.agrees("image_norms_length")

    def test_export_recurrent(self):
        self.agrees("recurrent")
        self.agrees("bidirectional")
        self.agrees("places") # bn in their steps, folded
        self.agrees("places_step") # not folded

    def test_export_still_places(self):
        """bn by step whose running mean is 0, variance 1 - eps, gamma 1 and beta 0 gives the network without it."""
        layers = ("rnn: {hidden: 18, return: all%s}", "gru: {hidden: 17, return: all%s}", "gru: {hidden: 9, return: all, reset: before%s}", "lstm: {hidden: 20%s}")
        places = ("{input: {kind: bn, statistics: step}, recurrent: bn, hidden: {kind: bn, steps: 2}}", "{input: {kind: bn, statistics: step, steps: 3}, recurrent: bn, hidden: bn}",
                  "{input: {kind: bn, statistics: step}, hidden: bn}", "{sum: bn, cell: {kind: bn, carried: true}, hidden: bn}")
        nets = []
        for normed in (False, True):
            lines = "".join("  - %s\n" % (layer % (", norm: " + place if normed else "")) for layer, place in zip(layers, places))
            spec = put(os.path.join(self.dir, "still%d.yaml" % normed), "name: still%d\ninput: [5, 6]\nclasses: 4\nlayers:\n%s  - linear: classes\ntrain: {data: idx}\n" % (normed, lines))
            nets.append(Net(self, spec, n=3))
        plain, normed = nets
        tensors = dict(plain.tensors)
        for name, (kind, shape, data) in normed.tensors.items():
            if name not in tensors and kind == "F32":
                value = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1 - 1e-5}[name.split(".")[-1]]
                data = array.array("f", [value] * (len(data) // 4)).tobytes()
            tensors.setdefault(name, (kind, shape, data))
        weights = tensors_write(normed.path("still.safetensors"), tensors)
        plain.agrees(normed.predict(weights, plain.x, "<f4", 3), "bn by step that does nothing")

    def test_export_tokens(self):
        self.agrees("tokens")

    def test_export_stream(self):
        """Step by step as the whole sequence: two streams in turn, each of whose steps is made by another process and another target than the one before, from the state alone."""
        steps, driver = 7, STREAM_DRIVER
        for name, reads, layers in (("numbers", "[5, %d]" % steps, STREAM_LAYERS), ("letters", "{tokens: 9, length: %d}" % steps, "  - embed: 20\n" + STREAM_LAYERS)):
            spec = put(os.path.join(self.dir, name + ".yaml"), "name: %s\ninput: %s\nclasses: 4\nlayers:\n%strain: {data: idx}\n" % (name, reads, layers))
            net, programs = Net(self, spec, n=2), []
            for target in ("portable", "native"):
                folder = net.export("stream_" + target, "--stream", "--target", target)
                put(folder + "/driver.c", driver % {"name": name, "NAME": name.upper()})
                flags = re.search(r"compile: cc -O2(.*) -c ", open(folder + "/%s.h" % name).read()).group(1).split()
                run("cc", "-O1", "-Wall", "-Wextra", "-Werror", *flags, "-o", folder + "/driver", *glob.glob(folder + "/*.c"), "-lm")
                programs.append(folder + "/driver")
            x, features = array.array("f", net.x), 5 if name == "numbers" else 1
            y = array.array("f")
            for image in range(2):
                put(net.path("state%d" % image), b"")
            for t in range(steps):
                for image in range(2):  # of the last step the answer is kept
                    row = x[image * features * steps:(image + 1) * features * steps]
                    put(net.path("step"), array.array("f", (row[c * steps + t] for c in range(features))).tobytes())
                    run(programs[(t + image) % 2], net.path("state%d" % image), net.path("step"), net.path("y%d" % image))
            for image in range(2):
                y += floats(net.path("y%d" % image))
            net.agrees(y, name + ", step by step")
        for layer, word in (("gru: {hidden: 4, return: max}", "return: max is of all steps"), ("gru: {hidden: 4, return: mean}", "return: mean is of all steps"),
                            ("conv: {out: 4, order: conv}\n  - gru: 4", "conv reads several steps at once"), ("ln\n  - gru: 4", "ln takes its statistics over all steps"),
                            ("maxpool: 2\n  - gru: 4", "maxpool reads several steps"), ("gru: {hidden: 4, return: all}\n  - global_avg_pool", "global_avg_pool reads several steps"),
                            ("lstm: {hidden: 4, bidirectional: true}", "bidirectional: its second direction begins with the last step"),
                            ("gru: 4\n  - rnn: {hidden: 4, norm: {recurrent: bn}}", "what it reads has no steps"), ("flatten", "flatten reads several steps at once")):
            spec = put(os.path.join(self.dir, "future.yaml"), "name: future\ninput: [5, 6]\nclasses: 4\nlayers:\n  - %s\n  - linear: classes\n" % layer)
            status, _, err = spawn(self.convoy, "export", spec, "--weights", "none", "-o", os.path.join(self.dir, "no"), "--stream")
            check(status == 1 and word in err and not os.path.exists(os.path.join(self.dir, "no")), f"{layer}: {err}")

    def test_export_silu_first(self):
        self.agrees("silu_first")

    def test_export_pools(self):
        self.agrees("pools")

    def test_export_fashion(self):
        self.agrees("fashion")

    def test_export_parts(self):
        """One image on several threads: the same bytes, and every thread has a part."""
        cc = self.cc[0]
        if not self.openmp(cc):
            self.skip(f"OpenMP with {cc} missing")
            return
        for target in ("portable", "native"):
            folder = os.path.join(self.dir, f"parts_{target}")
            os.makedirs(folder)
            spec = put(os.path.join(folder, "parts.yaml"), PARTS)
            weights = os.path.join(folder, "parts.safetensors")
            tensors_write(weights, drawn(self.convoy, spec, random.Random(5)))
            run(self.convoy, "export", spec, "--weights", weights, "-o", os.path.join(folder, "net"), "--single-file", "--target", target)
            main = put(os.path.join(folder, "main.c"), PARTS_DRIVER)
            with open(os.path.join(folder, "net", "parts.h")) as f:
                flags = re.findall(r" (-m[\w.=-]+)", f.read()) if target != "portable" else []
            prog = os.path.join(folder, "prog")
            run(cc, "-O1", "-fopenmp", *flags, "-I" + os.path.join(folder, "net"), "-o", prog, main, "-lm")
            check(run(prog) == "the same bytes on 1, 2, 3, 5 threads\n", f"parts of an image, {target}")

    def test_export_targets(self):
        net = self.net("edges")
        have = open("/proc/cpuinfo").read().split() if os.path.exists("/proc/cpuinfo") else []
        for target, needs in (("avx512", {"avx512f", "avx512dq", "avx512vl", "avx512bw", "fma"}), ("avx2", {"avx2", "fma"})):
            for options in ([], ["--single-file"]):
                folder = net.export(f"{target}-{len(options)}", "--target", target, *options)
                head = open(f"{folder}/{net.name}.h").read()
                flags = re.search(r"compile: cc -O2 (.*) -c", head).group(1).split()
                sources = sorted(glob.glob(folder + "/*.c"))
                warn = ["-std=c11", "-Wall", "-Wextra", "-Werror"]

                objects = {cc: [f"{f[:-2]}.{cc}.o" for f in sources] for cc in self.cc}

                # each compiler has one form of either target; with --long both
                mine = self.cc if self.long else [self.cc[-1 if (target == "avx2") != bool(options) else 0]]

                def compiles(cc):
                    for f, o in zip(sources, objects[cc]):
                        run(cc, "-O1" if cc == self.cc[0] else "-O0", *warn, *flags, "-c", f, "-o", o)
                    status, _, err = spawn(cc, "-c", sources[-1] if options else f"{folder}/{net.name}_conv1.c", "-o", net.path(f"{cc}.o"))
                    check(status != 0 and "compile it with -m" in err, f"{target}: no word about flags")
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    list(pool.map(compiles, mine))
                if needs <= set(have):
                    for cc in mine:
                        self.run_export(net, [cc], objects[cc], flags, f"{target} {options}", tolerance=1e-5)
                else:
                    self.skip(f"{target} not on this machine")

    def test_export_compiles_alone(self):
        net = self.net("fashion")
        for to, options in (("alone", []), ("alone1", ["--single-file"])):
            folder = net.export(to, *options)
            run("cc", "-c", *sorted(f for f in os.listdir(folder) if f.endswith(".c")), cwd=folder)
            undefined = run("nm", "-u", *glob.glob(folder + "/*.o")).split()
            used = {w for w in undefined if w.isidentifier() and w not in ("U", "w") and not w.startswith(net.name + "_")}
            ours = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail", "ldexpf", "rintf", "fabsf"}
            check(used <= ours, f"it needs {used - ours}")
        shown = run("nm", *glob.glob(net.path("alone1") + "/*.o"))
        check(set(re.findall(r" [TDRBC] (\S+)", shown)) == {"fashion_init", "fashion_infer", "fashion_arena_bytes"}, f"a single file shows {shown}")
        text = open(net.path("alone1", "fashion.c")).read()
        check("immintrin" not in text and '#include "' in text and text.count('#include "') == 1, "a single file of another target")
        for f in glob.glob(net.path("alone") + "/**/*.[ch]", recursive=True):
            check("SPDX-License-Identifier: 0BSD" in open(f).read(), f"{f} carries no licence")

    def test_export_cplusplus(self):
        if not self.cxx:
            return self.skip("g++ missing")
        net = self.net("edges")
        folder = net.export("cxx")
        objects = []
        for f in sorted(glob.glob(folder + "/*.c")):
            objects.append(f[:-2] + ".o")
            run(self.cc[0], "-O1", "-c", f, "-o", objects[-1])
        self.run_export(net, [self.cxx], objects, ["-Wall", "-Wextra", "-Werror"], "C++")

    def test_export_same_bytes(self):
        net = self.net("fashion")

        def content(folder):
            return {f: open(os.path.join(folder, f), "rb").read() for f in run("find", ".", "-type", "f", cwd=folder).split()}
        first = content(net.export("same", "--single-file"))
        check(content(net.export("other", "--single-file")) == first, "another folder, other bytes")
        full = content(net.export("same"))
        check(set(full) > set(first) - {"./fashion.c"} and "./fashion.c" not in full, "what the single file left behind")
        check(content(net.export("same", "--single-file")) == first, "back again")
        check("hash" in first["./fashion.h"].decode() and "std" in first["./fashion.h"].decode(), "the head")

    def test_export_exact_numbers(self):
        """Constants read back as the numbers that they were, denormals and zeros included."""
        net = Net(self, put(os.path.join(self.dir, "numbers.yaml"),
                            "name: numbers\ninput: [8, 1, 1]\nclasses: 64\nlayers:\n  - flatten\n  - linear: {out: classes, bias: false}\n"), emit=False)
        bits = [0, 1, 2, 3, 0x80000000, 0x80000001, 0x7fffff, 0x800000, 0x800001, 0x7f7fffff, 0xff7fffff, 0x3f800000, 0x3f800001, 0xbf800000]
        bits += [net.random.getrandbits(32) for _ in range(512 - len(bits))]
        bits = [b if b >> 23 & 255 != 255 else b ^ 1 << 23 for b in bits]
        name = next(iter(net.tensors))
        weights = tensors_write(net.path("n.safetensors"), {name: ("F32", [64, 8], struct.pack("<512I", *bits))})
        net.export("numbers", weights=weights)
        text = open(net.path("numbers", "numbers_linear1.c")).read()
        put(net.path("numbers.c"), text + "#include <stdio.h>\nint main(void) { return fwrite(numbers_linear1_folded, sizeof numbers_linear1_folded, 1, stdout) != 1; }\n")
        for cc in self.cc:
            run(cc, "-I" + net.path("numbers"), net.path("numbers.c"), "-o", net.path("numbers.exe"))
            out = subprocess.run([net.path("numbers.exe")], capture_output=True).stdout
            got = struct.unpack(f"<{len(out) // 4}I", out)
            for o in range(64):
                for i in range(8):
                    check(got[(o // 16 * 16 + i) * 16 + o % 16] == bits[o * 8 + i], f"{cc}: {bits[o * 8 + i]:#x} became {got[(o // 16 * 16 + i) * 16 + o % 16]:#x}")

    # ---- bad input ----

    def fails(self, net, words, *options, weights=None, to="bad", limit=None):
        out = net.path(to)
        before = os.path.lexists(out)
        status, shown, err = spawn(self.convoy, "export", net.spec, "--weights", weights or net.weights, "-o", out, *options, limit=limit)
        check(status == 1, f"{words}: status {status}, {shown}{err}")
        check(re.search(words, err), f"'{words}' is not in: {err}")
        check(before or not os.path.lexists(out), f"{words}: it left {out} behind")

    def test_export_too_large(self):
        """More C than is ever written: refused before the weights are read."""
        spec = self.dir + "/huge.yaml"
        put(spec, "name: huge\ninput: [16, 8, 8]\nclasses: 4\nunroll: full\nlayers:\n" + "  - conv: {out: 64, kernel: 5, padding: 3}\n" * 60 +
                   "  - global_avg_pool\n  - linear: classes\n")
        status, shown, err = spawn(self.convoy, "export", spec, "--weights", "none", "-o", self.dir + "/huge")
        check(status == 1 and "MB of C would be written" in err and "hint: unroll: none" in err, f"status {status}, {shown}{err}")
        check(not os.path.lexists(self.dir + "/huge"), "a folder was made")

    def test_export_bad_weights(self):
        net = self.net("edges")
        whole = open(net.weights, "rb").read()
        weight = next(k for k, t in net.tensors.items() if len(t[1]) == 4)
        variance = next(k for k in net.tensors if k.endswith("running_var"))

        def changed(change):
            tensors = dict(net.tensors)
            change(tensors)
            return tensors_write(net.path("bad.safetensors"), tensors)

        def with_first(name, value):
            def change(t):
                t[name] = (*t[name][:2], struct.pack("<f", value) + t[name][2][4:])
            return change
        self.fails(net, "does not fit this network", weights=self.net("fashion").weights)
        self.fails(net, f"missing: '{re.escape(weight)}'", weights=changed(lambda t: t.pop(weight)))
        self.fails(net, "unexpected: 'extra.weight'", weights=changed(lambda t: t.update({"extra.weight": ("F32", [1], bytes(4))})))
        self.fails(net, "the network has F32", weights=changed(lambda t: t.update({weight: ("F32", t[weight][1][::-1], t[weight][2])})))
        self.fails(net, "the network has F32", weights=changed(lambda t: t.update({weight: ("U16", t[weight][1], t[weight][2][::2])})))
        self.fails(net, "not finite", weights=changed(with_first(weight, float("nan"))))
        self.fails(net, "not finite", weights=changed(with_first(weight, float("-inf"))))
        self.fails(net, "below zero", weights=changed(with_first(variance, -0.5)))
        folded = next(k for k in net.tensors if k.endswith("conv1.bn.weight"))
        self.fails(net, "folded, a weight is not finite", weights=changed(with_first(folded, 3e38)))
        for n in (0, 7, 8, 100, len(whole) - 1):
            self.fails(net, "damaged|too short", weights=put(net.path("short"), whole[:n]))
        self.fails(net, "damaged", weights=put(net.path("long"), whole + b"\0"))
        self.fails(net, "damaged", weights=put(net.path("json"), whole[:8] + b"[" + whole[9:]))
        self.fails(net, "No such file", weights=net.path("nowhere"))
        self.fails(net, "it is a folder", weights=net.dir)

    def test_export_bad_folder(self):
        net = self.net("edges")
        os.makedirs(net.path("mine"), exist_ok=True)
        put(net.path("mine", "notes.txt"), "mine\n")
        self.fails(net, "convoy did not write", to="mine")
        check(os.listdir(net.path("mine")) == ["notes.txt"], "a foreign folder was touched")
        put(net.path("file"), "a file\n")
        self.fails(net, "Not a directory|is a file|File exists", to="file")
        self.fails(net, "Not a directory", to="file/below")
        check(open(net.path("file")).read() == "a file\n", "a file was touched")
        self.fails(net, "File too large|No space", limit=4096)
        self.fails(net, "File too large|No space", "--single-file", limit=20000)
        good = net.export("again")
        kept = {f: open(f"{good}/{f}", "rb").read() for f in os.listdir(good) if os.path.isfile(f"{good}/{f}")}
        other = dict(net.tensors)
        weight = next(k for k, t in other.items() if len(t[1]) == 4)
        other[weight] = ("F32", other[weight][1], bytes(len(other[weight][2])))
        self.fails(net, "File too large|No space", to="again", limit=4096, weights=tensors_write(net.path("zero.safetensors"), other))
        now = {f: open(f"{good}/{f}", "rb").read() for f in os.listdir(good) if os.path.isfile(f"{good}/{f}")}
        check(now == kept, "a full disk spoilt what was there")
        if os.path.exists("/proc/version"):
            status, _, err = spawn(self.convoy, "export", net.spec, "--weights", net.weights, "-o", "/proc/convoy")
            check(status == 1 and "/proc/convoy" in err, f"/proc: {err}")

    def test_export_usage(self):
        net = self.net("edges")
        for options, words in ((["-o", "x"], "--weights is missing"), (["--weights", net.weights], "-o is missing"),
                               (["-o", "x", "--weights", net.weights, "--target", "z80"], "unknown value 'z80'")):
            status, _, err = spawn(self.convoy, "export", net.spec, *options)
            check(status == 2 and words in err, f"{options}: {status} {err}")

    # ---- the example ----

    def test_classify(self):
        folder = os.path.join(self.dir, "classify")
        os.makedirs(folder, exist_ok=True)
        spec = put(os.path.join(folder, "fashion.yaml"), TINY)
        weights = os.path.join(folder, "fashion.safetensors")
        out = run(self.convoy, "train", spec, "--", "--train-images", "640", "--test-images", "100", cwd=folder, env=quick.WORDS)
        check("saved" in out and os.path.exists(weights), f"train: {out}")
        net = Net(self, spec, emit=False)
        net.dir = folder
        os.rename(os.path.join(folder, "build-fashion"), net.path("gen"))
        net.export("net", "--single-file", weights=weights)
        for f in os.listdir(os.path.join(ROOT, "examples", "classify")):
            shutil.copy(os.path.join(ROOT, "examples", "classify", f), folder)
        n = 150
        pixels = b"".join(bytes(min(255, int(abs(net.random.gauss(0, 90)) * (1 + (i + k) % 3 / 2))) for i in range(784)) for k in range(n))
        logits = net.predict(weights, pixels, "|u1", n)
        best = [max(range(10), key=lambda c: logits[10 * i + c]) for i in range(n)]
        put(net.path("images"), struct.pack(">IIII", 0x803, n, 28, 28) + pixels)
        put(net.path("labels"), struct.pack(">II", 0x801, n) + bytes(k if i % 3 else (k + 1) % 10 for i, k in enumerate(best)))
        for cc in self.cc:
            run("make", "-B", "-C", folder, "NET=net", f"CC={cc}", f"CFLAGS=-O{2 if cc == self.cc[0] else 0} -pedantic -Wall -Wextra -Werror")
            status, out, err = spawn(net.path("classify"), net.path("images"), net.path("labels"))
            check(status == 0 and [int(k) for k in out.split()] == best, f"{cc}: it says {out}, predict {best}")
            check("100 of 150 right: 66.67 %" in err, err)
        put(net.path("cut"), open(net.path("images"), "rb").read()[:-1])
        for words, message in (([], "usage"), (["nowhere"], "No such file"), ([net.path("labels")], "not 784 bytes each"),
                               ([net.path("images"), net.path("images")], "not 1 bytes each"), ([net.path("cut")], "ends before its last"),
                               ([weights], "no IDX file")):
            status, _, err = spawn(net.path("classify"), *words)
            check(status != 0 and message in err, f"classify {words}: {status} {err}")

    # ---- emitted networks as libraries ----

    def link_library(self, nets, cc, tag):
        suffix = "cc" if "++" in cc else "c"
        objects, folders = [], []
        for net in nets:
            gen = net.path("gen")
            files = sorted(glob.glob(f"{gen}/{net.name}_*.c")) + methods.runtime_library(gen)
            objects.append(gen + "/library.o")
            run(quick.WORDS.get("CC", self.cc[0]), "-std=c99", "-O0", "-I" + gen, "-c", quick.together(gen + "/library.c", files), "-o", objects[-1])
            folders.append("-I" + gen)
            raw = b"".join(t[2] for t in net.tensors.values() if t[0] == "F32")
            put(net.path("raw"), raw)
            net.floats = len(raw) // 4
        names = [{"name": net.name, "NAME": net.name.upper(), "n": net.n, "floats": net.floats} for net in nets]
        text = LIBRARY_DRIVER % {
            "includes": "#define _POSIX_C_SOURCE 200809L\n" + "\n".join(f'#include "{n["name"]}.h"' for n in names),
            "functions": "".join(LIBRARY_NET % n for n in names),
            "calls": "\n".join(f"    use_{n['name']}(argv + {3 * i});" for i, n in enumerate(names))}
        main, prog = os.path.join(self.dir, f"library.{suffix}"), os.path.join(self.dir, "library")
        put(main, text)
        flags = ["-Wall", "-Wextra", "-Werror"] + ([] if "++" in cc else ["-std=c11", "-pedantic"])
        run(cc, *flags, *folders, "-o", prog, main, *objects, "-lm")
        words = [w for net in nets for w in (net.path("raw"), net.path("x.f32"), net.path("lib.f32"))]
        run(prog, *words)
        for net in nets:
            net.agrees(floats(net.path("lib.f32")), f"{tag}: {net.name}")

    def test_library_c(self):
        self.link_library([self.net("edges")], self.cc[0], "C")

    def test_library_cplusplus(self):
        if not self.cxx:
            return self.skip("g++ missing")
        self.link_library([self.net("edges")], self.cxx, "C++")

    def test_library_two_networks(self):
        self.link_library([self.net("edges"), self.net("silu_first")], self.cc[0], "two in one program")

    def test_library_struct(self):
        """The room for a network's struct is reckoned before the struct is printed, and rounded up: it fits at every remainder."""
        spec, out = os.path.join(self.dir, "struct.yaml"), os.path.join(self.dir, "struct")
        for n in range(20) if self.long else (0, 3, 6, 9, 12, 15, 18):
            put(spec, "name: struct_net\ninput: [1, 1, 1]\nclasses: 2\nlayers:\n" + n * "  - linear: {out: 3, order: linear}\n" + "  - linear: classes\n")
            run(self.convoy, "gen", spec, "-o", out, "--target", "portable")
            run("cc", "-std=c99", "-fsyntax-only", "-I.", "struct_net_net.c", cwd=out)

    # ---- convoy train ----

    def test_train_errors(self):
        folder = os.path.join(self.dir, "train a'b $(touch x) ;c")
        os.makedirs(folder, exist_ok=True)
        spec = put(os.path.join(folder, "fashion.yaml"), TINY)

        def train(*more, env=None, want=1):
            status, out, err = spawn(self.convoy, "train", spec, *more, cwd=folder, env=env)
            check(status == want, f"train {more}: status {status}\n{out}{err}")
            return out + err
        check("there is no C compiler 'nocc'" in train(env={"CC": "nocc"}), "a compiler that is missing")
        put(os.path.join(folder, "badcc"), "#!/bin/sh\necho this compiler has a bad day\nexit 3\n")
        os.chmod(os.path.join(folder, "badcc"), 0o755)
        said = train(env={"PATH": folder + ":" + os.environ["PATH"], "CC": "badcc"})
        check("bad day" in said and "compiling" in said and "failed" in said, f"a compiler that fails: {said}")
        check("'make' is not there" in train(env={"PATH": "/nowhere"}), "no make")
        put(os.path.join(folder, "mine"), "")
        check("File exists" in train("-o", "mine") or "Not a directory" in train("-o", "mine"), "a file in the way")
        os.makedirs(os.path.join(folder, "foreign"), exist_ok=True)
        put(os.path.join(folder, "foreign", "x.c"), "")
        check("convoy did not write" in train("-o", "foreign"), "a foreign folder")
        odd = "-odd 'name' $(touch y)"
        said = train("-o", odd, "--", "--train-images", "32", "--test-images", "8", "--save", "w.safetensors", want=0, env=quick.WORDS)
        check("saved w.safetensors" in said, said)
        check(" -c " not in said, f"a compiler's words where it works: {said}")
        check(os.path.exists(os.path.join(folder, odd, "fashion")), "the program's place")
        said = train("-o", odd, "--", "--bogus", want=2, env=quick.WORDS)
        check("unknown option '--bogus'" in said, said)
        for words, what in [(["--schedule", "bogus"], "unknown schedule 'bogus'"), (["--resume", "--no-save"], "--resume needs the checkpoint"),
                            (["--resume", "--init-from", "w.safetensors"], "one of them"), (["--init-partial"], "--init-partial needs a checkpoint"),
                            (["--nesterov", "--momentum=0"], "needs a momentum above zero")]:
            said = train("-o", "never", "--", *words, want=1)
            check(what in said and "compiling" not in said and not os.path.exists(os.path.join(folder, "never")), f"{words}: {said}")
        put(os.path.join(folder, "vector.yaml"), "name: vector\ninput: [1, 28, 28]\nclasses: 10\nlayers: [conv: 4, global_avg_pool, bn, linear: classes]\n"
            "train: {data: shapes}\n")
        status, out, err = spawn(self.convoy, "train", "vector.yaml", "--batch", "1", cwd=folder)
        check(status == 1 and "vector.yaml:4:36: error: --batch 1: bn1 has a single value" in err and "hint: --batch 2" in err, f"a batch that is too small: {err}")
        check(not os.path.exists(os.path.join(folder, "build-vector")), "compiled for a batch that is too small")
        put(os.path.join(folder, "steps.yaml"), "name: steps\ninput: [28, 28]\nclasses: 10\nlayers: [rnn: {hidden: 4, norm: {recurrent: bn}}, linear: classes]\ntrain: {data: shapes}\n")
        status, out, err = spawn(self.convoy, "train", "steps.yaml", "--batch", "1", cwd=folder)
        check(status == 1 and "the norm in 'recurrent' of rnn1 has a single value" in err, f"one image a step: {err}")
        check(not glob.glob(os.path.join(self.dir, "**", "[xy]"), recursive=True), "a shell read a name")


if __name__ == "__main__":
    sys.exit(methods.main("export", Test))
