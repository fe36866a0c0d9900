/** Checkpoint files of optimizers on WebGPU devices. */

import { assertEquals } from "@std/assert";
import { loadState, saveState } from "@descent/sgd";
import { adoptDevice } from "@descent/sgd/webgpu";
import { openDevice, optimizerOf, values } from "./suite/world.ts";

const adapter = await navigator.gpu?.requestAdapter() ?? null;

Deno.test({
  name: `webgpu: a run that is saved and loaded goes on with the same bits${
    adapter === null ? " (skipped: WebGPU finds no adapter)" : ""
  }`,
  ignore: adapter === null,
  async fn() {
    const device = await openDevice();
    const gpu = adoptDevice(device);
    const make = (seed: number) => ({
      data: gpu.tensor(values(300, seed)),
      grad: gpu.tensor(values(300, 9)),
      name: "w",
    });
    const rule = { lr: 0.1, momentum: 0.9 };
    const [one, two] = [make(1), make(2)];
    const [first, second] = [optimizerOf([one], rule), optimizerOf([two], rule)];
    const path = await Deno.makeTempFile();
    one.grad.write(new Float32Array(300).fill(NaN));
    first.step({ maxNorm: 1 }); // skipped, which the host does not know
    await saveState(path, first);
    assertEquals((await loadState(path)).state, {});
    one.grad.write(values(300, 9));
    first.step({ maxNorm: 1 });
    await saveState(path, first, { parameters: true });
    second.loadStateDict(await loadState(path), { parameters: true });
    for (const optimizer of [first, second]) optimizer.step();
    assertEquals(await two.data.read(), await one.data.read());
    await Deno.remove(path);
    device.destroy();
  },
});
