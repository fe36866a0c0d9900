/** Whether this process is alone, as far as that can be known without the native library. */

import { allowed, readVariable, runtimeName } from "../core/platform.ts";

/** What launchers of MPI set; one of them says how many processes there are. */
const VARIABLES = [
  ...["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PRTE_LAUNCHED"],
  ...["PMI_SIZE", "PMI_RANK", "PMI_FD", "MPI_LOCALNRANKS"],
] as const;

/** Why this process may not be alone; null if it is. */
export function whyNotAlone(): string | null {
  if (runtimeName() === null) return null; // nothing starts a page of a browser as a rank
  if (VARIABLES.some((variable) => !allowed({ name: "env", variable }))) {
    return "whether a launcher has started this process is not known without " +
      `--allow-env=${VARIABLES}`;
  }
  const sizes = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].map(readVariable);
  const isStarted = VARIABLES.some((variable) => readVariable(variable) !== undefined);
  return isStarted && !sizes.includes("1") ? "a launcher has started this process" : null;
}
