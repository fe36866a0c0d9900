/** What the metadata of a file says of its format. */

import { ROUNDING, SCALER, SCHEDULER } from "./extras_json.ts";

/** The name of the format. */
export const FORMAT = "descent-sgd-state";

/**
 * Version 2 has null in `param_names`, and version 3 momentum in 8 bits, corrections and rows in use.
 */
export const VERSION = 3;

/** The keys of the metadata that are not the caller's own. */
export const RESERVED: readonly string[] = [
  ...["format", "version", "param_groups"],
  ...[ROUNDING, SCHEDULER, SCALER],
];
