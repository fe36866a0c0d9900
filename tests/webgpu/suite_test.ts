/** The suite on the device that Deno's WebGPU finds. */

import { describeHabits } from "../gpu/reference.ts";
import { probe } from "./suite/traits.ts";
import { CASES } from "./suite/cases.ts";
import { openDevice } from "./suite/world.ts";

const adapter = await navigator.gpu?.requestAdapter() ?? null;
const reason = adapter === null ? "WebGPU finds no adapter" : null;

for (const { name, feature, run } of CASES) {
  const lacks = feature !== undefined && adapter !== null && !adapter.features.has(feature);
  const why = reason ?? (lacks ? `the adapter lacks ${feature}` : null);
  Deno.test({
    name: why === null ? `webgpu: ${name}` : `webgpu: ${name} (skipped: ${why})`,
    ignore: why !== null,
    async fn() {
      const device = await openDevice();
      const traits = await probe(device);
      device.destroy();
      await run({ traits, open: openDevice });
    },
  });
}

Deno.test({
  name: `webgpu: how the device computes${reason === null ? "" : ` (skipped: ${reason})`}`,
  ignore: reason !== null,
  async fn() {
    const device = await openDevice();
    const { description, vendor } = adapter!.info;
    console.log(describeHabits({ name: description || vendor }, await probe(device)));
    device.destroy();
  },
});
