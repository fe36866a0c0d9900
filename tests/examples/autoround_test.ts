/** The AutoRound example: its quantizer, its gradients, and that tuning is worth it. */

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { forward, type Layer, reconstruction } from "../../examples/autoround/layer.ts";
import { parseOptions } from "../../examples/autoround/options.ts";
import { drawOutcomes } from "../../examples/autoround/plot.ts";
import { quantizeDigits } from "../../examples/autoround/quantize.ts";
import { Quantizer } from "../../examples/autoround/quantizer.ts";
import { STEPS, tune } from "../../examples/autoround/tune.ts";
import { readDigits } from "../../examples/digits/dataset.ts";
import { UsageError } from "../../examples/digits/options.ts";
import { openStream, uniform } from "../../examples/digits/random.ts";

const random = openStream(11, 1);
const vector = (length: number, limit = 1) =>
  new Float32Array(length).map(() => uniform(random, limit));

Deno.test("without tuning, a weight goes to the nearest of 16 levels of its column or matrix", () => {
  const weights = vector(300);
  weights[4] = 3; // widens the range of column 4, and of the matrix
  for (const perColumn of [true, false]) {
    const quantized = new Quantizer(weights, 10, 4, perColumn).quantized();
    for (let column = 0; column < 10; column++) {
      const own = (values: Float32Array) => values.filter((_, i) => i % 10 === column);
      const group = perColumn ? own(weights) : weights;
      const scale = (Math.max(0, ...group) - Math.min(0, ...group)) / 15;
      assert(new Set(own(quantized)).size <= 16);
      own(quantized).forEach((q, i) => {
        assert(Math.abs(q - own(weights)[i]) <= scale * 1.0001, `${q} for ${own(weights)[i]}`);
        assertAlmostEquals(q / scale, Math.round(q / scale), 1e-4);
      });
    }
  }
});

Deno.test("an offset of one half moves a weight to the next level", () => {
  const quantizer = new Quantizer(Float32Array.of(-1, 0.6, 2), 3, 2, false); // levels -1, 0, 1, 2
  assertEquals([...quantizer.quantized()], [-1, 1, 2]);
  quantizer.offsets.data[1] = -0.5;
  assertEquals([...quantizer.quantized()], [-1, 0, 2]);
  quantizer.maxScales.data[0] = 0.5; // levels -4/3, -2/3, 0 and 2/3
  assertAlmostEquals(quantizer.quantized()[2], 2 / 3, 1e-6);
});

Deno.test("gradients are those of the quantizer with every rounding and clipping held fast", () => {
  const weights = vector(60);
  const quantizer = new Quantizer(weights, 6, 3, true);
  const [v, low, high] = quantizer.tunables.map(({ data }) => data);
  v.set(vector(60, 0.5));
  low.set(low.map(() => 0.6 + uniform(random, 0.2)));
  high.set(high.map(() => 0.6 + uniform(random, 0.2)));
  const grad = vector(60);
  quantizer.backward(grad);

  /** The errors of both roundings, and the level that a weight is clipped to. */
  const fixed: { level: number; zero: number; bound: number | null }[] = [];
  const loss = () =>
    weights.reduce((sum, weight, i) => {
      const own = weights.filter((_, k) => k % 6 === i % 6);
      const [least, most] = [Math.min(0, ...own) * low[i % 6], Math.max(0, ...own) * high[i % 6]];
      const scale = (most - least) / 7;
      const [level, zero] = [weight / scale + v[i], -least / scale];
      const rounded = Math.round(level) + Math.round(zero);
      fixed[i] ??= {
        level: Math.round(level) - level,
        zero: Math.round(zero) - zero,
        bound: rounded < 0 ? 0 : rounded > 7 ? 7 : null,
      };
      const z = zero + fixed[i].zero;
      const q = fixed[i].bound ?? level + fixed[i].level + z;
      return sum + grad[i] * scale * (q - z);
    }, 0);
  loss();
  let clipped = 0;
  for (const { name, data, grad: derivatives } of quantizer.tunables) {
    data.forEach((value, i) => {
      const h = 1 / 1024;
      data[i] = value + h;
      const above = loss();
      data[i] = value - h;
      const expected = (above - loss()) / (2 * h);
      data[i] = value;
      if (name === "offsets" && derivatives[i] === 0) clipped++;
      assertAlmostEquals(derivatives[i], expected, 2e-3, `${name} ${i}`);
    });
  }
  assert(clipped > 0 && clipped < 60, "some weights are clipped, and some are not");
});

