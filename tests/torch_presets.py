"""Each preset beside a module written here by hand, from what the library or the paper says of its own block.

The modules have the libraries' structure and names, not convoy's, and are built with PyTorch's own layers; a table says
which of their submodules is which layer of convoy's. Compared are the names and shapes of the parameters, how they are
drawn (the range or the standard deviation), and, after a step from the same weights, loss, logits, gradients and running
statistics, then answers in evaluation. The reference computes in float64. Inputs are drawn anew until no element of the
reference lies near a kink, where float32 may decide otherwise."""
import argparse
import collections
import math
import os
import re
import sys

from torch_common import Case, Failed, Hyper, Program, common_options, is_trained, largest, random_state, run, run_cases

import numpy as np
import torch
from torch import nn

CLASSES, SIDE, BATCH = 5, 9, 6


# ---- the blocks, as their libraries have them -----------------------------------------------------------------------

class GeneralRelu(nn.Module):
    """fast.ai course v3, part 2, notebook 06_cuda_cnn_hooks_init."""

    def __init__(self, leak=None, sub=None, maxv=None):
        super().__init__()
        self.leak, self.sub, self.maxv = leak, sub, maxv

    def forward(self, x):
        x = nn.functional.leaky_relu(x, self.leak) if self.leak is not None else nn.functional.relu(x)
        if self.sub is not None:
            x = x - self.sub
        return x.clamp(max=self.maxv) if self.maxv is not None else x

    def kinks(self, x):
        """How far the elements of x are from where the slope changes."""
        return x.abs() if self.maxv is None else torch.minimum(x.abs(), (x - self.maxv - (self.sub or 0)).abs())


