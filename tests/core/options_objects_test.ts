/** What is given in place of an object with options. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { GradScaler, loadState, saveState, SGD } from "@descent/sgd";
import { installKernels } from "@descent/sgd/install";
import { cosineAnnealingLR } from "@descent/sgd/schedules";

const params = () => [{ data: new Float32Array(2), grad: new Float32Array(2) }];

const optimizer = new SGD(params(), { lr: 0.1 });

/** Calls that take options last. */
const CALLS: Readonly<Record<string, (options: object) => unknown>> = {
  "new SGD": (options) => new SGD(params(), options as { lr: number }),
  "new GradScaler": (options) => new GradScaler(options),
  cosineAnnealingLR: (options) => cosineAnnealingLR(options as { tMax: 1 }),
  step: (options) => optimizer.step(options),
  stepAsync: (options) => optimizer.stepAsync(options),
  stateDict: (options) => optimizer.stateDict(options),
  stateDictAsync: (options) => optimizer.stateDictAsync(options),
  loadStateDict: (options) => optimizer.loadStateDict(optimizer.stateDict(), options),
  loadState: (options) => loadState("no-such-file", options),
  saveState: (options) => saveState("no-such-folder/file", optimizer, options),
  installKernels: (options) => installKernels(options),
};

/** What has no option, and no key that would be refused. */
const OTHERS: readonly (readonly [string, object])[] = [
  ["Map", new Map()],
  ["Promise", Promise.resolve({})],
  ["GradScaler", new GradScaler()],
];

for (const [name, call] of Object.entries(CALLS)) {
  for (const [kind, other] of OTHERS) {
    Deno.test(`${name} refuses a ${kind} in place of options`, async () => {
      const error = await assertRejects(async () => await call(other), TypeError);
      const reason = `they must be a plain object: current value is of type ${kind}`;
      assertEquals(error.message, `Cannot read the options as ${reason}`);
    });
  }
}

Deno.test("loadState refuses an optimizer in place of options, and what is not an object", async () => {
  for (const [other, shown] of [[optimizer, "of type SGD"], [null, "null"], [5, "5"]] as const) {
    const error = await assertRejects(() => loadState("no-such-file", other as object), TypeError);
    const kind = other === optimizer ? "a plain object" : "an object";
    const reason = `they must be ${kind}: current value is ${shown}`;
    assertEquals(error.message, `Cannot read the options as ${reason}`);
  }
});

Deno.test("options may be an instance of a class that has them as its own, and not inherited", () => {
  class Rule {
    lr = 0.25;
  }
  const { paramGroups: [group] } = new SGD(params(), new Rule());
  assertEquals(group.lr, 0.25);
  class Inherited extends Rule {
    get momentum() {
      return 0.5;
    }
  }
  assertThrows(() => new SGD(params(), new Inherited()), TypeError, "must be a plain object");
});
