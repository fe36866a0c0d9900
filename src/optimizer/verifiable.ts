/** What of an optimizer is to be equal on all ranks of a world. */

import type { Verifiable } from "../core/exchange.ts";
import type { Plan } from "../plan/plan.ts";
import type { StateDict } from "../state/dict.ts";

/**
 * Lists parameters and their state.
 *
 * @param dict The state; null if each rank has its own.
 */
export function listVerifiable({ table, parameters }: Plan, dict: StateDict | null): Verifiable[] {
  const list: Verifiable[] = [];
  for (const [row, { data }] of parameters.entries()) {
    if (ArrayBuffer.isView(data)) list.push({ what: table.name(row, "data"), array: data });
  }
  for (const [id, state] of Object.entries(dict?.state ?? {})) {
    for (const [name, value] of Object.entries(state as Record<string, unknown>)) {
      if (ArrayBuffer.isView(value)) {
        list.push({ what: `${name} of parameter ${id}`, array: value });
      }
    }
  }
  return list;
}
