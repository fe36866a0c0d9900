/** What an optimizer says of itself: its backend and why it has it, and summaries for logs. */

import { deviceOf, findElementType } from "../core/dtype.ts";
import type { DeviceTensor, Tensor } from "../core/dtype.ts";
import { HYPERPARAMETERS } from "../core/hyperparameters.ts";
import type {
  BackendName,
  Hyperparameters,
  ParamGroup,
  ParamGroupSummary,
} from "../core/hyperparameters.ts";
import { lengthOf } from "../core/intrinsics.ts";
import type { Parameter } from "../core/parameter.ts";

/**
 * What `toJSON` of an optimizer returns: values for logs, without the elements of any array.
 *
 * @category Optimizer
 */
export interface SGDSummary {
  /** The backend that runs the steps. */
  backend: BackendName | "gpu" | "webgpu";
  /** The number of parameters. */
  parameters: number;
  /** The number of their elements. */
  elements: number;
  /** The groups, in order. */
  paramGroups: ParamGroupSummary[];
}

/** Where the parameters of an optimizer are: the backend of its steps. */
export function backendOf(
  parameters: readonly Parameter<Tensor>[],
  host: BackendName,
): SGDSummary["backend"] {
  const names = devicesOf(parameters);
  if (names.size === 0 || names.has(undefined)) return host;
  return names.has("gpu") ? "gpu" : "webgpu";
}

/**
 * The sentence that says why an optimizer has its backend.
 *
 * @param reason Why the host backend was chosen: the words after "as".
 */
export function explainBackend(
  parameters: readonly Parameter<Tensor>[],
  host: BackendName,
  reason: string,
): string {
  const name = backendOf(parameters, host);
  const devices = devicesOf(parameters);
  const sentence = (words: string) => `The backend is ${name}, as ${words}`;
  if (name === host) {
    const others = devices.size > 1 ? ". Parameters on a GPU are stepped there" : "";
    return sentence(reason) + others;
  }
  const places = {
    gpu: "a GPU that openGpu has opened",
    webgpu: "a device that adoptDevice has adopted",
  };
  if (devices.size > 1) return sentence(`all parameters are on GPUs, some on ${places.gpu}`);
  return sentence(`all parameters are on ${places[name as "gpu" | "webgpu"]}`);
}

function devicesOf(parameters: readonly Parameter<Tensor>[]): Set<"gpu" | "webgpu" | undefined> {
  return new Set(parameters.map(({ data }) => deviceOf(data)?.name));
}

/** The summary of a group. */
export function summarizeGroup(group: ParamGroup<Tensor>): ParamGroupSummary {
  const { params, initialLr, momentumBits } = group;
  const values = HYPERPARAMETERS.map((name) => [name, group[name]]);
  return {
    parameters: params.length,
    elements: params.reduce((sum, { data }) => sum + elementsIn(data), 0),
    ...Object.fromEntries(values) as Hyperparameters,
    ...{ initialLr, momentumBits },
  };
}

/** The summary of an optimizer. */
export function summarize(
  backend: SGDSummary["backend"],
  groups: readonly ParamGroup<Tensor>[],
): SGDSummary {
  const paramGroups = groups.map((group) => group.toJSON());
  const sumOf = (key: "parameters" | "elements") =>
    paramGroups.reduce((sum, group) => sum + group[key], 0);
  return { backend, parameters: sumOf("parameters"), elements: sumOf("elements"), paramGroups };
}

/** The number of elements, also of a tensor that has been disposed of; 0 of what is not a tensor. */
function elementsIn(tensor: Tensor): number {
  const type = findElementType(tensor);
  if (type === undefined) return 0;
  return type.device === undefined
    ? lengthOf(tensor)
    : (tensor as DeviceTensor).byteLength / type.bytes;
}
