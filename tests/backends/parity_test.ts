/**
 * Every golden trajectory on every backend, through the class and through the function, for every
 * value of foreach.
 *
 * `cpu` has to give torch's bits. So has `js` for float32. For float64, `js` rounds the products that
 * torch does not round: it has to stay within `tolerance` of torch.
 */

import { assertEquals } from "@std/assert";
import { SGD, sgd } from "@descent/sgd";
import type { BackendName, FloatArray, GroupOptions, Parameter } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { digest, fromHex, input, samples, toHex, trajectories } from "../support/golden.ts";
import type { Result, Trajectory } from "../support/golden.ts";
import { guarded } from "../support/guarded.ts";
import type { Guarded } from "../support/guarded.ts";

type Foreach = boolean | null;

/** The tensors of a trajectory on the way. */
interface Run {
  readonly data: readonly Guarded[];
  /** A buffer that does not exist yet is null. */
  buffers(): (FloatArray | null)[];
  step(n: number, grads: readonly (FloatArray | null)[]): void;
}

type Start = (t: Trajectory, backend: BackendName, foreach: Foreach) => Run;

const startData = (t: Trajectory) => t.tensors.map((_, i) => guarded(inputOnce(t, i, 0)!, i % 5));

const withClass: Start = (t, backend, foreach) => {
  const data = startData(t);
  const params = data.map(({ array }): Parameter => ({ data: array, grad: null }));
  const group = ({ options, tensors }: Trajectory["groups"][number]) => ({
    ...options,
    params: tensors.map((i) => params[i]),
  });
  const joins = (n: number) => t.groups.filter(({ from = 1 }) => from === n).map(group);
  const optimizer = new SGD(joins(1), { lr: 1, foreach, backend });
  return {
    data,
    buffers: () => params.map((p) => optimizer.state.get(p)?.momentumBuffer ?? null),
    step(n, grads) {
      if (n > 1) joins(n).forEach((added) => optimizer.addParamGroup(added));
      for (const { before, group, options } of t.changes ?? []) {
        if (before === n) Object.assign(optimizer.paramGroups[group], options);
      }
      params.forEach((p, i) => p.grad = grads[i]);
      optimizer.step();
    },
  };
};

const OFF = {
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  maximize: false,
  sign: false,
};

const withFunction: Start = (t, backend, foreach) => {
  const data = startData(t);
  const buffers: (FloatArray | null)[] = data.map(() => null);
  const options = t.groups.map(({ options }) => ({ ...options } as GroupOptions & { lr: number }));
  return {
    data,
    buffers: () => buffers,
    step(n, grads) {
      for (const change of t.changes ?? []) {
        if (change.before === n) Object.assign(options[change.group], change.options);
      }
      t.groups.forEach(({ tensors, from = 1 }, g) => {
        if (n < from) return;
        const pick = <T>(list: readonly T[]) => tensors.map((i) => list[i]);
        const own = pick(buffers);
        const params = pick(data).map(({ array }) => array);
        sgd(params, pick(grads), own, { ...OFF, ...options[g], foreach, backend });
        tensors.forEach((i, k) => buffers[i] = own[k]);
      });
    },
  };
};

/** The inputs of the current trajectory, which several runs share. */
let shared: { t: Trajectory | null; inputs: Map<string, FloatArray | null> };
function inputOnce(t: Trajectory, tensor: number, step: number): FloatArray | null {
  if (shared?.t !== t) shared = { t, inputs: new Map() };
  const key = `${tensor} ${step}`;
  let array = shared.inputs.get(key);
  if (array === undefined) shared.inputs.set(key, array = input(t, tensor, step));
  return array;
}

/** The elements that a trajectory's results show. */
function shown(t: Trajectory, tensor: number, array: FloatArray): FloatArray {
  return typeof t.results[tensor].data === "string" ? array : samples(array);
}

/** For each element that is shown the largest finite magnitude that has gone into its sums. */
class Scale {
  readonly of: readonly FloatArray[];

  constructor(readonly t: Trajectory) {
    const data = t.tensors.map((_, i) => inputOnce(t, i, 0)!);
    this.of = data.map((array, i) => shown(t, i, array).map(() => 0) as FloatArray);
    data.forEach((array, i) => this.include(i, array));
  }

  include(tensor: number, array: FloatArray | null): void {
    if (array === null) return;
    const most = this.of[tensor];
    shown(this.t, tensor, array).forEach((x, i) => {
      if (Math.abs(x) > most[i] && Math.abs(x) < Infinity) most[i] = Math.abs(x);
    });
  }
}

