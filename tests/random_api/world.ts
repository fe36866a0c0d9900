/** One backend's half of a case: parameters, optimizers that step them, and what is known of them. */

import { GradScaler, SGD, WeightAverage } from "@descent/sgd";
import type { BackendName, HostArray, SGDOptions, SparseGrad } from "@descent/sgd";
import { isArray, KINDS, Memory, someLength } from "./arrays.ts";
import type { Kind } from "./arrays.ts";
import { hostile } from "./hostile.ts";
import { someGroup, someRounding } from "./options.ts";
import type { Random } from "./random.ts";

/** A parameter as cases have it: anything may be in it. */
export interface Any {
  data: HostArray;
  grad: HostArray | SparseGrad | null;
  name?: string;
  shape?: readonly number[];
}

/** A parameter, and what its arrays were to be like. */
export interface Member {
  readonly parameter: Any;
  kind: Kind;
  length: number;
}

/** What operations work on. */
export interface World {
  readonly backend: BackendName;
  readonly memory: Memory;
  readonly members: Member[];
  readonly optimizers: SGD[];
  readonly averages: WeightAverage[];
  readonly scaler: GradScaler;
  /** What was tried within an operation, and how it went. */
  readonly notes: unknown[];
  /** Whether hostile code has run within the operation: it may have changed anything itself. */
  disturbed: boolean;
}

/** A member whose arrays are good; sometimes it has no gradient yet. */
export function makeMember(memory: Memory, random: Random, name: string): Member {
  const kind = random.weighted(KINDS);
  const length = someLength(random);
  const parameter: Any = {
    data: memory.make(random, kind, length),
    grad: random.chance(0.85) ? memory.make(random, kind, length) : null,
  };
  if (random.chance(0.7)) parameter.name = name;
  const columns = [2, 3, 5].find((columns) => length > 0 && length % columns === 0);
  if (columns !== undefined && random.chance(0.5)) parameter.shape = [length / columns, columns];
  return { parameter, kind, length };
}

/** Makes the same world for every backend, given a stream with the same seed. */
export function makeWorld(random: Random, backend: BackendName): World {
  const exact = random.chance(0.8);
  const memory = new Memory(exact);
  const members = Array.from(
    { length: random.int(1, 6) },
    (_, i) => makeMember(memory, random, `p${i}`),
  );
  const optimizers = [makeOptimizer(random, exact, backend, members)];
  // Another one steps some of the same parameters, with a state of its own.
  if (random.chance(0.3)) {
    const some = members.filter(() => random.chance(0.6));
    if (some.length > 0) optimizers.push(makeOptimizer(random, exact, backend, some));
  }
  const scaler = new GradScaler({ initScale: 2 ** random.int(0, 8), growthInterval: 2 });
  return {
    backend,
    memory,
    members,
    optimizers,
    averages: random.chance(0.4) ? [makeAverage(random, backend, members)] : [],
    scaler,
    notes: [],
    disturbed: false,
  };
}

function makeOptimizer(
  random: Random,
  exact: boolean,
  backend: BackendName,
  members: readonly Member[],
): SGD {
  const options: SGDOptions = { ...someGroup(random, exact), lr: 0.25, ...someRounding(random) };
  if (random.chance(0.1)) Object.assign(options, { differentiable: true, recordSteps: 3 });
  const parameters = members.map(({ parameter }) => parameter);
  const cut = random.int(1, parameters.length);
  const params = random.chance(0.5) ? parameters : [
    { params: parameters.slice(0, cut), ...someGroup(random, exact) },
    ...(cut < parameters.length ? [{ params: parameters.slice(cut) }] : []),
  ];
  try {
    return new SGD(params as [], { ...options, backend });
  } catch {
    return new SGD(parameters as [], { ...options, backend }); // options of groups do not always fit
  }
}

/** A gradient for a member: usually a good one. */
export function someGrad(world: World, random: Random, member: Member): Any["grad"] {
  const { memory } = world;
  const { kind, length, parameter: { shape } } = member;
  if (random.chance(0.1)) return null;
  if (random.chance(0.15)) return hostileFor(world, random, member);
  if (shape?.length === 2 && kind.bytes > 2 && random.chance(0.5)) {
    return sparseGrad(world, random, member, shape as [number, number]);
  }
  if (random.chance(0.1)) {
    const twin = world.members.find((other) => other.kind === kind && other.length === length);
    if (twin !== undefined) return valueOf(twin.parameter, "grad") as HostArray | null;
  }
  return memory.make(random, kind, length);
}

/** A hostile array for a member. */
export function hostileFor(world: World, random: Random, { kind, length }: Member): HostArray {
  const other = valueOf(random.pick(world.members).parameter, random.pick(["data", "grad"]));
  return hostile({
    ...{ random, memory: world.memory, kind, length },
    other: isArray(other) ? other : null,
  });
}

/** A property without calling its getter. */
export function valueOf(parameter: object, name: string): unknown {
  return Object.getOwnPropertyDescriptor(parameter, name)?.value;
}

function sparseGrad(
  world: World,
  random: Random,
  { kind }: Member,
  shape: readonly [number, number],
): SparseGrad {
  const [rows, columns] = shape;
  const count = random.int(0, 2 * rows > 12 ? 12 : 2 * rows);
  const isWrong = random.chance(0.05);
  const list = Array.from({ length: count }, () => random.int(0, isWrong ? rows : rows - 1));
  const indices = random.pick([
    () => Int32Array.from(list),
    () => Uint32Array.from(list),
    () => BigInt64Array.from(list, BigInt),
  ])();
  const member = { kind, length: count * columns };
  const values = random.chance(0.06)
    ? hostileFor(world, random, member as Member)
    : world.memory.make(random, kind, count * columns);
  return { indices, values: values as Float32Array, shape };
}

/** An average of some parameters. In float64 the backends agree where products are exact. */
export function makeAverage(
  random: Random,
  backend: BackendName,
  members: readonly Member[],
): WeightAverage {
  const params = members.map(({ parameter }) => parameter);
  if (random.chance(0.3)) params.pop();
  if (params.length === 0) params.push(members[0].parameter);
  return new WeightAverage(params, { decay: random.pick([0.5, "mean"] as const), backend });
}
