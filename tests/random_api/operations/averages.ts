/** Averages of weights apart from steps. */

import type { WeightAverage } from "@descent/sgd";
import type { Random } from "../random.ts";
import { hostileFor, makeAverage } from "../world.ts";
import type { World } from "../world.ts";
import { repair } from "./arrays.ts";
import type { Operation } from "./operation.ts";

/** Does something with an average, if there is one. */
function withOne(use: (average: WeightAverage, random: Random, world: World) => unknown) {
  return (world: World, random: Random) => {
    const { averages } = world;
    return averages.length === 0 ? null : use(random.pick(averages), random, world);
  };
}

/** Makes an average, which may be refused. */
function create(world: World, random: Random): void {
  const { backend, members } = world;
  if (random.chance(0.1)) {
    const member = random.pick(members);
    Reflect.set(member.parameter, "data", hostileFor(world, random, member));
  }
  world.averages.push(makeAverage(random, backend, members));
}

/** The operations. */
export const averageOperations: readonly Operation[] = [
  { name: "new WeightAverage", weight: 4, atomic: true, run: create },
  {
    name: "average.update",
    weight: 2,
    atomic: true,
    run: withOne((average) => average.update()),
  },
  {
    name: "average.swap",
    weight: 2,
    atomic: true,
    run: withOne((average) => average.swap()),
  },
  {
    name: "average.applied",
    weight: 1,
    run: withOne((average, random, world) => {
      using _ = average.applied();
      if (random.chance(0.3)) { for (const member of world.members) repair(world, random, member); }
      return world.optimizers[0].lastStep;
    }),
  },
  {
    name: "average.loadStateDict",
    weight: 1,
    atomic: true,
    run: withOne((average, random, { averages }) => {
      average.loadStateDict(random.pick(averages).stateDict());
    }),
  },
];
