/** Writes the header of a safetensors file: bytes rather than text, of which there can be 100 MB. */

/** Bytes in front of the header: its length. */
export const PREFIX = 8;

const SPACE = 0x20;

const QUOTE = 0x22;

const BACKSLASH = 0x5c;

const ZERO = 0x30;

/** JSON in UTF-8, behind room for its length. */
export class HeaderWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #at = PREFIX;

  /** @param room Bytes that the header is expected to have: it is copied each time it outgrows them. */
  constructor(room: number) {
    this.#bytes = new Uint8Array(PREFIX + room);
  }

  /** Bytes of the JSON so far. */
  get length(): number {
    return this.#at - PREFIX;
  }

  /** Writes text of ASCII as it is. */
  raw(text: string): void {
    this.#reserve(text.length);
    const bytes = this.#bytes;
    const from = this.#at;
    for (let i = 0; i < text.length; i++) bytes[from + i] = text.charCodeAt(i);
    this.#at = from + text.length;
  }

  /** Writes a whole number >= 0. */
  count(value: number): void {
    if (value < 10) {
      this.#reserve(1);
      this.#bytes[this.#at++] = ZERO + value;
    } else this.raw(String(value));
  }

  /** Writes a text as a JSON string. */
  string(text: string): void {
    this.#reserve(text.length + 2);
    const from = this.#at;
    this.#bytes[this.#at++] = QUOTE;
    if (this.#put(text)) this.#bytes[this.#at++] = QUOTE;
    else {
      this.#at = from;
      this.#encode(JSON.stringify(text));
    }
  }

  /** All bytes, the length of the header first, which is filled up with spaces to whole 8 bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    const end = Math.ceil(this.#at / 8) * 8;
    this.#reserve(end - this.#at);
    this.#bytes.fill(SPACE, this.#at, end);
    new DataView(this.#bytes.buffer).setBigUint64(0, BigInt(end - PREFIX), true);
    return this.#bytes.subarray(0, end);
  }

  /** Puts text where there is room for it, and says whether JSON has it as it is. */
  #put(text: string): boolean {
    const bytes = this.#bytes;
    let isPlain = true;
    let at = this.#at;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code < SPACE || code >= 0x7f || code === QUOTE || code === BACKSLASH) isPlain = false;
      bytes[at++] = code;
    }
    this.#at = at;
    return isPlain;
  }

  #encode(text: string): void {
    this.#reserve(3 * text.length);
    this.#at += new TextEncoder().encodeInto(text, this.#bytes.subarray(this.#at)).written;
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + count));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }
}
