/** Files of runs that keep their state in fewer bits. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BFloat16Array,
  CheckpointError,
  GradScaler,
  loadState,
  saveState,
  SGD,
} from "@descent/sgd";
import type { HostArray, Parameter, SaveStateOptions, SGDOptions, StateDict } from "@descent/sgd";
import { LRScheduler, stepLR } from "@descent/sgd/schedules";

const LENGTH = 4100;
const OPTIONS: Partial<SGDOptions>[] = [
  { momentumBits: 8, seed: 3 },
  { masterWeights: "split" },
  { masterWeights: "split24", seed: 4 },
  { momentumBits: 8, masterWeights: "split24", seed: 5 },
];

/** A run with a scaler and a scheduler. */
function start(options: Partial<SGDOptions>) {
  const params = [LENGTH, 3].map((length, i): Parameter<HostArray> => ({
    data: BFloat16Array.from(Array.from({ length }, (_, k) => Math.sin(k + i + 1))),
    grad: null,
    name: `w${i}`,
  }));
  const optimizer = new SGD<HostArray>(params, {
    ...{ lr: 0.1, momentum: 0.9, nesterov: true, backend: "js" },
    ...options,
  });
  const scaler = new GradScaler({ initScale: 1024, growthInterval: 3 });
  const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 2, gamma: 0.5 }), {
    warn: false,
  });
  return { params, optimizer, scaler, scheduler };
}

type Run = ReturnType<typeof start>;

/** Takes steps, of which number 3 has an infinite gradient and is skipped. */
function train({ params, optimizer, scaler, scheduler }: Run, from: number, to: number): void {
  for (let step = from; step < to; step++) {
    for (const parameter of params) {
      const values = (parameter.data as BFloat16Array).toFloat32Array();
      const scale = step === 3 ? Infinity : scaler.getScale();
      parameter.grad = BFloat16Array.from(values, (p, k) => scale * (p / 4 + Math.cos(k * step)));
    }
    scaler.step(optimizer);
    scaler.update();
    scheduler.step();
  }
}

function everything({ optimizer, scaler, scheduler }: Run) {
  return [
    optimizer.stateDict({ parameters: true }),
    scaler.stateDict(),
    scheduler.stateDict(),
  ];
}

async function throughFile(source: SGD<HostArray> | StateDict, options: SaveStateOptions = {}) {
  const path = await Deno.makeTempFile();
  try {
    await saveState(path, source, options);
    return await loadState(path);
  } finally {
    await Deno.remove(path);
  }
}

for (const options of OPTIONS) {
  Deno.test(`a run of ${JSON.stringify(options)} with a scaler and a scheduler goes on bit for bit`, async () => {
    for (const stop of [2, 4]) {
      const [parts, whole, resumed] = [
        start(options),
        start(options),
        start({ ...options, seed: 99 }),
      ];
      train(parts, 0, stop);
      const { scaler, scheduler } = parts;
      const dict = await throughFile(parts.optimizer, { parameters: true, scaler, scheduler });
      resumed.optimizer.loadStateDict(dict, { parameters: true });
      resumed.scaler.loadStateDict(dict.grad_scaler!);
      resumed.scheduler.loadStateDict(dict.lr_scheduler!);
      assertEquals(everything(resumed), everything(parts));
      train(resumed, stop, 8);
      train(whole, 0, 8);
      assertEquals(everything(resumed), everything(whole));
    }
  });
}

Deno.test("a run that lost its seed or its counter does not go on as it would have", async () => {
  const options = OPTIONS[0];
  const [whole, resumed] = [start(options), start({ ...options, seed: 99 })];
  train(whole, 0, 2);
  const { rounding: _, ...dict } = await throughFile(whole.optimizer, { parameters: true });
  resumed.optimizer.loadStateDict(dict, { parameters: true });
  for (const run of [whole, resumed]) train(run, 4, 8);
  const momentum = ({ optimizer }: Run) => optimizer.stateDict().state[0].momentum8;
  assert(String(momentum(resumed)) !== String(momentum(whole)));
});

Deno.test('saveState with momentum: "float32" writes what stateDict gives, also of a dict', async () => {
  const run = start({ momentumBits: 8, masterWeights: "split" });
  train(run, 0, 2);
  const { optimizer } = run;
  const expected = optimizer.stateDict({ parameters: true, momentum: "float32" });
  const options = { parameters: true, momentum: "float32" } as const;
  assertEquals(await throughFile(optimizer, options), expected);
  const stored = optimizer.stateDict({ parameters: true });
  assertEquals(await throughFile(stored, options), expected);
  assertEquals(await throughFile(stored), stored);
});

Deno.test("a file is loaded with convert in both directions", async () => {
  for (const [from, to] of [[{}, OPTIONS[0]], [OPTIONS[0], {}]]) {
    const [saved, loaded] = [start(from), start(to)];
    train(saved, 0, 2);
    const dict = await throughFile(saved.optimizer, { parameters: true });
    const load = (convert: boolean) =>
      loaded.optimizer.loadStateDict(dict, { parameters: true, convert });
    assertThrows(() => load(false), RangeError, "convert: true");
    load(true);
    train(loaded, 2, 4);
  }
});

Deno.test("loadState refuses a file with a scale that no step makes, and names the file", async () => {
  const run = start({ momentumBits: 8 });
  train(run, 0, 1);
  const path = await Deno.makeTempFile();
  await saveState(path, run.optimizer);
  const bytes = await Deno.readFile(path);
  bytes[bytes.length - 1] = 3; // the scales are the last tensor
  await Deno.writeFile(path, bytes);
  const error = await loadState(path).catch((error) => error);
  assert(error instanceof CheckpointError);
  assert(error.message.startsWith(`Cannot load ${path}: `), error.message);
  assert(error.message.includes("current value is 3 at 128"), error.message);
  await Deno.remove(path);
});

const REFUSED: [unknown, string][] = [
  [{ momentum: "float16" }, 'Cannot set momentum as it must be "stored" or "float32"'],
  [{ momenta: "float32" }, "momenta"],
];

for (const [options, message] of REFUSED) {
  Deno.test(`saveState refuses ${JSON.stringify(options)}, of an optimizer and of a dict`, async () => {
    const { optimizer } = start({});
    for (const source of [optimizer, optimizer.stateDict()]) {
      const error = await throughFile(source, options as SaveStateOptions).catch((e) => e);
      assert(error instanceof TypeError && error.message.includes(message), String(error));
    }
  });
}
