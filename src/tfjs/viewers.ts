/**
 * Views of the memory of tfjs. It is not part of its public API, so each viewer is tried at run time
 * before it is used.
 */

import { cannot, refusal } from "../core/validate.ts";
import type { Tf, TfTensor } from "./api.ts";
import type { Viewer } from "./host_views.ts";
import { sizeOf, valuesOf } from "./memory.ts";

/** What fails, in the words of errors. */
const DOING = 'step with memory "view"';

/** What the adapter uses of the backend `wasm` that is not public. */
interface WasmBackend {
  readonly dataIdMap: {
    get(dataId: object): { readonly id: number; readonly memoryOffset: number };
  };
  readonly wasm: {
    readonly tfjs: {
      registerTensor(id: number, size: number, memoryOffset: number): void;
      disposeData(id: number): void;
    };
  };
  typedArrayFromHeap(tensor: TfTensor): Float32Array;
}

/** On `cpu` the values are an array, which `dataSync` returns as it is if it is one of floats. */
function viewCpu(): Viewer {
  return {
    backend: "cpu",
    hasForeign: true,
    view: valuesOf,
    isShown: (tensor) => valuesOf(tensor) === valuesOf(tensor), // else it is converted
    refresh: () => {},
  };
}

/**
 * On `wasm` the values are in the heap. Kernels keep weights in packed form under the number of the
 * tensor, and drop them when the number is disposed of. So it is, and registered again for the same place
 * in the heap.
 */
function viewWasm(tf: Tf): Viewer {
  const backend = tf.backend() as WasmBackend;
  return {
    backend: "wasm",
    hasForeign: false,
    view: (tensor) => backend.typedArrayFromHeap(tensor),
    isShown: () => true,
    refresh: (tensor) => {
      const { id, memoryOffset } = backend.dataIdMap.get(tensor.dataId);
      const { tfjs } = backend.wasm;
      tfjs.disposeData(id);
      tfjs.registerTensor(id, sizeOf(tensor), memoryOffset);
    },
  };
}

/**
 * Whether a viewer does what it should: what is written into a view is what tfjs reads and, after
 * `refresh`, what its kernels compute with.
 */
function works(tf: Tf, viewer: Viewer): boolean {
  const tensors = [1, 2].map((value) => tf.tensor(new Float32Array([value]), [1, 1], "float32"));
  const [one, weight] = tensors;
  const product = (): number => {
    const result = tf.matMul(one, weight);
    tensors.push(result);
    return valuesOf(result)[0];
  };
  try {
    const before = product();
    viewer.view(weight)[0] = 3;
    viewer.refresh(weight);
    return before === 2 && valuesOf(weight)[0] === 3 && product() === 3;
  } catch (error) {
    if (error instanceof TypeError) return false; // a method or a property is missing
    throw error;
  } finally {
    tf.dispose(tensors);
  }
}

/**
 * Makes the viewer for the backend that is in use, and tries it.
 *
 * @throws {Error} If there is none, or it does not work with this version of tfjs.
 */
export function createViewer(tf: Tf): Viewer {
  const name = tf.getBackend();
  if (name !== "cpu" && name !== "wasm") {
    const reason = "the backend of tfjs must be cpu, wasm or webgpu";
    throw new Error(refusal(DOING, reason, name, "backend"));
  }
  const viewer = name === "cpu" ? viewCpu() : viewWasm(tf);
  if (!works(tf, viewer)) throw viewError(name);
  return viewer;
}

/** The error for a version of tfjs whose memory cannot be seen. */
export function viewError(backend: string): Error {
  const reason = `this version of tfjs does not show the memory of its backend ${backend}`;
  return new Error(cannot(DOING, reason, 'use memory "copy"'));
}
