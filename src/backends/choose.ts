/** Which backend an optimizer gets. */

import type { BackendName } from "../core/hyperparameters.ts";
import { cannot, checkWord } from "../core/validate.ts";
import type { Backend } from "./backend.ts";
import { openCpu } from "./native_cpu.ts";
import { js } from "./js/backend.ts";

/** A backend, and why an optimizer gets it. */
export interface Choice {
  readonly backend: Backend;
  /** The words after "as" in a sentence. */
  readonly reason: string;
}

/**
 * Chooses a backend; `"auto"` is `cpu` where the library is there and allowed, else `js`.
 *
 * @throws {TypeError} If there is no such backend.
 * @throws {Error} If `"cpu"` is not available, a library is there that does not work, or
 * `DENO_DESCENT_KERNELS` names what is not a file.
 */
export function chooseWithReason(choice: "auto" | BackendName = "auto"): Choice {
  if (choice === "js") return { backend: js, reason: 'the option backend is "js"' };
  checkWord("backend", choice, ["auto", "cpu", "js"]);
  const cpu = openCpu();
  if (!("reason" in cpu)) {
    const given = choice === "cpu" ? 'the option backend is "cpu", and ' : "";
    return { backend: cpu, reason: `${given}the native library is there and allowed` };
  }
  if (choice === "auto" && !cpu.isFault) return { backend: js, reason: cpu.reason };
  throw new Error(cannot(`use backend "${choice}"`, cpu.reason));
}

/** The backend alone; throws the same. */
export function chooseBackend(choice?: "auto" | BackendName): Backend {
  return chooseWithReason(choice).backend;
}
