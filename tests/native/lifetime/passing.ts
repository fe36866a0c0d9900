/** A test that passes, for `suite_test.ts`. */

Deno.test("a test that passes", () => {});
