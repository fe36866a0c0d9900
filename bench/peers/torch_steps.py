"""torch.optim.SGD, as a program to be measured; serve.ts says how it is asked.

Usage: torch_steps.py THREADS [DTYPE] < lines, the first of which holds the shapes as JSON.
"""

import json
import sys

import torch
from torch_timing import serve

OPTIONS = dict(lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
MODES = {"default": dict(foreach=False), "foreach": dict(foreach=True), "fused": dict(fused=True)}


def make_optimizers(shapes, dtype):
    """One optimizer per mode, over the same parameters and momentum buffers."""
    params = [torch.nn.Parameter(torch.full(shape, 0.05, dtype=dtype)) for shape in shapes]
    for param in params:
        param.grad = torch.full(param.shape, 0.01, dtype=dtype)
    optimizers = {name: torch.optim.SGD(params, **OPTIONS, **mode) for name, mode in MODES.items()}
    first = next(iter(optimizers.values()))
    for optimizer in optimizers.values():
        optimizer.state = first.state
    return optimizers


def main():
    torch.set_num_threads(int(sys.argv[1]))
    dtype = getattr(torch, sys.argv[2] if len(sys.argv) > 2 else "float32")
    optimizers = make_optimizers(json.loads(sys.stdin.readline()), dtype)
    serve({name: optimizer.step for name, optimizer in optimizers.items()})


main()
