/** The demo on the GPU: its gradients, whole runs, and what it says where it cannot run. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Gpu } from "@descent/sgd/gpu";
import { readDigits } from "../../examples/digits/dataset.ts";
import { Batches } from "../../examples/digits/gpu/batches.ts";
import { onNativeGpu } from "../../examples/digits/gpu/native.ts";
import { GpuNetwork } from "../../examples/digits/gpu/network.ts";
import { Network } from "../../examples/digits/network.ts";
import { openStream, permutation } from "../../examples/digits/random.ts";
import { assertDraws, deno, readCurves, readEpochs, train } from "../support/demo_runs.ts";
import { absence, gpuTest } from "./gpu.ts";

const SIZES = { inputs: 64, hidden: 24, outputs: 10 };
const BATCH = 50;

/** The digits, a network on the device, and one on the host with the same weights. */
async function createNetworks(gpu: Gpu) {
  const train = await readDigits();
  const test = {
    length: 100,
    images: train.images.slice(-100 * SIZES.inputs),
    labels: train.labels.slice(-100),
  };
  const device = new GpuNetwork(onNativeGpu(gpu), SIZES, openStream(7, 0), {
    train,
    test,
    batch: BATCH,
  });
  const host = new Network(SIZES, openStream(7, 0));
  for (const [i, { data }] of host.parameters.entries()) {
    assertEquals(device.parameters[i].data.readSync(), data);
    data.forEach((value, k) => data[k] = value + 0.01 * ((k % 7) - 3)); // no bias stays zero
    device.parameters[i].data.write(data);
  }
  return { train, test, device, host };
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    const error = Math.abs(actual[i] - expected[i]);
    assert(error <= 1e-6 + 1e-5 * Math.abs(expected[i]), `${what}[${i}]: ${error} off`);
  }
}

gpuTest("the demo's shaders give the gradients of the main demo, for every batch", async (gpu) => {
  const { train, device, host } = await createNetworks(gpu);
  const batches = new Batches(onNativeGpu(gpu), train.length, BATCH);
  const order = permutation(openStream(3, 0), train.length);
  batches.write(order);
  assertEquals(batches.views.map(({ length }) => length), [...Array(35).fill(BATCH), 47]);
  for (const [i, batch] of batches.views.entries()) {
    for (const { grad } of host.parameters) grad.fill(0);
    host.lossAndGradients(train, order.subarray(i * BATCH, (i + 1) * BATCH));
    device.gradients(batch);
    for (const [k, { name, grad }] of host.parameters.entries()) {
      assertClose(device.parameters[k].grad.readSync(), grad, `batch ${i}, ${name}`);
    }
  }
});

gpuTest("the demo's shaders give the losses and the accuracy of the main demo", async (gpu) => {
  const { train, test, device, host } = await createNetworks(gpu);
  const batches = new Batches(onNativeGpu(gpu), train.length, BATCH);
  batches.write(permutation(openStream(3, 0), train.length));
  batches.views.forEach((batch) => device.gradients(batch));
  const { trainLoss, testLoss, testAccuracy } = await device.score();
  const [seen, tested] = [host.evaluate(train), host.evaluate(test)];
  assertClose([trainLoss, testLoss], [seen.loss, tested.loss], "loss");
  assertEquals(testAccuracy, tested.correct / test.length);
});

/** The bytes per step that a run has printed. */
function readBytes(out: string): { toDevice: number; toHost: number } {
  const line = /^Bytes that crossed the bus per step: (\S+) to the device .*, (\S+) back /m;
  const [, toDevice, toHost] = out.match(line) ?? [];
  return { toDevice: Number(toDevice), toHost: Number(toHost) };
}