/**
 * How far a rounding too many may lead: so many units in the last place of float64, of the
 * largest value that went into an element's sums, or of the subnormals. The worst of these trajectories needs 3.4.
 */
function tolerance(scale: number): number {
  return 8 * (2 ** -52 * scale + 2 ** -1074);
}

function assertClose(actual: FloatArray, golden: FloatArray, scale: FloatArray) {
  actual.forEach((x, i) => {
    const close = Object.is(x, golden[i]) || Math.abs(x - golden[i]) <= tolerance(scale[i]);
    if (!close) assertEquals(x, golden[i], `element ${i} is too far from torch's`);
  });
}

function assertBits(actual: FloatArray, golden: Result): void {
  if (typeof golden === "string") return assertEquals(toHex(actual), golden);
  assertEquals(toHex(samples(actual)), golden.samples, "the samples differ");
  assertEquals(digest([actual]), golden.digest, "the samples are equal, but not the digest");
}

function isExact(t: Trajectory, backend: BackendName): boolean {
  return backend === "cpu" || t.dtype === "float32";
}

function assertArray(
  t: Trajectory,
  actual: FloatArray | null,
  golden: Result | null,
  scale: FloatArray | null,
): void {
  if (golden === null || actual === null) assertEquals(actual, golden);
  else if (scale === null) assertBits(actual, golden);
  else {
    const bits = typeof golden === "string" ? golden : golden.samples;
    const few = typeof golden === "string" ? actual : samples(actual);
    assertClose(few, fromHex(t.dtype, bits), scale);
  }
}

function assertResults(t: Trajectory, run: Run, scale: Scale | null): void {
  const buffers = run.buffers();
  t.results.forEach(({ data, buffer }, i) => {
    assertArray(t, run.data[i].array, data, scale && scale.of[i]);
    assertArray(t, buffers[i], buffer, scale && scale.of[i]);
  });
}

/** Takes all steps and returns the first after which the bits were not torch's. */
function takeSteps(t: Trajectory, run: Run, scale: Scale | null): number | undefined {
  let wrong: number | undefined;
  for (let n = 1; n <= t.steps; n++) {
    const grads = t.tensors.map((_, i) => inputOnce(t, i, n));
    const before = t.digests && digest(present(grads));
    run.step(n, grads);
    assertEquals(t.digests && digest(present(grads)), before, "a gradient was written");
    const arrays = [run.data.map(({ array }) => array), run.buffers()];
    arrays.concat(scale ? [grads] : []).forEach((list) => {
      list.forEach((array, i) => scale?.include(i, array));
    });
    const all = t.tensors.flatMap((_, i) => arrays.map((list) => list[i]));
    if (t.digests && digest(present(all)) !== t.digests[n - 1]) wrong ??= n;
  }
  return wrong;
}

const present = (arrays: readonly (FloatArray | null)[]) =>
  arrays.filter((array) => array !== null);

function assertParity(t: Trajectory, backend: BackendName, start: Start, foreach: Foreach): void {
  const run = start(t, backend, foreach);
  const scale = isExact(t, backend) ? null : new Scale(t);
  const wrong = takeSteps(t, run, scale);
  const context = wrong === undefined || scale ? "" : `from step ${wrong} on: `;
  try {
    assertResults(t, run, scale);
  } catch (error) {
    throw new Error(context + (error as Error).message, { cause: error });
  }
  assertEquals(context, "", "the last step is torch's, but not every step");
  assertEquals(run.data.filter((each) => !each.intact()), [], "written past the end of an array");
}

const families = [...new Set(trajectories.map(({ family }) => family))];

/** The largest take the class for two values of foreach and the function for the third. */
const isLarge = (t: Trajectory) => t.digests === undefined;
const values = (t: Trajectory, start: Start) =>
  !isLarge(t) ? [true, false, null] : start === withClass ? [true, false] : [null];

function testFamily(backend: BackendName, family: string): void {
  for (const t of trajectories.filter((each) => each.family === family)) {
    for (const start of [withClass, withFunction]) {
      for (const foreach of values(t, start)) {
        try {
          assertParity(t, backend, start, foreach);
        } catch (error) {
          const how = `${t.case}, ${start.name}, foreach ${foreach}`;
          throw new Error(`${how}: ${(error as Error).message}`, { cause: error });
        }
      }
    }
  }
}

for (const family of families) {
  testOnBackends(`torch's numbers: ${family}`, (backend) => testFamily(backend, family));
}
