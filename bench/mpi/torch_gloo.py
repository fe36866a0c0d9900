"""One rank of torch's side of bench/mpi.ts: gloo's all_reduce, the division, and the fused step."""

import json
import sys
import time

import torch
import torch.distributed as dist

STEPS = 5

length = int(sys.argv[1])
torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
param = torch.nn.Parameter(torch.zeros(length))
own = (torch.arange(length) % 1000 - 500).float() * (rank + 1) / 1e6
param.grad = own.clone()
optimizer = torch.optim.SGD([param], lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)


def step():
    dist.all_reduce(param.grad)
    param.grad.div_(size)
    optimizer.step()


def sample():
    step()
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e9 * sorted(times)[STEPS // 2]


def take(asked):
    goes_on = torch.tensor([asked])
    dist.broadcast(goes_on, 0)
    return goes_on.item() != 0


if rank == 0:
    print(json.dumps({"runs": ["gloo"], "about": f"torch {torch.__version__}"}), flush=True)
    for _ in sys.stdin:
        take(1)
        print(sample(), flush=True)
    take(0)
else:
    while take(1):
        sample()
dist.destroy_process_group()
