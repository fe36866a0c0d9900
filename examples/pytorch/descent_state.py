"""Descent's checkpoint files as state dicts of torch.optim.SGD, and back."""

import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FORMAT = "descent-sgd-state"
VERSION = 1


def load(path):
    """Reads a file of Descent's saveState.

    Returns the state dict for torch.optim.SGD.load_state_dict, the parameters by name (empty if the
    file was saved without them), and the caller's own notes.
    """
    with safe_open(path, framework="pt") as file:
        notes = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if notes.pop("format", None) != FORMAT or int(notes.pop("version")) > VERSION:
        raise ValueError(f"{path} is no Descent checkpoint of version {VERSION} or older")
    groups = json.loads(notes.pop("param_groups"))
    state = {}
    for group in groups:
        if group.pop("sign", False):
            raise ValueError("torch.optim.SGD has no sign")
        group.setdefault("fused", None)
        for index in group["params"]:
            tensors.pop(f"state.{index}.master_weight", None)  # torch.optim.SGD has none
            buffer = tensors.pop(f"state.{index}.momentum_buffer", None)
            if buffer is not None:
                state[index] = {"momentum_buffer": buffer}
    return {"state": state, "param_groups": groups}, tensors, notes


def save(path, state_dict, parameters=None, notes=None):
    """Writes a file for Descent's loadState.

    `state_dict` is that of a torch.optim.SGD. `parameters` are tensors by the names that the
    optimizer was given, or by "param.<index>" if it was given none.
    """
    tensors = dict(parameters or {})
    for index, entry in state_dict["state"].items():
        if entry.get("momentum_buffer") is not None:
            tensors[f"state.{index}.momentum_buffer"] = entry["momentum_buffer"]
    groups = [
        {key: plain(value) for key, value in group.items()} for group in state_dict["param_groups"]
    ]
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "param_groups": json.dumps(groups, allow_nan=False),
        **(notes or {}),
    }
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path, metadata)


def plain(value):
    """A hyperparameter as JSON has it; torch's lr may be a tensor."""
    return value.item() if isinstance(value, torch.Tensor) else value
