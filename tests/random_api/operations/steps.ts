/** Steps of all kinds, and what is done between and during them. */

import { clipGradNorm, clipGradValue, SGD } from "@descent/sgd";
import type { HostArray, StepOptions, StepReport } from "@descent/sgd";
import { isArray, KINDS, trueBuffer } from "../arrays.ts";
import { present, takeAway } from "../hostile.ts";
import { someAssignment, someGroup, someNormType, someStepOptions } from "../options.ts";
import type { Random } from "../random.ts";
import { hostileFor, makeMember, valueOf } from "../world.ts";
import type { World } from "../world.ts";
import { repair } from "./arrays.ts";
import { attempt, attemptAsync, Mischief } from "./operation.ts";
import type { Operation } from "./operation.ts";

/** What a closure may do before it returns. */
const CLOSURES: readonly ((world: World, random: Random) => unknown)[] = [
  () => 0.5,
  () => {
    throw new Mischief("thrown by the closure");
  },
  () => Promise.resolve(1),
  (world) => attempt(world, "a step in the closure", () => world.optimizers[0].step()) ?? 1,
  (world) => attempt(world, "zeroGrad in the closure", () => world.optimizers[0].zeroGrad()) ?? 2,
  (world, random) => {
    addGroup(world, random);
    return 3;
  },
];

function addGroup(world: World, random: Random): void {
  const { memory, members } = world;
  const member = makeMember(memory, random, `p${members.length}`);
  const params = [random.chance(0.85) ? member : random.pick(members)].map((member) =>
    member.parameter
  );
  if (random.chance(0.1)) member.parameter.data = hostileFor(world, random, member);
  const group = { params: params as [], ...someGroup(random, memory.exact) };
  if (random.chance(0.05)) Object.assign(group, { typo: 1 });
  random.pick(world.optimizers).addParamGroup(group);
  if (params[0] === member.parameter) members.push(member);
}

/** Options of a step of an optimizer, sometimes with gradients that it adds to its own, or an average. */
function optionsFor(world: World, random: Random, optimizer: SGD): StepOptions {
  const { averages } = world;
  const options = someStepOptions(random);
  if (averages.length > 0 && random.chance(0.5)) options.average = random.pick(averages);
  if (!random.chance(0.25)) return options;
  const lists = Array.from(
    { length: random.int(0, 3) },
    () => someGradients(world, random, optimizer),
  );
  return { ...options, addGradients: lists };
}

/** One list of gradients to add: usually a good one. */
function someGradients(world: World, random: Random, optimizer: SGD): (HostArray | null)[] {
  const params = optimizer.paramGroups.flatMap(({ params }) => [...params]);
  if (random.chance(0.03)) params.pop();
  return params.map((parameter) => {
    const member = world.members.find((own) => own.parameter === parameter as unknown);
    if (member === undefined || random.chance(0.3)) return null;
    if (random.chance(0.05)) return hostileFor(world, random, member);
    return world.memory.make(random, member.kind, member.length);
  });
}

/** What happens while an asynchronous step runs. */
const MEANWHILE: readonly {
  readonly name: string;
  readonly weight: number;
  readonly run: (world: World, random: Random) => unknown;
}[] = [
  { name: "nothing", weight: 4, run: () => {} },
  {
    name: "calls that are refused",
    weight: 4,
    run(world, random) {
      const optimizer = world.optimizers[0];
      const call = random.pick<() => unknown>([
        () => optimizer.step(),
        () => optimizer.zeroGrad(),
        () => optimizer.stateDict(),
        () => optimizer.loadStateDict({ state: {}, param_groups: [] }),
        () => optimizer.addParamGroup({ params: [] }),
        () => optimizer.backward(new Map()),
      ]);
      attempt(world, "refused while a step runs", call);
    },
  },
  {
    name: "a hyperparameter",
    weight: 2,
    run(world, random) {
      const [name, value] = someAssignment(random, world.memory.exact);
      const group = random.pick(world.optimizers[0].paramGroups);
      attempt(world, "assigned while a step runs", () => Object.assign(group, { [name]: value }));
    },
  },
  {
    name: "another gradient",
    weight: 2,
    run(world, random) {
      const { parameter, kind, length } = random.pick(world.members);
      Reflect.set(parameter, "grad", world.memory.make(random, kind, length));
    },
  },
  {
    name: "state",
    weight: 1,
    run: (world) => void attempt(world, "state", () => world.optimizers[0].state.size),
  },
  {
    name: "clone",
    weight: 1,
    run: (world, random) => vanish(world, random, takeAway),
  },
  {
    name: "transfer",
    weight: 2,
    run: (world, random) =>
      vanish(world, random, (buffer) => {
        const size = random.pick([8, buffer.byteLength, 2 * buffer.byteLength]);
        (buffer as ArrayBuffer).transfer(size).slice(0, 8);
        return true;
      }),
  },
];

/** Takes the memory of a parameter's array, or of its momentum buffer, away. */
function vanish(world: World, random: Random, take: (buffer: ArrayBuffer) => boolean): void {
  const { parameter } = random.pick(world.members);
  const array = valueOf(parameter, random.pick(["data", "grad"]));
  if (!isArray(array)) return;
  attempt(world, "a buffer goes away", () => take(trueBuffer(array)));
}

