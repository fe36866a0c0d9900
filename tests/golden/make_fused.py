"""Writes fused.jsonl: what torch makes of unscale_ + clip_grad_norm_ + clip_grad_value_ + step +
zero_grad, and of GradScaler's scale, for tests/step/fused_test.ts.

    python make_fused.py

Needs torch 2.13 (CPU) and numpy; the tests need neither. Inputs come from make_golden.generate, which is in
../golden.ts too; "bad" puts one infinity or NaN into a gradient. The optimizer is
torch.optim.SGD(foreach=False). A case is "exact" where no norm that torch takes in its own order and
type reaches a result.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from make_golden import canonical, digest, flat, generate, result, torch_options

OUTPUT = Path(__file__).with_name("fused.jsonl")
BAD = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def gradient(case, tensor, step):
    spec = case["tensors"][tensor]
    if step in spec.get("without", []):
        return None
    kind = case.get("values", "ordinary")
    values = generate(case["dtype"], kind, case["seed"], tensor, step, spec["size"]).copy()
    for at in case.get("bad", []):
        if (at["step"], at["tensor"]) == (step, tensor):
            values[at["index"]] = BAD[at["value"]]
    return torch.from_numpy(values)


def clip(case, groups):
    """Clips and returns the norm of each group, or of all of them, by torch in float64, and how far
    the norms are from that which it clipped by."""
    parts = groups if case.get("maxNormPer") == "group" else [sum(groups, [])]
    norms, slack = [], 0
    for part in parts if "maxNorm" in case else []:
        grads = [p.grad.double().flatten() for p in part if p.grad is not None]
        norms.append(float(torch.linalg.vector_norm(torch.cat(grads))))
        used = float(torch.nn.utils.clip_grad_norm_(part, case["maxNorm"]))
        assert math.isfinite(used) == math.isfinite(norms[-1])
        if math.isfinite(used):
            slack = max(slack, abs(used / norms[-1] - 1))
    if "maxValue" in case:
        torch.nn.utils.clip_grad_value_(sum(groups, []), case["maxValue"])
    return norms, slack


def run(case):
    """Steps a case, and yields the tensors and what is known of each step."""
    params = [torch.from_numpy(generate(case["dtype"], "ordinary", case["seed"], t, 0, spec["size"]).copy())
              .requires_grad_() for t, spec in enumerate(case["tensors"])]  # fmt: skip
    groups = [[params[t] for t in group["tensors"]] for group in case["groups"]]
    optimizer = torch.optim.SGD([{"params": own, **torch_options(group["options"])}
                                 for own, group in zip(groups, case["groups"])], foreach=False)  # fmt: skip
    scaler = case.get("scaler")
    scaler = scaler and torch.amp.GradScaler(
        "cpu", init_scale=scaler["initScale"], growth_factor=scaler["growthFactor"],
        backoff_factor=scaler["backoffFactor"], growth_interval=scaler["growthInterval"])  # fmt: skip
    if scaler:
        scaler.scale(torch.zeros(()))  # makes the scale
    for step in range(1, case["steps"] + 1):
        for t, param in enumerate(params):
            param.grad = gradient(case, t, step)
        scale = scaler and scaler.get_scale()
        if scaler:
            scaler.unscale_(optimizer)
        norms, slack = clip(case, groups)
        before = digest([canonical(case, p) for p in params])
        if scaler:
            scaler.step(optimizer)
            skipped = any(scaler._found_inf_per_device(optimizer)[d].item() for d in [torch.device("cpu")])
            assert skipped <= (before == digest([canonical(case, p) for p in params]))
            scaler.update()
        else:
            skipped = False
            optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        buffers = [optimizer.state.get(p, {}).get("momentum_buffer") for p in params]
        state = [(canonical(case, p), None if b is None else canonical(case, b))
                 for p, b in zip(params, buffers)]  # fmt: skip
        yield state, {"norms": [n if math.isfinite(n) else None for n in norms],
                      "slack": slack, "scale": scale, "skipped": skipped}  # fmt: skip
    if scaler:
        case["state"] = scaler.state_dict()


def records(case):
    steps = list(run(case))
    spec = {**case, "told": [told for _, told in steps]}
    if case["exact"]:
        spec["digests"] = [digest(flat(state)) for state, _ in steps]
    yield spec
    for t, (data, buffer) in enumerate(steps[-1][0]):
        yield {"tensor": t, "data": result(data), "buffer": result(buffer)}


def sized(*sizes):
    return [{"size": size} for size in sizes]


FULL = {"lr": 0.05, "momentum": 0.9, "weightDecay": 1e-4, "nesterov": True}
DAMPED = {"lr": 0.1, "momentum": 0.5, "dampening": 0.25, "maximize": True}
SIZES = [*sized(19, 64, 100), {"size": 5, "without": [1, 2, 4]}]
GROUPS = [{"options": FULL, "tensors": [0, 1]}, {"options": DAMPED, "tensors": [2, 3]}]
TORCHS = {"initScale": 2.0**16, "growthFactor": 2.0, "backoffFactor": 0.5, "growthInterval": 2000}
BAD_STEPS = [{"step": 1, "tensor": 2, "index": 99, "value": "inf"},
             {"step": 4, "tensor": 0, "index": 0, "value": "nan"},
             {"step": 5, "tensor": 3, "index": 2, "value": "-inf"}]  # fmt: skip


def many(count):
    return [{"size": int(17 + 13 * (i % 5)), "without": [2] if i % 7 == 3 else []} for i in range(count)]


def families():
    one = {"tensors": SIZES, "groups": GROUPS, "steps": 8}
    yield {"case": "unscaled by powers of two", **one, "scaler": TORCHS, "exact": True}
    yield {"case": "unscaled, with steps that are skipped", **one, "scaler": TORCHS | {"growthInterval": 2},
           "bad": BAD_STEPS, "exact": True}  # fmt: skip
    yield {"case": "clipped by value", **one, "maxValue": 0.75, "exact": True}
    yield {"case": "clipped by value 0", **one, "maxValue": 0.0, "exact": True}
    yield {"case": "clipped by value, unscaled", **one, "scaler": TORCHS | {"initScale": 4.0},
           "maxValue": 0.1, "bad": BAD_STEPS, "exact": True}  # fmt: skip
    yield {"case": "a norm that is not reached", **one, "maxNorm": 1e6, "exact": True}
    yield {"case": "a norm that is not finite, unchecked", **one, "maxNorm": 1.0, "bad": BAD_STEPS,
           "steps": 2, "unchecked": True, "exact": False}  # fmt: skip
    yield {"case": "clipped by norm", **one, "maxNorm": 1.0, "exact": False}
    yield {"case": "clipped by norm 0", **one, "maxNorm": 0.0, "exact": True}
    yield {"case": "clipped by the norm of each group", **one, "maxNorm": 3.0, "maxNormPer": "group",
           "exact": False}  # fmt: skip
    yield {"case": "unscaled, clipped by norm and value", **one, "scaler": TORCHS | {"initScale": 8.0},
           "maxNorm": 1.0, "maxValue": 0.05, "bad": BAD_STEPS, "exact": False}  # fmt: skip
    yield {"case": "many tensors, clipped by norm", "tensors": many(60), "steps": 4,
           "groups": [{"options": FULL, "tensors": list(range(60))}], "maxNorm": 2.5, "exact": False}  # fmt: skip
    yield {"case": "large tensors, clipped by norm", "tensors": sized(300_001, 4096, 70_001), "steps": 2,
           "groups": [{"options": FULL, "tensors": [0, 1, 2]}], "maxNorm": 10.0, "exact": False}  # fmt: skip
    yield {"case": "any bits, clipped by value", "tensors": sized(4099), "steps": 3, "values": "wide",
           "groups": [{"options": {"lr": 0.1}, "tensors": [0]}], "maxValue": 2.0, "exact": True}  # fmt: skip


def float32_only():
    """torch's scale is a float32: what it divides float64 by is not what a float64 would be."""
    one = {"tensors": SIZES, "groups": GROUPS, "steps": 12}
    odd = {"initScale": 1000.3, "growthFactor": 1.7, "backoffFactor": 0.3, "growthInterval": 2}
    yield {"case": "unscaled by any scale", **one, "scaler": odd, "bad": BAD_STEPS, "exact": True}
    yield {"case": "a scale that would overflow", **one, "exact": True,
           "scaler": odd | {"initScale": 2.0**125, "growthFactor": 2.0, "growthInterval": 1}}  # fmt: skip


def main():
    lines, seed = [{"torch": torch.__version__.split("+")[0]}], 100
    torch.set_num_threads(1)
    for dtype, cases in [("float32", families()), ("float64", families()), ("float32", float32_only())]:
        for case in cases:
            seed += 1
            lines.extend(records({**case, "case": f"{dtype}: {case['case']}", "dtype": dtype, "seed": seed}))
    OUTPUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


if __name__ == "__main__":
    main()
