/** What holds of matching for all groups, names and orders. */

import { assertEquals, assertThrows } from "@std/assert";
import { decodeStateDict, encodeStateDict, SGD } from "@descent/sgd";
import type { LoadStateDictReport, Parameter, StateDict } from "@descent/sgd";
import fc from "fast-check";
import { everything } from "./dicts.ts";

/** A parameter before it is made: its name, and a number that its state and its values are. */
interface Plan {
  readonly name: string | null;
  readonly value: number;
}

/** Some groups of the same parameters, in two arrangements. */
interface Case {
  readonly there: Plan[][];
  readonly here: Plan[][];
}

const NAMES = ["a", "b", "w", "", "é", "__proto__", "bias", "weight", "0", "1", "x\0"];

/** Groups of parameters, some of which have names, none twice. */
const plans: fc.Arbitrary<Plan[][]> = fc.tuple(
  fc.shuffledSubarray(NAMES),
  fc.array(fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
).map(([names, groups]) => {
  let value = 0;
  const left = [...names];
  return groups.map((group) =>
    group.map((isNamed) => ({ name: isNamed ? left.pop() ?? null : null, value: ++value }))
  );
});

/** Permutes the named ones of a group, and leaves those without a name in their order. */
function permuteNamed(group: readonly Plan[], order: readonly number[]): Plan[] {
  const sorted = group.map((plan, i) => ({ plan, at: order[i % order.length] + i / 100 }))
    .sort((a, b) => a.at - b.at).map(({ plan }) => plan);
  const unnamed = group.filter(({ name }) => name === null);
  return sorted.map((plan) => plan.name === null ? unnamed.shift()! : plan);
}

const orders = fc.array(fc.nat(9), { minLength: 4, maxLength: 4 });

/** The same groups in another order, their parameters too; groups of no name stay in order. */
const rearranged: fc.Arbitrary<Case> = fc.tuple(plans, orders, orders).map(
  ([there, of, inside]) => {
    const groups = there.map((group) => permuteNamed(group, inside));
    const isNamed = (group: Plan[]) => group.some(({ name }) => name !== null);
    const sorted = groups.map((group, i) => ({ group, at: of[i % of.length] + i / 100 }))
      .sort((a, b) => a.at - b.at).map(({ group }) => group);
    const others = groups.filter((group) => !isNamed(group));
    return { there, here: sorted.map((group) => isNamed(group) ? group : others.shift()!) };
  },
);

function make(plans: Plan[][]) {
  const params: Parameter[] = plans.flat().map(({ name, value }) => ({
    data: Float32Array.of(value),
    grad: Float32Array.of(value),
    ...(name === null ? {} : { name }),
  }));
  let next = 0;
  const groups = plans.map((group, i) => ({
    params: group.map(() => params[next++]),
    lr: group[0].value + i,
  }));
  return { params, optimizer: new SGD(groups, { lr: 1, momentum: 0.5, backend: "js" }) };
}

/** The dict of an optimizer of these groups whose buffers are the parameters' values. */
function dictOf(plans: Plan[][]): StateDict {
  const { optimizer } = make(plans);
  optimizer.step();
  const dict = optimizer.stateDict({ parameters: true });
  plans.flat().forEach(({ value }, i) => dict.parameters![i].data.fill(-value));
  plans.forEach((group, i) => dict.param_groups[i].lr = 100 + group[0].value);
  return dict;
}

function buffersOf({ params, optimizer }: ReturnType<typeof make>) {
  return params.map((parameter) => optimizer.state.get(parameter)!.momentumBuffer?.[0] ?? null);
}

function check<T>(arbitrary: fc.Arbitrary<T>, property: (value: T) => void): void {
  fc.assert(fc.property(arbitrary, property), { numRuns: 250, seed: 1 });
}

/** Loads a dict into an optimizer of other data, by way of a file or not. */
function load(here: Plan[][], dict: StateDict, strict: boolean) {
  const made = make(here);
  for (const { data } of made.params) data.fill(0);
  const report: LoadStateDictReport = made.optimizer.loadStateDict(dict, {
    strict,
    parameters: true,
  });
  return { ...made, report };
}

Deno.test("groups and names in any order: state, values and lr arrive where they belong", () => {
  check(rearranged, ({ there, here }) => {
    const dict = dictOf(there);
    for (const read of [dict, decodeStateDict(encodeStateDict(dict))]) {
      const made = load(here, read, true);
      const values = here.flat().map(({ value }) => value);
      assertEquals(buffersOf(made), values);
      assertEquals(made.params.map(({ data }) => data[0]), values.map((value) => -value));
      const lrOf = new Map(there.map((group) => [group[0].value, 100 + group[0].value]));
      const found = made.optimizer.paramGroups.map(({ lr }) => lr);
      const first = (group: Plan[]) => there.find((other) => other.includes(group[0]))![0].value;
      assertEquals(found, here.map((group) => lrOf.get(first(group))!));
    }
  });
});

/** The same parameters in any groups and any order. */
const regrouped: fc.Arbitrary<Case> = fc.tuple(plans, fc.infiniteStream(fc.nat(99))).map(
  ([there, stream]) => {
    const random = () => stream.next().value as number;
    const shuffled = there.flat().map((plan) => ({ plan, at: random() }))
      .sort((a, b) => a.at - b.at).map(({ plan }) => plan);
    const here: Plan[][] = [[]];
    for (const plan of shuffled) {
      if (here.at(-1)!.length > 0 && random() < 40) here.push([]);
      here.at(-1)!.push(plan);
    }
    return { there, here };
  },
);

Deno.test("whatever the groups are, state of a name arrives at this name, and none elsewhere", () => {
  let moved = 0;
  check(regrouped, ({ there, here }) => {
    const dict = dictOf(there);
    const made = load(here, decodeStateDict(encodeStateDict(dict)), false);
    const nameOf = new Map(there.flat().map(({ name, value }) => [value, name]));
    for (const [i, found] of buffersOf(made).entries()) {
      const { name, value } = here.flat()[i];
      if (name !== null) assertEquals(found, value);
      else if (found !== null) assertEquals(nameOf.get(found), null);
    }
    moved += made.report.regrouped.length;
    assertEquals(made.report.mismatched, []);
    const { missing, unexpected, regrouped } = made.report;
    const isStrict = [missing, unexpected, regrouped].every(({ length }) => length === 0);
    if (isStrict) return void load(here, dict, true);
    const fresh = make(here);
    const before = everything(fresh.optimizer);
    const refused = () => fresh.optimizer.loadStateDict(dict, { parameters: true });
    const { message } = assertThrows(refused, RangeError) as RangeError;
    assertEquals(everything(fresh.optimizer), before);
    const lines = message.split("\n- ").slice(1);
    assertEquals(new Set(lines).size, lines.length);
    for (const name of regrouped) {
      const about = lines.filter((line) => line.startsWith(`${JSON.stringify(name)} `));
      assertEquals(about.length, 1);
    }
  });
  if (moved < 50) throw new Error(`only ${moved} parameters were in another group`);
});

/** Different names on both sides, and none. */
const renamed: fc.Arbitrary<Case> = fc.tuple(
  plans,
  fc.array(fc.nat(5), { minLength: 16, maxLength: 16 }),
)
  .map(([there, choices]) => {
    let next = 0;
    const rename = ({ name, value }: Plan): Plan => {
      const choice = choices[next++];
      if (choice === 0) return { name: null, value };
      return { name: choice === 1 ? `new${next}` : name, value };
    };
    return { there, here: there.map((group) => group.map(rename)) };
  });

Deno.test("a parameter with a name never gets what has another name", () => {
  let inOrder = 0;
  check(renamed, ({ there, here }) => {
    const nameOf = new Map(there.flat().map(({ name, value }) => [value, name]));
    const made = load(here, dictOf(there), false);
    const all = new Map(there.flat().map(({ name, value }) => [name, value]));
    for (const [i, found] of buffersOf(made).entries()) {
      const { name } = here.flat()[i];
      const source = found === null ? null : nameOf.get(found)!;
      if (name !== null && all.has(name)) assertEquals(found, all.get(name));
      else if (name !== null) assertEquals(source, null);
      if (found !== null && name !== source) inOrder++;
    }
  });
  if (inOrder < 50) throw new Error(`only ${inOrder} were matched in order beside their names`);
});

Deno.test("an optimizer without names takes any dict of its sizes in order, as torch does", () => {
  check(plans, (there) => {
    const here = there.map((group) => group.map(({ value }) => ({ name: null, value })));
    assertEquals(buffersOf(load(here, dictOf(there), true)), here.flat().map(({ value }) => value));
    assertEquals(buffersOf(load(there, dictOf(here), true)), here.flat().map(({ value }) => value));
  });
});
