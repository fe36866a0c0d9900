"""Takes steps with torch.optim.SGD and saves a checkpoint for Descent.

    python train.py TO STEPS [FROM]

FROM is a checkpoint to resume from; without one, training starts from the beginning. train.ts does
the same with Descent, and each resumes where the other has stopped.
"""

import hashlib
import sys

import torch

import descent_state

SHAPES = {"layer.weight": (4, 3), "layer.bias": (3,)}


def gradient(parameter, step):
    """Half the parameter and some noise that is a multiple of 1/8."""
    k = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape)
    return parameter.detach() / 2 + ((step * 37 + k * 11) % 17 - 8) / 8


def main(to, steps, start=None):
    params = {name: torch.nn.Parameter(torch.ones(shape)) for name, shape in SHAPES.items()}
    optimizer = torch.optim.SGD(
        params.items(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True, foreach=False
    )
    first = 0
    if start is not None:
        state_dict, tensors, notes = descent_state.load(start)
        optimizer.load_state_dict(state_dict)
        first = int(notes["step"])
        with torch.no_grad():
            for name, parameter in params.items():
                parameter.copy_(tensors[name])
    last = first + int(steps)
    for step in range(first, last):
        for parameter in params.values():
            parameter.grad = gradient(parameter, step)
        optimizer.step()
    descent_state.save(to, optimizer.state_dict(), params, {"step": str(last)})
    print(f"torch, step {last}: {digest(params.values(), optimizer)}")


def digest(params, optimizer):
    """A hash of every bit of the parameters and momentum buffers."""
    sha = hashlib.sha256()
    for parameter in params:
        for tensor in (parameter.detach(), optimizer.state[parameter]["momentum_buffer"]):
            sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()


main(*sys.argv[1:])
