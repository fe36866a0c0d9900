"""Writes trajectories.jsonl: what torch makes of generated inputs, for the parity tests.

    python make_golden.py

Needs torch 2.13 (CPU) and numpy; the tests need neither. The numbers come from
torch.optim.SGD(foreach=False), with `decoupledWeightDecay` after the multiplication by 1 - lr * weight_decay
with which torch.optim.AdamW begins a step, and with `sign` from the same code with torch.sign around the update,
which is the sign-SGD of neural-compressor and auto-round.

Inputs are not stored: `words` and `generate` are here and in ../golden.ts alike. Results are bit
patterns in hex, or for longer tensors the start of a SHA-256 over their little-endian bytes and a few
elements. All NaNs are written as one.
"""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import torch

OUTPUT = Path(__file__).with_name("trajectories.jsonl")

# Tensors up to this size are stored whole.
WHOLE = 20
# Cases up to this many elements have a digest after every step.
WATCHED = 10_000
# The chunk in which the kernels share out a tensor.
CHUNK = 32768

DTYPES = {"float32": (np.float32, np.uint32), "float64": (np.float64, np.uint64)}
NAN = {"float32": 0x7FC00000, "float64": 0x7FF8000000000000}

SPECIAL = {
    "float32": [
        0x00000000, 0x80000000,  # zeros
        0x3F800000, 0xBF800000, 0x3F800001, 0xBEAAAAAB,  # 1, -1, 1 + ulp, -1/3
        0x7F800000, 0xFF800000, 0x7FC00000,  # infinities and NaN
        0x00000001, 0x80000001, 0x007FFFFF, 0x00800000,  # subnormals, the smallest normal
        0x7F7FFFFF, 0xFF7FFFFF, 0x7E800001,  # the largest, and a huge one
    ],
    "float64": [
        0x0000000000000000, 0x8000000000000000,
        0x3FF0000000000000, 0xBFF0000000000000, 0x3FF0000000000001, 0xBFD5555555555555,
        0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000,
        0x0000000000000001, 0x8000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000,
        0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF, 0x7FD0000000000001,
    ],
}  # fmt: skip


# --- inputs -------------------------------------------------------------------------------------


def mix(x):
    """lowbias32 by Chris Wellons: a bijection of 32-bit words in which every bit moves every other."""
    x = np.asarray(x).astype(np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def words(seed, tensor, step, count):
    """The words from which one array is made; step 0 is the data, step n the n-th gradient."""
    key = mix(mix(mix([seed]) ^ np.uint32(tensor)) ^ np.uint32(step))
    return mix(key + np.arange(count, dtype=np.uint32))


def generate(dtype, kind, seed, tensor, step, size):
    """One array. ordinary: magnitudes of 2^-6 to 4 and random mantissas; wide: any bits at all;
    special: the table above, data and first gradient in every pairing."""
    real, bits = DTYPES[dtype]
    if kind == "special":
        table = np.array(SPECIAL[dtype], dtype=bits)
        i = np.arange(size)
        at = i if step == 0 else i // len(table) + 5 * (step - 1)
        return table[at % len(table)].view(real)
    if dtype == "float32":
        w = words(seed, tensor, step, size)
        if kind == "ordinary":
            exponent = np.uint32(121) + ((w >> np.uint32(23)) & np.uint32(7))
            w = (w & np.uint32(0x807FFFFF)) | (exponent << np.uint32(23))
        return w.view(real)
    w = words(seed, tensor, step, 2 * size)
    low, high = w[0::2], w[1::2]
    if kind == "ordinary":
        exponent = np.uint32(1017) + ((high >> np.uint32(20)) & np.uint32(7))
        high = (high & np.uint32(0x800FFFFF)) | (exponent << np.uint32(20))
    return (low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))).view(real)


def from_hex(dtype, text):
    real, bits = DTYPES[dtype]
    return np.array([int(word, 16) for word in text.split()], dtype=bits).view(real)


def array(case, tensor, step):
    """Data (step 0) or gradient of a tensor, or None where it has none."""
    spec = case["tensors"][tensor]
    if step in spec.get("without", []):
        return None
    if "data" in spec:
        return from_hex(case["dtype"], spec["data"] if step == 0 else spec["grads"][step - 1])
    kind = case.get("values", "ordinary")
    return generate(case["dtype"], kind, case["seed"], tensor, step, spec["size"])


