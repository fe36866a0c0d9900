"""Writes overflow.jsonl: which hyperparameters torch refuses as a dtype cannot hold them, for
tests/core/overflow_test.ts.

    python make_overflow.py

Needs torch 2.13 (CPU); the tests do not. A case is the second step of one parameter, with nesterov
where that is possible, so that torch looks at all of its hyperparameters.
"""

import json
import math
from pathlib import Path

import torch

OUTPUT = Path(__file__).with_name("overflow.jsonl")
KEYS = {"lr": "lr", "momentum": "momentum", "weight_decay": "weightDecay", "dampening": "dampening"}


def refuses(dtype, name, value):
    parameter = torch.nn.Parameter(torch.ones(2, dtype=dtype))
    parameter.grad = torch.ones(2, dtype=dtype)
    nesterov = name != "dampening"
    options = {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.5, "nesterov": nesterov}
    optimizer = torch.optim.SGD([parameter], foreach=False, **options)
    optimizer.step()
    optimizer.param_groups[0][name] = value
    try:
        optimizer.step()
        return False
    except RuntimeError as error:
        assert "without overflow" in str(error), error
        return True


def values_of(dtype, name):
    largest = torch.finfo(dtype).max
    if dtype == torch.float64:
        return [largest]
    edges = [largest, math.nextafter(largest, math.inf), largest * 1.0001, 2 * largest, 1e300]
    return edges if name != "dampening" else [*edges, largest + 1, math.nextafter(largest + 1, math.inf)]


with OUTPUT.open("w") as out:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for name, option in KEYS.items():
            for value in values_of(dtype, name):
                case = {"dtype": str(dtype).removeprefix("torch."), "option": option, "value": value}
                print(json.dumps({**case, "refused": refuses(dtype, name, value)}), file=out)
