/** A GPU of the native library, for the network. */

import type { Gpu, GpuTensor } from "@descent/sgd/gpu";
import type { Compute } from "./compute.ts";

/** Lets the network compute on it. */
export function onNativeGpu(gpu: Gpu): Compute<GpuTensor> {
  return {
    offsetAlignment: gpu.info.limits.offsetAlignment,
    tensor: (content) => typeof content === "number" ? gpu.tensor(content) : gpu.tensor(content),
    kernel(code) {
      const kernel = gpu.kernel({ code, entryPoint: "main" });
      return (tensors, workgroups) => kernel.dispatch(tensors, [workgroups]);
    },
  };
}
