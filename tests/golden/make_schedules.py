"""Writes schedules.jsonl: the learning rates of torch's schedulers, for the schedules' tests.

    python make_schedules.py

Needs torch 2.13 (CPU); the tests need neither torch nor Python. Every line is one optimizer with a
group per base learning rate. A schedule is written as Descent makes it: [function, ...arguments].
Numbers are those that torch's schedulers set from step to step, not their closed forms.

A function among the options is written as {"fn": name}, one of FUNCTIONS, which the tests have too. torch
refuses `LinearLR(start_factor=0)`; these lines are its closed form.

The lines with "acts" are of several schedulers, groups that are added, and states that are loaded:
what is done, and after each act the learning rates and what torch's groups have as `initial_lr`.
"""

import copy
import json
import random
import re
import warnings
from pathlib import Path

import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

warnings.filterwarnings("ignore")
OUTPUT = Path(__file__).with_name("schedules.jsonl")

THIRD = 1 / 3
LRS = [0.1, 1, 0.037]

# --- schedules ----------------------------------------------------------------------------------


FUNCTIONS = {
    "inverse": lambda x: 1 / (1 + x),
    "alternate": lambda x: 0.5 if x % 3 == 0 else 1.1,
    "shrink": lambda x: 0.95,
}


def snake(options):
    """Descent's names of options as torch's."""
    names = {"tMax": "T_max", "t0": "T_0", "tMult": "T_mult"}
    return {names.get(name, re.sub("[A-Z]", lambda c: "_" + c[0].lower(), name)): read(value)
            for name, value in options.items()}  # fmt: skip


def read(value):
    return FUNCTIONS[value["fn"]] if isinstance(value, dict) else value


def build(optimizer, schedule):
    name, *arguments = schedule
    if name == "swaLR":
        return SWALR(optimizer, **snake(arguments[0]))
    torchs = getattr(lr_scheduler, name[0].upper() + name[1:])
    if name == "sequentialLR":
        parts, milestones = arguments
        return torchs(optimizer, [build(optimizer, part) for part in parts], milestones)
    if name == "chainedScheduler":
        return torchs([build(optimizer, part) for part in arguments[0]])
    return torchs(optimizer, **snake(arguments[0]))


STEP = ["stepLR", {"stepSize": 3, "gamma": 0.7}]
MULTI = ["multiStepLR", {"milestones": [4, 9, 10], "gamma": 0.3}]
WARM = ["linearLR", {"startFactor": 0.1, "totalIters": 6}]
EXPONENTIAL = ["exponentialLR", {"gamma": 0.9}]
COSINE = ["cosineAnnealingLR", {"tMax": 20, "etaMin": 0.001}]

# Schedules without a cosine or a power, which languages round differently in the last bit.
EXACT = [
    ["constantLR", {}],
    ["constantLR", {"factor": 0.3, "totalIters": 1}],
    ["constantLR", {"factor": 1, "totalIters": 7}],
    ["stepLR", {"stepSize": 1}],
    STEP,
    ["stepLR", {"stepSize": 100, "gamma": 0}],
    MULTI,
    ["multiStepLR", {"milestones": [10, 0, 4]}],
    ["multiStepLR", {"milestones": []}],
    EXPONENTIAL,
    ["exponentialLR", {"gamma": 1.01}],
    ["linearLR", {}],
    WARM,
    ["linearLR", {"startFactor": 1, "endFactor": 0.05, "totalIters": 30}],
    ["linearLR", {"startFactor": THIRD, "endFactor": 0, "totalIters": 5}],
    ["linearLR", {"startFactor": 0.5, "endFactor": 0.5, "totalIters": 1}],
    ["polynomialLR", {}],
    ["polynomialLR", {"totalIters": 33}],
    ["sequentialLR", [WARM, EXPONENTIAL], [6]],
    ["sequentialLR", [WARM, ["constantLR", {}], STEP, ["polynomialLR", {"totalIters": 8}]], [6, 15, 30]],
    ["sequentialLR", [STEP, MULTI, ["linearLR", {"endFactor": 0.5}]], [0, 20]],
    ["sequentialLR", [EXPONENTIAL], []],
    ["chainedScheduler", [["constantLR", {"factor": 0.1, "totalIters": 20}], EXPONENTIAL]],
    ["chainedScheduler", [WARM, STEP, ["multiStepLR", {"milestones": [0, 12]}]]],
    ["chainedScheduler", [["sequentialLR", [WARM, STEP], [6]], EXPONENTIAL]],
]  # fmt: skip

