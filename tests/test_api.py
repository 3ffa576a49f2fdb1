"""An emitted network as a library, from outside: its names, its limits, its header, several of them in one program.

    test_api.py --convoy build/gen/convoy [WORD...]      only the checks whose name holds a WORD

Needs a C compiler, nm and ar. What is missing besides (g++, qemu-user, an instruction set) is said and skipped."""
import concurrent.futures
import glob
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time

import methods
import quick
from methods import check, Failed
from test_export import drawn, tensors_write

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Loops instead of unrolled tiles: names and limits are the same, and compilers take half of the time.
ALPHA = """\
name: alpha
input: [1, 8, 8]
unroll: none
classes: 3
layers:
  - conv: {out: 4, order: conv-bn-relu}
  - global_avg_pool
  - linear: classes
train: {data: shapes, epochs: 1, batch: 32}
"""
PAIRS = """\
name: pairs
input: [1, 8, 8]
unroll: none
classes: 3
layers:
  - flatten
  - linear: {out: 8, order: linear-bn-relu}
  - linear: classes
"""
BETA = """\
name: beta
input: [2, 9, 8]
unroll: none
classes: 5
layers:
  - conv: {out: 20, order: conv-relu-bn}
  - conv: {out: 16, order: bn-relu-conv}
  - maxpool: 2
  - drop: 0.25
  - flatten
  - linear: classes
train: {data: shapes, epochs: 1, batch: 32}
"""
AVX2 = {"avx2", "fma"}
NEHALEM = ("qemu-x86_64", "-cpu", "Nehalem")  # a processor before AVX


def spawn(*words, stdin=None, **more):
    p = subprocess.run(words, capture_output=True, text=True, errors="replace", input=stdin, timeout=600, **more)
    return p.returncode, p.stdout, p.stderr


def run(*words, **more):
    status, out, err = spawn(*words, **more)
    check(status == 0, f"{' '.join(words)}: status {status}\n{out[-3000:]}{err[-3000:]}")
    return out


def put(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def read(path):
    with open(path) as f:
        return f.read()


def shown(*files, dynamic=False):
    """Names of functions and variables that objects or a library show to others."""
    out = run("nm", *(["-D"] if dynamic else ["-g"]), "--defined-only", *files)
    return set(re.findall(r"^\S* ?[A-Zu] (\S+)$", out, re.M))


def tensors_of(path):
    """name -> numbers, of the float32 ones of a safetensors file."""
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + size])
    return {name: struct.unpack(f"<{(t['data_offsets'][1] - t['data_offsets'][0]) // 4}f", data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]])
            for name, t in head.items() if name != "__metadata__" and t["dtype"] == "F32"}


STEP = """\
#include "%(name)s.h"
#include <stdio.h>
#include <stdlib.h>

/* A step and an inference; every number goes into one line. */
static int use_%(name)s(void)
{
    enum { N = 6, PIXELS = %(NAME)s_CHANNELS * %(NAME)s_HEIGHT * %(NAME)s_WIDTH };
    const size_t bytes = %(name)s_arena_bytes(N, 1);
    void *const memory = aligned_alloc(64, bytes);
    struct %(name)s *const net = %(name)s_init(memory, bytes, N, 1);
    struct cvy_step step = {0};
    static float x[N * PIXELS], y[N * %(NAME)s_CLASSES];
    int labels[N], status = 0;

    if (!%(name)s_supported()) {
        puts("%(name)s unsupported");
        free(memory);
        return net != NULL;
    }
    if (!net)
        return 1;
    for (int i = 0; i < N * PIXELS; i++)
        x[i] = (float)(i * 37 %% 11) / 11 - 0.5f;
    for (int i = 0; i < N; i++)
        labels[i] = i %% %(NAME)s_CLASSES;
    status |= %(name)s_draw(net, 7);
    step.lr = 0.1f;
    const struct cvy_batch batch = {x, labels, NULL, N};
    printf("%(name)s %%.9g", %(name)s_train_step(net, &batch, &step, NULL));
    status |= %(name)s_fold(net);
    status |= %(name)s_infer(net, &batch, y);
    for (int i = 0; i < N * %(NAME)s_CLASSES; i++)
        printf(" %%.9g", (double)y[i]);
    puts("");
    free(memory);
    return status;
}
"""


