/** What a step says if the memory of one array is transferred while it runs, by which array it is. */
export const REFUSALS: Readonly<Record<string, RegExp>> = {
  "data": /^Error: Cannot .* as data of parameter 1 \("b"\) was detached or resized/,
  "grad": /^Error: Cannot .* as grad of parameter 1 \("b"\) was detached or resized/,
  // They share memory: the first one is named.
  "momentum buffer": /^Error: Cannot .* as momentum buffer of parameter 0 \("a"\) was detached/,
  "master weight": /^Error: Cannot .* as master weight of parameter 0 \("a"\) was detached/,
  "sparse values": /^Error: Cannot .* as grad of parameter 1 \("b"\) was detached or resized/,
};
