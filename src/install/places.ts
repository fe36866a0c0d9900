/** Reads the places that a user names: where a library comes from, and where it goes. */

import { refusal } from "../core/validate.ts";
import { files } from "../files/files.ts";
import { probe } from "../files/probe.ts";
import { KernelInstallError } from "./error.ts";
import { nodePath, nodeUrl } from "./node.ts";
import { hideSecrets } from "./secrets.ts";

const SCHEMES = ["http:", "https:", "file:"];

/**
 * The URL of a file in a folder or on a server.
 *
 * @param from The folder, or the URL of one.
 * @param name The file's name.
 * @throws {KernelInstallError} If it is neither.
 * @throws {TypeError} If it is not a string or a URL.
 */
export function urlOf(from: unknown, name: string): URL {
  if (typeof from !== "string" && !(from instanceof URL)) {
    const shown = `of type ${typeof from}`;
    throw new TypeError(refusal("set from", "it must be a string or a URL", shown));
  }
  if (from === "") throw refuse("from", "not be empty", from);
  const url = hasScheme(from)
    ? parse(String(from))
    : nodeUrl().pathToFileURL(nodePath().resolve(String(from)));
  if (!SCHEMES.includes(url.protocol)) {
    throw refuse("from", "be a folder, or a URL that begins with http, https or file", from);
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  url.pathname += name;
  return url;
}

/**
 * The path of a folder.
 *
 * @throws {KernelInstallError} If it cannot be one.
 * @throws {TypeError} If it is not a string.
 */
export function folderOf(folder: unknown): string {
  if (typeof folder !== "string") {
    const shown = `of type ${typeof folder}`;
    throw new TypeError(refusal("set folder", "it must be a string", shown));
  }
  if (folder === "") throw refuse("folder", "not be empty", folder);
  if (hasScheme(folder)) throw refuse("folder", "be a folder, not a URL", folder);
  if (isOther(folder)) {
    throw refuse("folder", "be a folder, and what is there is something else", folder);
  }
  return nodePath().resolve(folder);
}

/** Whether it begins as a URL; one letter and a colon are a drive. A folder "ab:c" is "./ab:c". */
function hasScheme(text: string | URL): boolean {
  return text instanceof URL || /^\s*[a-z][a-z0-9+.-]+:/i.test(text);
}

function parse(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw refuse("from", "be a folder or a valid URL", text);
  }
}

function isOther(folder: string): boolean {
  try {
    const found = probe(folder);
    return found !== null && found.kind !== "a folder";
  } catch (error) {
    if (!files().isSystemError(error)) throw error;
    return false; // it will be made, or that will fail
  }
}

function refuse(option: "from" | "folder", limit: string, value: string | URL) {
  const flag = option === "from" ? "--from" : "--to";
  const text = hideSecrets(String(value));
  const short = text.length > 200 ? `${text.slice(0, 199)}…` : text;
  return new KernelInstallError(
    refusal(`set ${option} (${flag})`, `it must ${limit}`, JSON.stringify(short)),
  );
}
