/** Loading state of another form: momentum of float32 and of 8 bits, master weights whole and split. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { HostArray, SGDOptions, StateDict } from "@descent/sgd";
import { decoded, LENGTH, mastersOf, paramsOf, trained } from "./fewer_bits.ts";
import type { Dtype } from "./fewer_bits.ts";

type Options = Partial<SGDOptions>;

const BITS8: Options = { momentumBits: 8 };

/** The optimizer that saved, the one that loads, and what is said without `convert`. */
const MISMATCHES: [Dtype, Options, Options, string[]][] = [
  ["float32", {}, BITS8, [
    '"w0" has momentum in 8 bits, but its momentum buffer in the dict: float32; ' +
    "convert: true converts it",
  ]],
  ["float32", BITS8, {}, [
    '"w0" is float32, with a momentum buffer of float32, but the dict has momentum in 8 bits; ' +
    "convert: true converts it",
  ]],
  ["bfloat16", BITS8, {}, ['"w0" is bfloat16, with a momentum buffer of float32']],
  ["bfloat16", { masterWeights: true }, { masterWeights: "split" }, [
    '"w0" has a correction of 16 bits, but in the dict there is a master weight of float32; ' +
    "convert: true converts it",
    '"w1" has a correction of 16 bits',
  ]],
  ["bfloat16", { masterWeights: "split24" }, { masterWeights: true }, [
    '"w0" has a master weight of float32, but in the dict there is a correction of 8 bits; ' +
    "convert: true converts it",
  ]],
  ["bfloat16", { masterWeights: "split24" }, { masterWeights: "split" }, [
    '"w0" has a correction of 16 bits, but in the dict there is a correction of 8 bits',
  ]],
  ["bfloat16", { masterWeights: "split" }, {}, [
    '"w1" has no correction, but there is one in the dict',
  ]],
];

for (const [dtype, from, to, lines] of MISMATCHES) {
  const what = `${JSON.stringify(from)} into ${JSON.stringify(to)}`;
  Deno.test(`state of ${dtype} of ${what} is a mismatch that says what to do`, () => {
    const dict = trained(dtype, from).optimizer.stateDict({ parameters: true });
    const { optimizer } = trained(dtype, to, { steps: 1 });
    const before = optimizer.stateDict({ parameters: true });
    const load = () => optimizer.loadStateDict(dict, { parameters: true });
    for (const line of lines) assertThrows(load, RangeError, line);
    assertEquals(optimizer.stateDict({ parameters: true }), before);
  });
}

Deno.test("strict: false loads the rest, and lists what would have to be converted", () => {
  const dict = trained("float32").optimizer.stateDict();
  const { optimizer } = trained("float32", BITS8, { steps: 1 });
  const before = optimizer.stateDict().state[0];
  const { mismatched } = optimizer.loadStateDict(dict, { strict: false });
  assertEquals(mismatched, ["w0"]);
  assertEquals(optimizer.stateDict().state, { 0: before, 1: dict.state[1] });
});

Deno.test("momentum of float32 is rounded to the nearest of 8 bits", () => {
  const dict = trained("float32").optimizer.stateDict();
  const { optimizer } = trained("float32", BITS8, { steps: 0 });
  optimizer.loadStateDict(dict, { convert: true });
  const entry = optimizer.stateDict().state[0];
  const found = decoded(entry);
  for (const [i, value] of dict.state[0].momentum_buffer!.entries()) {
    const step = 2 ** (entry.momentum_scales![i >> 5] - 127);
    assert(Math.abs(value - found[i]) <= step / 2, `${value} became ${found[i]}`);
  }
  // The steps are no larger than they have to be: one code of each block uses the seventh bit.
  for (let block = 0; block < LENGTH; block += 32) {
    assert(entry.momentum8!.slice(block, block + 32).some((code) => Math.abs(code) >= 63));
  }
});

