"""Writes clipping.jsonl: what torch makes of clipping and unscaling apart from a step, and of steps with
sparse gradients that are clipped, for tests/optimizer/clipping_golden_test.ts.

    python make_clipping.py

Needs torch 2.13 (CPU) and numpy; the tests need neither. Inputs come from make_golden.generate, which is
in ../golden.ts too; "bad" puts one infinity or NaN into a gradient.

torch clips no sparse gradients. Here the entries of a row are summed in their order, which is not the
order of coalesce() where there are more than 16 entries; torch then unscales and clips the sums as a
dense matrix, and steps by them.
"""

import json
import math
from pathlib import Path

import torch
from make_golden import canonical, digest, flat, generate, result, torch_options, words

OUTPUT = Path(__file__).with_name("clipping.jsonl")
BAD = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
ORDERS = [1, 2, "Infinity"]
ROWS = 12
# The sizes of tensors: within a vector, a loop, blocks of 4096 and tiles.
SIZES = [5, 64, 100, 4097, 20_011]


def name(number):
    """A number as JSON has it: infinity and NaN as words."""
    return number if math.isfinite(number) else str(number)


def tensor(case, t, step, size):
    values = generate(case["dtype"], case.get("values", "ordinary"), case["seed"], t, step, size).copy()
    for at in case.get("bad", []):
        if (at["step"], at["tensor"]) == (step, t):
            values[at["index"]] = BAD[at["value"]]
    return torch.from_numpy(values)


def clipped(case):
    """What clip_grad_norm_ and clip_grad_value_ make of gradients."""
    params = [torch.nn.Parameter(torch.zeros(size, dtype=getattr(torch, case["dtype"]))) for size in case["sizes"]]
    for t, param in enumerate(params):
        param.grad = tensor(case, t, 1, param.numel())
    record = dict(case)
    if "maxNorm" in case:
        order = float(str(case["normType"]).lower().replace("infinity", "inf"))
        exact = torch.linalg.vector_norm(torch.cat([p.grad.double() for p in params]), order).item()
        used = torch.nn.utils.clip_grad_norm_(params, case["maxNorm"], norm_type=order).item()
        record |= {"norm": name(exact), "slack": abs(used / exact - 1) if math.isfinite(used) else 0}
        assert math.isfinite(used) == math.isfinite(exact)
    if "maxValue" in case:
        torch.nn.utils.clip_grad_value_(params, case["maxValue"])
    return record | {"grads": [result(canonical(case, p.grad)) for p in params]}


def unscaled(case):
    """unscale_, clipping of the user's own, step and update; some steps are left out."""
    params = [torch.nn.Parameter(tensor(case, t, 0, size)) for t, size in enumerate(case["sizes"])]
    optimizer = torch.optim.SGD(params, **torch_options(case["options"]), foreach=False)
    options = case["scaler"]
    scaler = torch.amp.GradScaler("cpu", init_scale=options["initScale"], growth_factor=options["growthFactor"],
                                  backoff_factor=options["backoffFactor"],
                                  growth_interval=options["growthInterval"])  # fmt: skip
    scaler.scale(torch.zeros(()))  # makes the scale
    steps = []
    for step in range(1, case["steps"] + 1):
        for t, param in enumerate(params):
            param.grad = tensor(case, t, step, param.numel())
        scale = scaler.get_scale()
        scaler.unscale_(optimizer)
        grads = digest(flat([(canonical(case, p.grad), None) for p in params]))
        torch.nn.utils.clip_grad_value_(params, case["maxValue"])
        if step not in case["left"]:
            scaler.step(optimizer)
        scaler.update()
        data = digest(flat([(canonical(case, p.detach()), None) for p in params]))
        steps.append({"scale": scale, "grads": grads, "data": data})
    return {**case, "told": steps, "state": scaler.state_dict()}


def summed(case, step):
    """The sums of the entries of each row, in their order, by rising rows."""
    rows, columns = case["rows"][step - 1], case["columns"]
    values = tensor(case, 1, step, len(rows) * columns).reshape(-1, columns)
    sums = {}
    for row, entry in zip(rows, values):
        sums[row] = sums[row] + entry if row in sums else entry.clone()
    named = sorted(sums)
    return named, torch.stack([sums[row] for row in named])