Deno.test("a layer's reconstruction loss has the gradient of finite differences", () => {
  for (const relu of [true, false]) {
    const layer: Layer = { weights: vector(15), bias: vector(3), relu };
    const [x, targets] = [vector(20), vector(12)];
    const { grad, loss } = reconstruction(layer, x, targets);
    const out = forward(layer, x);
    const mean = out.reduce((sum, y, i) => sum + (y - targets[i]) ** 2, 0) / out.length;
    assertAlmostEquals(loss, mean, 1e-6);
    layer.weights.forEach((value, i) => {
      layer.weights[i] = value + 1 / 256;
      const above = reconstruction(layer, x, targets).loss;
      layer.weights[i] = value - 1 / 256;
      const below = reconstruction(layer, x, targets).loss;
      layer.weights[i] = value;
      assertAlmostEquals(grad[i], (above - below) * 128, 5e-3);
    });
  }
});

Deno.test("tuning keeps the best result, and stays within its bounds", () => {
  const layer: Layer = { weights: vector(64 * 8), bias: vector(8), relu: true };
  const inputs = vector(100 * 64);
  const calibration = { inputs, targets: forward(layer, inputs), rows: 100 };
  const quantizer = new Quantizer(layer.weights, 8, 2, false);
  const losses = tune(quantizer, layer, calibration, openStream(3, 1));
  assertEquals(losses.length, STEPS + 1);
  const tuned = { ...layer, weights: quantizer.quantized() };
  const { loss } = reconstruction(tuned, inputs, calibration.targets);
  assertEquals(loss, Math.min(...losses));
  assert(loss < 0.9 * losses[0], `${loss} of ${losses[0]}`);
  const [offsets, ...scales] = quantizer.tunables;
  assert(offsets.data.every((v) => Math.abs(v) <= 0.5) && offsets.data.some((v) => v !== 0));
  assert(scales.every(({ data }) => data.every((share) => share >= 0 && share <= 1)));
});

Deno.test("on the digits, tuned beats rounding to the nearest on several seeds", async () => {
  const digits = await readDigits();
  const options = { bits: 4, hidden: 16, perColumn: false, backend: "auto" } as const;
  const outcomes = [2, 4, 8].map((seed) => quantizeDigits(digits, seed, options));
  for (const { seed, float, nearest, tuned } of outcomes) {
    const context = `seed ${seed}: float ${float}, nearest ${nearest}, tuned ${tuned}`;
    assert(tuned > nearest && float > 0.93 && tuned > float - 0.02, context);
  }
});

Deno.test("the picture has a dot per accuracy, and names its axes", () => {
  const losses = [[4, 2, 3], [8, 8, 2]];
  const outcomes = [1, 2].map((seed) => ({
    seed,
    float: 0.97,
    nearest: 0.93,
    tuned: 0.96,
    losses,
  }));
  const svg = drawOutcomes("title", "subtitle", outcomes);
  const texts = ["title", "float32", "tuned", "hidden layer", "test accuracy (%)"];
  for (const text of [...texts, "best loss so far / loss at the start"]) {
    assert(svg.includes(`>${text}<`), `the picture says "${text}"`);
  }
  for (const color of ["#9aa5b1", "#d1662a", "#3b6fb6"]) {
    const dots = svg.match(new RegExp(`<path d="M1 0A1[^>]*fill="${color}"`, "g")) ?? [];
    assertEquals(dots.length, outcomes.length);
  }
});

Deno.test("unknown options and invalid values are refused by name", () => {
  const cases: [string, string][] = [
    ["--bits=1", "Cannot set --bits as it must be an integer from 2 to 8: current value is 1"],
    ["--hidden=0", "Cannot set --hidden"],
    ["--seeds=x", "current value is x"],
    ["--backend=gpu", "Cannot set --backend"],
    ["--plot=", "Cannot read --plot"],
    ["--bit=4", "Cannot read --bit=4"],
  ];
  for (const [arg, message] of cases) assertThrows(() => parseOptions([arg]), UsageError, message);
});
