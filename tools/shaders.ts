/**
 * Copies the shaders of the native library into the package: `deno task shaders`. Both GPU paths step
 * with one text.
 */

import { join } from "@std/path/join";

const ROOT = join(import.meta.dirname!, "..");

/** Where the copies are. */
export const COPY = "src/webgpu/shaders.ts";

/** The shaders, each with the name and the purpose of its copy. */
const SHADERS = [
  { file: "sgd", name: "SGD", purpose: "The rule, over a table of chunks." },
  { file: "norm", name: "NORM", purpose: "Measures gradients, piece by piece." },
  { file: "decide", name: "DECIDE", purpose: "Decides from what was measured." },
] as const;

/** The text of the file with the copies. */
export async function copyShaders(): Promise<string> {
  const parts = [
    "/** The shaders of `kernels/src/gpu`: copies that `deno task shaders` makes. */\n",
  ];
  for (const { file, name, purpose } of SHADERS) {
    const text = await Deno.readTextFile(join(ROOT, `kernels/src/gpu/${file}.wgsl`));
    const escaped = text.replace(/[\\`]|\$\{/g, "\\$&");
    parts.push(`/** ${purpose} */\nexport const ${name} = \`\n${escaped}\`;\n`);
  }
  return parts.join("\n");
}

if (import.meta.main) await Deno.writeTextFile(join(ROOT, COPY), await copyShaders());
