"""Writes momentum_formats.jsonl: momentum in the 8-bit formats of FlashOptim and bitsandbytes, for
tests/bench/accuracy_test.ts.

    python make_momentum_formats.py

Needs torch 2.13, triton, flashoptim 0.1.4 and bitsandbytes 0.50.2, without a GPU: FlashOptim's kernel
runs in Triton's interpreter, and bitsandbytes has its functions in Python as well, which round to the
nearest value as its kernels for GPUs do. (Its library for CPUs looks codes up in a coarser table.) The
tests need none of them.
"""

import json
import os
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"

import torch  # noqa: E402
import triton.language as tl  # noqa: E402
from bitsandbytes.backends.triton import kernels_optim  # noqa: E402
from bitsandbytes.functional import create_dynamic_map  # noqa: E402
from flashoptim import optimizers as flash  # noqa: E402

OUTPUT = Path(__file__).with_name("momentum_formats.jsonl")
SIZE = 300
GROUP = 32
BLOCK = 256


def inputs() -> torch.Tensor:
    """Wide ranges, a tail shorter than a group, a group of zeros and one below float16."""
    torch.manual_seed(0)
    x = torch.randn(SIZE) * torch.exp(2 * torch.randn(SIZE))
    x[64:96] = 0
    x[96:128] *= 1e-9
    return x


def flashoptim(x: torch.Tensor) -> dict:
    codes = torch.empty(SIZE, dtype=torch.int8)
    scales = torch.empty((SIZE + GROUP - 1) // GROUP, dtype=torch.float16)
    out = torch.empty(SIZE)
    quantize, dequantize = (k.fn for k in (flash._triton_quantize_kernel, flash._triton_dequantize_kernel))
    quantize[(1,)](x, codes, scales, SIZE, 127.0, tl.int8, GROUP, False, True, 1024)
    dequantize[(1,)](codes, scales, out, SIZE, 127.0, GROUP, False, True, 1024)
    return {"codes": codes.tolist(), "scales": scales.tolist(), "out": out.tolist()}


def bitsandbytes(x: torch.Tensor) -> dict:
    quantize = unwrapped(kernels_optim._quantize_blockwise_pytorch)
    dequantize = unwrapped(kernels_optim._dequantize_blockwise_pytorch)
    code = create_dynamic_map()
    codes, scales = quantize(x, code, BLOCK)
    out = dequantize(codes, scales, code, BLOCK, torch.float32)
    return {"codes": codes.tolist(), "scales": scales.tolist(), "out": out.tolist()}


def unwrapped(function):
    """A function without torch.compile around it."""
    return getattr(function, "__wrapped__", function)


def main() -> None:
    x = inputs()
    with OUTPUT.open("w") as file:
        for name, run in (("FlashOptim", flashoptim), ("bitsandbytes", bitsandbytes)):
            file.write(json.dumps({"format": name, "x": x.tolist(), **run(x)}) + "\n")


if __name__ == "__main__":
    main()