ROUNDED = [
    COSINE,
    ["cosineAnnealingLR", {"tMax": 1}],
    ["cosineAnnealingLR", {"tMax": 7, "etaMin": 0.5}],
    ["cosineAnnealingWarmRestarts", {"t0": 10}],
    ["cosineAnnealingWarmRestarts", {"t0": 1, "tMult": 3, "etaMin": 0.002}],
    ["cosineAnnealingWarmRestarts", {"t0": 5, "tMult": 2}],
    ["multiStepLR", {"milestones": [5, 5, 11, 5], "gamma": 0.7}],
    ["polynomialLR", {"totalIters": 20, "power": 2}],
    ["polynomialLR", {"totalIters": 25, "power": 0.9}],
    ["sequentialLR", [WARM, COSINE], [6]],
    ["sequentialLR", [WARM, ["cosineAnnealingWarmRestarts", {"t0": 4, "tMult": 2}]], [6]],
    ["sequentialLR", [["cosineAnnealingWarmRestarts", {"t0": 4}], COSINE, EXPONENTIAL], [5, 25]],
    ["chainedScheduler", [WARM, COSINE]],
    ["chainedScheduler", [["cosineAnnealingLR", {"tMax": 5, "etaMin": 0.001}], ["exponentialLR", {"gamma": 0.99}]]],
    ["chainedScheduler", [["cosineAnnealingWarmRestarts", {"t0": 6}], STEP]],
]  # fmt: skip

LONG = [
    (True, EXPONENTIAL[:1] + [{"gamma": 0.9995}]),
    (True, ["linearLR", {"startFactor": 0.001, "totalIters": 5000}]),
    (True, ["polynomialLR", {"totalIters": 10000}]),
    (False, ["sequentialLR", [["linearLR", {"startFactor": 0.01, "totalIters": 500}],
                              ["cosineAnnealingLR", {"tMax": 9500}]], [500]]),
]  # fmt: skip
LONG_STEPS = [0, 1, 2, 499, 500, 501, 1234, 4999, 5000, 5001, 7777, 9990, 10000]

# The start of a cosine in a sequence is rounded otherwise than the base, and cos(0) is exact.
STARTS = ["sequentialLR", [WARM, ["cosineAnnealingLR", {"tMax": 9, "etaMin": 0.7}]], [3]], (0, 1, 2, 3)

CYCLES = [
    (False, {"maxLr": 0.1, "totalSteps": 40}),
    (False, {"maxLr": 0.1, "epochs": 5, "stepsPerEpoch": 8, "pctStart": 0.45, "divFactor": 10}),
    (False, {"maxLr": 3, "totalSteps": 40, "threePhase": True, "finalDivFactor": 100}),
    (False, {"maxLr": 1, "totalSteps": 40, "cycleMomentum": False}),
    (False, {"maxLr": 1, "totalSteps": 40, "pctStart": 0.0}),
    (True, {"maxLr": 0.3, "totalSteps": 40, "annealStrategy": "linear", "baseMomentum": 0.5, "maxMomentum": 0.9}),
    (True, {"maxLr": 0.3, "totalSteps": 40, "annealStrategy": "linear", "threePhase": True}),
    (True, {"maxLr": 2, "totalSteps": 1, "annealStrategy": "linear"}),
]  # fmt: skip

ALTERNATE = ["multiplicativeLR", {"lrLambda": {"fn": "alternate"}}]
SHRINK = ["multiplicativeLR", {"lrLambda": {"fn": "shrink"}}]
SWA = ["swaLR", {"swaLr": 0.05, "annealEpochs": 8}]
SWA_LINE = ["swaLR", {"swaLr": 0.4, "annealEpochs": 5, "annealStrategy": "linear"}]
TRIANGLES = ["cyclicLR", {"baseLr": 0.01, "maxLr": 0.5, "stepSizeUp": 4, "cycleMomentum": False}]