for (const args of [[], ["--sign"]]) {
  gpuTest(
    `deno task demo:gpu ${args.join(" ")} recognizes 96 % and draws what it printed`,
    async ({ info }) => {
      const { out, svg } = await train("demo:gpu", ...args);
      const { loss, testLoss, accuracy } = readEpochs(out);
      assertEquals(accuracy.length, 30);
      assert(accuracy.at(-1)! >= 96, out);
      assert(loss.at(-1)! < loss[0] / 10, out);
      const [lossCurve, testLossCurve, accuracyCurve, ...rest] = readCurves(svg);
      assertEquals(rest, []);
      assertDraws(lossCurve, loss.map(Math.log));
      assertDraws(testLossCurve, testLoss.map(Math.log));
      assertDraws(accuracyCurve, accuracy);
      assert(svg.includes(`, on ${info.name}<`), "the picture names the adapter");
      assert(out.includes(` images, on ${info.name} (${info.backend}, ${info.driver})`), out);
      assertEquals(out.includes("which computes on the processor"), info.type === "cpu");
      const { toDevice, toHost } = readBytes(out);
      const order = Math.ceil(32 * 4 / info.limits.offsetAlignment) * info.limits.offsetAlignment;
      assert(toDevice >= order && toDevice < order + 8, "the order, and a table now and then");
      assertEquals(toHost, 0.3); // three numbers in 45 steps
    },
  );
}

gpuTest(
  "deno task demo:gpu goes the way of the main demo, and the same way each time",
  async () => {
    const options = ["--epochs", "3", "--seed", "5", "--batch", "50", "--lr", "0.05"]
      .concat(["--momentum", "0.5", "--nesterov", "--weight-decay", "0.01"]);
    const runs = [
      await train("demo", ...options),
      await train("demo:gpu", ...options),
      await train("demo:gpu", ...options),
    ];
    const [host, device, again] = runs.map(({ out }) => readEpochs(out));
    assertEquals(again, device);
    assertEquals(device.loss.length, 3);
    const difference = (a: number[], b: number[]) =>
      Math.max(...a.map((x, i) => Math.abs(x - b[i])));
    assert(difference(device.loss, host.loss) < 1e-4, runs[1].out);
    assert(difference(device.testLoss, host.testLoss) < 1e-4, runs[1].out);
    assert(difference(device.accuracy, host.accuracy) < 0.6, runs[1].out); // two images of 360
  },
);

gpuTest("deno task demo:gpu stops when the loss is not a number", async () => {
  const { code, err } = await deno(["task", "-q", "demo:gpu", "--lr", "1e6"]);
  assertEquals(code, 2);
  assertMatch(err, /^Cannot continue as the loss is \S+ in epoch 1: lower --lr$/m);
});

for (const option of ["--backend=js", "--checkpoint=x", "--resume=x", "--bogus=1"]) {
  Deno.test(`deno task demo:gpu ${option} is refused by name`, async () => {
    const { code, err } = await deno(["task", "-q", "demo:gpu", option]);
    assertEquals(code, 2);
    assertMatch(
      err,
      RegExp(`^Cannot read ${option.split("=")[0]}\\S* as it is not an option$`, "m"),
    );
  });
}

const missing = absence ?? (Deno.build.os === "linux" ? undefined : "only on Linux");
const NO_ADAPTER = { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" };
const NO_LIBRARY = { DENO_DESCENT_KERNELS: "/nonexistent" };

for (
  const [what, env, reason, message] of [
    [
      ...["adapter", NO_ADAPTER, missing] as const,
      /^Cannot open a GPU as no adapter was found: install .*$/m,
    ],
    ["library", NO_LIBRARY, undefined, /^Cannot open a GPU as \/nonexistent does not exist.*$/m],
  ] as const
) {
  Deno.test({
    name: `deno task demo:gpu without ${what} says in one line what to do${
      reason === undefined ? "" : ` (skipped: ${reason})`
    }`,
    ignore: reason !== undefined,
    async fn() {
      const outcome = await deno(["task", "-q", "demo:gpu"], env);
      assertEquals(outcome.code, 1);
      assertMatch(outcome.err, message);
      assert(!/^ +at /m.test(outcome.err), outcome.err);
      assert(!outcome.out.includes("epoch"), outcome.out);
    },
  });
}

Deno.test("deno task demo:gpu --help describes every option", async () => {
  const { code, out } = await deno(["task", "-q", "demo:gpu", "--help"]);
  assertEquals(code, 0);
  const names = ["lr", "momentum", "nesterov", "weight-decay", "sign", "epochs", "batch", "seed"];
  for (const name of [...names, "plot", "help"]) assertMatch(out, RegExp(`--${name}\\b`));
});
