/** What the metadata of a file says of its format. */

import { AVERAGE } from "./average_json.ts";
import { ROUNDING, SCALER, SCHEDULER } from "./extras_json.ts";

/** The name of the format. */
export const FORMAT = "descent-sgd-state";

/**
 * Version 2 has null in `param_names`, version 3 momentum in 8 bits, corrections and rows in use, and
 * version 4 averaged weights.
 */
export const VERSION = 4;

/** The keys of the metadata that are not the caller's own. */
export const RESERVED: readonly string[] = [
  ...["format", "version", "param_groups"],
  ...[ROUNDING, SCHEDULER, SCALER, AVERAGE],
];
