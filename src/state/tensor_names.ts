/** What arrays of state are called in a dict, and tensors in a file. */

/** Where safetensors keep a file's metadata, among the names of tensors. */
export const METADATA = "__metadata__";

/** The keys of the arrays that a state dict may have of a parameter, in their order in a dict. */
export const STATE_KEYS = [
  "momentum_buffer",
  "master_weight",
  "momentum8",
  "momentum_scales",
  "correction",
  "rows_in_use",
] as const;

/** The key of an array of state. */
export type StateKey = typeof STATE_KEYS[number];

/** What a tensor of a file is: an array of state, a parameter's own values, or an average of them. */
export type TensorKind = StateKey | "parameter" | "average";

const STATE = "state.";

const PARAMETER = "param.";

const AVERAGE = "average.";

const ZERO = 0x30;

/** The tensor of an array of state, by the index of its parameter. */
export function stateName(key: StateKey, index: number): string {
  return `${STATE}${index}.${key}`;
}

/** The tensor of a parameter: its own name, or one by its index if it has none. */
export function parameterName(name: string | null | undefined, index: number): string {
  return name ?? `${PARAMETER}${index}`;
}

/**
 * The index in a name that Descent gives, such as `state.12.correction`, and what kind of tensor has
 * such a name; null for all other names. A file may have 250,000 names, so no regular expression is
 * used.
 */
export function parseName(name: string): { kind: TensorKind; index: number } | null {
  const isState = name.startsWith(STATE);
  if (!isState && !name.startsWith(PARAMETER)) return null;
  const from = isState ? STATE.length : PARAMETER.length;
  let index = 0;
  let at = from;
  for (; at < name.length; at++) {
    const digit = name.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) break;
    index = 10 * index + digit;
  }
  const isIndex = at > from && (at === from + 1 || name.charCodeAt(from) !== ZERO);
  if (!isIndex || index > Number.MAX_SAFE_INTEGER) return null;
  if (!isState) return at === name.length ? { kind: "parameter", index } : null;
  for (const kind of STATE_KEYS) {
    if (name.length === at + 1 + kind.length && name.endsWith(kind) && name[at] === ".") {
      return { kind, index };
    }
  }
  return null;
}

/** Names that a parameter cannot have, because a file needs them for other tensors. */
const RESERVED = new RegExp(`^(param\\.\\d+|state\\.\\d+\\.(${STATE_KEYS.join("|")}))$`);

/** Whether a file needs a name for something else than a parameter of that name. */
export function isReserved(name: string): boolean {
  return name === METADATA || RESERVED.test(name);
}

/** The tensor of an average, by its index among the averages. */
export function averageName(index: number): string {
  return `${AVERAGE}${index}`;
}

/** The index in the name of an average; null for all other names. */
export function parseAverageName(name: string): number | null {
  if (!name.startsWith(AVERAGE)) return null;
  const digits = name.slice(AVERAGE.length);
  return /^(0|[1-9][0-9]{0,14})$/.test(digits) ? Number(digits) : null;
}
