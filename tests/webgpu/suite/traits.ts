/** How a device computes, as far as WGSL leaves it open: found out by a shader. */

/** How a device computes. */
export interface Traits {
  /** How often `fma` rounds. */
  readonly rounds: "once" | "twice";
  /** Whether what is less than the smallest normal number stays, or becomes zero. */
  readonly subnormals: "kept" | "flushed";
}

const SHADER = `
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(1)
fn main() {
  x[0] = fma(x[0], x[1], x[2]);
  x[3] = x[3] * x[4];
}`;

/**
 * The square of 1 + 2^-12 is a tie between two numbers of float32: rounded by itself, to the even one, it
 * is what is subtracted from it. The other product is half of the smallest normal number.
 */
const INPUTS = [1 + 2 ** -12, 1 + 2 ** -12, -(1 + 2 ** -11), 2 ** -126, 0.5];

const RESULTS = { once: 2 ** -24, twice: 0, kept: 2 ** -127, flushed: 0 };

/**
 * Finds out how a device computes.
 *
 * @throws {Error} If it is in none of the ways that Descent knows.
 */
export async function probe(device: GPUDevice): Promise<Traits> {
  const buffer = device.createBuffer({ size: 4 * INPUTS.length, usage: 4 | 8 | 128 });
  const copy = device.createBuffer({ size: 4 * INPUTS.length, usage: 1 | 8 });
  device.queue.writeBuffer(buffer, 0, Float32Array.from(INPUTS));
  const module = device.createShaderModule({ code: SHADER });
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module, entryPoint: "main" },
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    }),
  );
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, copy, 0, copy.size);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(1);
  const [sum, , , product] = new Float32Array(copy.getMappedRange().slice(0));
  const rounds = (["once", "twice"] as const).find((name) => RESULTS[name] === sum);
  const subnormals = (["kept", "flushed"] as const).find((name) => RESULTS[name] === product);
  if (rounds === undefined || subnormals === undefined) {
    throw new Error(`The device computes in a way of its own: ${sum} and ${product}`);
  }
  return { rounds, subnormals };
}
