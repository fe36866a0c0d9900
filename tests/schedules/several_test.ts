/** Several schedulers on one optimizer, groups that are added, and states that are loaded, as torch. */

import { assert, assertEquals } from "@std/assert";
import { decodeStateDict, encodeStateDict } from "@descent/sgd";
import { LRScheduler, ReduceLROnPlateau } from "@descent/sgd/schedules";
import type { SGD, StateDict } from "@descent/sgd";
import type { ReduceLROnPlateauOptions } from "@descent/sgd/schedules";
import { make, optimizerOf, several } from "./golden.ts";
import type { Act, Spec } from "./golden.ts";

/** Cosines of V8 and of torch's Python differ in the last bit, which steps add up. */
const TOLERANCE = 1e-12;

/** An optimizer with its schedulers, and the specs that these were made of. */
interface Run {
  readonly optimizer: SGD;
  readonly schedulers: (LRScheduler | ReduceLROnPlateau)[];
  readonly specs: Spec[];
  /** The optimizer's state that was saved. */
  saved?: StateDict;
}

function begin(lrs: readonly number[]): Run {
  return { optimizer: optimizerOf(lrs).optimizer, schedulers: [], specs: [] };
}

function perform(run: Run, act: Act): Run {
  const { optimizer, schedulers, specs } = run;
  const [kind, first, second] = act;
  if (kind === "make") {
    schedulers.push(makeScheduler(optimizer, first));
    specs.push(first);
  } else if (kind === "step") (schedulers[first] as ReduceLROnPlateau).step(second!);
  else if (kind === "add") {
    const w = { data: new Float32Array(1), grad: null, name: `w${optimizer.paramGroups.length}` };
    optimizer.addParamGroup({ params: [w], lr: first });
  } else if (kind === "assign") optimizer.paramGroups[first].lr = second;
  else if (kind === "save") run.saved = saveState(optimizer);
  else if (kind === "restore") optimizer.loadStateDict(run.saved!);
  else return reload(run, kind === "resume");
  return run;
}

function makeScheduler(optimizer: SGD, spec: Spec): LRScheduler | ReduceLROnPlateau {
  return spec[0] === "plateau"
    ? new ReduceLROnPlateau(optimizer, spec[1] as ReduceLROnPlateauOptions)
    : new LRScheduler(optimizer, make(spec), { warn: false });
}

/** The optimizer's state, through a file. */
function saveState(optimizer: SGD): StateDict {
  return decodeStateDict(encodeStateDict(optimizer.stateDict()));
}

/** New objects with the states of the old ones, which go through a file. */
function reload({ optimizer, schedulers, specs }: Run, all: boolean): Run {
  const saved = saveState(optimizer);
  const run = begin(optimizer.paramGroups.map(() => 1));
  if (all) { for (const spec of specs) perform(run, ["make", spec]); }
  run.optimizer.loadStateDict(saved);
  for (const [i, scheduler] of run.schedulers.entries()) {
    scheduler.loadStateDict(schedulers[i].stateDict());
  }
  return run;
}

function assertClose(found: number, torchs: number, exact: boolean, where: string): void {
  const isClose = exact
    ? found === torchs
    : Math.abs(found - torchs) <= TOLERANCE * Math.max(found, torchs);
  assert(isClose, `${found} for ${torchs} ${where}`);
}

for (const [line, { acts, exact, lrs, rows }] of several.entries()) {
  Deno.test(`schedulers of one optimizer have torch's numbers: ${line}`, () => {
    let run = begin(lrs);
    // In torch a group that was added has no base until the next scheduler is made; here it shows the
    // one that it has for the schedulers before it, until a state without it is loaded.
    const added: (number | null)[] = [];
    for (const [i, act] of acts.entries()) {
      const isScheduled = run.schedulers.some((each) => each instanceof LRScheduler);
      run = perform(run, act);
      if (act[0] === "add") added.push(isScheduled ? act[1] : null);
      if (act[0] === "load" || act[0] === "restore") added.fill(null);
      const [expected, initialLrs] = rows[i];
      const groups = run.optimizer.paramGroups;
      assertEquals(groups.length, expected.length);
      for (const [at, { lr, initialLr }] of groups.entries()) {
        const where = `in group ${at} after act ${i}, ${JSON.stringify(act)}`;
        assertClose(lr, expected[at], exact, where);
        const base = initialLrs[at] ?? added[at - lrs.length] ?? null;
        if (base !== null) assertClose(initialLr, base, exact, `initially ${where}`);
      }
      const saved = run.optimizer.stateDict().param_groups.map((group) => "initial_lr" in group);
      assertEquals(saved, initialLrs.map((base) => base !== null));
    }
  });
}
