/** The shaders of `kernels/src/gpu`: copies that `deno task shaders` makes. */

/** The rule, over a table of chunks. */
export const SGD = `
// One step of SGD over a table of chunks: the rule of rule.rs, four elements at a time.
//
// A workgroup takes chunks in strides of the grid, its lanes take vectors of a chunk in strides of
// the workgroup. Tensors are padded to whole vectors; what the padding holds is never looked at.
// For tensors without padding, replace vec4<f32> by f32 and vec4<Element> by Element: all offsets and
// lengths are then in elements.

// The element as it lies in memory; the library writes f16 here for float16 tensors.
alias Element = f32;

// The options of the groups of this dispatch: what is off is not compiled.
override DECAY: bool; // weight decay, added to the gradient
override SHRINK: bool; // decoupled weight decay, taken from the parameter
override MOMENTUM: bool;
override NESTEROV: bool;
override SIGN: bool;

// The options of the step. Without DECIDED, nothing of \`decision\` is read.
override DECIDED: bool;
override SCALED: bool;
override CLAMPED: bool;
override ZEROED: bool;

const LANES = 256u;

// The words of \`decision\`, as decide.wgsl writes them.
const SKIPPED = 0u;
const SCALE = 1u;
const LIMIT = 2u;
const GROUPS = 3u;
const GROUP_WORDS = 3u;

// A run of vectors of one tensor; offsets are in vectors from the start of the bound blocks.
struct Chunk {
    data: u32,
    grad: u32,
    buffer: u32,
    length: u32,
    group: u32,
    // 1 if the momentum buffer has never been written; it is then not read. 0 if it has been. Above
    // that, the word of \`decision\` that is 1 or 0, as the host does not know.
    first: u32,
}

struct Factors {
    orientation: f32,
    decay: f32, // the weight decay, or with SHRINK what the parameter is multiplied by
    momentum: f32,
    blend: f32,
    negative_lr: f32,
}

// The first three bindings may be one and the same block, but not in a browser.
@group(0) @binding(0) var<storage, read_write> data: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read_write> grad: array<vec4<Element>>;
@group(0) @binding(2) var<storage, read_write> buffer: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read> chunks: array<Chunk>;
@group(0) @binding(4) var<storage, read> groups: array<Factors>;
@group(0) @binding(5) var<storage, read> decision: array<u32>;

// +1, -1, or +0 for both zeros and for NaN, for which every comparison is false.
fn sign_of(u: vec4<f32>) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    return select(zero, one, u > zero) - select(zero, one, u < zero);
}

// A gradient on its way into the rule: unscaled, clipped by its norm, and clipped by value. NaN stays.
fn prepare(loaded: vec4<f32>, group: u32) -> vec4<f32> {
    var g = loaded;
    if SCALED {
        g = g * bitcast<f32>(decision[SCALE]);
        g = g * bitcast<f32>(decision[GROUPS + GROUP_WORDS * group]);
    }
    if CLAMPED {
        let limit = vec4<f32>(bitcast<f32>(decision[LIMIT]));
        g = select(g, limit, g > limit);
        g = select(g, -limit, g < -limit);
    }
    return g;
}

fn is_first(c: Chunk) -> bool {
    if DECIDED {
        if c.first > 1u {
            return decision[c.first] == 1u;
        }
    }
    return c.first == 1u;
}

fn update(f: Factors, c: Chunk, first: bool, i: u32) {
    var p = vec4<f32>(data[c.data + i]);
    if SHRINK {
        p = f.decay * p;
    }
    var g = prepare(vec4<f32>(grad[c.grad + i]), c.group);
    g = g * f.orientation; // exact: the factor is 1 or -1
    if DECAY {
        g = fma(vec4<f32>(f.decay), p, g);
    }
    var u = g;
    if MOMENTUM {
        var b = g;
        if !first {
            b = fma(vec4<f32>(f.blend), g, f.momentum * vec4<f32>(buffer[c.buffer + i]));
        }
        buffer[c.buffer + i] = vec4<Element>(b);
        u = b;
        if NESTEROV {
            u = fma(vec4<f32>(f.momentum), b, g);
        }
    }
    if SIGN {
        u = sign_of(u);
    }
    data[c.data + i] = vec4<Element>(fma(vec4<f32>(f.negative_lr), u, p));
}

@compute @workgroup_size(LANES)
fn step(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var taken = true;
    if DECIDED {
        taken = decision[SKIPPED] == 0u;
    }
    for (var k = workgroup.x; k < arrayLength(&chunks); k += workgroups.x) {
        let c = chunks[k];
        let f = groups[c.group];
        let first = is_first(c);
        for (var i = lane; i < c.length; i += LANES) {
            if taken {
                update(f, c, first, i);
            }
            if ZEROED { // also after a step that is skipped
                grad[c.grad + i] = vec4<Element>(vec4<f32>(0.0));
            }
        }
    }
}
`;

