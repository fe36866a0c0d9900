/** `examples/minimal/ranks.ts`, alone and as a job: the same run, which also resumes. */

import { assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { cpuMissing } from "../support/backends.ts";
import { ENGINES, runCommand, testOn } from "./jobs.ts";
import type { Engine } from "./jobs.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const TABLE = join(ROOT, "examples/minimal/data/eights.csv");