Deno.test("momentum in 8 bits becomes float32 exactly, and comes back as it was", () => {
  const dict = trained("float32", BITS8).optimizer.stateDict();
  const { optimizer: wide } = trained("float32", {}, { steps: 0 });
  wide.loadStateDict(dict, { convert: true });
  const { state } = wide.stateDict();
  assertEquals([...state[0].momentum_buffer!], decoded(dict.state[0]));
  const { optimizer: back } = trained("float32", BITS8, { steps: 0 });
  back.loadStateDict(wide.stateDict(), { convert: true });
  assertEquals(decoded(back.stateDict().state[0]), decoded(dict.state[0]));
});

Deno.test("convert: true changes nothing where the forms are the same", () => {
  for (const options of [{}, BITS8]) {
    const dict = trained("float32", options).optimizer.stateDict({ parameters: true });
    const { optimizer } = trained("float32", options, { steps: 0 });
    optimizer.loadStateDict(dict, { parameters: true, convert: true });
    assertEquals(optimizer.stateDict({ parameters: true }), dict);
  }
});

Deno.test("an empty state is loaded into groups with other bits without convert", () => {
  for (const [from, to] of [[{}, BITS8], [BITS8, {}]]) {
    const dict = trained("float32", from, { steps: 0 }).optimizer.stateDict();
    const { optimizer } = trained("float32", to, { steps: 0 });
    optimizer.loadStateDict(dict);
    assertEquals(optimizer.paramGroups[0].momentumBits, (to as Options).momentumBits ?? 32);
  }
});

for (const dtype of ["float64", "bfloat16"] as const) {
  Deno.test(`buffers of ${dtype} are converted to no other form`, () => {
    const options = dtype === "float64" ? {} : { rounding: "torch" } as const;
    const dict = trained(dtype, options).optimizer.stateDict();
    const { optimizer } = trained("float32", BITS8, { steps: 0 });
    const load = () => optimizer.loadStateDict(dict, { convert: true });
    assertThrows(
      load,
      RangeError,
      `"w0" has momentum in 8 bits, but its momentum buffer in the dict: ${dtype}, which is not`,
    );
    const codes = trained("float32", BITS8).optimizer.stateDict();
    const { optimizer: other } = trained(dtype, options, { steps: 0 });
    assertThrows(
      () => other.loadStateDict(codes, { convert: true }),
      RangeError,
      `momentum buffer of ${dtype}, but the dict has momentum in 8 bits, which is not converted`,
    );
  });
}

const ALL = [true, "split", "split24"] as const;

for (const from of ALL) {
  for (const to of ALL.filter((form) => form !== from)) {
    Deno.test(`master weights of ${from} are those of ${to} after a load with convert`, () => {
      const saved = trained("bfloat16", { masterWeights: from });
      const loaded = trained("bfloat16", { masterWeights: to }, { steps: 0 });
      loaded.optimizer.loadStateDict(saved.optimizer.stateDict({ parameters: true }), {
        parameters: true,
        convert: true,
      });
      for (const [i, parameter] of loaded.params.entries()) {
        const masters = mastersOf(saved.optimizer, saved.params[i]);
        const expected = to === "split24" ? masters.map(roundTo24) : masters;
        assertEquals(mastersOf(loaded.optimizer, parameter), expected);
      }
    });
  }
}

/** The nearest word whose lower 8 bits are 0, ties to even. */
function roundTo24(word: number): number {
  const [rest, base] = [word % 256, word - word % 256];
  const isUp = rest > 128 || rest === 128 && base / 256 % 2 === 1;
  return isUp ? base + 256 : base;
}

Deno.test("a run of master weights goes on split to the same master weights", () => {
  const whole = trained("bfloat16", { masterWeights: true });
  const split = trained("bfloat16", { masterWeights: "split" }, { steps: 0 });
  split.optimizer.loadStateDict(whole.optimizer.stateDict({ parameters: true }), {
    parameters: true,
    convert: true,
  });
  for (let i = 0; i < 3; i++) for (const { optimizer } of [whole, split]) optimizer.step();
  for (const i of [0, 1]) {
    assertEquals(
      mastersOf(split.optimizer, split.params[i]),
      mastersOf(whole.optimizer, whole.params[i]),
    );
  }
});

