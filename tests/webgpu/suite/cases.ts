/** All cases of the suite. */

import { FAILURE_CASES } from "./failures.ts";
import { OPTION_CASES } from "./options.ts";
import { STEP_CASES } from "./steps.ts";
import { TENSOR_CASES } from "./tensors.ts";
import type { Case } from "./world.ts";

export const CASES: readonly Case[] = [
  ...[...STEP_CASES, ...OPTION_CASES],
  ...[...TENSOR_CASES, ...FAILURE_CASES],
];
