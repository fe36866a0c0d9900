/** Objects in a file's metadata that hold scalars, or lists of them, by key. */

import { unreadable } from "./errors.ts";
import { JsonReader } from "./json_reader.ts";

/**
 * Reads such an object from text that may be hostile.
 *
 * @param name Its key in the metadata.
 * @param check Returns the object, or throws if it is not valid.
 * @param readValue Reads the value of a key; a scalar, unless another is given.
 * @throws {CheckpointError} If it is not valid; the message names the place.
 */
export function readRecord<Dict>(
  json: string,
  name: string,
  check: (dict: unknown) => Dict,
  readValue: (reader: JsonReader, key: string) => unknown = (reader) => reader.scalar(),
): Dict {
  const reader = new JsonReader(json, name);
  const entries: [string, unknown][] = [];
  reader.object((key) => entries.push([key, readValue(reader, key)]));
  reader.end();
  try {
    return check(Object.fromEntries(entries));
  } catch (cause) {
    throw unreadable(`its ${name} is not valid: ${(cause as Error).message}`, cause);
  }
}
