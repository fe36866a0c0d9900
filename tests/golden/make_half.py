"""Writes half.jsonl: steps of float16 and bfloat16 parameters, for tests/core/sixteen_bit/golden_test.ts.

    python make_half.py

Needs torch 2.13 (CPU) and numpy; the tests need neither. For rounding "torch" the numbers come from
torch.optim.SGD(foreach=False) on parameters of the type, with one thread and sizes that are multiples
of 64: elsewhere torch's loops round the last elements of a part more often than the others. For
"nearest" they come from torch.optim.SGD(foreach=False) on a float32 copy, whose momentum buffer stays
float32, and which is rounded to the type after every step; with "master" the copy is kept, and
without it is made again from the rounded values.

Inputs are not stored: `inputs` is in ../sixteen_bit/golden.ts too. Of each step there is the start of
a SHA-256 of parameter, buffer and copy, and of the last step a few elements. All NaNs are one.
"""

import json
from pathlib import Path

import numpy as np
import torch
from make_golden import Decoupled, SignSGD, combinations, digest, loops, sample_indices, to_hex, torch_options, words

OUTPUT = Path(__file__).with_name("half.jsonl")
STEPS = 4
SIZE = 640
LARGE = 64 * 1030

TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
NAN = {torch.float16: 0x7E00, torch.bfloat16: 0x7FC0, torch.float32: 0x7FC00000}

# Zeros, ones and their neighbours, infinities, NaN, subnormals, the smallest normal, the largest.
SPECIAL = {
    "float16": [0x0000, 0x8000, 0x3C00, 0xBC00, 0x3C01, 0xB555, 0x7C00, 0xFC00, 0x7E00,
                0x0001, 0x8001, 0x03FF, 0x0400, 0x7BFF, 0xFBFF, 0x7801],
    "bfloat16": [0x0000, 0x8000, 0x3F80, 0xBF80, 0x3F81, 0xBEAB, 0x7F80, 0xFF80, 0x7FC0,
                 0x0001, 0x8001, 0x007F, 0x0080, 0x7F7F, 0xFF7F, 0x7E81],
}  # fmt: skip


def inputs(case, step):
    """Data (step 0) or a gradient."""
    if case["values"] == "special":
        table = np.array(SPECIAL[case["dtype"]], dtype=np.uint16)
        i = np.arange(case["size"])
        bits = table[(i if step == 0 else i // len(table) + 5 * (step - 1)) % len(table)]
    else:
        w = words(case["seed"], 0, step, case["size"])
        if case["values"] == "ordinary":  # magnitudes of 2^-6 to 4
            low, exponent = (10, 9) if case["dtype"] == "float16" else (7, 121)
            mantissa = w & np.uint32(0x8000 | ((1 << low) - 1))
            w = mantissa | ((np.uint32(exponent) + ((w >> np.uint32(low)) & np.uint32(7))) << np.uint32(low))
        bits = w.astype(np.uint16)
    return torch.from_numpy(bits.view(np.int16).copy()).view(TYPES[case["dtype"]])


def bits_of(tensor):
    """The tensor's bits, with one NaN for all."""
    tensor = tensor.detach()
    wide = tensor.dtype == torch.float32
    bits = tensor.view(torch.int32 if wide else torch.int16).numpy()
    bits = bits.view(np.uint32 if wide else np.uint16)
    return np.where(torch.isnan(tensor).numpy(), bits.dtype.type(NAN[tensor.dtype]), bits)


def optimizer_of(param, options):
    group = {"sign": False, **torch_options(options)}
    sign = group["sign"]
    return (SignSGD if sign else Decoupled)([{"params": [param], **group}], foreach=False)


def run(case):
    """Parameter, buffer and copy (each or None) after every step."""
    data = inputs(case, 0)
    each = case["rounding"] == "torch"
    param = torch.nn.Parameter(data.clone() if each else data.float())
    optimizer = optimizer_of(param, case["options"])
    for step in range(1, STEPS + 1):
        grad = inputs(case, step)
        param.grad = grad if each else grad.float()
        if not each and not case["master"]:
            param.data.copy_(data.float())
        optimizer.step()
        data = param.detach().to(data.dtype)
        buffer = optimizer.state.get(param, {}).get("momentum_buffer")
        copy = param if case["master"] else None
        yield [None if t is None else bits_of(t) for t in (data, buffer, copy)]


def record(case):
    steps = list(run(case))
    few = sample_indices(case["size"])
    return case | {
        "digests": [digest([a for a in state if a is not None]) for state in steps],
        "samples": [None if a is None else to_hex(a[few]) for a in steps[-1]],
    }


def cases():
    seed = 0
    for kinds in [coupled_kinds(), decoupled_kinds()]:
        for dtype in TYPES:
            for rounding, master in [("torch", False), ("nearest", False), ("nearest", True)]:
                for values, size, options in kinds:
                    seed += 1
                    yield {"dtype": dtype, "rounding": rounding, "master": master, "seed": seed,
                           "values": values, "size": size, "options": options}  # fmt: skip


def coupled_kinds():
    kinds = [("ordinary", SIZE, options) for options in combinations()]
    kinds += [(values, SIZE, o) for values in ("wide", "special") for o in loops()]
    return kinds + [("ordinary", LARGE, o) for o in list(loops())[-3:]]


def decoupled_kinds():
    on = {"decoupledWeightDecay": True, "weightDecay": 0.3}  # enough to be seen in 16 bits
    options = [o | on for o in loops() if o.get("weightDecay")]
    return [(values, SIZE, o) for values in ("ordinary", "special") for o in options]


def conversions():
    """A digest for each type of what torch rounds float32 of random bits to."""
    values = torch.from_numpy(words(1, 2, 3, 1 << 18).view(np.float32))
    return {name: digest([bits_of(values.to(dtype))]) for name, dtype in TYPES.items()}


def main():
    torch.set_num_threads(1)
    header = {"steps": STEPS, "special": SPECIAL, "conversions": conversions()}
    records = [header, *(record(case) for case in cases())]
    OUTPUT.write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in records))
    print(f"{len(records) - 1} cases")


if __name__ == "__main__":
    main()
