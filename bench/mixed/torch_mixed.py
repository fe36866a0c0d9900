"""torch's step of mixed precision, as a program to be measured; ../peers/serve.ts says how.

Usage: torch_mixed.py THREADS < lines, the first of which holds the shapes as JSON.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))
from torch_timing import serve

OPTIONS = dict(lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
MODES = {"default": dict(foreach=False), "foreach": dict(foreach=True), "fused": dict(fused=True)}
MAX_NORM = 1e-7  # clips gradients of zeros too


def make_step(params, mode):
    optimizer = torch.optim.SGD(params, **OPTIONS, **mode)
    scaler = torch.amp.GradScaler("cpu", growth_interval=10**9)
    scaler.scale(torch.zeros(()))
    foreach = None if mode.get("fused") else mode["foreach"]

    def step():
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(params, MAX_NORM, foreach=foreach)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=False)

    return step


def main():
    torch.set_num_threads(int(sys.argv[1]))
    params = [torch.nn.Parameter(torch.full(shape, 0.05)) for shape in json.loads(sys.stdin.readline())]
    for param in params:
        param.grad = torch.full(param.shape, 0.01)
    steps = {name: make_step(params, mode) for name, mode in MODES.items()}
    steps["clip_grad_norm_ alone"] = lambda: torch.nn.utils.clip_grad_norm_(params, MAX_NORM)
    serve(steps)


main()
