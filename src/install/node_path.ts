/** Paths of the system. */

/** Imported when it is needed, as a browser cannot import it and takes the rest of the package. */
export const nodePath = (): Promise<typeof import("node:path")> => import("node:path");
