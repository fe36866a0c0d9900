/**
 * Tensors of any safetensors file: weights that PyTorch, Hugging Face or another library has saved, to
 * be trained here, and weights for them. Checkpoints of a whole run are `saveState` and `loadState` of
 * `@descent/sgd`.
 *
 * | | |
 * | --- | --- |
 * | {@linkcode loadTensors}, {@linkcode saveTensors} | files; sharded models too |
 * | {@linkcode decodeTensors}, {@linkcode encodeTensors} | the same as bytes, also in browsers |
 * | {@linkcode openTensors} | names, shapes and metadata without the data, and single tensors |
 *
 * Guide: [safetensors](https://github.com/descent/sgd/blob/main/docs/safetensors.md).
 *
 * @example Load weights, and train them
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { decodeTensors, encodeTensors } from "@descent/sgd/safetensors";
 *
 * const bytes = encodeTensors({ "layer.weight": { data: Float32Array.of(1, 2), shape: [2, 1] } });
 *
 * const parameters = Object.entries(decodeTensors(bytes)).map(([name, { data, shape, dtype }]) => {
 *   if (dtype !== "F32") throw new TypeError(`${name} is ${dtype}`);
 *   return { name, data, shape, grad: new Float32Array(data.length).fill(1) };
 * });
 * new SGD(parameters, { lr: 0.5 }).step();
 * console.log(parameters[0].data); // Float32Array(2) [ 0.5, 1.5 ]
 * ```
 *
 * @module
 */

export { decodeTensors } from "./src/safetensors/decode.ts";
export { encodeTensors } from "./src/safetensors/encode.ts";
export { loadTensors, saveTensors } from "./src/safetensors/files.ts";
export type { LoadTensorsOptions, SaveTensorsOptions } from "./src/safetensors/files.ts";
export { openTensors } from "./src/safetensors/tensors_file.ts";
export type { TensorsFile } from "./src/safetensors/tensors_file.ts";
export type {
  DtypeArrays,
  LoadedTensor,
  SavedTensor,
  TensorArray,
  TensorDtype,
  TensorsMetadata,
} from "./src/safetensors/types.ts";
