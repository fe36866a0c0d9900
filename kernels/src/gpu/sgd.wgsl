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

// The options of the step. Without DECIDED, nothing of `decision` is read.
override DECIDED: bool;
override SCALED: bool;
override CLAMPED: bool;
override ZEROED: bool;

const LANES = 256u;

// The words of `decision`, as decide.wgsl writes them.
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
    // that, the word of `decision` that is 1 or 0, as the host does not know.
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
