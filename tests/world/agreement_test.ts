/**
 * Whatever ranks do with an optimizer, all that it relies on is compared before: where it differs, all ranks
 * throw the same error, which says what differs, and nothing has changed on any of them.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { absence } from "../gpu/gpu.ts";
import { ENGINES, runJob, testOn } from "./jobs.ts";

/** What ranks do that differ, and what each of them says. */
interface Case {
  /** What comes before; every rank does it without an error. */
  readonly before?: string;
  readonly body: string;
  /** The message on both ranks, or on each. */
  readonly message: string | readonly [string, string];
}

const NO_ORDER = "ranks count optimizers in the order in which they make them";
const LOAD = "WorldError: Cannot load the state as the";
const ADD = "WorldError: Cannot add parameters as the";
const STEP = "WorldError: Cannot step as the";

/** `o` is an optimizer of `w` and `v`, `p` another one of the same shape; `dict` is a state dict of `o`. */
const CASES: Readonly<Record<string, Case>> = {
  "momentum that one rank's state dict lacks, without gradients": {
    body: "w.grad = v.grad = null; if (rank === 1) delete dict.state[1]; o.loadStateDict(dict);",
    message: `${LOAD} states differ between the ranks: ` +
      'momentum buffer of parameter 1 ("v") is there on rank 0 and null on rank 1',
  },
  "momentum that one rank's state dict lacks, where what fits is loaded": {
    body: "if (rank === 0) dict.state = {}; o.loadStateDict(dict, { strict: false });",
    message: `${LOAD} states differ between the ranks: ` +
      'momentum buffer of parameter 0 ("w") is null on rank 0 and there on rank 1',
  },
  "a correction that one rank's state dict lacks": {
    before: `const s = sgd([half(1)], { masterWeights: "split" }); s.step();
      dict = s.stateDict();`,
    body: "if (rank === 0) delete dict.state[0].correction; s.loadStateDict(dict);",
    message: `${LOAD} states differ between the ranks: ` +
      "correction of parameter 0 is null on rank 0 and there on rank 1",
  },
  "hyperparameters of state dicts": {
    body: `dict.param_groups[0].lr += rank; dict.parameters[0].data.fill(9);
      o.loadStateDict(dict, { parameters: true });`,
    message: `${LOAD} hyperparameters differ between the ranks: ` +
      "lr of group 0 is 1 on rank 0 and 2 on rank 1",
  },
  "a state dict that does not fit on one rank": {
    body: `dict.parameters[0].data.fill(9); if (rank === 1) dict.param_groups = [];
      o.loadStateDict(dict, { parameters: true });`,
    message: [
      "WorldError: Cannot load the state as rank 1 reports an error: " +
      "Cannot load the state dict as it must fit the optimizer:",
      "RangeError: Cannot load the state dict as it must fit the optimizer:",
    ],
  },
  "a load on one rank, where another rank has thrown before": {
    body: `if (rank === 1) throw world.barrier() ?? new Error("no file"); o.loadStateDict(dict);`,
    message: "WorldError: Cannot load the state as " +
      "rank 0 loads the state while rank 1 waits at a barrier",
  },
  "state that one rank has reset, in a step": {
    body: "if (rank === 1) o.resetState(); o.step();",
    message: `${STEP} states differ between the ranks: ` +
      'momentum buffer of parameter 0 ("w") is there on rank 0 and begins with this step on rank 1',
  },
  "state that one rank has reset, in a state dict of parts": {
    before: 'const s = sgd([make("w")], { exchange: "shards" }); s.step();',
    body: "if (rank === 0) s.resetState(); s.stateDict();",
    message: "WorldError: Cannot take the state as the states differ between the ranks: " +
      'momentum buffer of parameter 0 ("w") is null on rank 0 and there on rank 1',
  },
  "momentum that one rank has taken away": {
    body: "if (rank === 0) o.state.get(w).momentumBuffer = null; o.step();",
    message: `${STEP} states differ between the ranks: ` +
      'momentum buffer of parameter 0 ("w") begins with this step on rank 0 and is there on rank 1',
  },
  "gradients of other types": {
    before: "const b = half(1), s = sgd([b]);",
    body: "if (rank === 1) b.grad = new Float32Array(4); s.step();",
    message: `${STEP} gradients differ between the ranks: ` +
      "the type of grad of parameter 0 is bfloat16 on rank 0 and float32 on rank 1",
  },
  "master weights on one rank": {
    body: "sgd([half(1)], { masterWeights: rank === 0 });",
    message: `${ADD} options differ between the ranks: ` +
      "masterWeights is true on rank 0 and false on rank 1",
  },
  "roundings": {
    body: 'sgd([half(1)], { rounding: ["torch", "nearest"][rank] });',
    message: `${ADD} options differ between the ranks: ` +
      'rounding is "torch" on rank 0 and "nearest" on rank 1',
  },
  "bits of momentum": {
    body: 'sgd([make("w")], { momentumBits: [32, 8][rank] });',
    message: `${ADD} hyperparameters differ between the ranks: ` +
      "momentumBits of group 0 is 32 on rank 0 and 8 on rank 1",
  },
  "names": {
    body: 'sgd([make("ab"[rank])]);',
    message: `${ADD} parameters differ between the ranks: ` +
      'parameter 0 is called "a" on rank 0 and "b" on rank 1',
  },
  "a group that is added to other lengths": {
    body: "o.addParamGroup({ params: [{ data: new Float32Array(4 + rank), grad: null }] });",
    message: `${ADD} parameters differ between the ranks: ` +
      "parameter 2 has 4 elements on rank 0 and 5 on rank 1",
  },
  "a group on one rank, and an optimizer of the same shape on another": {
    body: `const x = make("x");
      rank === 0 ? o.addParamGroup({ params: [x] }) : sgd([{ params: [w, v] }, { params: [x] }]);`,
    message: `${ADD} optimizers differ between the ranks: ` +
      `rank 0 uses optimizer 1 and rank 1 uses optimizer N: ${NO_ORDER}`,
  },
  "steps of two optimizers of one shape, in another order": {
    body: "[o, p][rank].step();",
    message: `${STEP} optimizers differ between the ranks: ` +
      `rank 0 uses optimizer 1 and rank 1 uses optimizer 2: ${NO_ORDER}`,
  },
  "gradients of two optimizers of one shape that are unscaled": {
    body: "new GradScaler().unscale([p, o][rank]);",
    message:
      "WorldError: Cannot unscale the gradients as the optimizers differ between the ranks: " +
      `rank 0 uses optimizer 2 and rank 1 uses optimizer 1: ${NO_ORDER}`,
  },
  "state dicts of two optimizers of parts": {
    before: `const s = [3, 4].map((n) => sgd([make("w", n)], { exchange: "shards" }));`,
    body: "s[rank].stateDict();",
    message: "WorldError: Cannot take the state as the optimizers differ between the ranks: " +
      `rank 0 uses optimizer N and rank 1 uses optimizer N: ${NO_ORDER}`,
  },
  "groups that each rank removes": {
    before: "const s = sgd([[make('a')], [make('b')]].map((params) => ({ params })));",
    body: "s.removeParamGroup(rank); s.step();",
    message: `${STEP} parameters differ between the ranks: ` +
      'parameter 0 is called "b" on rank 0 and "a" on rank 1',
  },
  "parameters without names that each rank moves": {
    before: "const q = [1, 2].map(() => make()), s = sgd([{ params: q }, { params: [make()] }]);",
    body: "s.moveParameter(q[rank], 1); s.step();",
    message: `${STEP} parameters differ between the ranks: ` +
      "parameter 0 is the one that was added as number 2 on rank 0 and 1 on rank 1",
  },
  "options, where a name cannot be read": {
    before: `let fails = false;
      const q = { ...make(), get name() { if (fails) throw new Error("no name"); return "q"; } };
      const s = sgd([q]);`,
    body: "fails = rank === 1; s.step({ gradScale: 1 + rank });",
    message: `${STEP} options differ between the ranks: gradScale is 1 on rank 0 and 2 on rank 1`,
  },
};

