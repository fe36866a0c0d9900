/** What is measured together, and the programs that it is measured with. */

import type { Program } from "../peers/programs.ts";
import type { Workload } from "../workloads.ts";

/** What a ratio should be. */
export interface Asked {
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** One ratio: the time of one contender over another's, of the same rounds. */
export interface BytesRow {
  readonly work: string;
  /** The contender that is measured, and what its time is divided by. */
  readonly own: string;
  readonly other: string;
  /** What the ratio is of, in words. */
  readonly ratio: string;
  readonly asked: Asked | null;
  /** Contenders of torch that do the same, if it can: the fastest one is shown. */
  readonly torch?: (contender: string) => boolean;
  /** Whether the ratio is the other's time over the own one: a gain, of which more is better. */
  readonly inverse?: true;
}

/** Rows whose programs run side by side, a sample of each in turn. */
export interface Round {
  readonly workload: Workload;
  readonly programs: readonly Program[];
  readonly rows: readonly BytesRow[];
  /** Bytes that the programs hold at the same time. */
  readonly bytes: number;
  /** Why it cannot be measured. */
  readonly obstacle: () => string | null;
}

/** What the programs are started with. */
export interface Setting {
  /** A Python that has torch, or null. */
  readonly python: string | null;
  readonly threads: number;
}

/** Parameters, gradients and momentum of float32, a format's and torch's, and its temporaries. */
export const BYTES_PER_ELEMENT = 12 + 12 + 6 + 6;