# --- torch --------------------------------------------------------------------------------------


def single_tensor(param, state, group):
    """torch.optim.sgd._single_tensor_sgd for one parameter, with `sign`."""
    grad = -param.grad if group["maximize"] else param.grad
    if group["weight_decay"] != 0:
        grad = grad.add(param, alpha=group["weight_decay"])
    if group["momentum"] != 0:
        buf = state.get("momentum_buffer")
        if buf is None:
            buf = state["momentum_buffer"] = grad.detach().clone()
        else:
            buf.mul_(group["momentum"]).add_(grad, alpha=1 - group["dampening"])
        grad = grad.add(buf, alpha=group["momentum"]) if group["nesterov"] else buf
    if group["sign"]:
        grad = torch.sign(grad)
    param.add_(grad, alpha=-group["lr"])


class Decoupled(torch.optim.SGD):
    """torch.optim.SGD, after decoupled weight decay in groups that have it."""

    @torch.no_grad()
    def step(self):
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            shrink(group)
        self.step_coupled()
        for group, decay in zip(self.param_groups, decays):
            group["weight_decay"] = decay

    def step_coupled(self):
        super().step()


def shrink(group):
    """What torch.optim.AdamW does first, in torch.optim.adam._single_tensor_adam."""
    if not group.get("decoupled_weight_decay") or group["weight_decay"] == 0:
        return
    for param in group["params"]:
        if param.grad is not None:
            param.mul_(1 - group["lr"] * group["weight_decay"])
    group["weight_decay"] = 0


class SignSGD(Decoupled):
    def step_coupled(self):
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    single_tensor(param, self.state[param], group)


def check_adamw():
    """Decoupled weight decay is AdamW's: with a gradient of zeros the rest of its step changes nothing."""
    for dtype in [torch.float32, torch.float64, torch.float16, torch.bfloat16]:
        values = torch.from_numpy(generate("float64", "ordinary", 1, 0, 0, 1000)).to(dtype)
        for decay in [0.01, 0.3, 25.0]:
            ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
            ours.grad, theirs.grad = torch.zeros_like(values), torch.zeros_like(values)
            Decoupled([{"params": [ours], "decoupled_weight_decay": True}],
                      lr=0.1, weight_decay=decay, foreach=False).step()  # fmt: skip
            torch.optim.AdamW([theirs], lr=0.1, weight_decay=decay, eps=1.0, foreach=False).step()
            assert torch.equal(ours, theirs), (dtype, decay)


NAMES = {"weightDecay": "weight_decay", "decoupledWeightDecay": "decoupled_weight_decay"}


def torch_options(options):
    """The options under torch's names, and numbers as floats: -0 is not -0.0, which lr 0 shows."""
    return {NAMES.get(name, name): float(value) if type(value) is int else value
            for name, value in options.items()}  # fmt: skip


def run(case, optimizer_class):
    """Steps a case and yields, after every step, each tensor's data and buffer (or None)."""
    params = [torch.from_numpy(array(case, t, 0).copy()).requires_grad_()
              for t in range(len(case["tensors"]))]  # fmt: skip
    groups = [{"params": [params[t] for t in group["tensors"]], "sign": False,
               **torch_options(group["options"])} for group in case["groups"]]  # fmt: skip
    start = [g for g, group in zip(groups, case["groups"]) if group.get("from", 1) == 1]
    optimizer = optimizer_class(start, foreach=False)
    for step in range(1, case["steps"] + 1):
        for group, spec in zip(groups, case["groups"]):
            if spec.get("from", 1) == step != 1:
                optimizer.add_param_group(group)
        for change in case.get("changes", []):
            if change["before"] == step:
                optimizer.param_groups[change["group"]].update(torch_options(change["options"]))
        for t, param in enumerate(params):
            grad = array(case, t, step)
            param.grad = None if grad is None else torch.from_numpy(grad.copy())
        optimizer.step()
        buffers = [optimizer.state.get(p, {}).get("momentum_buffer") for p in params]
        yield [(canonical(case, p), None if b is None else canonical(case, b))
               for p, b in zip(params, buffers)]  # fmt: skip