const PROGRAM = `
import { BFloat16Array, GradScaler } from "@descent/sgd";
using world = openWorld();
const { rank } = world;
const make = (name, n = 4) => ({ name, data: new Float32Array(n), grad: new Float32Array(n).fill(1) });
const half = (n) => ({ data: new BFloat16Array(4).fill(n), grad: new BFloat16Array(4).fill(1) });
const sgd = (params, more = {}) => new SGD(params, { lr: 1, momentum: 0.5, world, ...more });
const [w, v] = [make("w"), make("v")];
const grads = [w.grad, v.grad];
const o = sgd([w, v]), p = sgd([make("w"), make("v")]);
o.step();
p.step();
let dict;
const text = () => [w.data[0], o.paramGroups.length, o.paramGroups[0].lr, o.stateDict().state[0]?.momentum_buffer[0]].join();
`;

const run = ({ before = "", body }: Case, name: string) => `
{
  [w.grad, v.grad] = grads;
  const saved = o.stateDict({ parameters: true });
  dict = structuredClone(saved);
  ${before}
  const was = text();
  let said = "nothing is thrown";
  try {
    ${body}
  } catch (error) {
    said = error.name + ": " + error.message.split("\\n")[0];
  }
  if (!/reset|taken away/.test(${JSON.stringify(name)}) && text() !== was) said += " " + text();
  say(said.replace(/optimizer (\\d+)/g, (own, number) => number > 2 ? "optimizer N" : own));
  o.loadStateDict(saved, { parameters: true });
  world.verify(o);
}`;

