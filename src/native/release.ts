/** The files of a release, and where the cache keeps them: names only, nothing is read. */

/** Where a library runs. */
export interface Platform {
  /** As `Deno.build.os`. */
  readonly os: string;
  /** As `Deno.build.arch`. */
  readonly arch: string;
}

/** The size and hash of a released library. */
export interface ReleasedFile {
  /** Size in bytes. */
  readonly size: number;
  /** SHA-256 in lower-case hexadecimal. */
  readonly sha256: string;
}

/** The platforms that a release has libraries for. */
export const PLATFORMS: readonly Platform[] = [
  { os: "linux", arch: "x86_64" },
  { os: "linux", arch: "aarch64" },
  { os: "darwin", arch: "x86_64" },
  { os: "darwin", arch: "aarch64" },
  { os: "windows", arch: "x86_64" },
];

/** The beginning of every library's file name. */
export const STEM = "descent_kernels";

const EXTENSIONS: Readonly<Record<string, string>> = { darwin: "dylib", windows: "dll" };

/** The ending of a library's file name, without the dot. */
export function extensionOf(os: string): string {
  return EXTENSIONS[os] ?? "so";
}

/** The name that a build gives the library. */
export function builtName(os: string): string {
  return `${os === "windows" ? "" : "lib"}${STEM}.${extensionOf(os)}`;
}

/** The name of a library in a release, such as `descent_kernels-0.1.0-linux-x86_64-cpu.so`. */
export function releasedName(version: string, { os, arch }: Platform, cpuOnly: boolean): string {
  return `${STEM}-${version}-${os}-${arch}${cpuOnly ? "-cpu" : ""}.${extensionOf(os)}`;
}

/** The name of a released library in the cache: its hash comes before the ending. */
export function cachedName(released: string, sha256: string): string {
  const dot = released.lastIndexOf(".");
  return `${released.slice(0, dot)}-${sha256.slice(0, 16)}${released.slice(dot)}`;
}

/** The environment variables that the place of the cache folder depends on, the strongest first. */
export function cacheVariables(os: string): readonly string[] {
  if (os === "windows") return ["LOCALAPPDATA"];
  return os === "darwin" ? ["HOME"] : ["XDG_CACHE_HOME", "HOME"];
}

/**
 * The user's cache folder for native libraries.
 *
 * @param env Reads one of {@linkcode cacheVariables}.
 * @returns The folder, or undefined if no variable gives its location.
 */
export function cacheFolder(
  os: string,
  env: (variable: string) => string | undefined,
): string | undefined {
  if (os === "windows") {
    const data = env("LOCALAPPDATA");
    return data ? `${data}\\descent-sgd` : undefined;
  }
  const chosen = os === "darwin" ? undefined : env("XDG_CACHE_HOME");
  // The XDG specification says that relative paths are ignored.
  if (chosen?.startsWith("/")) return `${chosen}/descent-sgd`;
  const home = env("HOME");
  return home ? `${home}/${os === "darwin" ? "Library/Caches" : ".cache"}/descent-sgd` : undefined;
}
