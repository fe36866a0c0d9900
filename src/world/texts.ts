/** Texts that ranks give to each other. */

/** Bytes that are decoded at a time: runtimes have a limit below that of strings. */
const PIECE = 1 << 26;

/** The text of bytes in UTF-8. A mark of the byte order at its start belongs to it. */
export function textOf(bytes: Uint8Array): string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let text = "";
  for (let from = 0; from < bytes.length; from += PIECE) {
    text += decoder.decode(bytes.subarray(from, from + PIECE), { stream: true });
  }
  return text + decoder.decode();
}

/** A text as bytes in UTF-8, which other ranks receive. */
export function bytesOfText(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