for (const engine of ENGINES) {
  testOn(engine, "what differs is named on all ranks, and nothing has changed", async () => {
    const blocks = Object.entries(CASES).map(([name, each]) => run(each, name));
    const ending = await runJob(engine, 2, PROGRAM + blocks.join("\n"));
    const expected = [0, 1].map((rank) =>
      Object.entries(CASES).map(([name, { message }]) =>
        `${name}: ${typeof message === "string" ? message : message[rank]}`
      )
    );
    const names = Object.keys(CASES);
    const said = ending.out.map((lines) =>
      lines.split("\n").map((line, i) => `${names[i]}: ${line}`)
    );
    assertEquals(said, expected, ending.err);
  });
}

/** What is done at the wrong time, or with the wrong tensors: each rank refuses it by itself. */
const REFUSALS: Readonly<Record<string, { body: string; message: string }>> = {
  "an optimizer of arrays that a step uses": {
    body: "await during(() => new SGD([w], { lr: 1, world }));",
    message: "Cannot use data of parameter 0 as a step that is running uses its memory: " +
      "await the promise of stepAsync first",
  },
  "a broadcast into an array that a step uses": {
    body: "await during(() => world.broadcast(w.data));",
    message: "Cannot use the array as a step that is running uses its memory: " +
      "await the promise of stepAsync first",
  },
  "a sum of an array that a step uses": {
    body: "await during(() => world.sum(w.grad));",
    message: "Cannot use the array as a step that is running uses its memory: " +
      "await the promise of stepAsync first",
  },
  "a step between the two parts of another": {
    body: `let reads = 0;
      const g = new Float32Array(3).fill(1);
      const x = { data: new Float32Array(3), get grad() { if (++reads === 3) o.step(); return g; } };
      await new SGD([x], { lr: 1, world }).stepAsync({ maxNorm: 9 });`,
    message: "Cannot step as ranks are exchanging: await the promise of stepAsync first",
  },
  "a buffer that is gone when the name has been read": {
    body: `const data = new Float32Array(3);
      new SGD([{ data, grad: null, get name() { data.buffer.transfer(); return "x"; } }], { lr: 1, world });`,
    message: 'Cannot use data of parameter 0 ("x") as its buffer is detached',
  },
};

