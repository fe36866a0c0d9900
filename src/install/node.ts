/** Node.js's modules of paths and URLs, which Deno has. */

/** Asked for when they are needed: browsers cannot import them, and take the rest of the package. */
export const nodePath = (): typeof import("node:path") => process.getBuiltinModule("node:path");

/** As `nodePath`. */
export const nodeUrl = (): typeof import("node:url") => process.getBuiltinModule("node:url");
