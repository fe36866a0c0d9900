/** The paths that users give. */

import { toAbsolute } from "../core/absolute_path.ts";
import { platform } from "../core/platform.ts";
import { refusal, wrongType } from "../core/validate.ts";

/**
 * The path of a file, which a change of the current folder does not change.
 *
 * @param path A path, or a URL of a file.
 * @throws {TypeError} If it is neither.
 */
export function toPath(path: unknown): string {
  if (typeof path === "string" && path !== "") return toAbsolute(path);
  if (!(path instanceof URL) || path.protocol !== "file:") {
    throw wrongType("use path", "it must be a path or a file: URL", path);
  }
  const decoded = decodePath(path);
  if (platform().os === "windows") {
    const named = path.hostname === "" ? decoded.slice(1) : `//${path.hostname}${decoded}`;
    return named.replaceAll("/", "\\");
  }
  if (path.hostname === "") return decoded;
  throw new TypeError(refusal("use path", "a file: URL must not name a host here", path));
}

function decodePath(url: URL): string {
  try {
    return decodeURIComponent(url.pathname);
  } catch (cause) {
    const reason = 'what follows "%" in it must be UTF-8 in hex';
    throw new TypeError(refusal("use path", reason, url), { cause });
  }
}
