/** Bytes as text. */

/** Bytes in lower-case hexadecimal, as `Uint8Array.toHex` of newer runtimes writes them. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