def canonical(case, tensor):
    """The tensor's bits, with one NaN for all."""
    values = tensor.detach().numpy()
    return np.where(np.isnan(values), DTYPES[case["dtype"]][1](NAN[case["dtype"]]),
                    values.view(DTYPES[case["dtype"]][1]))  # fmt: skip


def trajectory(case):
    signs = any(o.get("sign") for o in all_options(case))
    steps = list(run(case, SignSGD if signs else Decoupled))
    if not signs and count(case) <= WATCHED:  # the copy above is torch's own code
        for ours, theirs in zip(run(case, SignSGD), steps, strict=True):
            assert digest(flat(ours)) == digest(flat(theirs)), case["case"]
    return steps


def all_options(case):
    return [s["options"] for s in case["groups"] + case.get("changes", [])]


def count(case):
    return sum(spec.get("size", 1) for spec in case["tensors"])


# --- output -------------------------------------------------------------------------------------


def flat(state):
    return [a for pair in state for a in pair if a is not None]


def digest(arrays):
    sha = hashlib.sha256()
    for a in arrays:
        sha.update(a.astype(a.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()[:16]


def to_hex(bits):
    return " ".join(f"{int(x):0{2 * bits.itemsize}x}" for x in bits)


def sample_indices(size):
    samples = 3 if size <= 70 else 16
    return [k * (size - 1) // (samples - 1) for k in range(samples)]


def result(bits):
    if bits is None:
        return None
    if len(bits) <= WHOLE:
        return to_hex(bits)
    return {"digest": digest([bits]), "samples": to_hex(bits[sample_indices(len(bits))])}


def records(case):
    steps = trajectory(case)
    spec = dict(case)
    if count(case) <= WATCHED:
        spec["digests"] = [digest(flat(state)) for state in steps]
    yield spec
    for t, (data, buffer) in enumerate(steps[-1]):
        yield {"tensor": t, "data": result(data), "buffer": result(buffer)}


# --- cases --------------------------------------------------------------------------------------


def options_of(momentum, dampening, decay, nesterov, maximize, sign):
    options = {"lr": 0.1}
    options |= {"momentum": momentum} if momentum else {}
    options |= {"dampening": dampening} if dampening else {}
    options |= {"weightDecay": decay} if decay else {}
    flags = {"nesterov": nesterov, "maximize": maximize, "sign": sign}
    return options | {name: True for name, on in flags.items() if on}


def combinations():
    for m, d, w, n, x, s in itertools.product(
        [0, 0.9], [0, 0.25], [0, 0.01], [False, True], [False, True], [False, True]
    ):
        if not n or (m and not d):
            yield options_of(m, d, w, n, x, s)


def loops():
    """One set of options for every loop that the kernels have."""
    for (m, d, n), w, s in itertools.product(
        [(0, 0, False), (0.9, 0.25, False), (0.9, 0, True)], [0, 0.01], [False, True]
    ):
        yield options_of(m, d, w, n, False, s)


def describe(options):
    return " ".join(k if v is True else f"{k}={v}" for k, v in options.items())


def one_group(family, options, tensors, steps, values="ordinary"):
    return {"case": describe(options), "family": family, "values": values, "steps": steps,
            "tensors": tensors,
            "groups": [{"options": options, "tensors": list(range(len(tensors)))}]}  # fmt: skip


def sized(*sizes):
    return [{"size": size} for size in sizes]


EDGES = sized(1023, 1024, 1025, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK,
              2 * CHUNK + 1, 3 * CHUNK + 17)  # fmt: skip
FULL = {"lr": 0.05, "momentum": 0.9, "weightDecay": 1e-4, "nesterov": True}


def families():
    for options in combinations():
        late = {"size": 5, "without": [1, 2, 3, 9, 10]}
        yield one_group("combinations of options", options, [*sized(19), late], 25)
    for options in combinations():
        yield one_group("special values", options, sized(len(SPECIAL["float32"]) ** 2), 4, "special")
    for options in loops():
        yield one_group("bits of any kind", options, sized(4099), 3, "wide")
    for options in loops():
        yield one_group("every size from 0 to 70", options, sized(*range(71)), 3)
    for options in [{"lr": 0.1}, FULL, FULL | {"sign": True}, options_of(0.9, 0.25, 0, False, True, False)]:
        yield one_group("lane and chunk edges", options, EDGES, 2)
    for options in [{"lr": 0.1, "weightDecay": 0.01}, FULL, FULL | {"maximize": True, "sign": True}]:
        yield one_group("over a million elements", options, sized(1_234_567), 2)
    yield from schedules()
    yield from decoupled()


def schedules():
    """Several groups, and everything that can change between two steps."""
    family = "groups and changes between steps"
    late = {"size": 7, "without": [1, 2, 3, 4]}
    gaps = {"size": 18, "without": [2, 5, 6, 11, 30]}
    never = {"size": 3, "without": list(range(1, 41))}
    yield {
        "case": "groups with options of their own, one added later, lr changed",
        "family": family, "steps": 40, "tensors": [*sized(17), late, gaps, never, *sized(1, 8, 20), late],
        "groups": [
            {"options": {"lr": 0.1}, "tensors": [0, 1]},
            {"options": {"lr": 0.01, "momentum": 0.9, "weightDecay": 5e-4, "nesterov": True}, "tensors": [2, 3]},
            {"options": {"lr": 0.03, "momentum": 0.5, "dampening": 0.6, "maximize": True}, "tensors": [4, 5]},
            {"options": {"lr": 0.2, "momentum": 0.99, "dampening": 0.1}, "tensors": [6, 7], "from": 6},
        ],
        "changes": [{"before": 10 * k, "group": g, "options": {"lr": lr}}
                    for k, g, lr in [(1, 0, 0.05), (2, 1, 1e-3), (2, 2, 0.3), (3, 0, 0), (3, 3, 1 / 3)]],
    }  # fmt: skip
    yield {
        "case": "momentum on and off",
        "family": family, "steps": 30, "tensors": [*sized(20), late, gaps],
        "groups": [{"options": {"lr": 0.1}, "tensors": [0]},
                   {"options": {"lr": 0.1, "weightDecay": 0.01}, "tensors": [1, 2]}],
        "changes": [{"before": at, "group": g, "options": {"momentum": m}}
                    for at, g, m in [(4, 0, 0.9), (8, 1, 0.9), (12, 0, 0), (16, 1, 0), (20, 0, 0.5),
                                     (24, 1, 0.9)]],
    }  # fmt: skip
    yield {
        "case": "every other option on and off, sign-SGD beside SGD",
        "family": family, "steps": 32, "tensors": [*sized(19, 20), gaps],
        "groups": [{"options": {"lr": 0.1, "momentum": 0.9}, "tensors": [0]},
                   {"options": {"lr": 0.01, "momentum": 0.8, "sign": True}, "tensors": [1, 2]}],
        "changes": [{"before": at, "group": g, "options": o} for at, g, o in [
            (3, 0, {"nesterov": True}), (5, 1, {"maximize": True}), (8, 0, {"weightDecay": 0.1}),
            (10, 1, {"sign": False}), (12, 0, {"nesterov": False, "dampening": 0.3}),
            (15, 0, {"maximize": True}), (18, 1, {"sign": True, "nesterov": True}),
            (20, 0, {"weightDecay": 0, "sign": True}), (24, 1, {"maximize": False, "lr": 1}),
            (28, 0, {"sign": False, "dampening": 2})]],
    }  # fmt: skip
    yield {
        "case": "hyperparameters at their limits",
        "family": family, "steps": 6, "values": "special", "tensors": sized(256, 256, 256, 256),
        "groups": [{"options": {"lr": 0, "momentum": 1, "weightDecay": 1}, "tensors": [0]},
                   {"options": {"lr": 1, "momentum": 1.5, "dampening": 1}, "tensors": [1]},
                   {"options": {"lr": 1e-40, "momentum": 1e-40, "weightDecay": 1e-40}, "tensors": [2]},
                   {"options": {"lr": 0.5, "momentum": 0.5, "dampening": 3, "sign": True}, "tensors": [3]}],
    }  # fmt: skip
    # A float32 cannot hold these, but they are not 0: the lines that they belong to are not skipped.
    yield {
        "case": "hyperparameters that round to zero",
        "family": "factors that round to zero", "steps": 3, "values": "special", "tensors": sized(256, 256),
        "groups": [{"options": {"lr": 0.1, "weightDecay": 1e-60}, "tensors": [0]},
                   {"options": {"lr": 0.1, "momentum": 1e-60, "nesterov": True}, "tensors": [1]}],
    }  # fmt: skip


def decoupled():
    """Decoupled weight decay with everything, and switched on and off."""
    family = "decoupled weight decay"
    on = {"decoupledWeightDecay": True}
    late = {"size": 5, "without": [1, 2, 3, 9, 10]}
    for options in combinations():
        if options.get("weightDecay"):
            yield one_group(family, options | on, [*sized(19), late], 25)
    for options in loops():
        if options.get("weightDecay"):
            yield one_group(family, options | on, sized(len(SPECIAL["float32"]) ** 2), 4, "special")
            yield one_group(family, options | on, sized(4099), 3, "wide")
            yield one_group(family, options | on, sized(0, 1, 7, 31, 63, 64, 65, 70), 3)
    yield {
        "case": "decoupled and coupled, lr and weight decay changed",
        "family": family, "steps": 20, "tensors": [*sized(19, 20), late, *sized(8)],
        "groups": [{"options": {"lr": 0.1, "momentum": 0.9, "weightDecay": 0.3, **on}, "tensors": [0, 1]},
                   {"options": {"lr": 0.01, "weightDecay": 0.1}, "tensors": [2]},
                   {"options": {"lr": 0.1, "weightDecay": 1e-17, **on}, "tensors": [3]}],
        "changes": [{"before": at, "group": g, "options": o} for at, g, o in [
            (3, 0, {"lr": 0}), (5, 1, on), (6, 0, {"lr": 1 / 3, "weightDecay": 7}),
            (8, 0, {"lr": 0.05, "weightDecay": 0.3}), (10, 0, {"decoupledWeightDecay": False}),
            (12, 1, {"weightDecay": 0}), (14, 1, {"weightDecay": 1}), (15, 0, on),
            (17, 2, {"weightDecay": 1e-60})]],
    }  # fmt: skip


def rounded_once():
    """Sums x + y in float32 with x = 1 + ulp and a product y just below half an ulp, by less than a
    float64 sum can tell: rounded once they give x, rounded twice x + ulp. One for each fma."""
    half = 2**-24
    x, y = "3f800001 bf800001", "3f800080 bf800080"  # y = 1 + 2^-16, and (1 - 2^-16) y < 1
    minus_y, two_x, one = "bf800080 3f800080", "40000001 c0000001", "3f800000 bf800000"
    factor = (1 - 2**-16) * half
    for name, options, data, grads in [
        ("parameter", {"lr": factor}, x, [minus_y]),
        ("weight decay", {"lr": 1, "weightDecay": factor}, y, [x]),
        ("momentum buffer", {"lr": 1, "momentum": 0.5, "dampening": 1 - factor}, one, [two_x, y]),
        ("nesterov", {"lr": 1, "momentum": (1 - 2**-23) * half, "nesterov": True}, one, [x]),
    ]:
        yield {"case": f"float32: {name}", "family": "sums that must be rounded once",
               "dtype": "float32", "seed": 0, "steps": len(grads),
               "tensors": [{"data": data, "grads": grads}],
               "groups": [{"options": options, "tensors": [0]}]}  # fmt: skip


def cases():
    seed = 0
    for case in families():
        for dtype in DTYPES:
            seed += 1
            yield {"case": f"{dtype}: {case['case']}", **{k: v for k, v in case.items() if k != "case"},
                   "dtype": dtype, "seed": seed}  # fmt: skip
    yield from rounded_once()


def main():
    special = {dtype: to_hex(np.array(table, dtype=DTYPES[dtype][1])) for dtype, table in SPECIAL.items()}
    check_adamw()
    lines = [{"torch": torch.__version__.split("+")[0], "special": special}]
    for case in cases():
        lines.extend(records(case))
    OUTPUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


if __name__ == "__main__":
    main()