for (const engine of ENGINES) {
  testOn(engine, "what ranks may not do in between is refused, and they resume", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      const make = (n) => ({ data: new Float32Array(n), grad: new Float32Array(n).fill(1) });
      const w = make(1_000_000);
      const plain = new SGD([w], { lr: 1 });
      const during = async (body) => {
        const running = plain.stepAsync();
        try { body(); } finally { await running; }
      };
      const own = make(3), o = new SGD([own], { lr: 1, world });
      ${
        Object.values(REFUSALS).map(({ body }) => `
          try { ${body} say("nothing is thrown"); } catch (error) { say(error.message); }`).join("")
      }
      o.step();
      say(own.data.join());
      `,
    );
    const expected = [...Object.values(REFUSALS).map(({ message }) => message), "-1,-1,-1"];
    assertEquals(ending.out.map((lines) => lines.split("\n")), [expected, expected], ending.err);
  });
}

for (const engine of ENGINES) {
  testOn(engine, "tensors on a GPU are refused, and nothing is added", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      import { openGpu } from "@descent/sgd/gpu";
      using world = openWorld();
      const gpu = openGpu();
      const tensor = () => gpu.tensor(new Float32Array(1000));
      const own = { data: new Float32Array(1), grad: Float32Array.of(1) };
      const o = new SGD([own], { lr: 1, world });
      const attempt = (body) => { try { body(); } catch (error) { say(error.message); } };
      attempt(() => new SGD([{ data: tensor(), grad: tensor() }], { lr: 1, world }));
      attempt(() => o.addParamGroup({ params: [{ data: tensor(), grad: null }] }));
      const dict = o.stateDict();
      [own.data, own.grad] = [gpu.tensor(new Float32Array(1)), null];
      attempt(() => o.loadStateDict(dict));
      [own.data, own.grad] = [new Float32Array(1), Float32Array.of(1)];
      o.step();
      say(o.paramGroups.length + " " + own.data.join());
      `,
    );
    const refusal = (doing: string, row: number) =>
      `Cannot ${doing} in a world as data of parameter ${row} must be an array: it is on a GPU`;
    const expected = [
      ...[refusal("add parameters", 0), refusal("add parameters", 1)],
      ...[refusal("load the state", 0), "1 -1"],
    ];
    assertEquals(ending.out.map((lines) => lines.split("\n")), [expected, expected], ending.err);
  }, absence ?? null);
}

const TABLES = `
  import { exchangeOf } from "${new URL("../../src/core/exchange.ts", import.meta.url)}";
  using world = openWorld();
  const exchange = exchangeOf(world);
  const address = (array) => BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(array)));
  const make = (dtype = 0) => {
    const [data, grad] = [new Float32Array(3), new Float32Array(3).fill(1)];
    const kind = BigInt(dtype + 2 ** 24);
    const rows = BigUint64Array.of(address(data), address(grad), 0n, 0n, 3n, kind);
    const groupRows = Float64Array.of(1, 0, 0, 0, 0, 1);
    const call = Float64Array.of(0.5, Infinity, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    return { data, grad, rows, count: 1, groupRows, groupCount: 1, call, inPlace: false };
  };
  const [a, b] = [make(), make()];
  const measure = (tables) =>
    exchange.measure(tables, { scale: 0.5, normType: 2 }, new Float64Array(2));
  const apply = (tables) => exchange.apply(tables, "gradients");
`;

testOn("files", "the native library steps with the sums that it keeps", async () => {
  const ending = await runJob("files", 2, `${TABLES} measure(a); apply(a); say(a.data.join());`);
  assertEquals(ending.out, ["-1,-1,-1", "-1,-1,-1"], ending.err);
});

const NO_SUMS = /Cannot apply as no sums of these rows are kept/;

for (
  const [name, body, message] of [
    ["sums that were not measured", "apply(a);", NO_SUMS],
    ["sums of other rows", "measure(a); apply(b);", NO_SUMS],
    [
      "sums that another step has used",
      'measure(a); exchange.step(b, "gradients"); apply(a);',
      NO_SUMS,
    ],
    ["sums a second time", "measure(a); apply(a); apply(a);", NO_SUMS],
    [
      "rows on a device",
      "exchange.share(make(16).rows, 1, false);",
      /Cannot share row 0: it is on a/,
    ],
  ] as const
) {
  testOn("files", `the native library ends the job instead of using ${name}`, async () => {
    const ending = await runJob("files", 2, `${TABLES} ${body} say("done");`);
    assertMatch(ending.err, message);
    assertEquals(ending.out, ["", ""]);
    assert(ending.code !== 0);
  });
}