/** Measures gradients, piece by piece. */
export const NORM = `
// What a step measures of its gradients before it uses them: of each piece of a gradient, the largest
// magnitude and the sum of the squares.
//
// The order of summation is fixed: lane i of a workgroup adds up elements i, i + 256, ... of a piece
// in order, and a tree adds up the lanes. A piece is first brought to magnitudes around 1, by a power
// of two, so that no square overflows or vanishes.

// The element as it lies in memory; the library writes f16 here for float16 tensors.
alias Element = f32;

// Which norm it is: 2 adds up squares, 1 magnitudes; 0 stands for infinity, the largest magnitude.
override NORM: u32;

const LANES = 256u;

// A run of elements of one gradient; the offset is in elements from the start of the bound block.
struct Piece {
    grad: u32,
    length: u32,
    // Where in \`partials\` its numbers go.
    place: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<Element>;
@group(0) @binding(1) var<storage, read> pieces: array<Piece>;
// For each piece the bits of its sum and of its largest magnitude. Where that is infinite or NaN, which
// is larger than any number as bits, the sum does not matter.
@group(0) @binding(2) var<storage, read_write> partials: array<vec2<u32>>;

var<workgroup> magnitudes: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;

fn magnitude_bits(x: f32) -> u32 {
    return bitcast<u32>(x) & ~0x80000000u;
}

fn largest_of(p: Piece, lane: u32) -> u32 {
    var most = 0u;
    for (var i = lane; i < p.length; i += LANES) {
        most = max(most, magnitude_bits(f32(grad[p.grad + i])));
    }
    magnitudes[lane] = most;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            magnitudes[lane] = max(magnitudes[lane], magnitudes[lane + width]);
        }
        workgroupBarrier();
    }
    return magnitudes[0];
}

fn sum_of(p: Piece, factor: f32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < p.length; i += LANES) {
        let x = abs(f32(grad[p.grad + i]) * factor);
        if NORM == 2u {
            sum = fma(x, x, sum);
        } else if NORM == 1u {
            sum += x;
        } else {
            sum = max(sum, x);
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            let other = sums[lane + width];
            if NORM == 0u {
                sums[lane] = max(sums[lane], other);
            } else {
                sums[lane] += other;
            }
        }
        workgroupBarrier();
    }
    return sums[0];
}

@compute @workgroup_size(LANES)
fn norm(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var k = workgroup.x; k < arrayLength(&pieces); k += workgroups.x) {
        let p = pieces[k];
        let most = largest_of(p, lane);
        // decide.wgsl takes the same power back out.
        let exponent = clamp(most >> 23u, 1u, 253u);
        let sum = sum_of(p, bitcast<f32>((254u - exponent) << 23u), lane);
        if lane == 0u {
            partials[p.place] = vec2<u32>(bitcast<u32>(sum), most);
        }
    }
}
`;