/** Conversions that give the parameter other bits, and those that do not. */
const WRITES: [typeof ALL[number], typeof ALL[number], boolean][] = [
  [true, "split", true],
  [true, "split24", true],
  ["split", "split24", true],
  ["split24", "split", false],
  ["split", true, false],
  ["split24", true, false],
];

for (const [from, to, writes] of WRITES) {
  const how = writes ? "needs the parameters" : "leaves the parameters";
  Deno.test(`to convert master weights of ${from} to ${to} ${how}`, () => {
    const saved = trained("bfloat16", { masterWeights: from });
    const { optimizer, params } = trained("bfloat16", { masterWeights: to }, { steps: 0 });
    for (const [i, { data }] of params.entries()) data.set(saved.params[i].data as never);
    const before = params.map(({ data }) => data.slice());
    const load = () => optimizer.loadStateDict(saved.optimizer.stateDict(), { convert: true });
    if (writes) assertThrows(load, RangeError, "parameters must be true");
    else {
      load();
      for (const [i, parameter] of params.entries()) {
        assertEquals(mastersOf(optimizer, parameter), mastersOf(saved.optimizer, saved.params[i]));
      }
    }
    assertEquals(params.map(({ data }) => data), before);
  });
}

Deno.test("values that a dict lacks are missing, and its master weight is not converted", () => {
  const saved = trained("bfloat16", { masterWeights: true });
  const { optimizer } = trained("bfloat16", { masterWeights: "split" }, { steps: 0 });
  const dict = saved.optimizer.stateDict({ parameters: true });
  delete dict.parameters![0];
  const options = { parameters: true, convert: true, strict: false };
  const { mismatched } = optimizer.loadStateDict(dict, options);
  assertEquals(mismatched, ["w0"]);
});

Deno.test("state that has names moves between groups of other bits, and is converted", () => {
  const params = paramsOf("float32", [LENGTH, LENGTH, 5]);
  const [a, b, c] = params;
  const options = { lr: 0.1, momentum: 0.9, backend: "js" } as const;
  const saved = new SGD<HostArray>(
    [{ params: [a, b], momentumBits: 8 }, { params: [c] }],
    options,
  );
  saved.step();
  const dict = saved.stateDict();
  const [x, y, z] = paramsOf("float32", [LENGTH, LENGTH, 5]);
  const other = new SGD<HostArray>(
    [{ params: [x], momentumBits: 8 }, { params: [z, y] }],
    options,
  );
  const { regrouped, mismatched } = other.loadStateDict(dict, { strict: false });
  assertEquals([regrouped, mismatched], [["w1"], ["w1"]]);
  assertEquals(other.stateDict().state[0], dict.state[0]);
  other.loadStateDict(dict, { strict: false, convert: true });
  const found = other.stateDict().state;
  assertEquals([...found[2].momentum_buffer!], decoded(dict.state[1]));
});

Deno.test("a load of parameters without corrections begins them at 0", () => {
  const plain = trained("bfloat16").optimizer.stateDict({ parameters: true });
  const { optimizer, params } = trained("bfloat16", { masterWeights: "split" });
  optimizer.loadStateDict(plain, { parameters: true });
  assertEquals(params.map((p) => optimizer.state.get(p)!.correction), [null, null]);
});

Deno.test("an invalid dict with codes is refused with convert, too", () => {
  const { optimizer } = trained("float32", {}, { steps: 0 });
  const dict = trained("float32", BITS8).optimizer.stateDict() as StateDict;
  dict.state[0].momentum_scales!.fill(255);
  assertThrows(
    () => optimizer.loadStateDict(dict, { convert: true }),
    RangeError,
    'each of state["0"].momentum_scales must be 0 or from 18 to 248: current value is 255 at 0',
  );
});
