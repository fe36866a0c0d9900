/** All cases of the suite. */

import { OPTION_CASES } from "./options.ts";
import { STEP_CASES } from "./steps.ts";
import type { Case } from "./world.ts";

export const CASES: readonly Case[] = [...STEP_CASES, ...OPTION_CASES];
