/** Node.js's modules for paths and URLs, which Deno has too. */

/** `node:path`, loaded when it is needed: browsers can use the rest of the package, but not this. */
export const nodePath = (): typeof import("node:path") => process.getBuiltinModule("node:path");

/** `node:url`, in the same way. */
export const nodeUrl = (): typeof import("node:url") => process.getBuiltinModule("node:url");