MORE_EXACT = [
    ALTERNATE,
    SHRINK,
    SWA_LINE,
    ["swaLR", {"swaLr": 0, "annealEpochs": 7, "annealStrategy": "linear"}],
    ["swaLR", {"swaLr": 0.5, "annealEpochs": 1, "annealStrategy": "linear"}],
    ["swaLR", {"swaLr": 0.5, "annealEpochs": 0, "annealStrategy": "linear"}],
    ["sequentialLR", [WARM, STEP, EXPONENTIAL], [5, 5]],
    ["sequentialLR", [WARM, STEP, EXPONENTIAL, MULTI], [0, 0, 20]],
    ["sequentialLR", [WARM, STEP, EXPONENTIAL, SHRINK], [7, 7, 7]],
    ["sequentialLR", [WARM, ALTERNATE], [6]],
    ["sequentialLR", [ALTERNATE, SHRINK, EXPONENTIAL], [10, 30]],
    ["sequentialLR", [EXPONENTIAL, SWA_LINE], [10]],
    ["sequentialLR", [SWA_LINE, SWA_LINE, EXPONENTIAL], [3, 20]],
    ["sequentialLR", [["polynomialLR", {"totalIters": 8}], SWA_LINE], [8]],
    ["sequentialLR", [WARM, TRIANGLES, STEP], [6, 30]],
    ["chainedScheduler", [EXPONENTIAL, ALTERNATE]],
    ["chainedScheduler", [EXPONENTIAL, SWA_LINE, STEP]],
    ["chainedScheduler", [["sequentialLR", [WARM, SWA_LINE], [6]], SHRINK]],
]  # fmt: skip

MORE_ROUNDED = [
    SWA,
    ["swaLR", {"swaLr": 0.7}],
    ["swaLR", {"swaLr": 0.02, "annealEpochs": 0}],
    ["sequentialLR", [COSINE, SWA], [15]],
    ["sequentialLR", [WARM, COSINE, SWA, EXPONENTIAL], [5, 20, 35]],
    ["chainedScheduler", [SWA, EXPONENTIAL]],
]  # fmt: skip

FROM_ZERO = [
    {"startFactor": 0},
    {"startFactor": 0, "totalIters": 7},
    {"startFactor": 0, "endFactor": 0.3, "totalIters": 13},
    {"startFactor": 0, "totalIters": 1},
    {"startFactor": 0, "endFactor": 0, "totalIters": 3},
]

CYCLICS = [
    (True, {"baseLr": 0.01, "maxLr": 0.1, "stepSizeUp": 7}),
    (True, {"baseLr": 0.01, "maxLr": 0.1}),
    (True, {"baseLr": 0.1, "maxLr": 0.7, "stepSizeUp": 5, "stepSizeDown": 3, "mode": "triangular2"}),
    (True, {"baseLr": 0, "maxLr": 1, "stepSizeUp": 3, "stepSizeDown": 0}),
    (True, {"baseLr": 0.3, "maxLr": 0.1, "stepSizeUp": 4, "baseMomentum": 0.5, "maxMomentum": 0.99}),
    (True, {"baseLr": 0.1, "maxLr": 2, "stepSizeUp": 6, "stepSizeDown": 9, "cycleMomentum": False}),
    (False, {"baseLr": 0.1, "maxLr": 2, "stepSizeUp": 6, "mode": "exp_range", "gamma": 0.97}),
    (True, {"baseLr": 0.1, "maxLr": 2, "stepSizeUp": 6, "scaleFn": {"fn": "inverse"}}),
    (True, {"baseLr": 0.1, "maxLr": 2, "stepSizeUp": 6, "scaleFn": {"fn": "inverse"}, "scaleMode": "iterations"}),
    (True, {"baseLr": 0.1, "maxLr": 2, "stepSizeUp": 5, "scaleFn": {"fn": "alternate"}, "mode": "exp_range"}),
]  # fmt: skip

# One schedule for each group.
PER_GROUP = {"maxLr": [0.1, 2], "totalSteps": 30, "baseMomentum": [0.8, 0.85], "maxMomentum": [0.9, 0.99]}

