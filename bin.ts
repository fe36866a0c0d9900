#!/usr/bin/env node
/**
 * The command of the npm package: `npx @descent/sgd install` and `npx @descent/sgd doctor`, in Bun
 * with `bunx`.
 *
 * @module
 */

import { diagnose } from "./doctor.ts";
import { VERSION } from "./src/core/version.ts";
import { runInstall } from "./src/install/program.ts";

const USAGE = `Descent ${VERSION}

  sgd install [options]  install the native library; --help lists the options
  sgd doctor             report versions, the library and the backend, for bug reports`;

async function main([command, ...args]: readonly string[]): Promise<void> {
  if (command === "install") return await runInstall(args);
  if (command === "doctor") return console.log(diagnose());
  if (command === undefined || command === "--help") return console.log(USAGE);
  console.error(`There is no command ${JSON.stringify(command)}\n\n${USAGE}`);
  process.exit(2);
}

await main(process.argv.slice(2));
