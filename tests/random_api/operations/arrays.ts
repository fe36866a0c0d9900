/** Changes of what a step reads and writes: gradients, data, and properties that do something. */

import type { HostArray } from "@descent/sgd";
import { honest, isArray, KINDS, someLength, trueBuffer, trueLength, typeOf } from "../arrays.ts";
import { hostile, takeAway, trap } from "../hostile.ts";
import { hostileFor, someGrad, valueOf } from "../world.ts";
import type { Any, Member, World } from "../world.ts";
import type { Random } from "../random.ts";
import { someStepOptions } from "../options.ts";
import { attempt, Mischief } from "./operation.ts";
import type { Operation } from "./operation.ts";

function refill(world: World, random: Random): void {
  for (const { parameter, kind } of world.members) {
    const grad = valueOf(parameter, "grad");
    if (!isArray(grad) || trueLength(grad) === 0 || typeOf(grad) !== `${kind.name}array`) continue;
    world.memory.fill(random, kind, honest(grad, kind));
  }
}

/** Puts good arrays wherever something else was. */
export function repair(world: World, random: Random, member: Member): void {
  const { kind, length, parameter } = member;
  const { memory } = world;
  for (const name of ["data", "grad"] as const) {
    const value = memory.make(random, kind, length);
    const about = Object.getOwnPropertyDescriptor(parameter, name)!;
    if (!about.configurable) continue; // frozen
    Object.defineProperty(parameter, name, {
      ...{ value, writable: true, configurable: true, enumerable: true },
    });
  }
}

function set(parameter: Any, name: "data" | "grad", value: unknown): void {
  if (!Reflect.set(parameter, name, value)) return; // a frozen one stays as it is
}

function replaceData(world: World, random: Random): void {
  const member = random.pick(world.members);
  if (random.chance(0.4)) return set(member.parameter, "data", hostileFor(world, random, member));
  if (random.chance(0.3)) member.length = someLength(random);
  if (random.chance(0.2)) member.kind = random.weighted(KINDS);
  const { kind, length } = member;
  set(member.parameter, "data", world.memory.make(random, kind, length));
  if (random.chance(0.8)) set(member.parameter, "grad", world.memory.make(random, kind, length));
}

function detach(world: World, random: Random): void {
  const { parameter } = random.pick(world.members);
  const array = valueOf(parameter, random.pick(["data", "grad"]));
  if (isArray(array)) world.notes.push(takeAway(trueBuffer(array)));
}

/** What a getter of a parameter does. */
const ACTS: readonly ((world: World, random: Random, member: Member) => unknown)[] = [
  () => {
    throw new Mischief("thrown by a getter");
  },
  (world, random) => detach(world, random),
  (world, random, member) => hostileFor(world, random, member),
  (world, random, member) => someGrad(world, random, member),
  (world, random, { kind, length }) => world.memory.make(random, kind, length),
  (world, random) => void replaceData(world, random),
  (world) => void attempt(world, "a step in a getter", () => world.optimizers[0].step()),
  (world) => void attempt(world, "zeroGrad in a getter", () => world.optimizers[0].zeroGrad()),
  (world) => void attempt(world, "state in a getter", () => world.optimizers[0].stateDict()),
  (world) => void attempt(world, "state in a getter", () => world.optimizers[0].state.size),
  (world, random) =>
    void attempt(world, "a group in a getter", () => {
      const data = world.memory.make(random, KINDS[0], 3);
      world.optimizers[0].addParamGroup({ params: [{ data, grad: null } as never] });
    }),
  (world, random) => {
    const options = someStepOptions(random);
    attempt(world, "another step in a getter", () => world.optimizers.at(-1)!.step(options));
  },
];

function layTrap(world: World, random: Random): void {
  const member = random.pick(world.members);
  const act = random.pick(ACTS);
  const choices = random; // what the act chooses comes from the stream of this operation
  const name = random.pick(["data", "grad", "grad", "name", "shape"]);
  if (Object.isFrozen(member.parameter)) return;
  trap(world.memory, member.parameter, name, random, () => {
    world.disturbed = true;
    const other = act(world, choices, member);
    return name === "data" || name === "grad" ? other : undefined;
  });
}

function freeze(world: World, random: Random): void {
  Object.freeze(random.pick(world.members).parameter);
}

function share(world: World, random: Random): void {
  const [one, other] = [random.pick(world.members), random.pick(world.members)];
  if (one.kind !== other.kind) return;
  const kind = one.kind;
  const whole = world.memory.make(random, kind, one.length + other.length);
  const views: HostArray[] = [whole.subarray(0, one.length), whole.subarray(one.length)];
  if (random.chance(0.3)) views[1] = whole.subarray(one.length - 1, one.length - 1 + other.length);
  const name = random.pick(["data", "grad"] as const);
  for (const [i, { parameter }] of [one, other].entries()) set(parameter, name, views[i]);
}

/** The changes. */
export const arrayOperations: readonly Operation[] = [
  { name: "new values in gradients", weight: 6, run: refill },
  {
    name: "another gradient",
    weight: 8,
    run(world, random) {
      const member = random.pick(world.members);
      set(member.parameter, "grad", someGrad(world, random, member));
    },
  },
  {
    name: "all parameters mended",
    weight: 4,
    run(world, random) {
      for (const member of world.members) repair(world, random, member);
    },
  },
  { name: "other data", weight: 3, run: replaceData },
  { name: "an array detached", weight: 2, run: detach },
  { name: "a getter that acts", weight: 3, run: layTrap },
  { name: "a frozen parameter", weight: 0.5, run: freeze },
  { name: "arrays on one buffer", weight: 2, run: share },
  {
    name: "a buffer resized",
    weight: 1,
    run(world, random) {
      const member = random.pick(world.members);
      const { memory } = world;
      const { kind, length } = member;
      const array = hostile({ ...{ random, memory, kind, length }, other: null });
      set(member.parameter, "grad", array);
      const buffer = isArray(array) ? trueBuffer(array) : null;
      if (buffer?.resizable) buffer.resize(random.pick([0, buffer.byteLength >> 1]));
    },
  },
];
