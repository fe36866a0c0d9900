/** Whether this process is alone, as far as that can be known without the native library. */

import { allowed, readVariable, runtimeName } from "../core/platform.ts";

/** What launchers set, one of PMIx or one of PMI. */
const RANKS = ["PMIX_RANK", "PMI_RANK"] as const;

/** What they set if they say how many processes there are. */
const SIZES = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] as const;

/** Why this process may not be alone; null if it is. */
export function whyNotAlone(): string | null {
  if (runtimeName() === null) return null; // nothing starts a page of a browser as a rank
  if (RANKS.some((variable) => !allowed({ name: "env", variable }))) {
    return `whether a launcher has started this process is not known without --allow-env=${RANKS}`;
  }
  const isStarted = RANKS.some((variable) => readVariable(variable) !== undefined);
  const isOnly = SIZES.some((variable) => readVariable(variable) === "1");
  return isStarted && !isOnly ? "a launcher has started this process" : null;
}
