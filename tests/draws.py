"""What a training draws from (seed, epoch, image), by the runtime's own C: the order of an epoch, what augmentation does to an image."""
import ctypes
import os
import subprocess


class Mix(ctypes.Structure):
    _fields_ = [("other", ctypes.c_int), ("share", ctypes.c_float)]


class Augment(ctypes.Structure):
    _fields_ = [("by", ctypes.c_double * 5)]


class Draws:
    def __init__(self, folder):
        runtime = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime")
        path = os.path.join(folder, "draws.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-ffp-contract=off", "-o", path, os.path.join(runtime, "cvy_rng.c"), os.path.join(runtime, "cvy_augment.c"), "-lm"],
                       check=True)
        self.lib = ctypes.CDLL(path)
        self.lib.cvy_augment_mix.restype = Mix
        self.lib.cvy_augment_mix.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64]
        self.lib.cvy_permutation.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64]
        self.lib.cvy_augment_read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]

    def order(self, n, seed, epoch):
        """The images of an epoch (from 0 on), in the order in which they are trained on."""
        order = (ctypes.c_int * n)()
        self.lib.cvy_permutation(order, n, seed, epoch)
        return list(order)

    def mix(self, words, n, seed, epoch, image):
        """With which of n images one is mixed, and its own share."""
        a, why = Augment(), ctypes.create_string_buffer(200)
        if not self.lib.cvy_augment_read(ctypes.byref(a), words.encode(), why, 200):
            raise ValueError(why.value)
        m = self.lib.cvy_augment_mix(ctypes.byref(a), n, seed, epoch, image)
        return m.other, m.share
