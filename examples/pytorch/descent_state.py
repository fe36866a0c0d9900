"""Descent's checkpoint files as state dicts of torch.optim.SGD, and back."""

import json
import math

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FORMAT = "descent-sgd-state"
VERSION = 4
BASIC_VERSION = 2  # what save writes: later ones add momentum in 8 bits, corrections and averages
BLOCK = 32
SCHEDULER = ("last_epoch", "base_lrs", "_last_lr", "best", "num_bad_epochs", "cooldown_counter")


def load(path):
    """Reads a file of Descent's saveState.

    Returns the state dict for torch.optim.SGD.load_state_dict, the parameters by name (empty if the
    file was saved without them), and the caller's own notes. Parameters without a name are
    "param.<index>", and None in the `param_names` of their group. Momentum in 8 bits is decoded to
    float32, which is exact. Averaged weights are left to load_average. Master weights and corrections are
    dropped, as torch has none: they stay
    in the file, and the parameters are those of 16 bits.
    """
    with safe_open(path, framework="pt") as file:
        notes = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if notes.pop("format", None) != FORMAT or int(notes.pop("version")) > VERSION:
        raise ValueError(f"{path} is not a Descent checkpoint of version {VERSION} or older")
    average = json.loads(notes.pop("weight_average", '{"size": 0}'))
    for index in range(average["size"]):
        del tensors[f"average.{index}"]
    groups = json.loads(notes.pop("param_groups"))
    if any("param_names" in group for group in groups):  # torch wants all groups with names, or none
        for group in groups:
            group.setdefault("param_names", [None] * len(group["params"]))
    state = {}
    for group in groups:
        if group.pop("sign", False):
            raise ValueError("torch.optim.SGD has no sign")
        group.pop("momentum_bits", None)  # torch's momentum is float32
        group.setdefault("fused", None)
        for index in group["params"]:
            for master in ("master_weight", "correction"):  # torch.optim.SGD has none
                tensors.pop(f"state.{index}.{master}", None)
            buffer = tensors.pop(f"state.{index}.momentum_buffer", None)
            rows = tensors.pop(f"state.{index}.rows_in_use", None)
            codes = tensors.pop(f"state.{index}.momentum8", None)
            if codes is not None:
                buffer = decode(codes, tensors.pop(f"state.{index}.momentum_scales"))
            if buffer is not None:
                state[index] = {"momentum_buffer": buffer if rows is None else sparse(buffer, rows)}
    return {"state": state, "param_groups": groups}, tensors, notes


def load_average(path):
    """Reads the averaged weights of a file of Descent's saveState.

    Returns them by name, or by "param.<index>" without one, and `n_averaged` of AveragedModel; None if
    the file has none.
    """
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get("weight_average")
        if text is None:
            return None
        head = json.loads(text)
        names = head.get("param_names", [None] * head["size"])
        named = {name or f"param.{index}": file.get_tensor(f"average.{index}")
                 for index, name in enumerate(names)}  # fmt: skip
    return named, head["n_averaged"]


def save(path, state_dict, parameters=None, notes=None, scheduler=None):
    """Writes a file for Descent's loadState.

    `state_dict` is that of a torch.optim.SGD. `parameters` are tensors by the names that the
    optimizer was given, or by "param.<index>" where it was given none. `scheduler` is the state dict
    of a scheduler, of which the file gets what Descent knows.
    """
    tensors = dict(parameters or {})
    for index, entry in state_dict["state"].items():
        buffer = entry.get("momentum_buffer")
        if buffer is None:
            continue
        if buffer.is_sparse:
            tensors[f"state.{index}.rows_in_use"] = rows_of(buffer)
        tensors[f"state.{index}.momentum_buffer"] = buffer.to_dense() if buffer.is_sparse else buffer
    groups = [
        {key: plain(value) for key, value in group.items()} for group in state_dict["param_groups"]
    ]
    if scheduler is not None:
        notes = {**(notes or {}), "lr_scheduler": json.dumps(known(scheduler), allow_nan=False)}
    metadata = {
        "format": FORMAT,
        "version": str(BASIC_VERSION),
        "param_groups": json.dumps(groups, allow_nan=False),
        **(notes or {}),
    }
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path, metadata)


def sparse(buffer, rows):
    """A momentum buffer as torch keeps one that began with a sparse gradient."""
    indices = rows.nonzero().T
    return torch.sparse_coo_tensor(indices, buffer[indices[0]], buffer.shape, is_coalesced=True)


def rows_of(buffer):
    """Which rows a sparse momentum buffer has: a byte for each."""
    rows = torch.zeros(buffer.shape[0], dtype=torch.uint8)
    rows[buffer.coalesce().indices()[0]] = 1
    return rows


def decode(codes, scales):
    """Momentum in 8 bits as float32: a code counts steps, of which each block of 32 has the exponent."""
    steps = torch.ldexp(torch.ones(scales.numel()), scales.int() - 127)
    steps = steps.repeat_interleave(BLOCK)[: codes.numel()].reshape(codes.shape)
    return torch.where(codes == -128, torch.nan, codes.float() * steps)


def known(scheduler):
    """What Descent has of a scheduler's state too. A plateau's best is infinite before a metric."""
    state = {key: scheduler[key] for key in SCHEDULER if key in scheduler}
    if math.isinf(state.get("best", 0)):
        del state["best"]
    return {
        key: [plain(item) for item in value] if isinstance(value, list) else plain(value)
        for key, value in state.items()
    }


def plain(value):
    """A hyperparameter as JSON has it; torch's lr may be a tensor."""
    return value.item() if isinstance(value, torch.Tensor) else value
