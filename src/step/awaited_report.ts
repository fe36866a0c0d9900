/** Callers of `step` that need its report when it returns: a step whose report comes later is refused. */

let isAwaited = false;

/** Calls what takes a step, of any optimizer, and reads its report afterwards. */
export function withReport<Result>(body: () => Result): Result {
  isAwaited = true;
  try {
    return body();
  } finally {
    isAwaited = false;
  }
}

/** Whether the step that begins is called by such a caller. */
export function isReportAwaited(): boolean {
  return isAwaited;
}
