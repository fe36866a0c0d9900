"""Timing of the Python programs that are measured."""

import time

WARM_S, SAMPLE_S = 0.3, 0.01


def time_batch(step, calls):
    """Seconds per call."""
    if calls > 1:
        step()
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls


def batch_size(step, sample_s=SAMPLE_S):
    start, calls = time.perf_counter(), 1
    while True:
        seconds = time_batch(step, calls) * calls
        if seconds < sample_s:
            calls *= 2
        elif time.perf_counter() - start >= WARM_S:
            return -(-calls * sample_s // seconds)
