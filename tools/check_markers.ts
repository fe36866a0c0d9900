/**
 * Checks that no tracked text file has a conflict marker, which a formatter takes for text:
 * `deno run --allow-run=git tools/check_markers.ts`.
 */

/** A line that begins one side of a conflict or ends the other. */
const MARKER = "^(<{7}|>{7}) ";

const { code, stdout, stderr } = await new Deno.Command("git", {
  args: ["grep", "--line-number", "-I", "--extended-regexp", "-e", MARKER],
  cwd: new URL("..", import.meta.url),
}).output();
const NONE_FOUND = 1; // what git exits with then
await Deno.stderr.write(stdout);
await Deno.stderr.write(stderr);
Deno.exit(code === NONE_FOUND ? 0 : 1);
