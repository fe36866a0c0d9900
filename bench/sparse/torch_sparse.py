"""torch.optim.SGD with sparse gradients, as a program to be measured; ../peers/serve.ts says how.

Usage: torch_sparse.py THREADS < lines
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))
from torch_timing import serve

ROWS, COLUMNS, TOUCHED, STRIDE = 50_000, 256, 4_096, 20_011


def make_grad(rows, coalesced):
    values = torch.full((len(rows), COLUMNS), 0.01)
    grad = torch.sparse_coo_tensor(rows[None], values, (ROWS, COLUMNS))
    return grad.coalesce() if coalesced else grad


def make_step(rows, coalesced, momentum=0, before=False):
    """A step of these rows; with `before` one of all rows comes first, so that all have momentum."""
    param = torch.nn.Parameter(torch.full((ROWS, COLUMNS), 0.05))
    optimizer = torch.optim.SGD([param], lr=1e-3, momentum=momentum)
    if before:
        param.grad = make_grad(torch.arange(ROWS), True)
        optimizer.step()
    param.grad = make_grad(rows, coalesced)
    return optimizer.step


def main():
    torch.set_num_threads(int(sys.argv[1]))
    scattered = torch.arange(TOUCHED) * STRIDE % ROWS
    steps = {
        "scattered": make_step(scattered, False),
        "coalesced": make_step(scattered, True),
        "coalesced, with momentum": make_step(scattered, True, 0.9),
        "coalesced, with momentum, all rows in use": make_step(scattered, True, 0.9, before=True),
    }
    serve(steps)


main()