def prepared(case, values):
    """Unscales and clips the sums as a dense matrix; returns them and the norm."""
    holder = torch.nn.Parameter(torch.zeros_like(values))
    holder.grad = values * torch.tensor(1 / case.get("gradScale", 1), dtype=values.dtype)
    norm = slack = None
    if "maxNorm" in case:
        order = float(str(case["normType"]).lower().replace("infinity", "inf"))
        norm = torch.linalg.vector_norm(holder.grad.double(), order).item()
        used = torch.nn.utils.clip_grad_norm_([holder], case["maxNorm"], norm_type=order).item()
        slack = abs(used / norm - 1)
    if "maxValue" in case:
        torch.nn.utils.clip_grad_value_([holder], case["maxValue"])
    return holder.grad, norm, slack or 0


def sparse(case):
    columns = case["columns"]
    param = torch.nn.Parameter(tensor(case, 0, 0, ROWS * columns).reshape(ROWS, columns))
    optimizer = torch.optim.SGD([param], **torch_options(case["options"]), foreach=False)
    steps = []
    for step in range(1, len(case["rows"]) + 1):
        rows, values = summed(case, step)
        values, norm, slack = prepared(case, values)
        param.grad = torch.sparse_coo_tensor(torch.tensor([rows]), values, param.shape, is_coalesced=True,
                                             check_invariants=True)  # fmt: skip
        optimizer.step()
        data = canonical(case, param.detach().reshape(-1))
        steps.append({"norm": norm, "slack": slack, "data": result(data)})
    return {**case, "told": steps}


def clips():
    bad = [[], [{"step": 1, "tensor": 1, "index": 63, "value": "inf"}],
           [{"step": 1, "tensor": 3, "index": 4096, "value": "nan"}]]  # fmt: skip
    for dtype in ["float32", "float64"]:
        for order in ORDERS:
            for maxNorm in [1.0, 3.5, 1e9, 0.0]:
                yield {"dtype": dtype, "sizes": SIZES, "normType": order, "maxNorm": maxNorm}
            for own in bad[1:]:
                yield {"dtype": dtype, "sizes": SIZES, "normType": order, "maxNorm": 1.0, "bad": own}
        for maxValue in [0.0, 0.1, 0.75, 1e9]:
            yield {"dtype": dtype, "sizes": SIZES, "maxValue": maxValue}
        for kind in ["wide", "special"]:
            yield {"dtype": dtype, "sizes": [64, 300], "maxValue": 1.1, "values": kind}


def scalers():
    bad = [{"step": 2, "tensor": 1, "index": 7, "value": "-inf"}, {"step": 5, "tensor": 0, "index": 0, "value": "nan"}]
    own = {"sizes": [3, 70], "steps": 7, "bad": bad, "maxValue": 0.05, "left": [3, 6]}
    scaler = {"initScale": 8.0, "growthFactor": 2.0, "backoffFactor": 0.5, "growthInterval": 2}
    for options in [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9, "weightDecay": 0.01}]:
        for dtype in ["float32", "float64"]:
            yield {**own, "dtype": dtype, "options": options, "scaler": scaler}
        odd = scaler | {"initScale": 12.0, "growthFactor": 1.5}
        yield {**own, "dtype": "float32", "options": options, "scaler": odd}


def matrices(seed):
    """Rows that are named up to 25 times, so that torch's own sums have another order."""
    steps = [[int(i) % 3 for i in words(seed, 9, 1, 60)], [int(i) % ROWS for i in words(seed, 9, 2, 100)], [4]]
    for columns in [1, 17]:
        for dtype in ["float32", "float64"]:
            for options in [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "nesterov": True}]:
                for own in [{}, {"gradScale": 4.0}, {"maxValue": 0.5}, {"gradScale": 0.5, "maxValue": 1.5},
                            *({"maxNorm": 2.0, "normType": order} for order in ORDERS),
                            {"maxNorm": 1.0, "normType": 2, "gradScale": 8.0, "maxValue": 0.125}]:  # fmt: skip
                    if own or "momentum" in options:
                        yield {"dtype": dtype, "columns": columns, "options": options, "rows": steps, **own}


def main():
    lines = [{"torch": torch.__version__.split("+")[0], "rows": ROWS}]
    seed = 2000
    for kind, make, cases in [("clip", clipped, clips()), ("unscale", unscaled, scalers()),
                              ("sparse", sparse, matrices(7))]:  # fmt: skip
        for case in cases:
            seed += 1
            lines.append({"kind": kind, **make({**case, "seed": seed})})
    OUTPUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


if __name__ == "__main__":
    main()