class Test:
    def __init__(self, convoy, folder):
        self.convoy, self.dir = os.path.abspath(convoy), folder
        self.cc, self.skipped = shutil.which("gcc") or "cc", []
        self.quick = quick.WORDS.get("CC", self.cc)  # compiles what is only linked, in half of the time
        self.cxx = next((c for c in ("g++", "clang++", "c++") if shutil.which(c)), None)
        self.flags = set(re.findall(r"^flags\s*: (.*)$", read("/proc/cpuinfo"), re.M)[0].split()) if os.path.exists("/proc/cpuinfo") else set()
        self.emitted, self.compiled = {}, {}

    def skip(self, why):
        self.skipped.append(why)
        print(f"skipped: {why}", flush=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def emit(self, text, target="portable", *more):
        """The folder of a spec emitted for a target, once."""
        key = (text, target, more)
        if key not in self.emitted:
            name = re.search(r"^name: (\w+)", text).group(1)
            out = self.path(f"{name}-{target}-{len(self.emitted)}")
            spec = put(out + ".yaml", text)
            run(self.convoy, "gen", spec, "-o", out, *([] if "reading" in more else ["--target", target]), *more)
            self.emitted[key] = out
        return self.emitted[key]

    @staticmethod
    def sources_of(folder, trace=True):
        """The C files that are no part of the program, as docs/inference.md lists them."""
        return [f for f in sorted(glob.glob(folder + "/*_*.c")) if not f.endswith("_bench.c") and (trace or not f.endswith("_trace.c"))] + methods.runtime_library(folder)

    @staticmethod
    def target_flags(folder):
        make = read(folder + "/Makefile")
        return [re.search(r"^STANDARD = (\S+)", make, re.M).group(1), *re.search(r"^TARGET =(.*)$", make, re.M).group(1).split()]

    def objects(self, folder, *flags):
        """Those of a library's files, compiled without optimisation and with these flags, once. Where there are flags, or vectors, whose header
        takes long: of all files as one, and of each with --long."""
        if (folder, flags) not in self.compiled:
            tag, cc, files = len(self.compiled), self.cc if "-flto" in flags else self.quick, self.sources_of(folder)
            if not self.long and (flags or "portable" not in folder):
                files = [quick.together(f"{folder}/together.c", files)]

            def one(f):
                o = f"{f[:-2]}.{tag}.o"
                run(cc, *self.target_flags(folder), "-O0", *flags, "-I" + folder, "-c", f, "-o", o)
                return o
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                self.compiled[folder, flags] = list(pool.map(one, files))
        return self.compiled[folder, flags]

    # ---- names ----

    def names(self, *more):
        folder = self.emit(BETA, "portable", *more)
        run("make", "-s", "-C", folder, *quick.MAKE, *quick.whole(folder))
        foreign = {n for n in shown(*glob.glob(folder + "/*.o"), *glob.glob(folder + "/runtime/*.o")) if not n.startswith("beta_")} - {"main"}
        check(not foreign, f"names without the network's in them: {sorted(foreign)} (runtime/cvy_names.h lists them)")
        check(len(shown(folder + "/whole.o")) > 100, "names are missing")

    def test_names(self):
        self.names()

    def test_names_for_reading(self):
        self.names("--for", "reading")

    def test_names_of_an_export(self):
        for name, text in (("alpha", ALPHA), ("beta", BETA)):
            for options in ((), ("--single-file",)):
                folder = self.export(text, "portable", *options)
                for f in glob.glob(folder + "/*.c"):
                    run(self.cc, "-O0", "-I" + folder, "-c", f, "-o", f[:-2] + ".o")
                foreign = {n for n in shown(*glob.glob(folder + "/*.o")) if not n.startswith(name + "_")}
                check(not foreign, f"{options}: names without the network's in them: {sorted(foreign)}")

    HEADERS = ("assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio "
               "stdlib stdnoreturn string tgmath threads time uchar wchar wctype unistd pthread sys/types sys/stat fcntl semaphore dirent poll sched spawn "
               "strings endian").split()
    KEYWORDS = ("auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short "
                "signed sizeof static struct switch typedef union unsigned void volatile while alignas alignof bool constexpr false nullptr static_assert "
                "thread_local true typeof asm and and_eq bitand bitor catch class compl concept consteval constinit const_cast co_await co_return co_yield "
                "decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not not_eq operator or or_eq private protected public "
                "reinterpret_cast requires static_cast template this throw try typeid typename using virtual wchar_t char8_t char16_t char32_t xor xor_eq").split()

    def headers(self, cc, *flags):
        """Macros without arguments, all macros, and typedefs of the headers that are there."""
        text = "".join(f"#if __has_include(<{h}.h>)\n#include <{h}.h>\n#endif\n" for h in self.HEADERS)
        macros = re.findall(r"^#define (\w+)(\(?)", run(cc, "-x", *flags, "-dM", "-E", "-", stdin=text), re.M)
        types = re.findall(r"typedef[^;{}]*?\b(\w+)\s*(?:\[[^\]]*\])?;|\}\s*(\w+);", run(cc, "-x", *flags, "-E", "-P", "-", stdin=text))
        return {m for m, call in macros if not call}, {m for m, _ in macros}, {a or b for a, b in types}

    def test_hostile_names(self):
        """What NAME.h would take from C's headers or libc, were NAME so called: each such name is refused."""
        folder = self.emit(ALPHA)
        suffixes = set(re.findall(r"\bALPHA_([A-Z_]+)\b", "".join(read(f) for f in glob.glob(folder + "/*.[ch]"))))
        functions = {n[6:] for n in shown(*self.objects(folder))} - {"cvy"}
        plain, macros, types = set(), set(), set()
        for flags in (("c", "-std=c99", "-D_GNU_SOURCE"), ("c", "-std=gnu2x")):
            a, b, c = self.headers(self.cc, *flags)
            plain, macros, types = plain | a, macros | b, types | c
        types = {t for t in types if not t.startswith("atomic_")}  # in C a struct may be called as a type is, in C++ not; there these are none
        libs = [f for f in glob.glob("/lib/*/lib[cm].so.6") + glob.glob("/usr/lib/*/libgomp.so.1") if os.path.exists(f)]
        symbols = {n.split("@")[0] for f in libs for n in shown(f, dynamic=True)}
        hostile = set(self.KEYWORDS) | plain | types
        hostile |= {m[:-len(s) - 1].lower() for m in macros if m.isupper() or m.upper() == m for s in suffixes if m.endswith("_" + s)}
        hostile |= {m[:-len(s) - 1] for m in symbols | macros for s in functions if m.endswith("_" + s)}
        hostile = sorted(n for n in hostile if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", n) and len(n) < 64)
        check(len(hostile) > 200 and "int8" in hostile, f"only {len(hostile)} names, {len(symbols)} symbols")

        def taken(name):
            status, out, err = spawn(self.convoy, "check", put(self.path(f"{name}.yaml"), f"name: {name}\ninput: [2]\nclasses: 2\nlayers: [linear: classes]\n"))
            return None if status == 1 and f"cannot be '{name}'" in err and "would do" in err else name
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            accepted = [n for n in pool.map(taken, hostile) if n]
        check(not accepted, f"{len(accepted)} of {len(hostile)} names are accepted: {accepted}")

    def test_layer_names(self):
        """What a network's struct, files and functions are called, and the network itself, as names of layers: refused, or the folder compiles."""
        folder = self.emit(ALPHA)
        struct = re.sub(r"/\*.*?\*/", "", re.search(r"\nstruct alpha \{\n(.*?)\n\};", read(folder + "/alpha_layout.h"), re.S).group(1))
        words = set(re.findall(r"(\w+)(?:\[\w+\])?[,;]", struct))
        words |= {f[6:-2] for f in os.listdir(folder) if re.fullmatch(r"alpha_\w+\.[ch]", f)} | {n[6:] for n in shown(*self.objects(folder))}
        words = sorted(w for w in words if not re.match(r"(conv|linear|norm_|stats_)\w*$|.*__|.*_(forward|backward|infer)$", w)) + ["alpha"]
        check({"folded", "scratch", "weights", "bench", "net", "draw"} <= set(words), f"only {words}")
        spec, free = "name: alpha\ninput: [2, 2, 2]\nclasses: 2\nlayers:\n%s  - global_avg_pool\n  - linear: classes\n", []
        for w in words:
            status, _, err = spawn(self.convoy, "check", put(self.path("layer.yaml"), spec % f"  - conv: {{out: 2, kernel: 1, name: {w}}}\n"))
            check(status == 0 or f"cannot be '{w}'" in err and "would do" in err, f"{w}: {err}")
            if status == 0:
                free.append(w)
        folder = self.emit(spec % "".join(f"  - conv: {{out: 2, kernel: 1, name: {w}}}\n" for w in free))
        for f in glob.glob(folder + "/*.c"):
            run(self.cc, "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f)

    # ---- two in one program ----

    def app(self):
        names = [{"name": n, "NAME": n.upper()} for n in ("alpha", "beta")]
        return put(self.path("app.c"), "".join(STEP % n for n in names) + "int main(void) { return use_alpha() | use_beta(); }\n")

    def alone(self, folders):
        """What each says in a program of its own."""
        said = ""
        for name, folder in folders.items():
            main = put(self.path(f"{name}_alone.c"), STEP % {"name": name, "NAME": name.upper()} + f"int main(void) {{ return use_{name}(); }}\n")
            run(self.cc, "-I" + folder, main, *self.objects(folder), "-lm", "-o", main[:-2])
            said += run(main[:-2])
        return said

    def two(self, first, second):
        folders = {"alpha": self.emit(ALPHA, first), "beta": self.emit(BETA, second)}
        want, app = self.alone(folders), self.app()
        include = ["-I" + f for f in folders.values()]
        programs = []
        run(self.cc, *include, "-c", app, "-o", app + ".o")

        def link(tag, *words):
            programs.append((tag, self.path(f"app-{first}-{second}-{tag}")))
            run(self.cc, "-o", programs[-1][1], app + ".o", *words, "-lm")
        plain = {n: self.objects(f) for n, f in folders.items()}
        for order in (("alpha", "beta"), ("beta", "alpha")):
            link("objects-" + order[0], *plain[order[0]], *plain[order[1]])
            for n in order:
                if not os.path.exists(folders[n] + f"/lib{n}.a"):
                    run("ar", "rcs", folders[n] + f"/lib{n}.a", *plain[n])
            link("archives-" + order[0], *(f"{folders[n]}/lib{n}.a" for n in order))
        lto = [o for n, f in folders.items() for o in self.objects(f, "-flto")]
        link("lto", "-flto", "-O1", *lto)
        shared = []
        for n, f in folders.items():
            shared.append(f"{f}/lib{n}.so")
            run(self.cc, "-shared", "-o", shared[-1], *self.objects(f, "-fPIC", "-fvisibility=hidden"), "-lm")
        for order in (1, -1):
            link(f"shared{order}", *shared[::order], *(f"-Wl,-rpath,{f}" for f in folders.values()))
        return want, programs

    def test_two_networks(self):
        want, programs = self.two("portable", "portable")
        for tag, program in programs:
            check(run(program) == want, f"{tag}: {run(program)} instead of {want}")

    def test_two_targets(self):
        if not AVX2 <= self.flags:
            return self.skip("two targets: this processor has no AVX2")
        want, programs = self.two("avx2", "portable")
        for tag, program in programs:
            check(run(program) == want, f"{tag}: {run(program)} instead of {want}")
        if not shutil.which(NEHALEM[0]):
            return self.skip("two targets on an older processor: qemu-x86_64 is missing (Debian: qemu-user)")
        beta = want.splitlines()[1]
        for tag, program in programs:
            status, out, err = spawn(*NEHALEM, program)
            check(status == 0 and out.splitlines() == ["alpha unsupported", beta], f"{tag} before AVX: status {status}\n{out}{err}")

    # ---- one translation unit ----

    def test_unity(self):
        """All files of a library in one, in either sequence, as C11 and C23. One that has been compiled is parsed a second time."""
        for text in (ALPHA, BETA):
            for more in ((), ("--for", "reading"), ("--parts", "infer")):
                folder = self.emit(text, "portable", *more)
                files = self.sources_of(folder)
                for order, std, what in ((files, "-std=c11", "-c"), (files[::-1], "-std=gnu2x", "-fsyntax-only")):
                    one = "".join(f'#include "{os.path.relpath(f, folder)}"\n' for f in order)
                    run(self.cc, std, "-O0", "-Wall", "-Wextra", "-Werror", "-I.", "-x", "c", what, "-", "-o", "unity.o", stdin=one, cwd=folder)

    def test_unity_of_a_program(self):
        """A program with all of its runtime in one: no file's own name is another file's."""
        for text, more in ((ALPHA, ()), (BETA, ("--for", "reading"))):
            folder = self.emit(text, "portable", *more)
            files = quick.sources(folder)
            for order, what in ((files, ("-o", "whole.program", "-lz", "-ljansson", "-lm", "-lpthread")), (files[::-1], ("-fsyntax-only",))):
                one = "#define _GNU_SOURCE\n" + "".join(f'#include "{os.path.relpath(f, folder)}"\n' for f in order)
                run(self.cc, "-std=c11", "-O0", "-Wall", "-Wextra", "-Werror", "-I.", "-x", "c", "-", *what, stdin=one, cwd=folder)
            check("parameters" in run(folder + "/whole.program", "info"), "its info")

    def export(self, text, target, *options):
        name = re.search(r"^name: (\w+)", text).group(1)
        out = self.path(f"export-{name}-{target}{''.join(options).replace('--', '-').replace('=', '-')}")
        weights = self.path(f"{name}.safetensors")
        spec = put(out + ".yaml", text)
        if not os.path.exists(weights):
            tensors_write(weights, drawn(self.convoy, spec, random.Random(name)))
        run(self.convoy, "export", spec, "--weights", weights, "-o", out, "--target", target, *options)
        return out

    def test_single_files_in_one(self):
        a, b = (self.export(t, "portable", "--single-file") for t in (ALPHA, BETA))
        one = put(self.path("singles.c"), f'#include "{a}/alpha.c"\n#include "{b}/beta.c"\n')
        for flags in (("-std=c99", "-pedantic"), ("-std=gnu2x",), ("-std=c99", "-DCVY_SCALAR")):
            run(self.cc, *flags, "-O0", "-Wall", "-Wextra", "-Werror", "-c", one, "-o", one + ".o")
        check(shown(one + ".o") == {f"{n}_{f}" for n in ("alpha", "beta") for f in ("init", "infer", "arena_bytes")}, f"it shows {shown(one + '.o')}")

    def test_another_target_in_one(self):
        a, b = self.export(ALPHA, "avx2", "--single-file"), self.export(BETA, "portable", "--single-file")
        gen = [self.emit(ALPHA, "avx2"), self.emit(BETA)]
        for first, second, words in ((f"{a}/alpha.c", f"{b}/beta.c", "has the code of another target"),
                                     (f"{b}/beta.c", f"{a}/alpha.c", "has the code of another target"),
                                     (f"{gen[0]}/alpha_net.c", f"{gen[1]}/beta_net.c", "two networks' folders in one translation unit")):
            one = put(self.path("mixed.c"), f'#include "{first}"\n#include "{second}"\n')
            status, _, err = spawn(self.cc, "-mavx2", "-mfma", "-fsyntax-only", one)
            check(status != 0 and words in err, f"{first}, {second}: {err[:600]}")

    # ---- limits ----

    LIMITS = """\
static int failed;
static void expect(int ok, const char *what) { if (!ok) printf("wrong: %%s\\n", what), failed = 1; }

int main(void)
{
    enum { N = 4, MORE = 9, PIXELS = %(NAME)s_CHANNELS * %(NAME)s_HEIGHT * %(NAME)s_WIDTH };
    const size_t bytes = %(NAME)s_ARENA_BYTES(N, 1);
    char *const memory = aligned_alloc(64, bytes), *const before = malloc(bytes);
    struct %(name)s *const net = %(name)s_init(memory, bytes, N, 1);
    struct cvy_step step = {0};
    float *const x = calloc(MORE * PIXELS, sizeof *x), *const y = calloc(MORE * %(NAME)s_CLASSES, sizeof *y), number = 1;
    int labels[MORE] = {0};
    const int lengths[MORE] = {1};
    double score = 77;
    #define BATCH(x, n) &(struct cvy_batch){x, labels, NULL, n}

    expect(%(name)s_arena_bytes(N, 1) == bytes && %(name)s_arena_bytes(0, 3) == %(NAME)s_ARENA_BYTES(0, 3), "arena_bytes");
    expect(!%(name)s_arena_bytes(-1, 1) && !%(name)s_arena_bytes(1, 0) && !%(name)s_arena_bytes(1, 4097), "arena_bytes out of range");
    expect(!%(name)s_init(memory, bytes - 1, N, 1) && !%(name)s_init(NULL, bytes, N, 1) && !%(name)s_init(memory, bytes, -1, 1), "init");
    const int least = %(name)s_model.min_batch;
    expect(least == 1 || !%(name)s_init(before, bytes, least - 1, 1), "init for a batch whose norms would see a single value");
    if (!net) return 2;
    %(name)s_draw(net, 3);
    step.lr = 0.1f;
    memcpy(before, memory, bytes);
    expect(%(name)s_backward(net, BATCH(x, N), &step) == -1, "backward before forward");
    for (int n = -1; n <= MORE; n += n == 0 ? N + 1 : 1) {
        expect(isnan(%(name)s_forward(net, BATCH(x, n), &step, &score)), "forward of n");
        expect(%(name)s_backward(net, BATCH(x, n), &step) == -1, "backward of n");
    }
    expect(least == 1 || isnan(%(name)s_train_step(net, BATCH(x, least - 1), &step, &score)), "a step of fewer images than norms need");
    for (int i = 0; i < N; i++) {
        for (int label = -1; label <= %(NAME)s_CLASSES; label += %(NAME)s_CLASSES + 1) {
            labels[i] = label;
            expect(isnan(%(name)s_train_step(net, BATCH(x, N), &step, &score)), "a label that is no class");
            expect(isnan(%(name)s_model.forward((struct cvy_net *)net, BATCH(x, N), &step, &score)), "the same through the model");
        }
        labels[i] = 0;
    }
    expect(isnan(%(name)s_forward(net, BATCH(NULL, N), &step, &score)) && isnan(%(name)s_forward(net, NULL, &step, &score)), "NULL");
    expect(isnan(%(name)s_forward(net, BATCH(x, N), NULL, &score)) && isnan(%(name)s_forward(NULL, BATCH(x, N), &step, &score)), "NULL");
    expect(isnan(%(name)s_forward(net, &(struct cvy_batch){x, NULL, NULL, N}, &step, &score)), "no target");
    expect(isnan(%(name)s_forward(net, &(struct cvy_batch){x, labels, lengths, N}, &step, &score)), "lengths of images");
    expect(%(name)s_backward(net, NULL, &step) == -1 && %(name)s_fold(NULL) == -1 && %(name)s_draw(NULL, 1) == -1, "NULL");
    expect(%(name)s_infer(net, BATCH(x, -1), y) == -1 && %(name)s_infer(net, BATCH(NULL, 1), y) == -1 && %(name)s_infer(NULL, BATCH(x, 1), y) == -1, "infer");
    expect(%(name)s_infer(net, &(struct cvy_batch){x, labels, lengths, 1}, y) == -1 && %(name)s_infer(net, NULL, y) == -1, "infer");
    expect(%(name)s_infer(net, BATCH(x, 1), NULL) == -1 && %(name)s_infer(net, BATCH(NULL, 0), NULL) == 0, "infer of none");
    expect(%(name)s_get(net, -1, &number) == -1 && %(name)s_get(net, %(name)s_model.ntensor, &number) == -1 && %(name)s_set(net, 0, NULL) == -1, "get, set");
    expect(%(name)s_count(-1) == 0 && %(name)s_count(%(name)s_model.ntensor) == 0 && %(name)s_tensor("nothing") == -1 && %(name)s_tensor(NULL) == -1, "count");
    expect(memcmp(before, memory, bytes) == 0 && score == 77 && number == 1, "something was touched");
    expect(isfinite(%(name)s_forward(net, BATCH(x, 3), &step, &score)) && score >= 0 && score <= 3, "forward");
    expect(%(name)s_tracer.trace((struct cvy_net *)net, BATCH(x, 4), &step, x, NULL, NULL) == -1 && %(name)s_tracer.trace_floats(0) == 0, "trace");
    expect(%(name)s_backward(net, BATCH(x, 2), &step) == -1 && %(name)s_backward(net, BATCH(x, 3), &step) == 0 && isfinite(%(name)s_train_step(net, BATCH(x, N), &step, NULL)), "backward");
    expect(%(name)s_fold(net) == 0 && %(name)s_infer(net, BATCH(x, MORE), y) == 0, "more images than the batch at inference");
    free(memory), free(before), free(x), free(y);
    return failed;
}
"""

    SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")

    def sanitizing(self):
        """The sooner of the compilers that have sanitizers."""
        works = spawn(self.quick, *self.SANITIZERS, "-x", "c", "-", "-o", self.path("sanitized"), stdin="int main(void) { return 0; }\n")[0] == 0
        return self.quick if works else self.cc

    def test_limits(self):
        for name, text, more in (("beta", BETA, ()), ("beta", BETA, ("--for", "reading")), ("pairs", PAIRS, ()), ("pairs", PAIRS, ("--for", "reading"))):
            folder, names = self.emit(text, "portable", *more), {"name": name, "NAME": name.upper()}
            main = put(folder + "/limits.c", f'#include "{name}.h"\n#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n' + self.LIMITS % names)
            library = quick.together(folder + "/sanitized.c", self.sources_of(folder))
            run(self.sanitizing(), "-std=c11", "-g", "-O0", "-Wall", "-Wextra", "-Werror", *self.SANITIZERS, "-I" + folder, main, library, "-lm", "-o", main[:-2])
            os.remove(main)
            os.remove(library)
            run(main[:-2], env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))

    # ---- the header ----

    @staticmethod
    def example(folder, name):
        """The indented lines at the head of NAME.h."""
        head = read(f"{folder}/{name}.h").split("*/")[0]
        return "\n".join(line[7:] for line in head.split("\n") if line.startswith(" *     ") or line == " *")

    def test_header_example(self):
        name, text = "alpha", ALPHA.replace("  - global", "  - drop: 0.25\n  - global")
        for more in ((), ("--for", "reading")):
            folder = self.emit(text, "portable", *more)
            main = put(folder + "/use", self.example(folder, name) + """
#include <stdio.h>
enum { PIXELS = %(NAME)s_CHANNELS * %(NAME)s_HEIGHT * %(NAME)s_WIDTH };
static void fill(float *x, int *labels)
{
    static unsigned state = 1;
    for (int i = 0; i < BATCH; i++) {
        labels[i] = i %% %(NAME)s_CLASSES;
        for (int p = 0; p < PIXELS; p++) {
            state = state * 1664525u + 1013904223u;
            x[i * PIXELS + p] = (float)(state >> 16) / 65536 - 0.5f + (float)labels[i] * (p %% 2 ? 1 : -1);
        }
    }
}
int main(void)
{
    static float x[BATCH * PIXELS], y[BATCH * %(NAME)s_CLASSES];
    int labels[BATCH];
    const double first = %(name)s_example(1, fill, x, labels, y), last = %(name)s_example(60, fill, x, labels, y);
    int right = 0;
    for (int i = 0; i < BATCH; i++) {
        int best = 0;
        for (int k = 1; k < %(NAME)s_CLASSES; k++)
            best = y[i * %(NAME)s_CLASSES + k] > y[i * %(NAME)s_CLASSES + best] ? k : best;
        right += best == labels[i];
    }
    printf("%%g %%g %%d\\n", first, last, right);
    return !(first > 0.5 && last < 0.5 * first && right > 50);
}
""" % {"name": name, "NAME": name.upper()})
            # without NAME_trace.c: who does not trace need not link it
            run(self.cc, "-std=c11", "-O0", "-Wall", "-Wextra", "-Werror", "-I" + folder, "-x", "c", main, *self.sources_of(folder, trace=False), "-lm", "-o", main + "d")
            os.remove(main)
            run(main + "d")

    def test_header_example_infer(self):
        folder = self.emit(ALPHA, "portable", "--parts", "infer")
        lines = self.example(folder, "alpha").split("\n")
        code = "\n".join(line for line in lines if line.startswith("#")) + "\nint use(const float **numbers, const float *x, float *y, int n)\n{\n" + \
            "\n".join(line for line in lines if not line.startswith("#")) + "\nreturn net == NULL;\n}\n"
        run(self.cc, "-std=c11", "-O0", "-Wall", "-Wextra", "-Werror", "-I" + folder, "-x", "c", "-c", "-", "-o", folder + "/use.o", stdin=code)

    def test_header_languages(self):
        """NAME.h before and after all of C's headers, in each language, with GNU's macros."""
        heads = "".join(f"#include <{h}.h>\n" for h in "assert ctype errno float inttypes limits locale math setjmp signal stddef stdint stdio stdlib string time".split())
        for folder, name in ((self.emit(ALPHA), "alpha"), (self.emit(BETA, "portable", "--for", "reading"), "beta"), (self.export(ALPHA, "portable"), "alpha")):
            strict, others = (["c", "-std=c99", "-pedantic"], ["c++", "-std=c++11", "-pedantic"]), (["c", "-std=c99", "-D_GNU_SOURCE"], ["c", "-std=gnu2x"], ["c++", "-std=gnu++20"])
            for language in strict + (others if self.long or folder == self.emit(ALPHA) else ()):
                if language[0] == "c++" and not self.cxx:
                    self.skip("C++: g++ is missing")
                    continue
                for text in (f'#include "{name}.h"\n' + heads, heads + f'#include "{name}.h"\n'):
                    run(self.cxx if language[0] == "c++" else self.cc, "-x", *language, "-Wall", "-Wextra", "-Werror", "-I" + folder, "-fsyntax-only", "-", stdin=text)

    def test_hidden(self):
        """What a shared library shows: with -fvisibility=hidden the header's functions, with an empty NAME_API nothing."""
        folder = self.emit(ALPHA)
        public = set(re.findall(r"^ALPHA_API .*?(alpha_\w+)(?:\(|;)", read(folder + "/alpha.h"), re.M))
        check(len(public) == 16, f"public: {sorted(public)}")
        for tag, flags, want in (("hidden", [], public), ("nothing", ["-DALPHA_API="], set())):
            lib = f"{folder}/lib{tag}.so"
            run(self.cc, "-shared", "-o", lib, *self.objects(folder, "-fPIC", "-fvisibility=hidden", *flags), "-lm")
            got = {n for n in shown(lib, dynamic=True) if not n.startswith("_")}
            check(got == want, f"{tag}: {sorted(got ^ want)}")

    # ---- build systems ----

    def recipe(self, name, *more):
        """A folder with the file of docs/building.md, a spec, weights, and two programs."""
        folder = self.path("recipe-" + name)
        os.makedirs(folder)
        text = re.search(rf"<!-- recipe {re.escape(name)} -->\n```\w+\n(.*?)```", read(os.path.join(ROOT, "docs", "building.md")), re.S).group(1)
        put(f"{folder}/{name}", text)
        fashion = ALPHA.replace("alpha", "fashion")
        put(f"{folder}/fashion.yaml", fashion)
        put(f"{folder}/digits.yaml", ALPHA.replace("alpha", "digits"))
        weights = self.path("fashion.safetensors")
        self.export(fashion, "portable", "--single-file")  # makes the weights
        shutil.copy(weights, folder)
        put(f"{folder}/classify.c", """#include "fashion.h"
#include <stdlib.h>
int main(void)
{
    static float x[FASHION_CHANNELS * FASHION_HEIGHT * FASHION_WIDTH], y[FASHION_CLASSES];
    void *const memory = malloc(FASHION_ARENA_BYTES(1));
    const int status = fashion_infer(fashion_init(memory, FASHION_ARENA_BYTES(1), 1), x, y, 1);
    free(memory);
    return status;
}
""")
        put(f"{folder}/trainer.c", STEP % {"name": "digits", "NAME": "DIGITS"} + "int main(void) { return use_digits(); }\n")
        return folder

    def env(self):
        """Where `convoy` is on the path."""
        return dict({k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "CFLAGS", "CC")},
                    PATH=os.path.dirname(self.convoy) + ":" + os.environ["PATH"])

    def test_recipe_make(self):
        folder, env = self.recipe("Makefile"), self.env()
        run("make", "-C", folder, env=env)
        check("fashion.c: fashion.yaml fashion.safetensors" in read(folder + "/fashion.d"), read(folder + "/fashion.d"))
        for program in ("classify", "trainer"):
            run(f"{folder}/{program}")
        check(not re.search("convoy (gen|export)", run("make", "-C", folder, env=env)), "a second make calls convoy again")
        put(folder + "/digits.yaml", read(folder + "/digits.yaml") + "# a comment: the same C\n")
        times = {f: os.stat(f).st_mtime_ns for f in glob.glob(folder + "/net/*.c")}
        check("convoy gen" in run("make", "-C", folder, env=env), "make does not see that the spec is new")
        check(times == {f: os.stat(f).st_mtime_ns for f in times}, "files whose text is the same got another time")
        check(not re.search("convoy (gen|export)", run("make", "-C", folder, env=env)), "make does not rest")

    def test_recipe_cmake(self):
        if not shutil.which("cmake"):
            return self.skip("CMake's recipe: cmake is missing")
        folder, env = self.recipe("CMakeLists.txt"), {**self.env(), "CC": self.quick}
        for unity in ("OFF", "ON")[:2 if self.long else 1]:
            run("cmake", "-S", folder, "-B", folder + "/b", f"-DCMAKE_UNITY_BUILD={unity}", "-DCMAKE_BUILD_TYPE=Debug", env=env)
            run("cmake", "--build", folder + "/b", env=env)
            for program in ("classify", "trainer"):
                run(f"{folder}/b/{program}")
        needs = run("ldd", folder + "/b/trainer")
        check(not re.search("openblas|jansson|libz", needs), f"unasked: {needs}")
        run("cmake", "-S", folder + "/b/net", "-B", folder + "/p", "-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_BUILD_TYPE=Debug", env=env)  # the whole program
        run("cmake", "--build", folder + "/p", "-j2", env=env)
        check("digits" in run(folder + "/p/digits", "info"), "the program")

    def test_recipe_meson(self):
        if not shutil.which("meson"):
            return self.skip("Meson's recipe: meson is missing")
        folder, env = self.recipe("meson.build"), self.env()
        run("convoy", "gen", folder + "/digits.yaml", "-o", folder + "/subprojects/digits", env=env)
        run("meson", "setup", folder + "/b", folder, env=env)
        run("meson", "compile", "-C", folder + "/b", env=env)
        for program in ("classify", "trainer"):
            run(f"{folder}/b/{program}")
        check(not re.search("openblas|jansson|libz", run("ldd", folder + "/b/trainer")), "unasked")

    def test_openblas(self):
        """The choice of OpenBLAS for linear layers: the same training but for the last digits."""
        folder = self.path("blas")
        put(folder + ".yaml", "name: blas\ninput: [1, 9, 9]\nclasses: 10\nlayers:\n  - flatten\n  - linear: 40\n  - tanh\n  - linear: classes\n"
                              "train: {data: shapes, batch: 20, epochs: 2, lr: 0.1}\n")
        losses = []
        for blas in ("no", "yes"):
            run("convoy", "gen", folder + ".yaml", "-o", f"{folder}-{blas}", *quick.OPTIONS[:2], env=self.env())
            words = [w for w in quick.MAKE if not w.startswith("OPENBLAS")] + [f"OPENBLAS={blas}"]
            made = subprocess.run(["make", "-s", "-C", f"{folder}-{blas}", *words, *quick.whole(f"{folder}-{blas}")], capture_output=True, text=True)
            if made.returncode and "cblas.h" in made.stderr:
                return self.skip("OpenBLAS for linear layers: its headers are missing (Debian: libopenblas-dev)")
            check(made.returncode == 0, made.stderr)
            program = f"{folder}-{blas}/blas"
            check((blas == "yes") == ("openblas" in run("ldd", program)), f"OPENBLAS={blas}: what it links")
            run(program, "train", "--train-images", "200", "--test-images", "20", "--no-save", "--quiet", "--log", program + ".log")
            losses.append([json.loads(line)["train_loss"] for line in read(program + ".log").splitlines() if "train_loss" in line])
        check(len(losses[0]) == 2 and all(abs(a - b) < 1e-4 * abs(a) for a, b in zip(*losses)), f"another training: {losses}")

    def test_quiet_and_places(self):
        folder = self.path("places")
        os.makedirs(folder + "/full")
        os.makedirs(folder + "/empty")
        put(folder + "/full/mine.txt", "mine\n")
        spec = put(folder + "/alpha.yaml", ALPHA)
        status, out, err = spawn(self.convoy, "gen", spec, "-o", ".", "-q", cwd=folder + "/full")
        check(status == 1 and "is not empty" in err and "-o ./net" in err and os.listdir(folder + "/full") == ["mine.txt"], err)
        check(run(self.convoy, "gen", spec, "-o", ".", "-q", cwd=folder + "/empty") == "" and os.path.exists(folder + "/empty/alpha.h"), "-o . in an empty folder")
        odd = folder + "/a b$c.d"
        run(self.convoy, "gen", spec, "-o", folder + "/o", "-q", "--depfile", odd)
        check(read(odd) == f"{folder}/o/.convoy-manifest: {spec}\n", read(odd))
        weights = self.path("alpha.safetensors")
        self.export(ALPHA, "portable", "--single-file")
        words = (self.convoy, "export", spec, "--weights", weights, "--single-file", "-q", "-o")
        status, _, err = spawn(*words, folder + "/full/other.c")
        check(status == 2 and "is called alpha.c" in err, err)
        check(run(*words, folder + "/full/alpha.c") == "" and sorted(os.listdir(folder + "/full")) == ["alpha.c", "alpha.h", "mine.txt"], "a single file beside others")

    def test_export_size(self):
        """Transformed copies of weights are made where `winograd: on` asks for them alone, and export says how much C that is."""
        text = ALPHA.replace("alpha", "wide").replace("unroll: none\n", "").replace("[1, 8, 8]", "[1, 16, 16]").replace("out: 4,", "out: 48,").replace(
            "  - global", "  - conv: {out: 48, order: conv-bn-relu}\n  - global")
        said, size, answer = {}, {}, {}
        for word in ("auto", "on", "off"):
            folder = self.export(text, "portable", "--single-file", "--set", f"winograd={word}")
            said[word] = run(self.convoy, "export", folder + ".yaml", "--weights", self.path("wide.safetensors"), "-o", folder, "--single-file", "--set", f"winograd={word}")
            size[word] = os.path.getsize(folder + "/wide.c")
            main = put(folder + "/answer.c", """#include "wide.h"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    static float x[256], y[WIDE_CLASSES];
    for (int i = 0; i < 256; i++) x[i] = (float)(i * 37 % 11) / 11 - 0.5f;
    if (wide_infer(wide_init(malloc(WIDE_ARENA_BYTES(1)), WIDE_ARENA_BYTES(1), 1), x, y, 1) != 0) return 1;
    for (int i = 0; i < WIDE_CLASSES; i++) printf("%.9g ", (double)y[i]);
    return 0;
}
""")
            run(self.cc, "-O0", main, folder + "/wide.c", "-lm", "-o", main[:-2])
            answer[word] = [float(v) for v in run(main[:-2]).split()]
        check(size["auto"] < size["on"] / 2 and size["auto"] < 1.2 * size["off"], f"{size}")
        told = float(re.search(r"about ([\d.]+) MB with --set winograd=on", said["auto"]).group(1))
        check(abs(told - size["on"] / 1e6) <= 0.1 * size["on"] / 1e6 + 0.1 and "winograd=on" not in said["on"], f"{said}: {size}")
        largest = max(abs(v) for v in answer["off"])
        check(all(abs(a - b) <= 1e-4 * largest for w in answer for a, b in zip(answer[w], answer["off"])), f"{answer}")

    # ---- the program ----

    @staticmethod
    def reader_of(pipe, program):
        """A descriptor of the pipe's writing end, once the program reads from it."""
        for _ in range(3000):
            try:
                return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                check(program.poll() is None, f"it ended: {program.poll()}")
                time.sleep(0.01)
        program.kill()
        raise Failed("the program does not read")

    def test_short_spin(self):
        """The program loads itself once more with a short spin of GCC's OpenMP, unless the user has said how to wait."""
        folder = self.emit(ALPHA)
        run("make", "-s", "-C", folder, "CFLAGS=-O0", *quick.whole(folder))
        if "libgomp" not in run("ldd", f"{folder}/alpha") or not os.path.exists("/proc/self/environ"):
            return self.skip("a short spin: no libgomp, or no /proc to look into")
        clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
        pipe = folder + "/pipe"
        os.mkfifo(pipe)
        for given, want in (({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)):
            p = subprocess.Popen(["odd name", "predict", "--weights", pipe, "--input", pipe, "-o", folder + "/y"], executable=f"{folder}/alpha",
                                 env={**clean, **given}, stderr=subprocess.PIPE, text=True)
            fd = self.reader_of(pipe, p)  # it reads a file, long after it has begun
            try:
                env = dict(v.split("=", 1) for v in read(f"/proc/{p.pid}/environ").split("\0") if "=" in v)
                words = read(f"/proc/{p.pid}/cmdline").split("\0")[0]
                comm = read(f"/proc/{p.pid}/comm").strip()
            finally:
                os.close(fd)
            err = p.communicate(timeout=60)[1]
            check(env.get("GOMP_SPINCOUNT") == want and words == "odd name" and comm == "alpha", f"{given}: {env.get('GOMP_SPINCOUNT')}, {words}, {comm}")
            check(p.returncode == 1 and "error" in err, f"{given}: {p.returncode} {err}")

    # ---- numbers in and out ----

    def test_weights(self):
        """NAME_draw draws what the program begins with; what NAME_get returns, NAME_set takes."""
        for name, text, more in (("beta", BETA, ()), ("beta", BETA, ("--for", "reading"))):
            folder = self.emit(text, "portable", *more)
            run("make", "-s", "-C", folder, *quick.MAKE, *quick.whole(folder))
            start = folder + "/start.safetensors"
            run(f"{folder}/{name}", "train", "--train-images", "32", "--test-images", "8", "--lr", "0", "--weight-decay", "0", "--seed", "5", "--save", start)
            main = put(folder + "/numbers", f"""
#include "{name}.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{{
    const size_t bytes = {name}_arena_bytes(0, 1);
    struct {name} *const a = {name}_init(aligned_alloc(64, bytes), bytes, 0, 1), *const b = {name}_init(aligned_alloc(64, bytes), bytes, 0, 1);
    if (!a || !b || {name}_draw(a, 5) != 0) return 1;
    for (int t = 0; t < {name}_model.ntensor; t++) {{
        const size_t n = {name}_count(t);
        float *const v = malloc(2 * n * sizeof *v), *const w = v + n;
        if ({name}_tensor({name}_model.tensor[t].name) != t || {name}_get(a, t, v) != 0 || {name}_set(b, t, v) != 0 || {name}_get(b, t, w) != 0
            || memcmp(v, w, n * sizeof *v) != 0)
            return 2;
        printf("%s", {name}_model.tensor[t].name);
        for (size_t i = 0; i < n; i++) printf(" %a", (double)v[i]);
        puts("");
    }}
    const struct cvy_net *const p = (struct cvy_net *)a, *const q = (struct cvy_net *)b;
    if (memcmp(p->param, q->param, {name}_model.param_floats * sizeof *p->param) != 0) return 3;
    const int count = {name}_tensor("conv1.bn.num_batches_tracked");
    float number = 12;
    if (count < 0 || {name}_set(a, count, &number) != 0 || p->batches[{name}_model.tensor[count].at.offset] != 12) return 4;
    number = -1;
    if ({name}_set(a, count, &number) != -1) return 5;
    return 0;
}}
""")
            run(self.cc, "-std=c11", "-O0", "-Wall", "-Wextra", "-Werror", "-I" + folder, "-x", "c", main, *self.sources_of(folder, trace=False), "-lm", "-o", main + "d")
            os.remove(main)
            got = {line.split(" ")[0]: tuple(float.fromhex(v) for v in line.split(" ")[1:]) for line in run(main + "d").splitlines()}
            want = tensors_of(start)
            params = [n for n in want if "running" not in n]
            check(params and all(got[n] == want[n] for n in params), f"{more}: other numbers than the program's")


if __name__ == "__main__":
    sys.exit(methods.main("api", Test))
