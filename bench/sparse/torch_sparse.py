"""torch.optim.SGD with sparse gradients, as a program to be measured; ../peers/serve.ts says how.

Usage: torch_sparse.py THREADS < lines
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))
from torch_timing import serve

ROWS, COLUMNS, TOUCHED, STRIDE = 50_000, 256, 4_096, 20_011


def make_grad(rows, like, coalesced):
    values = torch.full((len(rows), COLUMNS), 0.01)
    grad = torch.sparse_coo_tensor(rows[None], values, like.shape)
    return grad.coalesce() if coalesced else grad


def make_step(rows, coalesced, momentum=0, first=None):
    """`first` are the rows of a step before: what is in the momentum buffer besides `rows`."""
    param = torch.nn.Parameter(torch.full((ROWS, COLUMNS), 0.05))
    optimizer = torch.optim.SGD([param], lr=1e-3, momentum=momentum)
    for named in [rows] if first is None else [first, rows]:
        param.grad = make_grad(named, param, coalesced)
        optimizer.step()
    return optimizer.step


def main():
    torch.set_num_threads(int(sys.argv[1]))
    scattered = torch.arange(ROWS) * STRIDE % ROWS
    named = scattered[:TOUCHED]
    steps = {
        "scattered": make_step(named, False),
        "coalesced": make_step(named, True),
        "coalesced, with momentum": make_step(named, True, 0.9),
        "coalesced, with momentum, half of all rows in use": make_step(
            named, True, 0.9, scattered[: ROWS // 2]
        ),
        "coalesced, with momentum, all rows in use": make_step(named, True, 0.9, scattered),
    }
    serve(steps)


main()
