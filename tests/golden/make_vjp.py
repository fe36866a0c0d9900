"""Writes vjp.jsonl: what torch's autograd makes of steps of SGD, for tests/differentiable/vjp_test.ts.

    python make_vjp.py

Needs torch 2.13 (CPU) and numpy; the tests need neither. Values come from make_golden.generate, which
is in ../golden.ts too: parameter (step 0), gradients (from step 1 on), the buffer to start from
(tensor 1), and the cotangents of parameter and buffer (tensors 2 and 3).

The steps are written out below, so that momentum and dampening can be tensors, and without the
detach() that torch.optim.SGD has at a first step. Where the two can be compared, they are:
torch.optim.SGD(differentiable=True) with tensors for lr and weight decay has to give the same; with
momentum and a tensor for lr, autograd refuses more than one step of it.
"""

import json
from pathlib import Path

import torch
from make_golden import combinations, generate, to_hex, torch_options, DTYPES

OUTPUT = Path(__file__).with_name("vjp.jsonl")
SIZE = 5
STEPS = 3


def leaf(case, tensor, step):
    values = generate(case["dtype"], "ordinary", case["seed"], tensor, step, SIZE)
    return torch.from_numpy(values.copy()).requires_grad_()


def scalars(case):
    options = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0} | torch_options(case["options"])
    dtype = getattr(torch, case["dtype"])
    names = ["lr", "momentum", "dampening", "weight_decay"]
    return {name: torch.tensor(options[name], dtype=dtype, requires_grad=True) for name in names}


def write_out(case, param, grads, buffer, h):
    flags = case["options"]
    for g in grads:
        g = -g if flags.get("maximize") else g
        if flags.get("decoupledWeightDecay"):
            param = param * (1 - h["lr"] * h["weight_decay"])
        else:
            g = g + h["weight_decay"] * param
        if flags.get("momentum"):
            buffer = g if buffer is None else h["momentum"] * buffer + (1 - h["dampening"]) * g
            g = g + h["momentum"] * buffer if flags.get("nesterov") else buffer
        param = param - h["lr"] * (torch.sign(g) if flags.get("sign") else g)
    return param, buffer


def lr_counts(case, grads):
    return len(grads) == 1 or not case["options"].get("momentum")


def torch_sgd(case, param, grads, buffer, h):
    flags = case["options"]
    param = param.clone()
    optimizer = torch.optim.SGD(
        [param], lr=h["lr"] if lr_counts(case, grads) else h["lr"].item(), momentum=flags.get("momentum", 0.0), dampening=flags.get("dampening", 0.0),
        weight_decay=h["weight_decay"] if flags.get("weightDecay") else 0.0,
        nesterov=flags.get("nesterov", False), maximize=flags.get("maximize", False),
        differentiable=True, foreach=False)  # fmt: skip
    if buffer is not None:
        optimizer.state[param]["momentum_buffer"] = buffer.clone()
    for g in grads:
        param.grad = g.clone()
        optimizer.step()
    return param, optimizer.state[param].get("momentum_buffer")


def differentiate(case, run, steps=STEPS):
    param, h = leaf(case, 0, 0), scalars(case)
    grads = [leaf(case, 0, step) for step in range(1, steps + 1)]
    buffered = bool(case["options"].get("momentum"))
    buffer = leaf(case, 1, 0) if buffered and not case["first"] else None
    end, end_buffer = run(case, param, grads, buffer, h)
    loss = (end * leaf(case, 2, 0).detach()).sum()
    if buffered:
        loss = loss + (end_buffer * leaf(case, 3, 0).detach()).sum()
    loss.backward()
    zero = lambda t: torch.zeros_like(t) if t.grad is None else t.grad
    return {"param": zero(param), "grads": [zero(g) for g in grads],
            "buffer": None if buffer is None else zero(buffer), **{k: zero(t) for k, t in h.items()}}  # fmt: skip


def compare(case, ours, theirs):
    names = ["param", "buffer"] + (["weight_decay"] if case["options"].get("weightDecay") else [])
    if lr_counts(case, ours["grads"]):
        names.append("lr")
    tolerance = 1e-4 if case["dtype"] == "float32" else 1e-12
    flat = [[*each["grads"], *(each[n] for n in names)] for each in [ours, theirs]]
    for a, b in zip(*flat, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=tolerance, atol=tolerance), case


def check(case, ours):
    """Compares with torch.optim.SGD itself, which has neither sign nor decoupled weight decay, and detaches
    the first gradient."""
    flags = case["options"]
    written_out = flags.get("sign") or flags.get("decoupledWeightDecay")
    if written_out or (case["first"] and flags.get("momentum")):
        return False
    for steps in [1, STEPS]:
        compare(case, ours if steps == STEPS else differentiate(case, write_out, steps),
                differentiate(case, torch_sgd, steps))  # fmt: skip
    return True


def record(case):
    ours = differentiate(case, write_out)
    checked = check(case, ours)
    bits = lambda t: None if t is None else to_hex(t.numpy().view(DTYPES[case["dtype"]][1]))
    return {**case, "checked": checked, "param": bits(ours["param"]), "buffer": bits(ours["buffer"]),
            "grads": [bits(g) for g in ours["grads"]], "lr": ours["lr"].item(),
            "momentum": ours["momentum"].item(), "dampening": ours["dampening"].item(),
            "weightDecay": ours["weight_decay"].item()}  # fmt: skip


def decoupled():
    """With decoupled weight decay, also where it is 0."""
    for options in combinations():
        if not options.get("maximize") and not options.get("sign"):
            yield options | {"decoupledWeightDecay": True}


def cases():
    seed = 3000
    for options in [*combinations(), *decoupled()]:
        for first in [True, False]:
            if first and not options.get("momentum"):
                continue
            for dtype in DTYPES:
                seed += 1
                yield {"dtype": dtype, "seed": seed, "first": first, "options": options}


def main():
    lines = [{"torch": torch.__version__.split("+")[0], "size": SIZE, "steps": STEPS}, *map(record, cases())]
    assert sum(line.get("checked", False) for line in lines) > 30
    OUTPUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


if __name__ == "__main__":
    main()