/** Decides from what was measured. */
export const DECIDE = `
// What a step decides on the device: whether it is skipped, and what the gradients of each group are
// multiplied by. One workgroup; the host may read the decision later.

// Which norm it is, as in norm.wgsl.
override NORM: u32;

const LANES = 256u;

// The bits of infinity; those of NaN are larger.
const INFINITE = 0x7f800000u;

struct Request {
    // What gradients are multiplied by to unscale them.
    scale: f32,
    // The largest magnitude of an element.
    limit: f32,
    // The largest norm, divided by 2 to the \`exponent\`; -1 if norms are not limited.
    max_norm: f32,
    // More than 0 for a norm that float32 cannot hold; \`max_norm\` is then at least 1.
    exponent: i32,
    flags: u32,
}

// What is not finite skips the step.
const CHECK_FINITE = 1u;
// Each group has a norm of its own.
const PER_GROUP = 2u;

// The bits of the sum and of the largest magnitude of each piece, the pieces of a group together.
@group(0) @binding(0) var<storage, read> partials: array<vec2<u32>>;
// How many groups there are and how many momentum buffers of which the host does not know whether they
// have been written; for each group the end of its pieces; for each of these buffers its word of
// \`started\` times 2, plus 1 if it has certainly not been written.
@group(0) @binding(1) var<storage, read> shape: array<u32>;
@group(0) @binding(2) var<storage, read> request: Request;
// 1 for each momentum buffer that has been written.
@group(0) @binding(3) var<storage, read_write> started: array<u32>;
// 1 if the step is skipped; the bits of the scale and of the limit; for each group the bits of its
// coefficient, its sum and the sum's exponent; for each buffer of \`shape\` 1 if this is its first step.
@group(0) @binding(4) var<storage, read_write> decision: array<u32>;

const HEADER = 3u;
const GROUP_WORDS = 3u;

var<workgroup> magnitudes: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> skipped: u32;

// The sum of a group or of all, in units of a power of two: of each element, 2 to the \`exponent\`.
struct Total {
    sum: f32,
    exponent: i32,
    // INFINITE or the bits of a NaN if something is not finite, else less.
    bits: u32,
}

// The exponent of the power of two that norm.wgsl divided a piece by.
fn exponent_of(bits: u32) -> i32 {
    return i32(clamp(bits >> 23u, 1u, 253u)) - 127;
}

// A power of two, or the nearest one that is not subnormal or infinite.
fn power(exponent: i32) -> f32 {
    return bitcast<f32>(u32(clamp(exponent, -126, 127) + 127) << 23u);
}

// A sum in larger units.
fn rescaled(sum: f32, exponent: i32, units: i32) -> f32 {
    if NORM == 2u {
        return sum * power(2 * (exponent - units));
    }
    return sum * power(exponent - units);
}

fn joined(a: f32, b: f32) -> f32 {
    if NORM == 0u {
        return max(a, b);
    }
    return a + b;
}

fn largest_of(begin: u32, end: u32, lane: u32) -> u32 {
    var most = 0u;
    for (var i = begin + lane; i < end; i += LANES) {
        most = max(most, partials[i].y);
    }
    magnitudes[lane] = most;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            magnitudes[lane] = max(magnitudes[lane], magnitudes[lane + width]);
        }
        workgroupBarrier();
    }
    return magnitudes[0];
}

// Lane i adds up pieces i, i + 256, ... in order, and a tree adds up the lanes.
fn sum_of(begin: u32, end: u32, units: i32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var i = begin + lane; i < end; i += LANES) {
        let piece = partials[i];
        sum = joined(sum, rescaled(bitcast<f32>(piece.x), exponent_of(piece.y), units));
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            sums[lane] = joined(sums[lane], sums[lane + width]);
        }
        workgroupBarrier();
    }
    return sums[0];
}

// INFINITE or the bits of a NaN if that is what the largest magnitude is, unscaled or not.
fn check(most: u32) -> u32 {
    let unscaled = bitcast<u32>(bitcast<f32>(most) * request.scale) & ~0x80000000u;
    return select(max(unscaled, most), most, most > INFINITE);
}

fn coefficient(total: Total) -> f32 {
    if request.max_norm < 0.0 || bitcast<u32>(request.max_norm) == INFINITE {
        return 1.0;
    }
    if total.bits >= INFINITE {
        // Of an infinite norm 0, of NaN NaN.
        return bitcast<f32>(select(0u, 0x7fc00000u, total.bits > INFINITE));
    }
    var norm = total.sum;
    if NORM == 2u {
        norm = sqrt(total.sum);
    }
    let scale = bitcast<u32>(request.scale);
    let shift = max(countLeadingZeros(scale), 8u) - 8u; // more than 0 if it is subnormal
    norm *= bitcast<f32>(((scale << shift) % (1u << 23u)) | 0x3f800000u);
    let exponent = total.exponent + i32(max(scale >> 23u, 1u)) - i32(shift) - 127;
    if exponent > 60 || request.exponent > 0 { // here 1e-6 is nothing, and a norm may not fit
        let ratio = min(request.exponent - exponent, 60); // 2 to the 60 is 1 in the end
        let part = ratio / 2;
        return min(1.0, request.max_norm * power(part) * power(ratio - part) / norm);
    }
    return min(1.0, request.max_norm / (norm * power(exponent) + 1e-6));
}

fn read_total(group: u32) -> Total {
    let at = HEADER + GROUP_WORDS * group;
    let bits = decision[at + 1u];
    return Total(bitcast<f32>(bits), bitcast<i32>(decision[at + 2u]), bits);
}

// That of all groups, in order.
fn join_groups(groups: u32) -> Total {
    var all = Total(0.0, -126, 0u);
    for (var g = 0u; g < groups; g++) {
        let own = read_total(g);
        all.exponent = max(all.exponent, own.exponent);
        all.bits = max(all.bits, own.bits);
    }
    for (var g = 0u; g < groups; g++) {
        let own = read_total(g);
        all.sum = joined(all.sum, rescaled(own.sum, own.exponent, all.exponent));
    }
    return all;
}

fn conclude(groups: u32) {
    let all = join_groups(groups);
    for (var g = 0u; g < groups; g++) {
        var own = all;
        if (request.flags & PER_GROUP) != 0u {
            own = read_total(g);
        }
        decision[HEADER + GROUP_WORDS * g] = bitcast<u32>(coefficient(own));
    }
    skipped = select(0u, 1u, (request.flags & CHECK_FINITE) != 0u && all.bits >= INFINITE);
    decision[0] = skipped;
    decision[1] = bitcast<u32>(request.scale);
    decision[2] = bitcast<u32>(request.limit);
}

@compute @workgroup_size(LANES)
fn decide(@builtin(local_invocation_index) lane: u32) {
    let groups = shape[0];
    var begin = 0u;
    for (var g = 0u; g < groups; g++) {
        let end = shape[2u + g];
        let most = largest_of(begin, end, lane);
        let units = exponent_of(most);
        let sum = sum_of(begin, end, units, lane);
        if lane == 0u {
            let at = HEADER + GROUP_WORDS * g;
            let bits = check(most);
            decision[at + 1u] = select(bitcast<u32>(sum), bits, bits >= INFINITE);
            decision[at + 2u] = bitcast<u32>(units);
        }
        begin = end;
    }
    if lane == 0u {
        conclude(groups);
    }
    workgroupBarrier();
    for (var k = lane; k < shape[1]; k += LANES) {
        let word = shape[2u + groups + k];
        let written = select(started[word >> 1u], 0u, (word & 1u) == 1u);
        decision[HEADER + GROUP_WORDS * groups + k] = 1u - written;
        started[word >> 1u] = select(1u, written, skipped == 1u);
    }
}
`;
