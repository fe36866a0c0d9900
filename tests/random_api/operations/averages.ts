/** Averages of weights apart from steps. */

import { WeightAverage } from "@descent/sgd";
import type { Random } from "../random.ts";
import { hostileFor } from "../world.ts";
import type { World } from "../world.ts";
import { repair } from "./arrays.ts";
import type { Operation } from "./operation.ts";

function pick(world: World, random: Random): WeightAverage {
  if (world.averages.length === 0 || random.chance(0.2)) create(world, random);
  return random.pick(world.averages);
}

/** Makes an average of some parameters, which may be refused. */
function create(world: World, random: Random): void {
  const { backend, members } = world;
  const some = members.filter(() => random.chance(0.8));
  if (random.chance(0.1)) {
    const member = random.pick(members);
    member.parameter.data = hostileFor(world, random, member);
  }
  const params = some.map(({ parameter }) => parameter);
  if (random.chance(0.05)) params.push(...params);
  // The backends agree in float64 where products are exact.
  const decay = random.pick([0.5, "mean"] as const);
  world.averages.push(new WeightAverage(params, { decay, backend }));
}

/** The operations. */
export const averageOperations: readonly Operation[] = [
  { name: "new WeightAverage", weight: 2, atomic: true, run: create },
  {
    name: "average.update",
    weight: 2,
    atomic: true,
    run: (world, random) => pick(world, random).update(),
  },
  {
    name: "average.swap",
    weight: 2,
    atomic: true,
    run: (world, random) => pick(world, random).swap(),
  },
  {
    name: "average.applied",
    weight: 1,
    run(world, random) {
      using _ = pick(world, random).applied();
      if (random.chance(0.3)) for (const member of world.members) repair(world, random, member);
      return world.optimizers[0].lastStep;
    },
  },
  {
    name: "average.loadStateDict",
    weight: 1,
    atomic: true,
    run(world, random) {
      const [one, other] = [pick(world, random), pick(world, random)];
      one.loadStateDict(other.stateDict());
    },
  },
];