# Falls, stays, falls too little, rises, is not there, falls again.
METRICS = ([1 - i / 20 for i in range(10)] + [0.55] * 8 + [0.55 - i * 1e-5 for i in range(8)]
           + ["NaN", "Infinity", 0.6, 0.7, 0.2, 0.3, 0.3, 0.3] + [0.25 + (i % 3) / 100 for i in range(24)])  # fmt: skip
PLATEAUS = [
    {},
    {"patience": 2, "factor": 0.5},
    {"patience": 0, "cooldown": 3},
    {"patience": 1, "cooldown": 1, "threshold": 0.1, "minLr": 0.01},
    {"patience": 1, "threshold": 0.01, "thresholdMode": "abs", "minLr": [0, 0.5, 0.03]},
    {"patience": 2, "factor": 0.1, "eps": 0.02},
    {"mode": "max", "patience": 2, "factor": 0.3},
    {"mode": "max", "patience": 3, "threshold": 0.02, "thresholdMode": "abs", "cooldown": 2},
]

# --- several schedulers, more groups, loaded states ---------------------------------------------

RESTARTS = ["cosineAnnealingWarmRestarts", {"t0": 4}]
CONSTANT = ["constantLR", {"factor": 0.5, "totalIters": 3}]
LINE = ["polynomialLR", {"totalIters": 12}]
SHORT = ["cosineAnnealingLR", {"tMax": 5, "etaMin": 0.001}]
SEQUENCE = ["sequentialLR", [WARM, EXPONENTIAL], [6]]
CYCLE = ["oneCycleLR", {"maxLr": 0.6, "totalSteps": 40, "cycleMomentum": False}]
PATIENT = ["plateau", {"patience": 1, "factor": 0.5}]
MULTIPLYING = [STEP, MULTI, WARM, EXPONENTIAL, CONSTANT, LINE, COSINE,
               ["chainedScheduler", [CONSTANT, EXPONENTIAL]]]  # fmt: skip
# Those that look at the base: a group of torch's that was added has none until they are made.
BASED = [RESTARTS, SHORT, SEQUENCE, CYCLE, ["chainedScheduler", [RESTARTS, STEP]],
         ["sequentialLR", [CONSTANT, SHORT], [4]]]  # fmt: skip


class Torch:
    """An optimizer with its schedulers, and what can be done with them."""

    def __init__(self, lrs):
        self.optimizer = optimizer_of(lrs)
        self.schedulers, self.specs = [], []

    def make(self, spec):
        name, *arguments = spec
        self.specs.append(spec)
        self.schedulers.append(
            lr_scheduler.ReduceLROnPlateau(self.optimizer, **snake(arguments[0]))
            if name == "plateau" else build(self.optimizer, spec)
        )  # fmt: skip

    def step(self, i, *metric):
        self.schedulers[i].step(*metric)

    def add(self, lr):
        self.optimizer.add_param_group({"params": [torch.zeros(1)], "lr": lr})

    def assign(self, group, lr):
        self.optimizer.param_groups[group]["lr"] = lr

    def load(self):
        """Loads the optimizer's state into a new one, which has no schedulers."""
        saved = copy.deepcopy(self.optimizer.state_dict())
        self.__init__([1.0] * len(saved["param_groups"]))
        self.optimizer.load_state_dict(saved)

    def save(self):
        self.saved = copy.deepcopy(self.optimizer.state_dict())

    def restore(self):
        """Loads the optimizer's saved state; the schedulers stay as they are."""
        self.optimizer.load_state_dict(self.saved)

    def resume(self):
        """Loads all states into new objects."""
        states = [copy.deepcopy(scheduler.state_dict()) for scheduler in self.schedulers]
        saved, specs = copy.deepcopy(self.optimizer.state_dict()), self.specs
        self.__init__([1.0] * len(saved["param_groups"]))
        for spec in specs:
            self.make(spec)
        self.optimizer.load_state_dict(saved)
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(state)


