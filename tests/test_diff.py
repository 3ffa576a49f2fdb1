#!/usr/bin/env python3
"""convoy diff, from outside.

    test_diff.py --convoy BUILD/gen/convoy [--golden FOLDER] [--rewrite] [--only NAME] [--small] [--part NAME]

Goldens: golden/diff/<case>.diff, written anew with --rewrite: look at the diff before you commit it. --small: every block of ResNet-20 under
several orders, how many lines of C that changes; else the rest. Counts are printed at the end."""
import argparse
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from methods import runtime_library

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = os.path.dirname(os.path.abspath(__file__))

NET = '''name: small
input: [1, 12, 12]
classes: 10
order: conv-bn-act
layers:
  - conv: 16
  - conv: {out: 32, stride: 2}
%s  - conv: {out: 64, stride: 2}
  - global_avg_pool
  - linear: classes
'''
SPECS = {
    'small': NET % '',
    'inserted': NET % '  - conv: 32\n',
    'spelled': (NET % '').replace('- conv: 16', '- conv: {out: 16, kernel: 3, stride: 1, order: conv-bn-relu, name: conv1}'),
    'cut': (NET % '').replace('- conv: {out: 32, stride: 2}', '- conv: {out: 32, stride: 2, order: conv}\n  - bn\n  - relu'),
    'biased': (NET % '').replace('- conv: {out: 32, stride: 2}', '- conv: {out: 32, stride: 2, bias: true}'),
    'called': (NET % '').replace('- conv: {out: 32, stride: 2}', '- conv: {out: 32, stride: 2, name: middle}'),
    'pooled': (NET % '').replace('- conv: {out: 32', '- maxpool: {k: 2, name: p}\n  - conv: {out: 32'),
    'later': (NET % '').replace('- conv: {out: 64', '- maxpool: {k: 2, name: p}\n  - conv: {out: 64'),
    'other_lr': (NET % '') + 'train: {lr: 0.5}\n',
    'chain1d': 'name: wave\ninput: [2, 40]\nclasses: 3\nlayers:\n  - conv: 8\n  - global_avg_pool\n  - linear: classes\n',
    'summed': 'name: rows\ninput: [4, 9]\nclasses: 3\nlayers:\n  - lstm: {hidden: 8, norm: {sum: ln}}\n  - linear: classes\n',
    'termed': 'name: rows\ninput: [4, 9]\nclasses: 3\nlayers:\n  - lstm: {hidden: 8, norm: {recurrent: ln, cell: ln}}\n  - linear: classes\n',
    'escape': (NET % '').replace('name: small', 'name: small\nact: leaky_relu(0.2)'),
}
DEEP = os.path.join(ROOT, 'specs', 'resnet20.yaml')

# name: arguments (specs by name), exit status
GOLDEN = {
    'orders': (['small', '--order', 'conv-bn-act', '--order', 'conv-act-bn'], 1),
    'block': ([DEEP, '--set', 's2.2.conv1.order=conv-act-bn'], 1),
    'rotation': (['small', '--order', 'bn-act-conv'], 1),
    'rotation_act': (['small', '--order', 'conv-bn-act', '--order', 'act-conv-bn', '--stat'], 1),
    'inserted': (['small', 'inserted'], 1),
    'removed': (['inserted', 'small', '--level', 'spec,graph'], 1),
    'norm_moved': (['summed', 'termed', '--level', 'spec,graph'], 1),
    'fold': (['small', '--fold', 'off,on'], 1),
    'spelled': (['small', 'spelled'], 0),
    'cut': (['small', 'cut', '--level', 'spec,graph,c'], 1),
    'bias': (['small', 'biased'], 1),
    'called': (['small', 'called'], 1),
    'moved': (['pooled', 'later', '--level', 'spec,graph,cost'], 1),
    'training': (['small', 'other_lr'], 1),
    'unlike': (['small', 'chain1d', '--level', 'spec,graph'], 1),
    'lines': (['small', 'other_lr', '--level', 'c'], 1),
    'colour': (['small', '--order', 'conv-act-bn', '--level', 'spec', '--color', 'always'], 1),
    # errors: status 2
    'nothing': (['small'], 2),
    'bad_layer': (['small', '--set', 'conv9.out=4'], 2),
    'bad_level': (['small', 'inserted', '--level', 'plans'], 2),
    'bad_fold': (['small', '--fold', 'maybe'], 2),
    'three_orders': (['small', '--order', 'conv', '--order', 'conv-bn', '--order', 'conv-act'], 2),
    'order_and_two': (['small', 'inserted', '--order', 'conv'], 2),
    'missing': (['small', 'nosuch.yaml'], 2),
    'folder_and_spec': (['small', '.'], 2),
}

