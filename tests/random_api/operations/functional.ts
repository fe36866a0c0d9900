/** The functional forms, and the way back through steps. */

import { sgd, sgdVjp } from "@descent/sgd";
import type { HostArray, SgdFunctionOptions } from "@descent/sgd";
import { isArray, KINDS, someLength, trueLength } from "../arrays.ts";
import type { Kind } from "../arrays.ts";
import { hostile, present } from "../hostile.ts";
import { someGroup } from "../options.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import { attempt, Mischief } from "./operation.ts";
import type { Operation } from "./operation.ts";

type Arrays = (HostArray | null)[];

/** Lists for one step. */
interface Lists {
  readonly kinds: Kind[];
  readonly lengths: number[];
  readonly params: HostArray[];
  readonly grads: Arrays;
  readonly buffers: Arrays;
}

function makeLists({ memory }: World, random: Random, kinds: readonly Kind[]): Lists {
  const count = random.int(1, 5);
  const chosen = Array.from({ length: count }, () => random.weighted(kinds));
  const lengths = chosen.map(() => someLength(random));
  const make = (i: number) => memory.make(random, chosen[i], lengths[i]);
  const params = lengths.map((_, i) => make(i));
  const grads = lengths.map((_, i) => random.chance(0.9) ? make(i) : null);
  const buffers = lengths.map((_, i) => {
    const kind = chosen[i].bytes === 2 ? KINDS[0] : chosen[i];
    return random.chance(0.5) ? memory.make(random, kind, lengths[i]) : null;
  });
  return { kinds: chosen, lengths, params, grads, buffers };
}

function makeOptions(world: World, random: Random): SgdFunctionOptions {
  const { backend, memory } = world;
  const required = { lr: 0.25, momentum: 0.5, dampening: 0, weightDecay: 0 };
  const flags = { nesterov: false, maximize: false };
  return { ...required, ...flags, ...someGroup(random, memory.exact), backend };
}

/** Puts something hostile into a list, or lets an entry do something when it is read. */
function spoil(world: World, random: Random, lists: Lists): void {
  const { memory } = world;
  const { kinds, lengths, params } = lists;
  const i = random.int(0, params.length - 1);
  const list = random.pick<(HostArray | null)[]>([params, lists.grads, lists.buffers]);
  const need = { random, memory, kind: kinds[i], length: lengths[i], other: params[0] };
  if (random.chance(0.6)) {
    list[i] = hostile(need);
    return;
  }
  const value = list[i];
  const { act } = random.pick(present<{ name: string; act: () => unknown }>([
    {
      name: "longer list",
      act() {
        for (let n = random.int(1, 2000); n > 0; n--) params.push(params[0]);
      },
    },
    { name: "shorter list", act: () => params.length = 0 },
    { name: "shorter list", act: () => lists.grads.length = 1 },
    { name: "other entry", act: () => lists.buffers[0] = hostile(need) },
    { name: "hostile entry", act: () => hostile(need) },
    {
      name: "throwing entry",
      act() {
        throw new Mischief("thrown by an entry");
      },
    },
  ]));
  let left = random.int(0, 3);
  Object.defineProperty(list, i, {
    get() {
      if (left-- !== 0) return value;
      world.disturbed = true;
      const other = act();
      return isArray(other) ? other : value;
    },
    set() {},
    configurable: true,
  });
}

function functional(world: World, random: Random): void {
  const lists = makeLists(world, random, KINDS);
  const options = makeOptions(world, random);
  if (random.chance(0.3)) {
    options.rounding = random.pick(["stochastic", "torch"]);
    options.counter = random.int(0, 9);
  }
  if (random.chance(0.3)) spoil(world, random, lists);
  const { params, grads, buffers } = lists;
  for (let i = random.int(1, 3); i > 0; i--) sgd(params as [], grads as [], buffers, options);
  if (world.disturbed) return;
  for (const [i, buffer] of buffers.entries()) {
    const isMade = isArray(buffer) && trueLength(buffer) === buffer.length;
    if (isMade) world.memory.watch(buffer, lists.kinds[i].bytes === 2 ? KINDS[0] : lists.kinds[i]);
  }
}

function vjp(world: World, random: Random): unknown {
  const { memory } = world;
  const wide = random.chance(0.95) ? KINDS.slice(0, 2) : KINDS;
  const lists = makeLists(world, random, wide);
  if (random.chance(0.2)) spoil(world, random, lists);
  const cotangentsOf = () =>
    lists.kinds.map((kind, i) =>
      random.chance(0.8) ? memory.make(random, kind, lists.lengths[i]) : null
    );
  const cotangents = { params: cotangentsOf(), momentumBuffers: cotangentsOf() };
  if (random.chance(0.5)) Reflect.deleteProperty(cotangents, "momentumBuffers");
  const { params, grads, buffers } = lists;
  const options = makeOptions(world, random);
  return sgdVjp(params as [], grads as [], buffers as [], cotangents as never, options);
}

function backward(world: World, random: Random): unknown {
  const optimizer = random.pick(world.optimizers);
  const cotangents = new Map(
    world.members.filter(() => random.chance(0.7)).map(({ parameter, kind, length }) => {
      return [parameter, world.memory.make(random, kind, length)];
    }),
  );
  const result = optimizer.backward(cotangents as never, {
    through({ params }) {
      if (random.chance(0.8)) return;
      attempt(world, "a step on the way back", () => optimizer.step());
      for (const { paramCotangent } of params.values()) paramCotangent.fill(0.5);
    },
  });
  const { params, momentumBuffers, groups, steps } = result;
  return [[...params.values()], [...momentumBuffers.values()], groups, steps];
}

/** What works on lists, and goes back. */
export const functionalOperations: readonly Operation[] = [
  { name: "sgd", weight: 5, run: functional },
  { name: "sgdVjp", weight: 4, atomic: true, run: vjp },
  { name: "backward", weight: 2, run: backward },
];
