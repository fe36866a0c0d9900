"""torch.optim.SGD with sparse gradients, as a program to be measured; ../peers/serve.ts says how.

Usage: torch_sparse.py THREADS < lines
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))
from torch_timing import batch_size, time_batch

ROWS, COLUMNS, TOUCHED, STRIDE = 50_000, 256, 4_096, 20_011
SAMPLE_S = 0.1


def make_step(rows, coalesced):
    values = torch.full((TOUCHED, COLUMNS), 0.01)
    param = torch.nn.Parameter(torch.full((ROWS, COLUMNS), 0.05))
    grad = torch.sparse_coo_tensor(rows[None], values, param.shape)
    param.grad = grad.coalesce() if coalesced else grad
    return torch.optim.SGD([param], lr=1e-3).step


def main():
    torch.set_num_threads(int(sys.argv[1]))
    scattered = torch.arange(TOUCHED) * STRIDE % ROWS
    steps = {"scattered": make_step(scattered, False), "coalesced": make_step(scattered, True)}
    sizes = {name: int(batch_size(step, SAMPLE_S)) for name, step in steps.items()}
    print(json.dumps({"runs": list(sizes), "about": f"torch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        steps[name]()  # wakes the threads that slept while the others were asked
        print(1e9 * time_batch(steps[name], sizes[name]), flush=True)


main()