# Lines of a layer's file that one block's other order may change, in ResNet-20 (docs/diff.md): at most, and nowhere else.
SMALL = {'conv-act-bn': 20, 'conv-bn': 5, 'conv-bn-act': 9, 'conv-tanh-bn': 20, 'conv-bn-tanh': 9, 'conv-act': 30}
# Those that change more, so that they do not grow unseen.
LARGER_AT = ('conv1', 's1.1.conv1', 's2.2.conv1', 's3.3.conv2') # the blocks where they change most, and one where they change as in most
LAYER_FILE = r'resnet20_(pass_)?(conv1|linear1|s\d_\d_)'
LARGER = {'conv': 40, 'act-conv-bn': 50, 'conv-bn-act-bn': 65, 'bn-act-conv': 101, 'act-bn-conv': 101, 'bn-conv-act': 93}


class Test:
    def __init__(self, args):
        self.convoy = os.path.abspath(args.convoy)
        self.golden = args.golden or os.path.join(HERE, 'golden', 'diff')
        self.rewrite, self.only = args.rewrite, args.only
        self.passed = self.failed = self.skipped = 0
        self.work = tempfile.mkdtemp(prefix='convoy-test-diff-')
        for name, text in SPECS.items():
            with open(os.path.join(self.work, name + '.yaml'), 'w') as f:
                f.write(text)

    def run(self, *args, **more):
        env = dict(os.environ, LC_ALL='C', TERM='dumb')
        return subprocess.run([self.convoy, *args], cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **more)

    def diff(self, *args):
        names = [a + '.yaml' if a in SPECS else a for a in args]
        return self.run('diff', *names, '--target', 'portable')

    def check(self, what, ok, why=''):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print('FAILED: %s%s' % (what, ': ' + why if why else ''))
        return ok

    def skip(self, what):
        self.skipped += 1
        print('skipped: ' + what)

    # ---- goldens

    def goldens(self):
        for name, (args, status) in GOLDEN.items():
            if self.only and self.only != name:
                continue
            done = self.diff(*args)
            got = masked((done.stdout + done.stderr).replace(ROOT + os.sep, ''))
            self.check(name + ': status', done.returncode == status, '%d, not %d\n%s' % (done.returncode, status, done.stderr))
            path = os.path.join(self.golden, name + '.diff')
            if self.rewrite:
                os.makedirs(self.golden, exist_ok=True)
                with open(path, 'w') as f:
                    f.write(got)
                continue
            with open(path) as f:
                want = f.read()
            self.check(name + ': text', got == want, 'differs from %s\n%s' % (path, first_difference(want, got)))

    # ---- one network

    def same(self):
        """A network does not differ from itself: every one of the zoo."""
        for folder in ('specs', os.path.join('specs', 'bench')):
            folder = os.path.join(ROOT, folder)
            for name in sorted(os.listdir(folder)):
                if not name.endswith('.yaml'):
                    continue
                path = os.path.join(folder, name)
                done = self.run('diff', path, path)
                self.check(name + ' beside itself', done.returncode == 0 and done.stdout.endswith('\nno difference\n') and len(done.stdout.splitlines()) == 4,
                           done.stdout[:400] + done.stderr)

    # ---- the lines: what patch makes of one is the other

    def patch(self):
        if not shutil.which('patch'):
            return self.skip('patch is missing')
        for spec, order in (('small', 'conv-act-bn'), ('small', 'bn-act-conv'), ('small', 'conv-drop(0.2)-bn-act'), (DEEP, 'conv-act-bn')):
            path = spec if spec == DEEP else spec + '.yaml'
            a, b = os.path.join(self.work, 'pa'), os.path.join(self.work, 'pb')
            for folder in (a, b):
                shutil.rmtree(folder, ignore_errors=True)
            self.run('gen', path, '-o', a, '--target', 'portable')
            self.run('gen', path, '-o', b, '--target', 'portable', '--set', 'order=' + order)
            lines = self.diff(spec, '--order', order, '--level', 'c').stdout
            done = subprocess.run(['patch', '-p1', '-s', '-E', '-F0'], cwd=a, input=lines, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            rest = subprocess.run(['diff', '-r', '-x', '.convoy-manifest', '-x', '*.yaml', a, b], stdout=subprocess.PIPE, text=True)
            self.check('%s, %s: patch' % (spec, order), done.returncode == 0 and rest.returncode == 0, done.stdout + rest.stdout[:1000])

    # ---- folders

    def folders(self):
        a, b = os.path.join(self.work, 'fa'), os.path.join(self.work, 'fb')
        self.run('gen', 'small.yaml', '-o', a, '--target', 'portable')
        self.run('gen', 'small.yaml', '-o', b, '--target', 'portable', '--set', 'order=conv-act-bn')
        done = self.run('diff', a, b)
        text = done.stdout
        self.check('folders: status', done.returncode == 1, done.stderr)
        self.check('folders: order', '- conv-bn-relu' in text and '+ conv-relu-bn' in text, text)
        specs, dirs = self.diff('small', '--order', 'conv-act-bn', '--json'), self.run('diff', a, b, '--json')
        lines = [{f['name']: (f['removed'], f['added']) for f in json.loads(x.stdout)['levels']['c']['files']} for x in (specs, dirs)]
        self.check('folders: the same lines as specs', lines[0] == lines[1], '%s\n%s' % tuple(lines))
        costs = [{r['name']: (r['a'], r['b']) for r in json.loads(x.stdout)['levels']['cost']['differences']} for x in (specs, dirs)]
        self.check('folders: the same costs as specs', costs[0] == costs[1] and len(costs[1]) > 6, '%s\n%s' % tuple(costs))
        levels = [{k: v for k, v in json.loads(x.stdout)['levels'].items() if k != 'c'} for x in (specs, dirs)]
        self.check('folders: the same levels as specs', levels[0] == levels[1] and levels[0]['plan']['differences'], '%s\n%s' % tuple(levels))
        c = os.path.join(self.work, 'fc')
        self.run('gen', os.path.join(a, 'small.yaml'), '-o', c, '--target', 'portable')
        self.check('folders: made again from its own spec', self.run('diff', a, c).returncode == 0)
        with open(os.path.join(c, 'small.yaml'), 'r+') as f:
            edited = f.read().replace('eps: 1e-5', 'eps: 1e-4')
            f.seek(0)
            f.write(edited)
        done = self.run('diff', a, c)
        self.check('folders: an edited spec', 'emitted from another spec' in done.stdout and '0.0001' in done.stdout, done.stdout[:500])
        reading = os.path.join(self.work, 'fr')
        self.run('gen', 'small.yaml', '-o', reading, '--for', 'reading')
        done = self.run('diff', a, reading)
        self.check('folders: one for reading', done.returncode == 1 and 'small_net.c' in done.stdout, done.stdout[:500] + done.stderr)
        self.check('folders: one beside itself', self.run('diff', a, a).returncode == 0)
        with open(os.path.join(b, 'small_conv1.c'), 'a') as f:
            f.write('/* by hand */\n')
        done = self.run('diff', a, b, '--level', 'c')
        self.check('folders: an edited file', '+/* by hand */' in done.stdout, done.stdout[-300:])
        os.remove(os.path.join(b, 'small_conv1.c'))
        done = self.run('diff', a, b)
        self.check('folders: a file that is gone', done.returncode == 2 and 'small_conv1.c' in done.stderr, done.stderr)
        done = self.run('diff', a, self.work)
        self.check('folders: a foreign one', done.returncode == 2 and 'no folder that convoy wrote' in done.stderr, done.stderr)
        done = self.run('diff', a, a, '--set', 'order=conv')
        self.check('folders: as they are', done.returncode == 2, done.stderr)

    # ---- JSON

    def json(self):
        for args in (['small', '--order', 'conv-act-bn'], ['small', 'inserted'], ['small', 'spelled'], ['pooled', 'later']):
            done = self.diff(*args, '--json')
            d = json.loads(done.stdout)
            self.check('%s: JSON and status' % args, d['same'] == (done.returncode == 0))
            self.check('%s: levels' % args, list(d['levels']) == ['spec', 'graph', 'plan', 'infer', 'cost', 'c'], str(list(d['levels'])))
            self.check('%s: same' % args, d['same'] == all(v['same'] for v in d['levels'].values()))
        d = json.loads(self.diff('small', 'inserted', '--json').stdout)
        self.check('layers are aligned', d['layers'] == [['conv1', 'conv1'], ['conv2', 'conv2'], [None, 'conv3'], ['conv3', 'conv4'],
                                                         ['global_avg_pool1', 'global_avg_pool1'], ['linear1', 'linear1']], str(d['layers']))
        d = json.loads(self.diff('small', '--order', 'conv-act-bn', '--level', 'spec', '--json').stdout)
        self.check('one level', list(d['levels']) == ['spec'], str(list(d['levels'])))
        row = d['levels']['spec']['differences']
        self.check('a row', row == [{'key': 'order', 'where': ['conv1', 'conv2', 'conv3'], 'a': 'conv-bn-relu', 'b': 'conv-relu-bn'}], str(row))

    # ---- what is recognised

    def recognised(self):
        def notes(*args):
            return ' '.join(json.loads(self.diff(*args, '--json').stdout)['notes'])
        # the six permutations are two cycles
        cycles = [['conv-bn-act', 'bn-act-conv', 'act-conv-bn'], ['conv-act-bn', 'act-bn-conv', 'bn-conv-act']]
        for i, cycle in enumerate(cycles):
            for a in cycle:
                for b in cycle:
                    if a != b:
                        self.check('%s, %s: a rotation' % (a, b), 'a rotation' in notes('small', '--order', a, '--order', b))
                self.check('%s, %s: none' % (a, cycles[1 - i][0]), 'rotation' not in notes('small', '--order', a, '--order', cycles[1 - i][0]))
        text = notes('small', '--order', 'conv-bn-act', '--order', 'bn-act-conv')
        self.check('its ends', 'bn, relu stand in front of conv1.conv in B, and between conv3.conv and linear1.linear in A' in text, text)
        self.check('its biases', 'conv3.conv has a bias in B alone' in text, text)
        # not one where something inside differs, too
        self.check('another stage inside', 'rotation' not in notes('small', '--order', 'conv-bn-act', '--order', 'bn-tanh-conv'))
        self.check('another size inside', 'rotation' not in notes('small', 'inserted'))
        self.check('spelled out', 'equal once groups, names and defaults are spelled out' in notes('small', 'spelled'))
        self.check('a file and itself', notes('small', 'small', '--set', 'classes=10') == '')
        self.check('a redundant bias', 'The same network except for a redundant bias (conv2.conv)' in notes('small', 'biased'))
        self.check('one that is not', 'redundant' not in notes('small', '--order', 'conv-act-bn', '--order', 'conv-act'))
        self.check('cut otherwise', 'Only how they are cut into layers differs' in notes('small', 'cut'))

    # ---- arguments and sizes that one side alone has

    def arguments(self):
        def spec(name, text):
            with open(os.path.join(self.work, name), 'w') as f:
                f.write(text)
            return name

        def diff(a, b, *more):
            done = self.run('diff', a, b, '--target', 'portable', '--json', *more)
            if self.check('%s, %s: status' % (a, b), done.returncode in (0, 1), done.stderr):
                return json.loads(done.stdout)

        def rows(d, level):
            return [(r['key'], r['a'], r['b']) for r in d['levels'][level]['differences']]

        # all three of general_relu's
        net = 'name: ends\ninput: [1, 6, 6]\nclasses: 3\nact: %s\norder: %s\nlayers: [%s, global_avg_pool, linear: classes]\n'
        six, two, low = 'general_relu(0.1,0.4,6)', 'general_relu(0.1,0.4,2)', 'general_relu(0.1,0.3,6)'
        for other in (two, low):
            a = spec('inside.yaml', net % (six, 'conv-act', 'conv: 4'))
            b = spec('beside.yaml', net % (other, 'conv', 'conv: 4, act'))
            d = diff(a, b)
            self.check('%s: not one network, cut otherwise' % other, d['notes'] == [], str(d['notes']))
            self.check('%s: the graph differs' % other, ('stages', 'conv, ' + six, 'conv') in rows(d, 'graph'), str(rows(d, 'graph')))
            a, b = spec('forward.yaml', net % (six, 'conv-bn-act', 'conv: 4, conv: 4')), spec('turned.yaml', net % (other, 'bn-act-conv', 'conv: 4, conv: 4'))
            d = diff(a, b)
            self.check('%s: no rotation' % other, not any('rotation' in n for n in d['notes']), str(d['notes']))
        d = diff(a, spec('turned.yaml', net % (six, 'bn-act-conv', 'conv: 4, conv: 4')))
        self.check('the same three: a rotation', any('rotation' in n for n in d['notes']), str(d['notes']))
        done = self.diff('small', '--set', 'act=' + six, '--order', 'conv-act-bn', '--order', 'conv-bn-act', '--level', 'graph')
        self.check('all three are printed', six in done.stdout and '0.1,0,' not in done.stdout, done.stdout)
        # eps and momentum are a norm's own
        for key, value in (('eps', '1e-3'), ('momentum', '0.2')):
            a = spec('inside.yaml', net % ('relu', 'conv-bn', 'conv: 4'))
            b = spec('beside.yaml', net % ('relu', 'conv', 'conv: 4, bn: {%s: %s}' % (key, value)))
            self.check('another ' + key, diff(a, b)['notes'] == [])
            self.check('the same ' + key, len(diff(a, spec('beside.yaml', net % ('relu', 'conv', 'conv: 4, bn')))['notes']) == 1)

        # what a conv's keys give, of the same shape; what a shortcut reads
        net = 'name: keys\ninput: [4, 9, 9]\nclasses: 3\nlayers: [conv: {out: 4, kernel: 3, dilation: %d, padding: %d}, global_avg_pool, linear: classes]\n'
        d = diff(spec('near.yaml', net % (1, 1)), spec('far.yaml', net % (2, 2)))
        self.check('dilation, in the graph', [r[0] for r in rows(d, 'graph')] == ['arguments'], str(rows(d, 'graph')))
        net = 'name: keys\ninput: [4, 9, 9]\nclasses: 3\nlayers:\n  - stage: {pre: bn-act, residual: [conv: 6], shortcut_from: %s}\n  - global_avg_pool\n  - linear: 3\n'
        d = diff(spec('before.yaml', net % 'input'), spec('behind.yaml', net % 'pre'))
        self.check('what a shortcut reads', ('shortcut_from', 'input', 'pre') in rows(d, 'spec') and d['notes'] == [], str(d['notes']))
        # an image beside a length
        long = spec('long.yaml', 'name: sides\ninput: [2, 12]\nclasses: 3\nlayers:\n  - conv: {out: 4, kernel: 5}\n  - maxpool: 2\n  - global_avg_pool\n  - linear: 3\n')
        wide = spec('wide.yaml', 'name: sides\ninput: [2, 12, 12]\nclasses: 3\nlayers:\n  - conv: {out: 4, kernel: [3, 5]}\n'
                    '  - maxpool: {k: [3, 2], stride: [1, 2]}\n  - global_avg_pool\n  - linear: 3\n')
        self.check('an image, a length', ('stage', 'maxpool(3x2,1x2)', 'maxpool(2)') in rows(diff(wide, long), 'spec'), str(rows(diff(wide, long), 'spec')))
        self.check('a length, an image', ('stage', 'maxpool(2)', 'maxpool(3x2,1x2)') in rows(diff(long, wide), 'spec'), str(rows(diff(long, wide), 'spec')))
        for name in ('long', 'wide'):
            self.run('gen', name + '.yaml', '-o', name, '--target', 'portable')
        for a, b in (('long', 'wide'), ('wide', 'long')):
            done = self.run('diff', a, b, '--json')
            self.check('folders, %s and %s' % (a, b), json.loads(done.stdout)['notes'] == [], done.stdout[:300] + done.stderr)

        # means of any number of channels
        scaled = 'name: many\ninput: [70, 4, 4]\nclasses: 3\nlayers: [conv: {out: 4, kernel: 1}, flatten, linear: 3]\ntrain: {%s: [%s]}\n'
        for key in ('mean', 'std'):
            v = ['0.5'] * 70
            a = spec('even.yaml', scaled % (key, ', '.join(v)))
            v[69] = '0.25'
            b = spec('last.yaml', scaled % (key, ', '.join(v)))
            self.check('the 70th %s' % key, [r[0] for r in rows(diff(a, b), 'spec')] == ['train.' + key], str(rows(diff(a, b), 'spec')))
            self.run('check', b, '--write', '-o', 'written.yaml')
            again = diff(b, 'written.yaml')
            self.check('70 numbers of %s are written and read again' % key, again is not None and again['same'])
            self.run('gen', b, '-o', 'many', '--target', 'portable')
            with open(os.path.join(self.work, 'many', 'many_net.c')) as f:
                table = re.search(r'_%s\[\] = \{([^}]*)\}' % key, f.read()).group(1).split(',')
            self.check('70 numbers of %s are emitted' % key, len(table) == 70 and float(table[69].strip().rstrip('f')) == 0.25, str(table[60:]))

    # ---- folders that were changed by hand: numbers that no network has

    def numbers(self):
        a, b = os.path.join(self.work, 'na'), os.path.join(self.work, 'nb')
        self.run('gen', 'small.yaml', '-o', a, '--target', 'portable')
        header = os.path.join(a, 'small.h')
        with open(header) as f:
            text = f.read()
        os.remove(os.path.join(a, 'small.yaml')) # so that the headers are what is compared
        manifest = os.path.join(a, '.convoy-manifest')
        with open(manifest) as f:
            lines = f.read()
        with open(manifest, 'w') as f:
            f.write(lines.replace('small.yaml\n', ''))
        shutil.copytree(a, b)
        for word in ('inf', '-inf', 'nan', '3e20', '-3e20', '1e999', '99999999999999999999', '9007199254740993', 'x', ''):
            for what in (r'\d+ parameters', r'\d+ FLOPs', r'\d+ bytes per image', r'\(size_t\)\d+ \+'):
                with open(os.path.join(b, 'small.h'), 'w') as f:
                    changed = re.sub(what, lambda m: re.sub(r'\d+', word, m.group(0), count=1), text)
                    f.write(changed)
                done = self.run('diff', a, b, '--json')
                ok = changed != text and done.returncode == 1
                ok = ok and json.loads(done.stdout)['same'] is False
                rows = json.loads(done.stdout)['levels']['cost']['differences'] if ok else []
                self.check('%r for %s' % (word, what), ok and rows and all(r.get(k, '') is None or isinstance(r.get(k, ''), int) for r in rows for k in 'ab'),
                           str(rows) + done.stderr)
                done = self.run('diff', a, b)
                self.check('%r for %s, as text' % (word, what), done.returncode == 1 and 'runtime error' not in done.stderr, done.stdout[:300] + done.stderr)

    # ---- inference with norms as multiply-adds gives what folded norms give

    def fold(self):
        cc = os.environ.get('CC', 'cc')
        if not shutil.which(cc):
            return self.skip('a C compiler is missing')
        main = r'''
#include "%(on)s.h"
#include "%(off)s.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
static unsigned state = 7;
static float draw(void) { state = state * 1664525u + 1013904223u; return (float)(state >> 8) / 8388608.0f - 1.0f; }
static float *answers(const struct cvy_model *m, const float *x, int n, float *y)
{
    const size_t bytes = m->arena_bytes(0, 1);
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes)) exit(2);
    struct cvy_net *net = m->init(memory, bytes, 0, 1);
    state = 11;
    for (int64_t i = 0; i < m->param_floats; i++) net->param[i] = draw();
    for (int64_t i = 0; i < m->running_floats; i++) net->running[i] = 0.5f + fabsf(draw());
    m->fold(net);
    m->infer(net, &(struct cvy_batch){x, NULL, NULL, n}, y);
    return y;
}
int main(void)
{
    static float x[2 * 144], a[20], b[20];
    float most = 0, error = 0;
    for (int i = 0; i < 288; i++) x[i] = draw();
    answers(&%(on)s_model, x, 2, a);
    answers(&%(off)s_model, x, 2, b);
    for (int i = 0; i < 20; i++) { most = fmaxf(most, fabsf(a[i])); error = fmaxf(error, fabsf(a[i] - b[i])); }
    printf("%%g %%g\n", error, most);
    return !(most > 0 && error <= 1e-4f * most);
}
'''
        for order in ('conv-bn-act', 'conv-bn-act-bn', 'conv-drop(0.1)-bn-bn'):
            folder = os.path.join(self.work, 'fold')
            shutil.rmtree(folder, ignore_errors=True)
            sources = []
            for fold in ('on', 'off'):
                done = self.run('gen', 'small.yaml', '-o', os.path.join(folder, fold), '--target', 'portable', '--parts', 'infer', '--fold', fold,
                                '--set', 'order=' + order, '--set', 'name=net_' + fold)
                if not self.check('--fold %s, %s' % (fold, order), done.returncode == 0, done.stderr):
                    return
                sources += [os.path.join(folder, fold, f) for f in os.listdir(os.path.join(folder, fold)) if f.startswith('net_') and f.endswith('.c')]
            with open(os.path.join(folder, 'main.c'), 'w') as f:
                f.write('#define _POSIX_C_SOURCE 200809L\n' + main % {'on': 'net_on', 'off': 'net_off'})
            command = [cc, '-std=c11', '-O1', '-Wall', '-Wextra', '-Werror', '-I', os.path.join(folder, 'on'), '-I', os.path.join(folder, 'off'), '-o',
                       os.path.join(folder, 'both'), os.path.join(folder, 'main.c'), *(f for side in ('on', 'off') for f in runtime_library(os.path.join(folder, side))),
                       *sources, '-lm']
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if self.check('%s: compiles' % order, done.returncode == 0, done.stdout[:2000]):
                done = subprocess.run([os.path.join(folder, 'both')], stdout=subprocess.PIPE, text=True)
                self.check('%s: folded and not, the same answers' % order, done.returncode == 0, done.stdout)
                text = self.run('plan', 'small.yaml', '--set', 'order=' + order).stdout
                self.check('%s: something was folded' % order, 'folded into' in text)

    # ---- the page

    def page(self):
        pages = {}
        for name, args in {'orders': ['small', '--order', 'conv-act-bn'], 'inserted': ['small', 'inserted'], 'deep': [DEEP, '--set', 's2.2.conv1.order=conv-act-bn'],
                           'same': ['small', 'spelled']}.items():
            path = os.path.join(self.work, name + '.html')
            done = self.diff(*args, '--html', path)
            self.check('%s: page, status' % name, done.returncode == (0 if name == 'same' else 1), done.stderr)
            with open(path) as f:
                text = f.read()
            pages[name] = path
            parser = Page()
            parser.feed(text)
            parser.close()
            self.check('%s: tags match' % name, not parser.open and not parser.wrong, str(parser.wrong + parser.open))
            self.check('%s: nothing from elsewhere' % name, not re.search(r'<script|<link|<img|src=|@import|url\(|https?:', text))
            self.check('%s: ids' % name, all(link in parser.ids for link in parser.links), str(parser.links))
        with open(os.path.join(self.work, 'odd<&>.yaml'), 'w') as f:
            f.write(SPECS['small'])
        out = os.path.join(self.work, 'odd.html')
        self.run('diff', 'odd<&>.yaml', '--set', 'order=conv', '--html', out)
        with open(out) as f:
            text = f.read()
        self.check('a name is text', 'odd&lt;&amp;&gt;.yaml' in text and 'odd<' not in text)
        done = self.diff('small', 'inserted', '--html', os.path.join(self.work, 'no', 'such', 'folder.html'))
        self.check('a page that cannot be written', done.returncode == 2 and 'cannot write' in done.stderr, done.stderr)
        self.browser(pages)

    def sources(self):
        """An error of a plan is shown in the spec that it is of, on either side."""
        with open(os.path.join(self.work, 'wide.yaml'), 'w') as f:
            f.write('name: wide\ninput: [4, 4, 4]\nclasses: 3\nlayers:\n'
                    '  - stage: {repeat: 260, order: bn-act-conv, concat: [[], [conv: 4]]}\n  - global_avg_pool\n  - linear: classes\n')
        done = self.run('check', 'wide.yaml')
        self.check('check warns of it', done.returncode == 0 and 'wide.yaml:5:' in done.stderr and 'warning: the plan is too large' in done.stderr, done.stderr)
        for sides in (('wide.yaml', 'small'), ('small', 'wide.yaml')):
            done = self.diff(*sides)
            self.check('%s: a plan that is too large' % (sides,), done.returncode == 2 and 'wide.yaml:5:' in done.stderr and 'repeat: 260' in done.stderr, done.stderr)

    def browser(self, pages):
        """In a real browser: nothing hangs over the side of a phone or of a wide screen; two columns there, one here; dark where it is asked for."""
        chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
        if not chromium:
            return self.skip('chromium is missing: the page is not looked at in a browser')
        probe = '''<pre id="probe"></pre><script>
document.querySelectorAll('details').forEach(d => d.open = true);
const part = document.querySelector('.part.changed, .two'), kids = part ? [...part.children].map(k => k.getBoundingClientRect()) : [];
document.getElementById('probe').textContent = JSON.stringify({over: document.documentElement.scrollWidth - innerWidth, width: innerWidth,
  beside: kids.length > 1 && kids[1].height > 0 && Math.abs(kids[0].top - kids[1].top) < 2, details: document.querySelectorAll('details').length,
  background: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color});
</script></main>'''
        for name in ('orders', 'inserted', 'deep'):
            with open(pages[name]) as f:
                text = f.read()
            probed = os.path.join(self.work, 'probe.html')
            with open(probed, 'w') as f:
                f.write(text.replace('</main>', probe))
            seen = {}
            for look, width, flags in (('phone', 390, []), ('wide', 1280, []), ('dark', 1280, ['--blink-settings=preferredColorScheme=0'])):
                command = [chromium, '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--user-data-dir=' + os.path.join(self.work, 'chromium'), *flags,
                           '--window-size=%d,900' % width, '--dump-dom', 'file://' + probed]
                try:
                    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120)
                except subprocess.TimeoutExpired:
                    return self.skip('chromium does not answer')
                found = re.search(r'<pre id="probe">(\{.*?\})</pre>', done.stdout)
                if not self.check('%s, %s: a browser shows it' % (name, look), found, done.stdout[:200]):
                    return
                seen[look] = json.loads(found.group(1).replace('&amp;', '&'))
                self.check('%s, %s: nothing hangs over' % (name, look), seen[look]['over'] <= 0, str(seen[look]))
            self.check('%s: side by side, and not on a phone' % name, seen['wide']['beside'] and not seen['phone']['beside'], str(seen))
            self.check('%s: light and dark' % name, seen['wide']['background'] != seen['dark']['background'] and seen['wide']['ink'] != seen['dark']['ink'], str(seen))

    # ---- small diffs by construction

    def small(self):
        """One block's order changed, in each block of ResNet-20: its file, those of what reads it, the layout, NAME.h, trace; and not many lines."""
        blocks = ['conv1'] + ['s%d.%d.conv%d' % (s, r, c) for s in (1, 2, 3) for r in (1, 2, 3) for c in (1, 2)]
        worst = {}
        for order, limit in [*SMALL.items(), *LARGER.items()]:
            for block in blocks if order in SMALL else LARGER_AT:
                done = self.run('diff', DEEP, '--set', '%s.order=%s' % (block, order), '--level', 'plan,c', '--json', '--target', 'portable')
                if done.returncode == 0:
                    continue
                d = json.loads(done.stdout)
                files = d['levels']['c']['files']
                kernels = [r for r in d['levels']['plan']['differences'] if r['key'] in ('kernel', 'name')]
                readers = readers_of(block)
                for f in files:
                    lines = sum(max(len(h['removed']), len(h['added'])) for h in f['hunks'])
                    what = '%s %s: %s' % (block, order, f['name'])
                    if order in LARGER:
                        if f['state'] == 'changed' and re.match(LAYER_FILE, f['name']):
                            worst[order] = max(worst.get(order, 0), lines)
                            self.check(what, lines <= limit, '%d lines, more than %d' % (lines, limit))
                        continue
                    if f['name'] in ('resnet20.h', 'resnet20_layout.h', 'resnet20_trace.c'):
                        continue
                    if f['name'] in ('resnet20_net.c', 'resnet20_bench.c', 'Makefile', 'meson.build', 'CMakeLists.txt'):
                        self.check(what, bool(kernels), 'no kernel comes or goes')
                        continue
                    self.check(what, f['name'] in ['resnet20_%s.c' % r for r in readers], 'neither the block nor a reader of it (%s)' % ', '.join(readers))
                    if f['state'] == 'changed':
                        worst[order] = max(worst.get(order, 0), lines)
                        self.check(what, lines <= limit, '%d lines, more than %d' % (lines, limit))
        print('ResNet-20, lines of a layer\'s file at most: ' + ', '.join('%s %d' % w for w in worst.items()))
        self.check('all orders were tried', len(worst) == len(SMALL) + len(LARGER), str(worst))
        self.check('the larger ones are as large as docs/diff.md says', all(worst[o] == n for o, n in LARGER.items()), str(worst))


