"""Every schedule beside torch.optim.lr_scheduler: all steps of random trainings, the rates within 1e-9 of the highest.

    torch_schedules.py --runtime runtime [--count N] [--seed S]

The runtime's own C (cvy_schedule.c) is compiled and called. PyTorch's schedulers are stepped as their documentation has it: each step, StepLR and
ReduceLROnPlateau each epoch; a warm-up by LinearLR stands before them."""
import argparse
import ctypes
import os
import random
import re
import subprocess
import sys
import tempfile
import warnings

import torch
from torch.optim import lr_scheduler as torch_lr

warnings.filterwarnings("ignore")


class Moment(ctypes.Structure):
    _fields_ = [("step", ctypes.c_int64), ("total", ctypes.c_int64), ("epoch", ctypes.c_int64), ("plateau", ctypes.c_double)]


class Plateau(ctypes.Structure):
    _fields_ = [("best", ctypes.c_double), ("scale", ctypes.c_double), ("bad", ctypes.c_int64)]


def optimizer(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


class Case:
    def __init__(self, rng, schedule):
        self.schedule, self.epochs, self.epoch = schedule, rng.randint(1, 30), rng.randint(2, 9)
        self.total = self.epochs * self.epoch
        self.lr = rng.choice([0.1, 1.0, 3e-4])
        self.warmup, self.step_size, self.gamma = rng.choice([0.1, 0.3, 0.5]), rng.randint(1, 6), rng.choice([0.1, 0.5, 0.9])
        self.min_lr, self.patience = rng.choice([0, self.lr / 50]), rng.randint(0, 3)
        self.rising = rng.choice([0, 0, 1, 2]) if self.epochs > 2 else 0
        if abs(self.warmup * (self.total - self.rising * self.epoch) - 1) < 1e-9:  # where PyTorch divides by zero
            self.warmup += 0.05
        self.losses = [rng.choice([1.0, 0.9, 0.9 * (1 - 0.5e-4), 0.8, 0.5, 2.0]) for _ in range(self.epochs)]

    def settings(self, names):
        said = {"warmup": self.warmup, "step_size": self.step_size, "gamma": self.gamma, "min_lr": self.min_lr, "plateau": self.patience, "warmup_epochs": self.rising}
        return (ctypes.c_double * len(names))(*[said.get(n, 0) for n in names])

    def after(self, opt, total):
        """PyTorch's scheduler; whether it steps each epoch."""
        return {"constant": lambda: (torch_lr.ConstantLR(opt, factor=1.0), False),
                "step": lambda: (torch_lr.StepLR(opt, self.step_size, self.gamma), True),
                "cosine": lambda: (torch_lr.CosineAnnealingLR(opt, total, self.min_lr), False),
                "linear": lambda: (torch_lr.LinearLR(opt, 1.0, self.min_lr / self.lr, total), False),
                "one-cycle": lambda: (torch_lr.OneCycleLR(opt, self.lr, total, pct_start=self.warmup, cycle_momentum=False), False),
                "plateau": lambda: (torch_lr.ReduceLROnPlateau(opt, factor=self.gamma, patience=self.patience, min_lr=self.min_lr), True)}[self.schedule]()

    def torch(self):
        rates, steps = [], self.rising * self.epoch
        opt = optimizer(self.lr)
        if steps:
            before = torch_lr.LinearLR(opt, 0.01, 1.0, steps)
            for _ in range(steps):
                rates.append(opt.param_groups[0]["lr"])
                opt.step()
                before.step()
        opt = optimizer(self.lr)
        scheduler, each_epoch = self.after(opt, self.total - steps)
        if self.schedule == "plateau":  # validations during the warm-up count, too
            for loss in self.losses[:self.rising]:
                scheduler.step(loss)
        for i in range(self.total - steps):
            rates.append(opt.param_groups[0]["lr"])
            opt.step()
            if not each_epoch and i + 1 < self.total - steps:
                scheduler.step()
            elif each_epoch and (i + 1) % self.epoch == 0:
                scheduler.step(*([self.losses[self.rising + i // self.epoch]] if self.schedule == "plateau" else []))
        return rates

    def runtime(self, lib, index, names):
        rates, plateau, setting = [], Plateau(0, 0, 0), self.settings(names)
        for i in range(self.total):
            moment = Moment(i, self.total, self.epoch, plateau.scale or 1)
            rates.append(lib.cvy_rate(index, self.lr, setting, ctypes.byref(moment)))
            if (i + 1) % self.epoch == 0:
                lib.cvy_plateau_take(ctypes.byref(plateau), self.lr, setting, self.losses[i // self.epoch])
        return rates


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runtime", required=True)
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    source = open(os.path.join(a.runtime, "cvy_settings.c")).read()
    names = re.findall(r'^    \[CVY_\w+\] = \{"(\w+)"', source, re.M)
    model = open(os.path.join(a.runtime, "cvy_model.h")).read()
    enum = next(x for x in re.findall(r"^enum [^{}]*\{([^}]*)\}", model, re.M) if "CVY_SETTINGS" in x)
    order = re.findall(r"^    (CVY_\w+),$", enum, re.M)
    assert [n for n in order if n not in re.findall(r"\[(CVY_\w+)\]", source)] == [] and len(order) == len(names), (order, names)
    by_place = dict(re.findall(r'^    \[(CVY_\w+)\] = \{"(\w+)"', source, re.M))
    names = [by_place[n] for n in order]
    words = re.findall(r'^    \[CVY_\w+\] = \{"([\w-]+)"', open(os.path.join(a.runtime, "cvy_schedule.c")).read(), re.M)
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="convoy-schedules-") as work:
        path = os.path.join(work, "schedule.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-ffp-contract=off", "-o", path, os.path.join(a.runtime, "cvy_schedule.c"), "-lm"], check=True)
        lib = ctypes.CDLL(path)
        lib.cvy_rate.restype = ctypes.c_double
        lib.cvy_rate.argtypes = [ctypes.c_int, ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p]
        lib.cvy_plateau_take.argtypes = [ctypes.c_void_p, ctypes.c_double, ctypes.c_void_p, ctypes.c_double]
        for word in words:
            index = lib.cvy_schedule_find(word.encode())
            bad = None
            moved = 0
            for i in range(a.count):
                case = Case(random.Random(f"{word} {a.seed + i}"), word)
                got, want = case.runtime(lib, index, names), case.torch()
                moved += len(set(want)) > 1
                off = max(abs(g - w) for g, w in zip(got, want)) / case.lr
                if len(got) != len(want) or not off < 1e-9:
                    bad = f"off by {off:.1e} (--seed {a.seed + i} --count 1)"
            good = bad is None and (moved > a.count // 3 or word == "constant")
            print(f"{'ok      ' if good else 'FAILED  '}{word}: {bad or f'{a.count} trainings'}")
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
