/** State: read, assigned, taken, loaded, encoded, saved; schedules. */

import { decodeStateDict, encodeStateDict, loadState, saveState, SGD } from "@descent/sgd";
import { cosineAnnealingLR, exponentialLR, LRScheduler, stepLR } from "@descent/sgd/schedules";
import type { HostArray, StateDict } from "@descent/sgd";
import { isArray, KINDS, trueLength } from "../arrays.ts";
import type { Kind } from "../arrays.ts";
import { hostile, takeAway } from "../hostile.ts";
import { someGroup } from "../options.ts";
import type { Random } from "../random.ts";
import type { Member, World } from "../world.ts";
import { attempt } from "./operation.ts";
import type { Operation } from "./operation.ts";

/** An entry of an optimizer's state, as something may be assigned to it. */
interface Entry {
  momentumBuffer: unknown;
  masterWeight: unknown;
}

/**
 * A hostile array that shares no memory with others: state is compared by its values, and backends may
 * differ in the payload of a NaN, which an array of another dtype on the same memory would show.
 */
function hostileAlone({ memory }: World, random: Random, { kind, length }: Member): HostArray {
  return hostile({ ...{ random, memory, kind, length }, other: null });
}

function assign(world: World, random: Random): void {
  const { memory, members, optimizers } = world;
  const states = [...random.pick(optimizers).state.values()] as unknown as Entry[];
  const entry = random.pick(states);
  const name = random.pick(["momentumBuffer", "momentumBuffer", "masterWeight"] as const);
  const member = random.pick(members);
  const kind = random.chance(0.7) ? KINDS[0] : random.weighted(KINDS);
  entry[name] = random.pick<() => unknown>([
    () => null,
    () => hostileAlone(world, random, { ...member, kind: KINDS[0] }),
    () => memory.make(random, kind, member.length),
    () => copyOf(world, random, entry[name]),
    () => copyOf(world, random, entry[name]),
    () => random.pick(states)[name],
  ])();
}

/** Memory of its own for what is there; sometimes it goes away at once. */
function copyOf(world: World, random: Random, array: unknown): unknown {
  if (!isArray(array) || trueLength(array) === 0) return array;
  const kind = KINDS.find(({ own }) => own(0).constructor === array.constructor);
  if (kind === undefined) return array;
  const copy = world.memory.make(random, kind as Kind, trueLength(array));
  copy.set(array);
  if (random.chance(0.2)) takeAway(copy.buffer);
  return copy;
}

/** A dict with something in it that may not fit. */
function spoiled(world: World, random: Random, dict: StateDict): StateDict {
  const key = random.pick([...Object.keys(dict.state), "0", "7"]);
  const member = random.pick(world.members);
  const group = random.pick(dict.param_groups);
  random.pick<() => unknown>([
    () => dict.state[key] = { momentum_buffer: hostileAlone(world, random, member) },
    () => dict.state[key] = { momentum_buffer: null },
    () => dict.state[key] = { master_weight: hostileAlone(world, random, member) as Float32Array },
    () => delete dict.state[key],
    () => group.lr = random.pick([-1, NaN, 0.5]),
    () => group.params = [...group.params, 0],
    () => group.param_names = group.params.map((i) => `q${i}`),
    () => dict.param_groups.push({ ...group, params: [] }),
    () => dict.param_groups.reverse(),
    () => dict.parameters = { [key]: { data: hostileAlone(world, random, member) } },
  ])();
  return dict;
}

function load(world: World, random: Random): unknown {
  const from = random.pick(world.optimizers);
  const to = random.chance(0.8) ? from : random.pick(world.optimizers);
  const dict = from.stateDict({ parameters: random.chance(0.4) });
  const given = random.chance(0.4) ? spoiled(world, random, dict) : dict;
  const bytes = random.chance(0.5);
  const read = bytes ? decodeStateDict(encodeStateDict(given)) : given;
  return to.loadStateDict(read, {
    strict: random.chance(0.6),
    parameters: random.chance(0.3),
  });
}

function loadElsewhere(world: World, random: Random): unknown {
  const { backend, members } = world;
  const dict = world.optimizers[0].stateDict();
  const params = members.map(({ parameter }) => parameter);
  const options = { lr: 1, ...someGroup(random, world.memory.exact), backend };
  const other = new SGD(params as [], options);
  const report = other.loadStateDict(dict, { strict: random.chance(0.5) });
  if (random.chance(0.5)) world.optimizers[world.optimizers.length - 1] = other;
  return report;
}

async function save(world: World, random: Random): Promise<unknown> {
  const { scaler, optimizers } = world;
  const optimizer = random.pick(optimizers);
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    const saving = saveState(path, optimizer, { parameters: random.chance(0.5), scaler });
    if (random.chance(0.2)) attempt(world, "a step while saving", () => optimizer.step());
    await saving;
    const dict = await loadState(path);
    return [dict.metadata, optimizer.loadStateDict(dict, { strict: false })];
  } finally {
    await Deno.remove(path);
  }
}

function schedule(world: World, random: Random): unknown {
  const gamma = 0.5;
  const scheduler = new LRScheduler(
    random.pick(world.optimizers),
    random.pick([
      exponentialLR({ gamma }),
      stepLR({ stepSize: 2, gamma }),
      ...(world.memory.exact ? [] : [cosineAnnealingLR({ tMax: 9 })]),
    ]),
    { warn: false },
  );
  for (let i = random.int(0, 2); i > 0; i--) scheduler.step();
  return scheduler.stateDict();
}

/** What is done with state. */
export const stateOperations: readonly Operation[] = [
  { name: "state", weight: 2, run: (world, random) => random.pick(world.optimizers).state.size },
  { name: "state assigned", weight: 3, run: assign },
  { name: "loadStateDict", weight: 5, atomic: true, run: load },
  { name: "loadStateDict elsewhere", weight: 1, atomic: true, run: loadElsewhere },
  { name: "saveState and loadState", weight: 0.15, run: save },
  { name: "LRScheduler", weight: 1, run: schedule },
];