def readers_of(block):
    """The kernels whose code may know of a block's order: its own, those that read its output, passes of either."""
    own = block.replace('.', '_')
    known = [own, 'pass_%s_act' % own, 'pass_%s_bn' % own, 'pass_%s_conv' % own]
    if block == 'conv1':
        return known + ['s1_1_conv1', 'pass_s1_1_post_act']
    stage, repeat, conv = int(block[1]), int(block[3]), block[-1]
    if conv == '1':
        return known + [own[:-1] + '2']
    known += ['pass_s%d_%d_post_act' % (stage, repeat)]
    following = (stage, repeat + 1) if repeat < 3 else (stage + 1, 1)
    return known + (['s%d_%d_conv1' % following, 'pass_s%d_%d_post_act' % following] if following[0] < 4 else ['linear1'])


class Page(html.parser.HTMLParser):
    VOID = {'meta', 'br', 'link', 'img', 'hr', 'input'}

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.ids, self.links = [], [], set(), []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == 'id':
                self.ids.add(value)
            if key == 'href':
                self.links.append(value.lstrip('#'))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.wrong.append(tag)


def masked(text):
    """Without the numbers that any change of the emitter moves: arenas, lines, files, hashes."""
    section, lines = '', []
    for line in text.splitlines():
        section = line if line in ('cost', 'C') else section
        if section == 'C' or (section == 'cost' and re.match(r'  (arena|  and|lines|files|the same)', line)):
            line = re.sub(r' +', ' ', re.sub(r'[-+]?\b\d[\d,.]*( %)?', '#', line))
        lines.append(re.sub(r'\b[0-9a-f]{16}\b', '#', line))
    return '\n'.join(lines) + '\n'


def first_difference(want, got):
    for i, (x, y) in enumerate(zip(want.splitlines() + [''], got.splitlines() + [''])):
        if x != y:
            return 'line %d\n  expected %s\n  got      %s' % (i + 1, x, y)
    return 'one of them goes on'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--convoy', required=True)
    parser.add_argument('--golden')
    parser.add_argument('--rewrite', action='store_true')
    parser.add_argument('--only')
    parser.add_argument('--small', action='store_true')
    parser.add_argument('--part', help='one of the methods of Test alone')
    test = Test(parser.parse_args())
    args = parser.parse_args()
    try:
        if args.small:
            test.small()
        elif args.part:
            getattr(test, args.part)()
        elif args.only or args.rewrite:
            test.goldens()
        else:
            for part in (test.goldens, test.same, test.patch, test.folders, test.json, test.recognised, test.arguments, test.numbers, test.fold, test.sources, test.page):
                part()
    finally:
        shutil.rmtree(test.work, ignore_errors=True)
    print('%d passed, %d failed, %d skipped' % (test.passed, test.failed, test.skipped))
    sys.exit(test.failed > 0)


if __name__ == '__main__':
    main()
