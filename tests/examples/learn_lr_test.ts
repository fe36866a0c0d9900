/** The example that learns a learning rate: its derivatives, and where it arrives. */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Dataset } from "../../examples/digits/dataset.ts";
import { readDigits } from "../../examples/digits/dataset.ts";
import { curvatureAlong, gradientOf, lossOf, WEIGHTS } from "../../examples/learn_lr/softmax.ts";
import { train } from "../../examples/learn_lr/unroll.ts";
import { testOnBackends } from "../support/backends.ts";

const digits = await readDigits();
const some = (from: number, length: number): Dataset => ({
  length,
  images: digits.images.slice(from * 64, (from + length) * 64),
  labels: digits.labels.slice(from, from + length),
});
const [few, held] = [some(0, 30), some(30, 30)];
const along = (w: Float64Array<ArrayBuffer>, direction: Float64Array, h: number) =>
  w.map((x, i) => x + h * direction[i]);

Deno.test("the first and second derivatives are those of finite differences", () => {
  const w = new Float64Array(WEIGHTS).map((_, i) => Math.sin(i) / 2);
  const direction = new Float64Array(WEIGHTS).map((_, i) => Math.cos(3 * i));
  const h = 1e-5;
  const [above, below] = [along(w, direction, h), along(w, direction, -h)];
  const slope = gradientOf(w, few).reduce((sum, g, i) => sum + g * direction[i], 0);
  assertAlmostEquals(slope, (lossOf(above, few) - lossOf(below, few)) / (2 * h), 1e-8);
  const [up, down] = [gradientOf(above, few), gradientOf(below, few)];
  curvatureAlong(w, few, direction).forEach((change, i) =>
    assertAlmostEquals(change, (up[i] - down[i]) / (2 * h), 1e-8)
  );
});

testOnBackends(
  "the derivative with respect to the learning rate is that of finite differences",
  (backend) => {
    for (const lr of [0.05, 0.8]) {
      const loss = (shift: number) => train(lr + shift, { train: few, held }, false, backend).loss;
      const { slope } = train(lr, { train: few, held }, true, backend);
      assertAlmostEquals(slope, (loss(1e-5) - loss(-1e-5)) / 2e-5, 1e-6);
    }
  },
);

Deno.test("deno task demo:learn-lr arrives at the best learning rate of the sweep", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const args = ["task", "-q", "demo:learn-lr", "--plot", `${folder}/picture.svg`];
    const command = new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } });
    const { code, stdout, stderr } = await command.output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const out = new TextDecoder().decode(stdout);
    const rows = [...out.matchAll(/learning rate (\S+) {2}loss (\S+)$/gm)]
      .map((match) => match.slice(1).map(Number));
    const [first, last, best] = [rows[0], rows.at(-2)!, rows.at(-1)!];
    assert(first[1] > 2 && last[1] < best[1] * 1.01 && Math.abs(last[0] / best[0] - 1) < 0.2, out);
    const svg = await Deno.readTextFile(`${folder}/picture.svg`);
    for (const text of ["every learning rate", "the descent"]) assert(svg.includes(`>${text}<`));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
