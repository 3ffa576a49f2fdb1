#!/usr/bin/env python3
"""The law of gen/'s folders, held against what the compiler made of them (docs/architecture.md).

    test_layout.py --build BUILD [--cc CC]

- Arrows point down: each prefix of the stack of folders links alone. What is undefined then is a call upwards.
- No circles: no files of a folder call each other in a ring.
- The list of folders in gen/meson.build is all of gen/.
- The generator uses the runtime through gen/base/runtime.h alone.
- Each global name of the runtime's objects that were built stands in runtime/cvy_names.h (test_api.py asks nm of emitted programs).

Before that the test is tried on a small stack of its own, once as it should be and once with one arrow reversed and one circle: it
must notice both."""
import argparse
import functools
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@functools.lru_cache(maxsize=None)
def symbols(obj):
    """What an object file defines, and what it uses of others."""
    defined, used = set(), set()
    for line in subprocess.run(['nm', '-g', obj], capture_output=True, text=True, check=True).stdout.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == 'U':
            used.add(words[1])
        elif len(words) == 3:
            defined.add(words[2])
    return defined, used


def circles(uses):
    """The rings of a graph {file: {file}}: its strongly connected parts of two files or more (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in sorted(uses[v]):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            part = stack[stack.index(v):]
            del stack[stack.index(v):]
            if len(part) > 1:
                found.append(sorted(part))

    for v in sorted(uses):
        if v not in index:
            visit(v)
    return found


def undefined_above(folders, n, known, libraries, cc):
    """Symbols that the first n folders use and neither define nor get from a library: [(symbol, who defines it above, or None)]."""
    above = {}
    for name, objs in folders[n:]:
        for obj in objs:
            for symbol in symbols(obj)[0]:
                above[symbol] = name
    with tempfile.TemporaryDirectory() as tmp:
        main = os.path.join(tmp, 'main.c')
        with open(main, 'w') as f:
            f.write('int main(void) { return 0; }\n')
        objs = [obj for _, some in folders[:n] for obj in some]
        run = subprocess.run(cc + ['-Wl,-S', '-o', os.path.join(tmp, 'out'), main] + objs + known + libraries, capture_output=True, text=True,
                             env=dict(os.environ, LC_ALL='C'))
    if run.returncode == 0:
        return []
    missing = sorted(set(re.findall(r'undefined reference to [`\'"]?([A-Za-z_0-9]+)', run.stderr)))
    return [(symbol, above.get(symbol)) for symbol in missing] or [(run.stderr.strip().splitlines()[-1], None)]


def faults(folders, known, libraries, cc):
    found = []
    for n in range(1, len(folders) + 1):
        for symbol, where in undefined_above(folders, n, known, libraries, cc):
            if where is None and n < len(folders):
                continue  # said where the whole stack is linked
            found.append('%s/ needs %s, which %s' % (folders[n - 1][0], symbol, 'stands above it, in %s/' % where if where else 'nobody defines'))
    maker, used_by = {}, {}
    for _, objs in folders:
        for obj in objs:
            defined, used_by[obj] = symbols(obj)
            maker.update((symbol, obj) for symbol in defined)
    uses = {obj: {maker[s] for s in used if s in maker and maker[s] != obj} for obj, used in used_by.items()}
    for ring in circles(uses):
        inside = []
        for obj in ring:
            calls = sorted(s for s in used_by[obj] if maker.get(s) in ring and maker[s] != obj)
            inside.append('%s (%s)' % (plain_name(obj), ', '.join(calls)))
        found.append('a circle: ' + '; '.join(inside))
    return found


def plain_name(obj):
    return re.sub(r'\.c\.o$', '.c', os.path.basename(obj))


def try_itself(cc):
    """The test must pass a good stack and notice an arrow up, and a circle."""
    files = {'low': 'int low(void); int low(void) { return 1; }',
             'mid': 'int low(void), mid(void); int mid(void) { return low(); }',
             'top': 'int mid(void), top(void); int top(void) { return mid(); }',
             'up': 'int top(void), low(void); int low(void) { return top(); }',
             'ring': 'int mid(void), ring(void); int ring(void) { return mid(); }',
             'ring2': 'int ring(void), mid(void); int mid(void) { return ring(); }'}
    with tempfile.TemporaryDirectory() as tmp:
        obj = {}
        for name, text in files.items():
            source = os.path.join(tmp, name + '.c')
            with open(source, 'w') as f:
                f.write(text + '\n')
            obj[name] = os.path.join(tmp, name + '.c.o')
            subprocess.run(cc + ['-c', source, '-o', obj[name]], check=True)
        good = faults([('a', [obj['low']]), ('b', [obj['mid']]), ('c', [obj['top']])], [], [], cc)
        up = faults([('a', [obj['up']]), ('b', [obj['mid']]), ('c', [obj['top']])], [], [], cc)
        ring = faults([('a', [obj['low']]), ('b', [obj['ring'], obj['ring2']])], [], [], cc)
    return [what for what, wrong in (('a good stack is refused: %s' % good, good),
                                     ('an arrow upwards is not noticed', not any('stands above it' in f for f in up)),
                                     ('a circle is not noticed', not any('a circle' in f for f in ring))) if wrong]


def around_runtime_h():
    """Files of gen/ that include a header of the runtime themselves."""
    found = []
    for top, _, files in os.walk(os.path.join(SOURCE, 'gen')):
        for f in files:
            path = os.path.relpath(os.path.join(top, f), SOURCE)
            if f.endswith(('.c', '.h')) and path != 'gen/base/runtime.h' and re.search(r'#include "(cvy_|.*runtime/)', open(os.path.join(SOURCE, path)).read()):
                found.append('%s includes a header of the runtime: use runtime.h' % path)
    return sorted(found)


def unlisted_names(build):
    """Global names of the runtime that cvy_names.h does not give the network's name."""
    listed = set()
    for header in 'cvy_names.h', 'cvy_recurrent.h': # the latter goes along where a layer is recurrent, with its names
        listed |= set(re.findall(r'^#define (cvy_\w+) CVY_NAMED', open(os.path.join(SOURCE, 'runtime', header)).read(), re.M))
    found = set()
    for folder in ('gen/libconvoy_shared.a.p', 'tests/test_runtime.p'):
        path = os.path.join(build, folder)
        for obj in os.listdir(path) if os.path.isdir(path) else ():
            if '_runtime_cvy_' in obj and obj.endswith('.o'):
                found |= symbols(os.path.join(path, obj))[0]
    return ['%s is not in it' % name for name in sorted(found - listed)] if found else ['no object of the runtime was found']


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--build', required=True)
    p.add_argument('--cc', default=os.environ.get('CC', 'cc'))
    a = p.parse_args()
    cc = a.cc.split()
    gen = os.path.join(a.build, 'gen')
    names = re.findall(r"^  \['([a-z]+)', \[", open(os.path.join(SOURCE, 'gen', 'meson.build')).read(), re.M)
    folders = []
    for name in names:
        made = os.path.join(gen, 'libconvoy_%s.a.p' % name)
        folders.append((name, sorted(os.path.join(made, f) for f in os.listdir(made) if f.endswith('.o'))))
    shared_dir = os.path.join(gen, 'libconvoy_shared.a.p')
    shared = sorted(os.path.join(shared_dir, f) for f in os.listdir(shared_dir) if f.endswith('.o'))
    libraries = subprocess.run(['pkg-config', '--libs', 'yaml-0.1', 'jansson', 'libpng', 'libjpeg', 'zlib'], capture_output=True, text=True, check=True).stdout.split()
    libraries += ['-lm', '-lpthread']

    checks = [('the test itself', try_itself(cc)),
              ('arrows and circles', faults(folders, shared, libraries, cc)),
              ('one header of the runtime', around_runtime_h()),
              ('runtime/cvy_names.h', unlisted_names(a.build)),
              ('every folder is in the list', sorted(set(d for d in os.listdir(os.path.join(SOURCE, 'gen')) if os.path.isdir(os.path.join(SOURCE, 'gen', d))) ^ set(names)))]
    failed = 0
    for name, found in checks:
        if found:
            failed += 1
            print('FAILED: %s' % name)
            for f in found:
                print('  ' + f)
    if failed:
        print('repeat: %s --build %s' % (os.path.relpath(__file__), a.build))
    print('%d passed, %d failed' % (len(checks) - failed, failed))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())
