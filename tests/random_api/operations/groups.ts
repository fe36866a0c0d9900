/** Groups that are removed, parameters that move, and state that is reset. */

import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import type { Operation } from "./operation.ts";

function remove({ optimizers }: World, random: Random): unknown {
  const optimizer = random.pick(optimizers);
  optimizer.removeParamGroup(random.int(0, optimizer.paramGroups.length));
  return optimizer.paramGroups.map(({ params }) => params.length);
}

function move({ members, optimizers }: World, random: Random): unknown {
  const optimizer = random.pick(optimizers);
  const { parameter } = random.pick(members);
  const { paramGroups } = optimizer;
  const index = random.int(0, paramGroups.length);
  const toGroup = random.chance(0.5) ? index : paramGroups[index] ?? paramGroups[0];
  optimizer.moveParameter(parameter as never, toGroup);
  return optimizer.paramGroups.map(({ params }) => params.length);
}

/** What is done with groups. */
export const groupOperations: readonly Operation[] = [
  { name: "removeParamGroup", weight: 0.7, atomic: true, run: remove },
  { name: "moveParameter", weight: 3, atomic: true, run: move },
  {
    name: "resetState",
    weight: 1,
    atomic: true,
    run: ({ optimizers }, random) => random.pick(optimizers).resetState(),
  },
];
