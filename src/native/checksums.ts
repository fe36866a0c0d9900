/** The released libraries of this version; `deno task release publish` fills the table in. */

import type { ReleasedFile } from "./release.ts";

/** Size and SHA-256 of each library, by file name; empty outside of a published package. */
export const CHECKSUMS: Readonly<Record<string, ReleasedFile>> = {};