def course_conv_layer(ni, nf, ks=3, stride=1, bn=True, **kwargs):
    """The course, notebook 07_batchnorm; its init_cnn is kaiming_normal_ with a = 0.1 for convolutions."""
    layers = [nn.Conv2d(ni, nf, ks, padding=ks // 2, stride=stride, bias=not bn), GeneralRelu(**kwargs)]
    if bn:
        layers.append(nn.BatchNorm2d(nf, eps=1e-5, momentum=0.1))
    return nn.Sequential(*layers)


def fastai_conv_layer(ni, nf, ks=3, stride=1, bn_1st=True, norm=True):
    """fastai v2's ConvLayer: the bias is there unless there is a norm; bn_1st turns the two behind the conv round."""
    behind = [nn.ReLU()] + ([nn.BatchNorm2d(nf)] if norm else [])
    return nn.Sequential(nn.Conv2d(ni, nf, ks, stride, (ks - 1) // 2, bias=not norm), *(behind[::-1] if bn_1st else behind))


class ConvModule(nn.Module):
    """mmcv: bias "auto" means none with a norm, wherever it stands; a norm before the conv has the input's channels."""

    def __init__(self, cin, cout, kernel, stride=1, padding=0, order=("conv", "norm", "act"), with_norm=True):
        super().__init__()
        self.order = [o for o in order if with_norm or o != "norm"]
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding, bias=not with_norm)
        if with_norm:
            self.bn = nn.BatchNorm2d(cout if order.index("norm") > order.index("conv") else cin)
        self.activate = nn.ReLU()

    def forward(self, x):
        for name in self.order:
            x = {"conv": self.conv, "act": self.activate, "norm": getattr(self, "bn", None)}[name](x)
        return x


class Convolution(nn.Sequential):
    """MONAI, with norm="batch" and act="relu": a conv with a bias, and the letters of adn_ordering behind it."""

    def __init__(self, cin, cout, strides=1, adn_ordering="NDA", dropout=None):
        super().__init__()
        self.add_module("conv", nn.Conv2d(cin, cout, 3, strides, 1, bias=True))
        adn = nn.Sequential()
        ops = {"N": nn.BatchNorm2d(cout), "A": nn.ReLU(), "D": nn.Dropout(dropout) if dropout is not None else None}
        for letter in adn_ordering.upper():
            if ops[letter] is not None:
                adn.add_module(letter, ops[letter])
        self.add_module("adn", adn)


def conv2d_norm_activation(cin, cout, kernel_size=3, stride=1, norm_layer=nn.BatchNorm2d, activation_layer=nn.ReLU):
    """torchvision.ops: biases are included if norm_layer is None."""
    layers = [nn.Conv2d(cin, cout, kernel_size, stride, (kernel_size - 1) // 2, bias=norm_layer is None)]
    layers += [norm_layer(cout)] if norm_layer else []
    return nn.Sequential(*layers, *([activation_layer()] if activation_layer else []))


class BasicBlock(nn.Module):
    """torchvision.models.resnet: convs without bias; where shapes differ, the shortcut is a 1 x 1 conv and a norm."""

    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class BatchNormAct2d(nn.BatchNorm2d):
    """timm: a norm with its activation inside."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(super().forward(x))


class ConvNormAct(nn.Module):
    """timm.layers: no bias; the norm has the activation in it."""

    def __init__(self, cin, cout, kernel_size=3, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel_size, stride, kernel_size // 2, bias=False)
        self.bn = BatchNormAct2d(cout)

    def forward(self, x):
        return self.bn(self.conv(x))


class PreActBasic(nn.Module):
    """timm.models.resnetv2, with batch norms and plain convs: the projection reads what the first norm gives."""

    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.norm1, self.conv1 = BatchNormAct2d(cin), nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.norm2, self.conv2 = BatchNormAct2d(cout), nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.downsample = nn.Conv2d(cin, cout, 1, stride, bias=False) if stride != 1 or cin != cout else None

    def forward(self, x):
        preact = self.norm1(x)
        shortcut = x if self.downsample is None else self.downsample(preact)
        return self.conv2(self.norm2(self.conv1(preact))) + shortcut


class Unit(nn.Module):
    """He et al. 2016, figure 4: (a), the original, and (e), full pre-activation. The biases that a norm takes away, all of
    them in here, are left out; where channels differ, the shortcut is a 1 x 1 conv and a norm."""

    def __init__(self, cin, cout, pre):
        super().__init__()
        self.pre = pre
        self.conv1, self.conv2 = nn.Conv2d(cin, cout, 3, 1, 1, bias=False), nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(cin if pre else cout), nn.BatchNorm2d(cout)
        self.relu = nn.ReLU()
        self.project = nn.Sequential(nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout)) if cin != cout else None

    def forward(self, x):
        shortcut = x if self.project is None else self.project(x)
        if self.pre:
            y = self.conv1(self.relu(self.bn1(x)))
            return self.conv2(self.relu(self.bn2(y))) + shortcut
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + shortcut)


def pre_block(cin, cout, stride=1, bias=False):
    return nn.Sequential(nn.BatchNorm2d(cin), nn.ReLU(), nn.Conv2d(cin, cout, 3, stride, 1, bias=bias))


class Net(nn.Module):
    """Blocks, the mean over the image, and a linear layer."""

    def __init__(self, features, *blocks):
        super().__init__()
        self.body, self.fc = nn.Sequential(*blocks), nn.Linear(features, CLASSES)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


# ---- what is compared with what -------------------------------------------------------------------------------------

def course_init(out, fan, rest):
    return nn.init.kaiming_normal_(torch.empty(200000 // rest, *fan), a=0.1)


def uniform_init(out, fan, rest):
    return nn.init.kaiming_uniform_(torch.empty(200000 // rest, *fan))


def fan_out(out, fan, rest):
    return nn.init.kaiming_normal_(torch.empty(out, 200000 * fan[0] // out // rest, *fan[1:]), mode="fan_out", nonlinearity="relu")


# ---- recurrent cells ------------------------------------------------------------------------------------------------

def layer_norm(z, gain, bias):
    """Ba, Kiros and Hinton 2016: each image's mean and deviation over the units; 1e-5 under the root, as in their code."""
    mu = z.mean(1, keepdim=True)
    sigma = (((z - mu) ** 2).mean(1, keepdim=True) + 1e-5).sqrt()
    return gain * (z - mu) / sigma + bias


class BaRnn(nn.Module):
    """Equation 4: h = f(g / sigma (a - mu) + b), a = W_hh h + W_xh x."""

    def __init__(self, inputs, units):
        super().__init__()
        self.W_xh, self.W_hh = nn.Parameter(torch.zeros(units, inputs)), nn.Parameter(torch.zeros(units, units))
        self.gain, self.b, self.units = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units)), units

    def forward(self, x):
        h = x.new_zeros(len(x), self.units)
        for t in range(x.shape[2]):
            h = torch.tanh(layer_norm(h @ self.W_hh.T + x[:, :, t] @ self.W_xh.T, self.gain, self.b))
        return h


class BaLstm(nn.Module):
    """Equations 20 to 22 of the supplement; the b of the gates is a sum of two, and the gates stand as i, f, g, o."""

    def __init__(self, inputs, units):
        super().__init__()
        self.W_x, self.W_h = nn.Parameter(torch.zeros(4 * units, inputs)), nn.Parameter(torch.zeros(4 * units, units))
        self.b, self.c = nn.Parameter(torch.zeros(4 * units)), nn.Parameter(torch.zeros(4 * units))
        self.alpha_1, self.beta_1 = nn.Parameter(torch.ones(4 * units)), nn.Parameter(torch.zeros(4 * units))
        self.alpha_2, self.beta_2 = nn.Parameter(torch.ones(4 * units)), nn.Parameter(torch.zeros(4 * units))
        self.alpha_3, self.beta_3, self.units = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units)), units

    def forward(self, x):
        h = c = x.new_zeros(len(x), self.units)
        for t in range(x.shape[2]):
            sums = (layer_norm(h @ self.W_h.T, self.alpha_1, self.beta_1) + layer_norm(x[:, :, t] @ self.W_x.T, self.alpha_2, self.beta_2)
                    + (self.b + self.c))
            i, f, g, o = sums.split(self.units, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(layer_norm(c, self.alpha_3, self.beta_3))
        return h


class LayerNormLSTMCell(nn.Module):
    """pytorch/benchmarks/fastrnns/custom_lstms.py, and the loop of its LSTMLayer."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.randn(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.randn(4 * hidden_size, hidden_size))
        self.layernorm_i = nn.LayerNorm(4 * hidden_size)
        self.layernorm_h = nn.LayerNorm(4 * hidden_size)
        self.layernorm_c = nn.LayerNorm(hidden_size)

    def cell(self, x, state):
        hx, cx = state
        igates = self.layernorm_i(torch.mm(x, self.weight_ih.t()))
        hgates = self.layernorm_h(torch.mm(hx, self.weight_hh.t()))
        ingate, forgetgate, cellgate, outgate = (igates + hgates).chunk(4, 1)
        cy = self.layernorm_c(torch.sigmoid(forgetgate) * cx + torch.sigmoid(ingate) * torch.tanh(cellgate))
        return torch.sigmoid(outgate) * torch.tanh(cy), cy

    def forward(self, x):
        state = x.new_zeros(len(x), self.hidden_size), x.new_zeros(len(x), self.hidden_size)
        for step in x.unbind(2):
            state = self.cell(step, state)
        return state[0]


class StepStatistics(nn.Module):
    """Cooijmans et al. 2016, equation 5 and the end of section 3: mean and variance of the batch at step t, for each t; gamma begins with 0.1."""

    def __init__(self, units, steps, beta):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.full((units,), 0.1)), nn.Parameter(torch.zeros(units)) if beta else 0
        self.register_buffer("running_mean", torch.zeros(steps, units))
        self.register_buffer("running_var", torch.ones(steps, units))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, z, t):
        mean, variance = self.running_mean[t], self.running_var[t]
        if self.training:
            mean, variance = z.mean(0), ((z - z.mean(0)) ** 2).mean(0)
            with torch.no_grad():
                self.running_mean[t] = 0.9 * self.running_mean[t] + 0.1 * mean
                self.running_var[t] = 0.9 * self.running_var[t] + 0.1 * variance * len(z) / (len(z) - 1)
                self.num_batches_tracked += t == 0
        return self.bias + self.weight * (z - mean) / (variance + 1e-5).sqrt()


class CooijmansLstm(nn.Module):
    """Equations 6 to 8, the gates as i, f, g, o and b as the sum of two."""

    def __init__(self, inputs, units, steps):
        super().__init__()
        self.W_x, self.W_h = nn.Parameter(torch.zeros(4 * units, inputs)), nn.Parameter(torch.zeros(4 * units, units))
        self.b, self.b_too, self.units = nn.Parameter(torch.zeros(4 * units)), nn.Parameter(torch.zeros(4 * units)), units
        self.of_x, self.of_h, self.of_c = (StepStatistics(n, steps, n == units) for n in (4 * units, 4 * units, units))

    def forward(self, x):
        h = c = x.new_zeros(len(x), self.units)
        for t in range(x.shape[2]):
            sums = self.of_h(h @ self.W_h.T, t) + self.of_x(x[:, :, t] @ self.W_x.T, t) + self.b + self.b_too
            i, f, g, o = sums.split(self.units, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(self.of_c(c, t))
        return h


class InputBatchNorm(nn.Module):
    """h = f(W_h h + BN(W_x x)): Laurent et al. 2015 with f = tanh; Amodei et al. 2016 with f = min(max(x, 0), 20). BN has the
    statistics of each unit over the batch and all steps."""

    def __init__(self, inputs, units, f):
        super().__init__()
        self.W_x, self.W_h = nn.Parameter(torch.zeros(units, inputs)), nn.Parameter(torch.zeros(units, units))
        self.bn, self.f, self.units = nn.BatchNorm1d(units), f, units

    def forward(self, x):
        normed = self.bn(torch.einsum("uc,nct->nut", self.W_x, x))  # of (N, C, L) over N and L
        h = x.new_zeros(len(x), self.units)
        for t in range(x.shape[2]):
            h = self.f(h @ self.W_h.T + normed[:, :, t])
        return h


class ChoGru(nn.Module):
    """Cho et al. 2014, equations 5 to 8, with z and 1 - z as PyTorch and Keras have them: U is applied to r h. Keras' GRU(reset_after=False)."""

    def __init__(self, inputs, units):
        super().__init__()
        self.W, self.U = nn.Parameter(torch.zeros(3 * units, inputs)), nn.Parameter(torch.zeros(3 * units, units))
        self.b, self.c, self.units = nn.Parameter(torch.zeros(3 * units)), nn.Parameter(torch.zeros(3 * units)), units

    def forward(self, x):
        h, u = x.new_zeros(len(x), self.units), self.units
        for t in range(x.shape[2]):
            sums = x[:, :, t] @ self.W.T + self.b + self.c
            r = torch.sigmoid(sums[:, :u] + torch.einsum("nk,uk->nu", h, self.U[:u]))
            z = torch.sigmoid(sums[:, u:2 * u] + torch.einsum("nk,uk->nu", h, self.U[u:2 * u]))
            candidate = torch.tanh(sums[:, 2 * u:] + torch.einsum("nk,uk->nu", r * h, self.U[2 * u:]))
            h = z * h + (1 - z) * candidate
        return h


class SequenceNet(nn.Module):
    def __init__(self, units, body):
        super().__init__()
        self.body, self.fc = body, nn.Linear(units, CLASSES)

    def forward(self, x):
        return self.fc(self.body(x))


# layers: the spec's, but for the head. names: "module's = convoy's", of submodules with parameters, or of parameters. init: what the library
# does with a conv's weights, on a tensor of as many inputs (of outputs, where it counts those) but of many more numbers;
# None: what PyTorch does by itself.
Block = collections.namedtuple("Block", "label top layers module names init sequence", defaults=[False])

BLOCKS = [
    Block("fastai-conv_layer", "preset: fastai-conv_layer", ["conv: {out: 6, stride: 2}", "conv: 8", "conv: {out: 7, order: conv-act}"],
          lambda: Net(7, course_conv_layer(3, 6, stride=2), course_conv_layer(6, 8), course_conv_layer(8, 7, bn=False)),
          "body.0.0=conv1.conv body.0.2=conv1.bn body.1.0=conv2.conv body.1.2=conv2.bn body.2.0=conv3.conv",
          course_init),
    Block("fastai-conv_layer, leak, sub and maxv", "preset: fastai-conv_layer\nact: general_relu(0.1,0.4,1.5)",
          ["conv: {out: 6, kernel: 5, stride: 2}", "conv: 8"],
          lambda: Net(8, course_conv_layer(3, 6, ks=5, stride=2, leak=0.1, sub=0.4, maxv=1.5),
                      course_conv_layer(6, 8, leak=0.1, sub=0.4, maxv=1.5)),
          "body.0.0=conv1.conv body.0.2=conv1.bn body.1.0=conv2.conv body.1.2=conv2.bn", course_init),
    Block("fastai-ConvLayer", "preset: fastai-ConvLayer", ["conv: {out: 6, stride: 2}", "conv: {out: 8, bn_1st: false}", "conv: {out: 5, order: conv-act}"],
          lambda: Net(5, fastai_conv_layer(3, 6, stride=2), fastai_conv_layer(6, 8, bn_1st=False),
                      fastai_conv_layer(8, 5, norm=False)),
          "body.0.0=conv1.conv body.0.1=conv1.bn body.1.0=conv2.conv body.1.2=conv2.bn body.2.0=conv3.conv",
          uniform_init),
    Block("fastai-ConvLayer, bn_1st: false", "preset: fastai-ConvLayer\nbn_1st: false", ["conv: 6", "conv: {out: 8, stride: 2, bn_1st: true}"],
          lambda: Net(8, fastai_conv_layer(3, 6, bn_1st=False), fastai_conv_layer(6, 8, stride=2)),
          "body.0.0=conv1.conv body.0.2=conv1.bn body.1.0=conv2.conv body.1.1=conv2.bn", uniform_init),
    Block("batch-norm-paper", "preset: batch-norm-paper", ["conv: {out: 6, act: sigmoid}", "conv: {out: 8, stride: 2}"],
          lambda: Net(8, nn.Sequential(nn.Conv2d(3, 6, 3, 1, 1, bias=False), nn.BatchNorm2d(6), nn.Sigmoid()),
                      nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())),
          "body.0.0=conv1.conv body.0.1=conv1.bn body.1.0=conv2.conv body.1.1=conv2.bn", None),
    Block("post-activation", "preset: post-activation", ["conv: 6", "stage: {preset: post-activation, out: 8, repeat: 2}"],
          lambda: Net(8, conv2d_norm_activation(3, 6), Unit(6, 8, False), Unit(8, 8, False)),
          "body.0.0=conv1.conv body.0.1=conv1.bn " + " ".join(
              f"body.{i}.{k}{j}=stage1.{i}.conv{j}.{k}" for i in (1, 2) for j in (1, 2) for k in ("conv", "bn")) +
          " body.1.project.0=stage1.1.shortcut.conv body.1.project.1=stage1.1.shortcut.bn", None),
    Block("pre-activation", "preset: pre-activation", ["conv: {out: 6, order: conv}", "conv: {out: 6, stride: 2}",
                                                       "stage: {preset: pre-activation, out: 8, repeat: 2}", "bn"],
          lambda: Net(8, nn.Conv2d(3, 6, 3, 1, 1, bias=False), pre_block(6, 6, 2, bias=True), Unit(6, 8, True), Unit(8, 8, True), nn.BatchNorm2d(8)),
          "body.0=conv1.conv body.1.0=conv2.bn body.1.2=conv2.conv body.4=bn1 " + " ".join(
              f"body.{i + 1}.{k}{j}=stage1.{i}.conv{j}.{k}" for i in (1, 2) for j in (1, 2) for k in ("conv", "bn")) +
          " body.2.project.0=stage1.1.shortcut.conv body.2.project.1=stage1.1.shortcut.bn", None),
    Block("mmcv-ConvModule", "preset: mmcv-ConvModule", ["conv: {out: 6, stride: 2}", "conv: {out: 8, order: [act, conv, norm]}",
                                                         "conv: {out: 9, order: [norm, conv, act]}", "conv: {out: 5, order: [conv, act]}"],
          lambda: Net(5, ConvModule(3, 6, 3, 2, 1), ConvModule(6, 8, 3, 1, 1, ("act", "conv", "norm")),
                      ConvModule(8, 9, 3, 1, 1, ("norm", "conv", "act")), ConvModule(9, 5, 3, 1, 1, with_norm=False)),
          " ".join(f"body.{i}.{k}=conv{i + 1}.{k}" for i in (0, 1, 2) for k in ("conv", "bn")) + " body.3.conv=conv4.conv", fan_out),
    Block("monai-Convolution", "preset: monai-Convolution", ["conv: {out: 6, stride: 2}", "conv: {out: 8, drop: 0.3}", "conv: {out: 8, adn: AND, drop: 0.2}"],
          lambda: Net(8, Convolution(3, 6, 2), Convolution(6, 8, dropout=0.3), Convolution(8, 8, 1, "AND", 0.2)),
          " ".join(f"body.{i}.conv=conv{i + 1}.conv body.{i}.adn.N=conv{i + 1}.bn" for i in (0, 1, 2)) +
          " body.1.adn.D=conv2.drop body.2.adn.D=conv3.drop", None),
    Block("torchvision-Conv2dNormActivation", "preset: torchvision-Conv2dNormActivation",
          ["conv: {out: 6, stride: 2}", "conv: {out: 8, kernel: 1, order: conv-bn}", "conv: {out: 7, order: conv-act}"],
          lambda: Net(7, conv2d_norm_activation(3, 6, stride=2), conv2d_norm_activation(6, 8, 1, activation_layer=None),
                      conv2d_norm_activation(8, 7, norm_layer=None)),
          "body.0.0=conv1.conv body.0.1=conv1.bn body.1.0=conv2.conv body.1.1=conv2.bn body.2.0=conv3.conv", None),
    Block("torchvision-BasicBlock", "preset: torchvision-BasicBlock", ["conv: 6", "stage: {preset: torchvision-BasicBlock, out: 8, stride: 2, repeat: 2}"],
          lambda: Net(8, conv2d_norm_activation(3, 6), BasicBlock(6, 8, 2), BasicBlock(8, 8)),
          "body.0.0=conv1.conv body.0.1=conv1.bn " + " ".join(
              f"body.{i}.{k}{j}=stage1.{i}.conv{j}.{k}" for i in (1, 2) for j in (1, 2) for k in ("conv", "bn")) +
          " body.1.downsample.0=stage1.1.shortcut.conv body.1.downsample.1=stage1.1.shortcut.bn", fan_out),
    Block("timm-ConvNormAct", "preset: timm-ConvNormAct", ["conv: {out: 6, stride: 2}", "conv: {out: 8, kernel: 1}"],
          lambda: Net(8, ConvNormAct(3, 6, stride=2), ConvNormAct(6, 8, 1)),
          " ".join(f"body.{i}.{k}=conv{i + 1}.{k}" for i in (0, 1) for k in ("conv", "bn")), None),
    Block("timm-PreActBasic", "preset: timm-PreActBasic", ["conv: {out: 6, order: conv, bias: false}",
                                                           "stage: {preset: timm-PreActBasic, out: 8, stride: 2, repeat: 2}", "bn", "relu"],
          lambda: Net(8, nn.Conv2d(3, 6, 3, 1, 1, bias=False), PreActBasic(6, 8, 2), PreActBasic(8, 8), BatchNormAct2d(8)),
          "body.0=conv1.conv body.3=bn1 body.1.downsample=stage1.1.shortcut.conv " + " ".join(
              f"body.{i}.norm1=stage1.{i}.pre.bn body.{i}.conv1=stage1.{i}.conv1.conv body.{i}.norm2=stage1.{i}.conv1.bn "
              f"body.{i}.conv2=stage1.{i}.conv2.conv" for i in (1, 2)), fan_out),
    Block("ba-2016, rnn", "", ["rnn: {hidden: 7, preset: ba-2016}"], lambda: SequenceNet(7, BaRnn(3, 7)),
          "body.W_xh=rnn1.weight_ih_l0 body.W_hh=rnn1.weight_hh_l0 body.gain=rnn1.norm_sum.weight body.b=rnn1.norm_sum.bias", None, True),
    Block("ba-2016, lstm", "", ["lstm: {hidden: 6, preset: ba-2016}"], lambda: SequenceNet(6, BaLstm(3, 6)),
          "body.W_x=lstm1.weight_ih_l0 body.W_h=lstm1.weight_hh_l0 body.b=lstm1.bias_ih_l0 body.c=lstm1.bias_hh_l0 " + " ".join(
              f"body.alpha_{i}=lstm1.norm_{place}.weight body.beta_{i}=lstm1.norm_{place}.bias"
              for i, place in ((1, "recurrent"), (2, "input"), (3, "cell"))), None, True),
    Block("pytorch-custom_lstms", "", ["lstm: {hidden: 6, preset: pytorch-custom_lstms}"], lambda: SequenceNet(6, LayerNormLSTMCell(3, 6)),
          "body.weight_ih=lstm1.weight_ih_l0 body.weight_hh=lstm1.weight_hh_l0 body.layernorm_i=lstm1.norm_input "
          "body.layernorm_h=lstm1.norm_recurrent body.layernorm_c=lstm1.norm_cell", None, True),
    Block("gru, reset: before", "", ["gru: {hidden: 19, reset: before}"], lambda: SequenceNet(19, ChoGru(3, 19)),
          "body.W=gru1.weight_ih_l0 body.U=gru1.weight_hh_l0 body.b=gru1.bias_ih_l0 body.c=gru1.bias_hh_l0", None, True),
    Block("cooijmans-2016", "", ["lstm: {hidden: 6, preset: cooijmans-2016}"], lambda: SequenceNet(6, CooijmansLstm(3, 6, SIDE)),
          "body.W_x=lstm1.weight_ih_l0 body.W_h=lstm1.weight_hh_l0 body.b=lstm1.bias_ih_l0 body.b_too=lstm1.bias_hh_l0 "
          "body.of_x=lstm1.norm_input body.of_h=lstm1.norm_recurrent body.of_c=lstm1.norm_cell", None, True),
    Block("laurent-2015", "", ["rnn: {hidden: 7, preset: laurent-2015}"], lambda: SequenceNet(7, InputBatchNorm(3, 7, torch.tanh)),
          "body.W_x=rnn1.weight_ih_l0 body.W_h=rnn1.weight_hh_l0 body.bn=rnn1.norm_input", None, True),
    Block("deepspeech2", "", ["rnn: {hidden: 7, preset: deepspeech2}"], lambda: SequenceNet(7, InputBatchNorm(3, 7, lambda v: v.clamp(0, 20))),
          "body.W_x=rnn1.weight_ih_l0 body.W_h=rnn1.weight_hh_l0 body.bn=rnn1.norm_input", None, True),
]
SEQUENCE_HEAD = "name: block\ninput: [3, %d]\nclasses: %d\nlayers:\n%s  - linear: classes\ntrain: {data: shapes, batch: 8}\n"
HEAD = "name: block\ninput: [3, %d, %d]\nclasses: %d\n%s\nlayers:\n%s  - global_avg_pool\n  - linear: classes\ntrain: {data: shapes, batch: 8}\n"


def spec_of(block):
    if block.sequence:
        return SEQUENCE_HEAD % (SIDE, CLASSES, "".join(f"  - {layer}\n" for layer in block.layers))
    return HEAD % (SIDE, SIDE, CLASSES, block.top, "".join(f"  - {layer}\n" for layer in block.layers))


# ---- comparing ------------------------------------------------------------------------------------------------------

class Reference:
    """The module in float64, its parameters under convoy's names."""

    def __init__(self, block):
        self.net = block.module().double()
        self.ours = dict(pair.split("=") for pair in block.names.split())
        self.ours["fc"] = "linear1.linear"
        self.theirs = {self.name(k): k for k in self.net.state_dict()}
        self.shapes = {ours: tuple(self.net.state_dict()[k].shape) for ours, k in self.theirs.items()}
        self.masks, self.near = {}, math.inf
        for path, m in self.net.named_modules():
            if isinstance(m, nn.Dropout):
                m.register_forward_hook(lambda m, x, y, path=self.ours[path]: x[0] * self.masks[path] / (1 - m.p) if m.training else y)
            elif isinstance(m, (nn.ReLU, GeneralRelu)):
                m.register_forward_hook(self.watch)
        self.drops = [self.ours[path] for path, m in self.net.named_modules() if isinstance(m, nn.Dropout)]

    def name(self, key):
        if key in self.ours:
            return self.ours[key]
        module, leaf = key.rsplit(".", 1)
        return f"{self.ours[module]}.{leaf}"

    def watch(self, m, x, y):
        far = m.kinks(x[0]) if isinstance(m, GeneralRelu) else x[0].abs()
        far = far[x[0] != 0] / x[0].abs().max()  # a relu of a relu reads zeros on both sides
        self.near = min(self.near, float(far.min()))

    def load(self, state):
        self.net.load_state_dict({self.theirs[k]: torch.tensor(np.asarray(v)) for k, v in state.items()}, strict=True)

    def step(self, x, labels):
        """Loss, logits, gradients, and the running statistics after it."""
        self.net.train()
        self.near = math.inf
        self.net.zero_grad()
        logits = self.net(torch.tensor(x, dtype=torch.float64))
        loss = nn.functional.cross_entropy(logits, torch.tensor(labels))
        loss.backward()
        grads = {self.name(k): p.grad.numpy().copy() for k, p in self.net.named_parameters()}
        after = {self.name(k): v.numpy().copy() for k, v in self.net.state_dict().items()}
        return loss.item(), logits.detach().numpy(), grads, {k: v for k, v in after.items() if not is_trained(k)}

    def infer(self, x):
        self.net.eval()
        with torch.no_grad():
            return self.net(torch.tensor(x, dtype=torch.float64)).numpy()


def check_draws(report, block, ref, graph):
    """How convoy draws each weight, and how the library does: the bound or the standard deviation is known by formula."""
    drawn = {m[1]: (m[2], float(m[3])) for m in re.finditer(r"^param (\S+) +\[.*\] (\w+) (\S+)$", graph, re.M)}
    modules = dict(ref.net.named_modules())
    for theirs, ours in ref.ours.items():
        m = modules.get(theirs)
        if not isinstance(m, (nn.Conv2d, nn.Linear)):
            continue
        torch.manual_seed(1)  # enough numbers that their spread tells the formula
        fan = m.weight[0].numel()
        biases = 0.0
        if block.init and isinstance(m, nn.Conv2d):
            many = block.init(len(m.weight), m.weight.shape[1:], fan)
        else:  # what nn.Conv2d and nn.Linear do
            many = torch.empty(200000).uniform_(-fan ** -0.5, fan ** -0.5)
            biases = fan ** -0.5
        kind, value = drawn[f"{ours}.weight"]
        want = float(many.std()) if kind == "normal" else float(many.abs().max())
        if (kind == "normal") != (float(many.abs().max()) > 2.5 * float(many.std())) or abs(value / want - 1) > 0.004:
            report.wrong.append(f"{ours}.weight is drawn {kind} {value:.6g}, the library's spread is {want:.6g}")
        if m.bias is not None and abs(drawn[f"{ours}.bias"][1] - biases) > 1e-6:
            report.wrong.append(f"{ours}.bias is drawn {drawn[f'{ours}.bias']}, the library's bound is {biases:.6g}")


NOTHING = "bn in the input that changes nothing"


def changes_nothing(args, case, folder, report):
    """With a running mean of 0, a variance of 1 - eps, gamma 1 and beta 0 a recurrent layer answers as without its bn."""
    for cell in "rnn", "gru", "lstm":
        rng, answers, state = np.random.default_rng(args.seed), [], {}
        x = rng.normal(0, 1, (BATCH, 3, SIDE)).astype(np.float32)
        for norm in ", norm: {input: bn}", "":
            case.spec = os.path.join(folder, f"{cell}{len(answers)}.yaml")
            with open(case.spec, "w", encoding="utf-8") as f:
                f.write(SEQUENCE_HEAD % (SIDE, CLASSES, f"  - {cell}: {{hidden: 19{norm}}}\n"))
            program = Program(args, case, os.path.join(folder, f"{cell}{len(answers)}"))
            shapes = {t["name"]: tuple(t["shape"]) for t in program.info["tensors"]}
            state = state or random_state(shapes, rng)
            for k in state:
                if ".norm_input." in k:
                    state[k][...] = 1 - 1e-5 if k.endswith("_var") else k.endswith("weight")
            answers.append(program.predict({k: state[k] for k in shapes}, x))
        report.steps += 1
        report.close(cell, answers[0], answers[1], 0)
        if np.abs(answers[0] - answers[1]).max() > 1e-6:
            report.wrong.append(f"{cell}: {np.abs(answers[0] - answers[1]).max():.3g} from the network without it")


def one(args, case, folder, report):
    if case.label == NOTHING:
        changes_nothing(args, case, folder, report)
        return
    block = next(b for b in BLOCKS if b.label == case.label)
    case.spec = os.path.join(folder, "block.yaml")
    with open(case.spec, "w", encoding="utf-8") as f:
        f.write(spec_of(block))
    ref = Reference(block)
    # what --write spells out is the same network, without a preset
    plain = os.path.join(folder, "plain.yaml")
    run(args.convoy, "check", case.spec, "--write", "-o", plain)
    graph = run(args.convoy, "check", case.spec, "-d", "graph")
    if graph != run(args.convoy, "check", plain, "-d", "graph"):
        report.wrong.append("check --write writes another network")
    if any(word in open(plain, encoding="utf-8").read() for word in ("preset:", "bn_1st", "adn")):
        report.wrong.append("check --write leaves a preset in")
    check_draws(report, block, ref, graph)
    program = Program(args, case, folder)
    listed = {t["name"]: tuple(t["shape"]) for t in program.info["tensors"]}
    if listed != ref.shapes:
        report.wrong.append(f"parameters: only convoy has {sorted(set(listed) - set(ref.shapes))}, only the library has "
                            f"{sorted(set(ref.shapes) - set(listed))}")
        return
    rng = np.random.default_rng(args.seed)
    state = random_state(ref.shapes, rng)
    momentum = {k: np.zeros(v.shape, np.float32) for k, v in state.items() if is_trained(k)}
    labels = rng.integers(0, CLASSES, BATCH)
    for _ in range(50):
        x = rng.normal(0, 1, (BATCH, 3, *[SIDE] * (1 if block.sequence else 2))).astype(np.float32)
        trace = program.trace(state, momentum, x, labels, Hyper(0.05, 0.9, False, 0.0), 0)
        ref.masks = {k: torch.tensor(trace["mask." + k], dtype=torch.float64) for k in ref.drops}
        ref.load(state)
        loss, logits, grads, stats = ref.step(x, labels)
        if ref.near > 1e-6:
            break
    else:
        raise Failed("no input keeps away from the kinks")
    if {k[5:] for k in trace if k.startswith("mask.")} != set(ref.drops):
        report.wrong.append(f"dropout: masks of {sorted(k for k in trace if k.startswith('mask.'))}")
    report.steps += 1
    report.close("loss", trace["loss"], loss, 1)
    report.close("logits", trace["act.linear1.linear"], logits, largest({"": logits}))
    for k, g in grads.items():
        report.close("grad." + k, trace["grad." + k], g, 30 * largest(grads))  # some are zero in truth: in front of a norm
    for k, v in stats.items():
        report.close("after." + k, trace["after." + k], v, largest(stats))
    state = random_state(ref.shapes, rng)
    ref.load(state)
    report.close("evaluation", program.predict(state, x), ref.infer(x), 0)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_options(p)
    args = p.parse_args()
    presets = {line.split()[0] for line in run(args.convoy, "presets").splitlines() if line and not line.startswith((" ", "next"))}
    tested = {b.label.split(",")[0] for b in BLOCKS} - {"gru"}  # a cell that has no preset, and no module in PyTorch
    if presets != tested:
        print(f"FAIL presets without a case: {sorted(presets ^ tested)}")
        print("0 passed, 1 failed")
        return 1
    return run_cases(args, [Case(b.label, None) for b in BLOCKS] + [Case(NOTHING, None)], one)


if __name__ == "__main__":
    sys.exit(main())
