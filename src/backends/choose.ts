/** Which backend an optimizer gets. */

import type { BackendName } from "../core/hyperparameters.ts";
import { cannot, checkWord } from "../core/validate.ts";
import type { Backend } from "./backend.ts";
import { openCpu } from "./native_cpu.ts";
import { js } from "./js/backend.ts";

/**
 * Chooses a backend; `"auto"` is `cpu` where the library is there and allowed, else `js`.
 *
 * @throws {TypeError} If there is no such backend.
 * @throws {Error} If `"cpu"` is not available, a library is there that does not work, or
 * `DENO_DESCENT_KERNELS` names what is not a file.
 */
export function chooseBackend(choice: "auto" | BackendName = "auto"): Backend {
  if (choice === "js") return js;
  checkWord("backend", choice, ["auto", "cpu", "js"]);
  const cpu = openCpu();
  if (!("reason" in cpu)) return cpu;
  if (choice === "auto" && !cpu.isFault) return js;
  throw new Error(cannot(`use backend "${choice}"`, cpu.reason));
}