/** Asynchronous steps of one optimizer or of all, and what else happens until they are settled. */
async function stepAsync(world: World, random: Random): Promise<unknown> {
  const { optimizers } = world;
  const stepping = random.chance(0.3) ? optimizers : [random.pick(optimizers)];
  const settled = stepping.map((optimizer) => {
    const options = random.chance(0.5) ? undefined : optionsFor(world, random, optimizer);
    return attemptAsync(world, "stepAsync", () => optimizer.stepAsync(options));
  });
  const meanwhile = random.weighted(present(MEANWHILE));
  meanwhile.run(world, random);
  const reports = await Promise.all(settled);
  if (["clone", "transfer"].includes(meanwhile.name)) {
    for (const member of world.members) repair(world, random, member);
  }
  return reports;
}

function step(world: World, random: Random): unknown {
  const optimizer = random.pick(world.optimizers);
  if (random.chance(0.5)) return optimizer.step();
  if (random.chance(0.7)) return optimizer.step(optionsFor(world, random, optimizer));
  world.disturbed = true; // by the closure
  const closure = random.pick(CLOSURES);
  const options = random.chance(0.5) ? optionsFor(world, random, optimizer) : undefined;
  return optimizer.step(() => closure(world, random), options);
}

function scaled(world: World, random: Random): unknown {
  const { scaler, optimizers } = world;
  const optimizer = random.pick(optimizers);
  const { gradScale: _, checkFinite: __, ...options } = optionsFor(world, random, optimizer);
  const report = scaler.step(optimizer, options);
  if (random.chance(0.9)) scaler.update();
  return [report, scaler.getScale(), scaler.scale(0.5)];
}

async function scaledAsync(world: World, random: Random): Promise<unknown> {
  const { scaler, optimizers } = world;
  const report: StepReport = await scaler.stepAsync(random.pick(optimizers), { maxNorm: 1 });
  scaler.update();
  return [report, scaler.stateDict()];
}

function unscaled(world: World, random: Random): unknown {
  const { scaler, optimizers } = world;
  const optimizer = random.pick(optimizers);
  scaler.unscale(optimizer);
  const report = random.chance(0.8) ? scaler.step(optimizer) : null;
  if (random.chance(0.9)) scaler.update();
  return [report, scaler.getScale()];
}

/** Parameters and arrays whose gradients are clipped. */
function someParams(world: World, random: Random): unknown[] {
  const { members, memory } = world;
  const list = members.filter(() => random.chance(0.7)).map(({ parameter }) => parameter);
  const arrays = Array.from({ length: random.int(0, 3) }, () => {
    return memory.make(random, random.weighted(KINDS), random.int(0, 70));
  });
  return random.pick<unknown[]>([list, list, arrays, [...list, ...arrays]]);
}

function clip(world: World, random: Random): number {
  const { backend } = world;
  const params = someParams(world, random);
  const maxNorm = random.pick([0, 0.5, 1, 1e3, Infinity, -1, NaN]);
  const errorIfNonfinite = random.chance(0.2);
  const normType = someNormType(random);
  return clipGradNorm(params as [], maxNorm, { errorIfNonfinite, normType, backend });
}

function clipValue(world: World, random: Random): void {
  const params = someParams(world, random);
  const maxValue = random.pick([0, 0.5, 1, 1e3, Infinity, -1, NaN]);
  clipGradValue(params as [], maxValue, { backend: world.backend });
}

/** The steps, and what belongs to them. */
export const stepOperations: readonly Operation[] = [
  { name: "step", weight: 14, atomic: true, run: step },
  { name: "stepAsync", weight: 8, run: stepAsync },
  { name: "GradScaler.step", weight: 3, atomic: true, run: scaled },
  { name: "GradScaler.stepAsync", weight: 1, run: scaledAsync },
  { name: "clipGradNorm", weight: 3, atomic: true, run: clip },
  { name: "clipGradValue", weight: 2, atomic: true, run: clipValue },
  { name: "GradScaler.unscale", weight: 2, run: unscaled },
  {
    name: "zeroGrad",
    weight: 3,
    atomic: true,
    run: (world, random) => {
      const options = random.pick([undefined, {}, { setToNull: true }, { typo: true } as object]);
      random.pick(world.optimizers).zeroGrad(options);
    },
  },
  { name: "addParamGroup", weight: 2, atomic: true, run: addGroup },
  {
    name: "a hyperparameter assigned",
    weight: 5,
    atomic: true,
    run(world, random) {
      const { paramGroups } = random.pick(world.optimizers);
      const [name, value] = someAssignment(random, world.memory.exact);
      Object.assign(random.pick(paramGroups), { [name]: value });
    },
  },
  {
    name: "new SGD",
    weight: 1,
    atomic: true,
    run(world, random) {
      const { backend, members } = world;
      const params = members.filter(() => random.chance(0.7)).map(({ parameter }) => parameter);
      if (random.chance(0.2)) params.push(random.pick(members).parameter);
      const options = { ...someGroup(random, world.memory.exact), backend };
      return new SGD(params as [], { lr: 0.5, ...options }).step();
    },
  },
];
