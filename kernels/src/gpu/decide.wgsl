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
    // The largest norm, divided by 2 to the `exponent`; -1 if norms are not limited.
    max_norm: f32,
    // More than 0 for a norm that float32 cannot hold; `max_norm` is then at least 1.
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
// `started` times 2, plus 1 if it has certainly not been written.
@group(0) @binding(1) var<storage, read> shape: array<u32>;
@group(0) @binding(2) var<storage, read> request: Request;
// 1 for each momentum buffer that has been written.
@group(0) @binding(3) var<storage, read_write> started: array<u32>;
// 1 if the step is skipped; the bits of the scale and of the limit; for each group the bits of its
// coefficient, its sum and the sum's exponent; for each buffer of `shape` 1 if this is its first step.
@group(0) @binding(4) var<storage, read_write> decision: array<u32>;

const HEADER = 3u;
const GROUP_WORDS = 3u;

var<workgroup> magnitudes: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> skipped: u32;

// The sum of a group or of all, in units of a power of two: of each element, 2 to the `exponent`.
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
