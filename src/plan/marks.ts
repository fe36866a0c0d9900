/** The marks of the rows of a tensor table, as bits: what is known of a row besides its words. */

/** The momentum buffer was made for the current step, and is remembered once that has been taken. */
export const BUFFER_IS_NEW = 1;

/** The master weight was made for the current step, and is remembered once that has been taken. */
export const MASTER_IS_NEW = 2;

/** The momentum buffer began with a dense gradient, or with a sparse one, if that is known. */
export const BEGAN_DENSE = 4;

export const BEGAN_SPARSE = 8;

/**
 * The gradient of the row is sparse: `SparseTable` has it, with a state of its own. Backends see the
 * row as `SKIP`, as the call that steps dense rows leaves it out.
 */
export const SPARSE = 16;

/** The correction belongs to other data, and counts as 0 in the next step. */
export const CORRECTION_IS_STALE = 32;
