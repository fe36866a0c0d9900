/** What `stateDict` gives: torch's shape, torch's names, a snapshot. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { Parameter } from "@descent/sgd";

function parameter(data: number[], more: Partial<Parameter> = {}): Parameter {
  return { data: Float32Array.from(data), grad: Float32Array.from(data, () => 1), ...more };
}

Deno.test("a state dict has torch's shape and names, with indices in group order", () => {
  const a = parameter([1, 2], { name: "a" });
  const b = parameter([3], { name: "b" });
  const c = parameter([4]);
  const optimizer = new SGD(
    [{ params: [a, b], lr: 0.5, weightDecay: 0.25 }, { params: [c], foreach: false, sign: true }],
    { lr: 0.1, momentum: 0.5 },
  );
  assertEquals(optimizer.stateDict().state, {});
  b.grad = null;
  optimizer.step();
  const shared = { momentum: 0.5, dampening: 0, nesterov: false, maximize: false };
  assertEquals(optimizer.stateDict(), {
    state: {
      "0": { momentum_buffer: Float32Array.of(1.25, 1.5) },
      "2": { momentum_buffer: Float32Array.of(1) },
    },
    param_groups: [
      {
        ...shared,
        lr: 0.5,
        weight_decay: 0.25,
        foreach: null,
        differentiable: false,
        sign: false,
        params: [0, 1],
        param_names: ["a", "b"],
      },
      {
        ...shared,
        lr: 0.1,
        weight_decay: 0,
        foreach: false,
        differentiable: false,
        sign: true,
        params: [2],
      },
    ],
  });
});

Deno.test("torch's keys come in torch's order", () => {
  const optimizer = new SGD([parameter([1], { name: "w" })], { lr: 0.1 });
  assertEquals(
    Object.keys(optimizer.stateDict().param_groups[0]).join(" "),
    "lr momentum dampening weight_decay nesterov maximize foreach differentiable sign params param_names",
  );
});

Deno.test("a group has param_names if one of its parameters has a name, null for the others", () => {
  const [a, b, c] = [parameter([1]), parameter([2], { name: "b" }), parameter([3])];
  const optimizer = new SGD([{ params: [a, b] }, { params: [c] }], { lr: 0.1 });
  const [first, second] = optimizer.stateDict().param_groups;
  assertEquals(first.param_names, [null, "b"]);
  assertEquals("param_names" in second, false);
});

Deno.test("names are those that parameters had when they were given to the optimizer", () => {
  const [a, b] = [parameter([1], { name: "a" }), parameter([2])];
  const optimizer = new SGD([a, b], { lr: 0.1, momentum: 0.5 });
  optimizer.step();
  a.name = "b";
  b.name = "a";
  const dict = optimizer.stateDict();
  assertEquals(dict.param_groups[0].param_names, ["a", null]);
  dict.state[0].momentum_buffer!.fill(7);
  optimizer.loadStateDict(dict);
  assertEquals(optimizer.state.get(a)!.momentumBuffer, Float32Array.of(7));
});

Deno.test("shapes of other than one dimension go along", () => {
  const params = [[2, 1], [2], []].map((shape) =>
    parameter(shape.length === 0 ? [1] : [1, 2], { shape })
  );
  const optimizer = new SGD(params, { lr: 0.1, momentum: 0.5 });
  optimizer.step();
  const { state } = optimizer.stateDict();
  assertEquals([state[0].shape, state[1].shape, state[2].shape], [[2, 1], undefined, []]);
});

Deno.test("later steps do not change a state dict", () => {
  const w = parameter([1, 2]);
  const optimizer = new SGD([w], { lr: 0.1, momentum: 0.5 });
  optimizer.step();
  const dict = optimizer.stateDict({ parameters: true });
  const before = structuredClone(dict);
  optimizer.step();
  optimizer.paramGroups[0].lr = 7;
  assertEquals(dict, before);
});

Deno.test("parameters are part of a state dict where they are asked for", () => {
  const w = parameter([1, 2], { shape: [1, 2] });
  const optimizer = new SGD([w, parameter([3])], { lr: 0.1 });
  assertEquals("parameters" in optimizer.stateDict(), false);
  assertEquals(optimizer.stateDict({ parameters: true }).parameters, {
    "0": { data: Float32Array.of(1, 2), shape: [1, 2] },
    "1": { data: Float32Array.of(3) },
  });
});

Deno.test("a misspelt option is refused", () => {
  const optimizer = new SGD([parameter([1])], { lr: 0.1 });
  const options = { params: true } as unknown as { parameters: true };
  assertThrows(() => optimizer.stateDict(options), TypeError, 'option "params"');
});

Deno.test("stateDictAsync is the state dict, at the time of the call", async () => {
  for (const backend of ["auto", "js"] as const) {
    const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]), name: "w" };
    const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, backend });
    optimizer.step();
    const dict = optimizer.stateDict({ parameters: true });
    const later = optimizer.stateDictAsync({ parameters: true });
    optimizer.step();
    assertEquals(await later, dict);
    await assertRejects(
      () => optimizer.stateDictAsync({ bogus: true } as { parameters?: boolean }),
      TypeError,
      "bogus",
    );
  }
});
