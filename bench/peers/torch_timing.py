"""The side of a Python program that is measured; serve.ts says how it is asked."""

import json
import math
import sys
import time

import torch

WARM_S, SAMPLE_S = 0.3, 0.1
LEAD = 0.2  # the share of a sample that runs untimed before it


def time_batch(step, calls):
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls


def batch_size(step):
    start, calls = time.perf_counter(), 1
    while True:
        seconds = time_batch(step, calls) * calls
        if seconds < SAMPLE_S:
            calls *= 2
        elif time.perf_counter() - start >= WARM_S:
            return math.ceil(calls * SAMPLE_S / seconds)


def serve(steps):
    """Times one of the steps, named on a line, after the other."""
    sizes = {name: batch_size(step) for name, step in steps.items()}
    print(json.dumps({"runs": list(sizes), "about": f"torch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        time_batch(steps[name], math.ceil(LEAD * sizes[name]))
        print(1e9 * time_batch(steps[name], sizes[name]), flush=True)
