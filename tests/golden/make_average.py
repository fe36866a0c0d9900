"""Writes average.jsonl: what torch.optim.swa_utils makes of parameters over several updates, for
tests/step/average_golden_test.ts.

    python make_average.py

Needs torch 2.13 (CPU) and numpy; the tests need neither. Values come from make_golden.generate, which
is in ../support/golden.ts too: the parameters before the n-th update are those of step n. A number as
decay is AveragedModel with get_ema_multi_avg_fn(decay), "mean" is AveragedModel by itself.
"""

import json
from pathlib import Path

import torch
from make_golden import canonical, digest, generate, result
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

OUTPUT = Path(__file__).with_name("average.jsonl")
UPDATES = 7


class Model(torch.nn.Module):
    def __init__(self, values):
        super().__init__()
        self.w = torch.nn.Parameter(torch.from_numpy(values.copy()))


def values(case, step):
    return generate(case["dtype"], case["values"], case["seed"], 0, step, case["size"])


def run(case):
    decay = case["decay"]
    model = Model(values(case, 0))
    options = {} if decay == "mean" else {"multi_avg_fn": get_ema_multi_avg_fn(decay)}
    average = AveragedModel(model, **options)
    for step in range(1, UPDATES + 1):
        with torch.no_grad():
            model.w.copy_(torch.from_numpy(values(case, step).copy()))
        average.update_parameters(model)
        yield canonical(case, average.module.w)


def record(case):
    steps = list(run(case))
    return {**case, "digests": [digest([step]) for step in steps], "last": result(steps[-1])}


def cases():
    seed = 2000
    for dtype in ["float32", "float64"]:
        for decay in ["mean", 0.999, 0.9, 0.75, 0.5, 0.3, 0.01, 0.0, 1.0]:
            for size in [1, 3, 17, 64, 250, 5003]:
                seed += 1
                yield {"dtype": dtype, "values": "ordinary", "decay": decay, "seed": seed, "size": size}
            for kind in ["wide", "special"]:
                seed += 1
                yield {"dtype": dtype, "values": kind, "decay": decay, "seed": seed, "size": 400}


def main():
    torch.set_num_threads(1)
    header = {"torch": torch.__version__.split("+")[0], "updates": UPDATES}
    lines = [header, *map(record, cases())]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    OUTPUT.write_text(text)


if __name__ == "__main__":
    main()
