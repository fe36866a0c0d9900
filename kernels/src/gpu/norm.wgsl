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
    // Where in `partials` its numbers go.
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
