import { assert, assertEquals, assertThrows } from "@std/assert";
import { parseDigits, readDigits, split, TEST_IMAGES } from "../../examples/digits/dataset.ts";
import type { Dataset } from "../../examples/digits/dataset.ts";
import { Network } from "../../examples/digits/network.ts";
import { openStream, permutation, STREAM } from "../../examples/digits/random.ts";

const SIZES = { inputs: 64, hidden: 12, outputs: 10 };

/** The mean loss in float64, written without the network's own code. */
function lossOf(tensors: readonly Float64Array[], { images, labels }: Dataset, rows: number[]) {
  const [w1, b1, w2, b2] = tensors;
  const { inputs, hidden, outputs } = SIZES;
  let total = 0;
  for (const row of rows) {
    const activations = Array.from({ length: hidden }, (_, j) => {
      let sum = b1[j];
      for (let i = 0; i < inputs; i++) sum += images[row * inputs + i] * w1[i * hidden + j];
      return Math.max(sum, 0);
    });
    const scores = Array.from(
      { length: outputs },
      (_, k) => activations.reduce((sum, a, j) => sum + a * w2[j * outputs + k], b2[k]),
    );
    const sum = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    total -= Math.log(Math.exp(scores[labels[row]]) / sum);
  }
  return total / rows.length;
}

/** A network whose biases are not zero, so that they matter. */
function createNetwork(): Network {
  const network = new Network(SIZES, openStream(7, STREAM.weights));
  for (const { data } of network.parameters) {
    for (let i = 0; i < data.length; i++) data[i] += 0.01 * ((i % 7) - 3);
  }
  return network;
}

Deno.test("the backward pass gives the gradient that finite differences of the loss give", async () => {
  const digits = await readDigits();
  const rows = [0, 1, 2, 500, 1796];
  const network = createNetwork();
  const loss = network.lossAndGradients(digits, Uint32Array.from(rows));
  const tensors = network.parameters.map(({ data }) => Float64Array.from(data));
  assert(Math.abs(loss - lossOf(tensors, digits, rows)) < 1e-6);
  const step = 1e-6;
  for (const [t, { name, grad }] of network.parameters.entries()) {
    for (let i = 0; i < grad.length; i++) {
      const value = tensors[t][i];
      tensors[t][i] = value + step;
      const above = lossOf(tensors, digits, rows);
      tensors[t][i] = value - step;
      const expected = (above - lossOf(tensors, digits, rows)) / (2 * step);
      tensors[t][i] = value;
      const error = Math.abs(grad[i] - expected);
      assert(error < 1e-6 + 1e-5 * Math.abs(expected), `${name}[${i}]: ${grad[i]} for ${expected}`);
    }
    assert(grad.some((g) => Math.abs(g) > 1e-3), `${name} has a gradient worth checking`);
  }
});

Deno.test("gradients add up until they are set to zero", async () => {
  const digits = await readDigits();
  const network = createNetwork();
  network.lossAndGradients(digits, Uint32Array.of(3, 4));
  const once = network.parameters.map(({ grad }) => grad.slice());
  network.lossAndGradients(digits, Uint32Array.of(3, 4));
  for (const [t, { grad }] of network.parameters.entries()) {
    for (let i = 0; i < grad.length; i++) {
      assert(Math.abs(grad[i] - 2 * once[t][i]) <= 1e-6 * Math.abs(grad[i]));
    }
  }
});

Deno.test("a score is the mean loss and the number of images whose digit scores highest", async () => {
  const digits = await readDigits();
  const rows = Array.from({ length: 40 }, (_, i) => i);
  const network = createNetwork();
  const some = {
    length: rows.length,
    images: digits.images.slice(0, rows.length * SIZES.inputs),
    labels: digits.labels.slice(0, rows.length),
  };
  const tensors = network.parameters.map(({ data }) => Float64Array.from(data));
  const recognized = rows.filter((row) => {
    const losses = Array.from({ length: SIZES.outputs }, (_, label) => {
      return lossOf(tensors, { ...digits, labels: digits.labels.slice().fill(label) }, [row]);
    });
    return losses.indexOf(Math.min(...losses)) === digits.labels[row];
  });
  const { loss, correct } = network.evaluate(some);
  assertEquals(correct, recognized.length);
  assert(Math.abs(loss - lossOf(tensors, digits, rows)) < 1e-6);
});

Deno.test("the data are 1,797 images of all digits, pixels from 0 to 1", async () => {
  const { length, images, labels } = await readDigits();
  assertEquals(length, 1797);
  assertEquals(images.length, 1797 * 64);
  // The first image as scikit-learn prints it.
  assertEquals([...images.subarray(0, 10)].map((p) => p * 16), [0, 0, 5, 13, 9, 1, 0, 0, 0, 0]);
  // As scikit-learn counts them.
  assertEquals(images.reduce((sum, pixel) => sum + pixel * 16, 0), 561718);
  const counts = Array.from({ length: 10 }, (_, d) => labels.filter((l) => l === d).length);
  assertEquals(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
});

Deno.test("a broken line of the data is named", () => {
  const good = `${"0".repeat(64)} 3\n`;
  assertEquals(parseDigits(good + good).length, 2);
  for (const bad of ["0".repeat(64), `${"0".repeat(63)}h 3`, `${"0".repeat(63)} 3`, ""]) {
    assertThrows(() => parseDigits(`${good}${bad}\n${good}`), SyntaxError, "line 2");
  }
});

Deno.test("the split is a partition, and the seed decides which", async () => {
  const digits = await readDigits();
  const { train, test } = split(digits, openStream(1, STREAM.split));
  assertEquals([train.length, test.length], [1797 - TEST_IMAGES, TEST_IMAGES]);
  const asLines = ({ length, images, labels }: Dataset) =>
    Array.from({ length }, (_, i) => `${images.subarray(i * 64, (i + 1) * 64)} ${labels[i]}`);
  assertEquals([...asLines(train), ...asLines(test)].sort(), asLines(digits).sort());
  const again = split(digits, openStream(1, STREAM.split));
  assertEquals(asLines(again.test), asLines(test));
  const other = split(digits, openStream(2, STREAM.split));
  assert(asLines(other.test).join() !== asLines(test).join());
});

Deno.test("each epoch has its own order, which depends on the seed and the epoch alone", () => {
  const order = (seed: number, epoch: number) =>
    permutation(openStream(seed, STREAM.epoch(epoch)), 50).join();
  const orders = [order(1, 1), order(1, 2), order(1, 3), order(2, 1), order(2, 2)];
  assertEquals(new Set(orders).size, orders.length);
  assertEquals(order(1, 3), orders[2]);
  assertEquals(
    orders[0].split(",").map(Number).sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, i) => i),
  );
});
