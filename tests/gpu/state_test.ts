/** State dicts and checkpoints of parameters on a GPU. */

import { assertEquals, assertThrows } from "@std/assert";
import { loadState, saveState, SGD } from "@descent/sgd";
import { loadTensors } from "@descent/sgd/safetensors";
import type { Gpu, GpuTensor } from "@descent/sgd/gpu";
import { gpuTest, TINY, values } from "./gpu.ts";

const OPTIONS = { lr: 0.5, momentum: 0.5 };

/** Two named tensors after some steps. The numbers are exact in float32, fused or not. */
function stepped(gpu: Gpu, steps: number) {
  const params = [100, 7].map((n, i) => ({
    data: gpu.tensor(values(n, i)),
    grad: gpu.tensor(values(n, i + 5)),
    name: `p${i}`,
  }));
  const optimizer = new SGD(params, OPTIONS);
  for (let i = 0; i < steps; i++) optimizer.step();
  return { params, optimizer };
}

const read = ({ params, optimizer }: ReturnType<typeof stepped>) =>
  params.flatMap((p) => [
    p.data.readSync(),
    (optimizer.state.get(p)!.momentumBuffer as GpuTensor | null)?.readSync(),
  ]);

gpuTest("a state dict is read from the device, and a run resumes from it there", (gpu) => {
  const whole = stepped(gpu, 5);
  const first = stepped(gpu, 2);
  const dict = first.optimizer.stateDict({ parameters: true });
  first.optimizer.step();
  const second = stepped(gpu, 0);
  second.optimizer.loadStateDict(dict, { parameters: true });
  for (let i = 0; i < 3; i++) second.optimizer.step();
  assertEquals(read(second), read(whole));
  assertEquals(dict.state[0].momentum_buffer instanceof Float32Array, true);
}, TINY);

gpuTest("stateDictAsync is the state at the time of the call", async (gpu) => {
  const { optimizer } = stepped(gpu, 2);
  const dict = optimizer.stateDict({ parameters: true });
  const later = optimizer.stateDictAsync({ parameters: true });
  optimizer.step();
  assertEquals(await later, dict);
}, TINY);

gpuTest("a state dict goes between the device and arrays", (gpu) => {
  const device = stepped(gpu, 2);
  const host = [100, 7].map((n, i) => ({
    ...{ data: values(n, i), grad: values(n, i + 5), name: `p${i}` },
  }));
  const optimizer = new SGD(host, OPTIONS);
  optimizer.loadStateDict(device.optimizer.stateDict({ parameters: true }), { parameters: true });
  for (const each of [device.optimizer, optimizer]) each.step();
  assertEquals(host.map(({ data }) => data), device.params.map(({ data }) => data.readSync()));
  device.optimizer.loadStateDict(optimizer.stateDict());
  assertEquals(read(device)[1], optimizer.state.get(host[0])!.momentumBuffer!);
});

gpuTest("a checkpoint holds what is on the device when it is asked for", async (gpu) => {
  const path = await Deno.makeTempFile();
  try {
    const run = stepped(gpu, 2);
    await saveState(path, run.optimizer, { parameters: true });
    const after = stepped(gpu, 0);
    after.optimizer.loadStateDict(await loadState(path), { parameters: true });
    assertEquals(read(after), read(run));
  } finally {
    await Deno.remove(path);
  }
});

gpuTest("a file of weights alone holds those on the device", async (gpu) => {
  const path = await Deno.makeTempFile();
  try {
    const { params, optimizer } = stepped(gpu, 2);
    await saveState(path, optimizer, { state: false, parameters: true });
    const tensors = Object.values(await loadTensors(path));
    assertEquals(tensors.map(({ data }) => data), params.map(({ data }) => data.readSync()));
  } finally {
    await Deno.remove(path);
  }
});

gpuTest("a state dict that does not fit changes nothing on the device", (gpu) => {
  const { params, optimizer } = stepped(gpu, 2);
  const before = read({ params, optimizer });
  const dict = optimizer.stateDict({ parameters: true });
  dict.parameters![1].data = new Float32Array(8);
  assertThrows(() => optimizer.loadStateDict(dict, { parameters: true }), RangeError, "length 7");
  assertEquals(read({ params, optimizer }), before);
});

gpuTest("float16 state is float32 on the host, and nothing is lost on the way", (gpu) => {
  if (!gpu.info.float16) return;
  const make = () => ({
    data: gpu.tensor(Float16Array.from(values(9))),
    grad: gpu.tensor(Float16Array.from(values(9, 3))),
  });
  const [a, b] = [make(), make()];
  const [from, to] = [new SGD([a], OPTIONS), new SGD([b], OPTIONS)];
  for (let i = 0; i < 2; i++) from.step();
  const dict = from.stateDict({ parameters: true });
  assertEquals(dict.parameters![0].data instanceof Float32Array, true);
  to.loadStateDict(dict, { parameters: true });
  for (const each of [from, to]) each.step();
  assertEquals(b.data.readSync(), a.data.readSync());
});
