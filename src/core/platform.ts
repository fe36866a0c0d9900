/** What the package asks of its runtime: Deno, Node.js, Bun or a browser. Nothing is asked on import. */

/** A permission, as far as the package needs some. */
export type Permission =
  | { readonly name: "ffi" | "read" | "write"; readonly path?: string | URL }
  | { readonly name: "env"; readonly variable?: string }
  | { readonly name: "net" | "sys" }
  /** To load addons, which only Node.js asks for. */
  | { readonly name: "addon" };

/** The runtimes that have files. */
export type RuntimeName = "deno" | "bun" | "node";

/** The permission model of Node.js, where the program was started with it. */
interface NodePermission {
  has(scope: string, reference?: string): boolean;
}

const OS: Readonly<Record<string, string>> = { win32: "windows" };
const ARCH: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };
const SCOPES: Readonly<Record<string, string>> = {
  ffi: "ffi",
  addon: "addon",
  read: "fs.read",
  write: "fs.write",
  net: "net",
};

/** The runtime; null in a browser, and in a Node.js too old to load its own modules on request. */
export function runtimeName(): RuntimeName | null {
  if (typeof Deno !== "undefined") return "deno";
  if (typeof process === "undefined" || typeof process.getBuiltinModule !== "function") return null;
  return process.versions?.bun === undefined ? "node" : "bun";
}

/** The platform in the words of `Deno.build`. */
export function platform(): { readonly os: string; readonly arch: string } {
  if (typeof Deno !== "undefined") return Deno.build;
  const { platform, arch } = process;
  return { os: OS[platform] ?? platform, arch: ARCH[arch] ?? arch };
}

/** The current folder. Throws if it no longer exists or may not be known. */
export function currentFolder(): string {
  return typeof Deno === "undefined" ? process.cwd() : Deno.cwd();
}

/** Whether a permission is granted; never prompts. */
export function allowed(permission: Permission): boolean {
  if (typeof Deno !== "undefined") {
    return Deno.permissions.querySync(permission as Deno.PermissionDescriptor).state === "granted";
  }
  const { permission: model } = process as { permission?: NodePermission };
  const scope = SCOPES[permission.name];
  if (model === undefined || scope === undefined) return true;
  const path = "path" in permission && permission.name !== "ffi" ? permission.path : undefined;
  return path === undefined ? model.has(scope) : model.has(scope, String(path));
}

/** An environment variable, or undefined if it is not set, empty or not allowed. */
export function readVariable(variable: string): string | undefined {
  return allowed({ name: "env", variable }) ? environment(variable) || undefined : undefined;
}

/** An environment variable, or undefined if it is not set. Prompts in Deno, as a program may. */
export function environment(variable: string): string | undefined {
  return typeof Deno === "undefined" ? process.env[variable] : Deno.env.get(variable);
}

/** The command that starts one of the package's programs in this runtime. */
export function commandOf(program: "install" | "doctor", version: string): string {
  const runtime = runtimeName();
  if (runtime === "bun") return `bunx @descent/sgd@${version} ${program}`;
  if (runtime === "node") return `npx @descent/sgd@${version} ${program}`;
  return `deno run -A jsr:@descent/sgd@${version}/${program}`;
}