def perform(acts, lrs=(0.3, 1)):
    """What torch makes of acts, each the name of a method with its arguments."""
    run = Torch(lrs)
    rows = []
    for name, *arguments in acts:
        getattr(run, name)(*arguments)
        groups = run.optimizer.param_groups
        rows.append([[g["lr"] for g in groups], [g.get("initial_lr") for g in groups]])
    exact = all(is_exact(act[1]) for act in acts if act[0] == "make")
    return {"acts": acts, "exact": exact, "lrs": lrs, "rows": rows}


def is_exact(spec):
    text = str(spec)
    is_swa_cosine = "swaLR" in text and "linear" not in text
    return "osine" not in text and "oneCycle" not in text and not is_swa_cosine


def both(count, *schedulers):
    return [["step", i] for _ in range(count) for i in schedulers]


def added(spec):
    """A group is added in the middle of one schedule, another later, and all is resumed."""
    steps = [["step", 0, 1.0]] * 4 if spec[0] == "plateau" else both(4, 0)
    return [["make", spec], *steps, ["add", 3], *steps, ["resume"], ["add", 0.07], *steps]


def drawn(rng):
    """Acts at random; no group is added where torch's schedulers would raise."""
    acts, schedulers, groups, saved = [], [], 2, 0
    for _ in range(rng.randrange(15, 40)):
        kind = rng.choice(["make", *["step"] * 9, "add", "assign", "load", "resume", "save", "restore"])
        if kind == "make" and len(schedulers) < 3:
            schedulers.append(rng.choice(MULTIPLYING + [PATIENT] + BASED))
            acts.append(["make", schedulers[-1]])
        elif kind == "step" and schedulers:
            i = rng.randrange(len(schedulers))
            acts.append(["step", i, *([1.0] if schedulers[i] is PATIENT else [])])
        elif kind == "add" and schedulers and groups < 4 and not any(s in BASED for s in schedulers):
            groups += 1
            acts.append(["add", rng.choice([0.05, 0.7, 2])])
        elif kind == "assign":
            acts.append(["assign", rng.randrange(groups), rng.choice([0.2, 0.9])])
        elif kind == "save":
            acts.append([kind])
            saved = groups
        elif kind == "resume" or kind == "load" or kind == "restore" and saved == groups:
            acts.append([kind])
            schedulers = [] if kind == "load" else schedulers
            saved = saved if kind == "restore" else 0
    return acts


def try_perform(acts):
    """None where torch raises, or where it sets a negative learning rate, which Descent refuses."""
    try:
        line = perform(acts)
    except (KeyError, ValueError, RuntimeError, ZeroDivisionError):
        return None
    return line if all(lr >= 0 for lrs, _ in line["rows"] for lr in lrs) else None


def several():
    """The lines with acts."""
    pairs = [[a, b] for a in [WARM, EXPONENTIAL, RESTARTS, CYCLE] for b in [STEP, SHORT, RESTARTS, SEQUENCE]]
    yield perform([["make", ["linearLR", {"totalIters": 2}]], ["make", RESTARTS], *both(9, 0, 1)], (0.3,))
    for pair in pairs:
        yield perform([*(["make", spec] for spec in pair), *both(9, 0, 1)])
    for spec in [*MULTIPLYING, PATIENT]:
        yield perform(added(spec))
    for spec in [*MULTIPLYING, *BASED]:
        yield perform([["make", EXPONENTIAL], *both(5, 0), ["load"], ["make", spec], *both(9, 0)])
    for spec in [EXPONENTIAL, RESTARTS, CYCLE, SEQUENCE]:
        yield perform([["make", RESTARTS], *both(2, 0), ["make", spec], *both(9, 1, 0)])
        yield perform([["make", EXPONENTIAL], ["add", 3], *both(3, 0), ["make", spec], ["resume"], *both(6, 0, 1)])
        yield perform([["assign", 0, 0.9], ["make", STEP], *both(4, 0), ["save"], ["load"], ["make", spec], *both(6, 0)])
    for first in [STEP, RESTARTS, SHORT, SEQUENCE]:
        yield perform([["save"], ["make", first], *both(2, 0), ["restore"], *both(7, 0)])
        yield perform([["make", first], ["save"], *both(2, 0), ["make", CYCLE], *both(3, 0), ["restore"], *both(7, 0)])
    yield perform([["assign", 0, 0.9], ["make", RESTARTS], ["assign", 0, 0.1], ["make", RESTARTS], *both(3, 1)])
    rng = random.Random(2026)
    lines = (try_perform(drawn(rng)) for _ in range(600))
    yield from [line for line in lines if line and "step" in str(line["acts"])][:150]
    for spec in [SWA, SWA_LINE, ALTERNATE, TRIANGLES]:
        yield perform([["make", EXPONENTIAL], *both(5, 0), ["load"], ["make", spec], *both(9, 0)])
        yield perform([["make", EXPONENTIAL], ["make", spec], *both(4, 0), *both(9, 1), *both(2, 0, 1)])
        yield perform([["make", spec], *both(4, 0), ["make", STEP], *both(4, 0, 1), ["assign", 0, 0.2], *both(4, 1, 0)])
        yield perform([["assign", 0, 0.9], ["make", RESTARTS], ["make", spec], ["resume"], *both(6, 0, 1)])


