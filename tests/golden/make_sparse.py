"""Writes sparse.jsonl: what torch makes of sparse gradients, for tests/plan/sparse_test.ts.

    python make_sparse.py

Needs torch 2.13 (CPU) and numpy; the tests need neither. Values come from make_golden.generate, which
is in ../golden.ts too. A step is a list of rows (a sparse gradient), "dense" or null (no gradient);
"error" is the first step, counted from 1, that torch refuses.

With momentum or sign, gradients are coalesced before they reach torch, because sums of what is not
coalesced depend on how torch happens to merge its buffer. No row is named more than twice then: the
order in which torch's coalesce() adds up more entries is that of an unstable sort.
"""

import json
from pathlib import Path

import torch
from make_golden import SignSGD, canonical, digest, flat, generate, result, torch_options, words

OUTPUT = Path(__file__).with_name("sparse.jsonl")
ROWS = 40


def rows_of(seed, step, count, most):
    """Rows in no order, none more than `most` times."""
    order = words(seed, 9, step, ROWS * most).argsort(kind="stable")
    return [int(i) % ROWS for i in order[:count]]


def make(case, step):
    spec, columns = case["steps"][step - 1], case["columns"]
    if spec is None:
        return None
    if spec == "dense":
        values = generate(case["dtype"], "ordinary", case["seed"], 1, step, ROWS * columns)
        return torch.from_numpy(values.copy()).reshape(ROWS, columns)
    values = generate(case["dtype"], "ordinary", case["seed"], 1, step, len(spec) * columns)
    grad = torch.sparse_coo_tensor(torch.tensor([spec], dtype=torch.int64).reshape(1, -1),
                                   torch.from_numpy(values.copy()).reshape(-1, columns),
                                   (ROWS, columns), check_invariants=True)  # fmt: skip
    summed = case["options"].get("momentum") or case["options"].get("sign")
    return grad.coalesce() if summed else grad


def run(case):
    data = generate(case["dtype"], "ordinary", case["seed"], 0, 0, ROWS * case["columns"])
    param = torch.nn.Parameter(torch.from_numpy(data.copy()).reshape(ROWS, case["columns"]))
    options = {"sign": False, **torch_options(case["options"])}
    sign = options["sign"]
    optimizer = (SignSGD if sign else torch.optim.SGD)([{"params": [param], **options}], foreach=False)
    for step in range(1, len(case["steps"]) + 1):
        param.grad = make(case, step)
        try:
            optimizer.step()
        except RuntimeError:
            yield None
            return
        buffer = optimizer.state.get(param, {}).get("momentum_buffer")
        yield [tuple(None if t is None else canonical(case, t.detach().to_dense().reshape(-1))
                     for t in (param, buffer))]  # fmt: skip


def record(case):
    steps = list(run(case))
    error = len(steps) if steps[-1] is None else None
    assert (error is not None) == case.pop("refused", False), case["case"]
    done = [s for s in steps if s is not None]
    record = {**case, "error": error, "digests": [digest(flat(s)) for s in done]}
    if done:
        [(data, buffer)] = done[-1]
        record |= {"data": result(data), "buffer": result(buffer)}
    return record


def numeric():
    for options in [{}, {"maximize": True}]:
        yield options, [(12, 1), (40, 1), None, (0, 1), (60, 4), (200, 5), (1, 1)]
    for options in [
        {"sign": True},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.25},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "nesterov": True, "maximize": True},
        {"momentum": 0.9, "sign": True},
    ]:
        yield options, [(12, 1), (30, 2), None, (0, 1), (60, 2), (1, 1), (40, 1)]


def cases():
    seed = 1000
    for columns in [1, 3, 17, 64, 100]:
        for dtype in ["float32", "float64"]:
            for options, steps in numeric():
                seed += 1
                named = [s and rows_of(seed, n, *s) for n, s in enumerate(steps, 1)]
                yield {"case": json.dumps(options), "dtype": dtype, "seed": seed, "columns": columns,
                       "options": {"lr": 0.1, **options}, "steps": named}  # fmt: skip
    momentum = {"lr": 0.1, "momentum": 0.9}
    for name, options, steps, refused in [
        ("weight decay", {"lr": 0.1, "weightDecay": 0.1}, [[1, 2]], True),
        ("momentum and weight decay", {**momentum, "weightDecay": 0.1}, [[1, 2]], True),
        ("sparse, then dense", {"lr": 0.1}, [[1, 2], "dense", [3]], False),
        ("sparse, then dense, with momentum", momentum, [[1, 2], [2], "dense"], True),
        ("dense, then sparse, with momentum", momentum, ["dense", [1, 2], [0, 7], "dense"], False),
        ("dense, then sparse, with nesterov", {**momentum, "nesterov": True}, ["dense", [1]], True),
    ]:
        seed += 1
        yield {"case": name, "dtype": "float32", "seed": seed, "columns": 4, "options": options,
               "steps": steps, "refused": refused}  # fmt: skip


def main():
    lines = [{"torch": torch.__version__.split("+")[0], "rows": ROWS}, *map(record, cases())]
    OUTPUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


if __name__ == "__main__":
    main()