# --- output -------------------------------------------------------------------------------------


def optimizer_of(lrs):
    groups = [{"params": [torch.zeros(1)], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1, momentum=0.9)


def walk(optimizer, scheduler, steps):
    """Learning rates and momenta of the groups at every step."""
    for step in range(steps + 1):
        if step > 0:
            scheduler.step()
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        yield [g["lr"] for g in optimizer.param_groups], [g["momentum"] for g in optimizer.param_groups]


def record(exact, schedule, lrs=LRS, at=tuple(range(51))):
    optimizer = optimizer_of(lrs)
    rows = list(walk(optimizer, build(optimizer, schedule), at[-1]))
    return {"schedule": schedule, "exact": exact, "lrs": lrs, "at": at, "lr": [rows[step][0] for step in at]}


def from_zero(options, at=tuple(range(51))):
    """The closed form, which torch has for a start factor that its constructor does not take."""
    scheduler = build(optimizer_of(LRS), ["linearLR", {**options, "startFactor": 1}])
    scheduler.start_factor = 0
    rows = []
    for scheduler.last_epoch in at:
        rows.append(scheduler._get_closed_form_lr())
    return {"schedule": ["linearLR", options], "exact": True, "lrs": LRS, "at": at, "lr": rows}


def cycle(exact, options, lrs=(1,), name="oneCycleLR"):
    optimizer = optimizer_of(lrs)
    scheduler = build(optimizer, [name, options])
    rows = list(walk(optimizer, scheduler, getattr(scheduler, "total_steps", 50)))
    return {"schedule": [name, options], "exact": exact, "lrs": lrs, "at": list(range(len(rows))),
            "lr": [lr for lr, _ in rows], "momentum": [momentum for _, momentum in rows]}  # fmt: skip


def plateau(options):
    optimizer = optimizer_of(LRS)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **snake(options))
    rows = []
    # Infinitely good is refused by Descent; torch would never find anything better.
    metrics = [m for m in METRICS if (options.get("mode"), m) != ("max", "Infinity")]
    for metric in metrics:
        scheduler.step(float(metric))
        state = scheduler.best, scheduler.num_bad_epochs, scheduler.cooldown_counter
        rows.append([scheduler.get_last_lr(), *(str(x) if x in (float("inf"), -float("inf")) else x for x in state)])
    return {"plateau": options, "lrs": LRS, "metrics": metrics, "rows": rows}


def main():
    records = [
        *(record(True, schedule) for schedule in EXACT),
        *(record(False, schedule) for schedule in ROUNDED),
        *(record(exact, schedule, at=LONG_STEPS) for exact, schedule in LONG),
        record(True, STARTS[0], at=STARTS[1]),
        *(cycle(exact, options) for exact, options in CYCLES),
        cycle(False, PER_GROUP, lrs=[1, 1]),
        *(plateau(options) for options in PLATEAUS),
        *(record(True, schedule) for schedule in MORE_EXACT),
        *(record(False, schedule) for schedule in MORE_ROUNDED),
        *(from_zero(options) for options in FROM_ZERO),
        *(cycle(exact, options, name="cyclicLR") for exact, options in CYCLICS),
        *several(),
    ]
    with OUTPUT.open("w") as out:
        for each in records:
            out.write(json.dumps(each, separators=(",", ":"), allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
