//! The crate `safetensors` and Descent write the same file of every dtype, and read each other's.
//!
//! `tests/safetensors/tensors_test.ts` holds Descent to the same file. It was made with
//! `DESCENT_WRITE_FIXTURES=1 cargo test --test safetensors`.

use std::collections::HashMap;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

/// Every dtype of the format, with the bits of an element.
const DTYPES: [(Dtype, usize); 22] = [
    (Dtype::BOOL, 8),
    (Dtype::F4, 4),
    (Dtype::F6_E2M3, 6),
    (Dtype::F6_E3M2, 6),
    (Dtype::U8, 8),
    (Dtype::I8, 8),
    (Dtype::F8_E5M2, 8),
    (Dtype::F8_E4M3, 8),
    (Dtype::F8_E8M0, 8),
    (Dtype::F8_E4M3FNUZ, 8),
    (Dtype::F8_E5M2FNUZ, 8),
    (Dtype::I16, 16),
    (Dtype::U16, 16),
    (Dtype::F16, 16),
    (Dtype::BF16, 16),
    (Dtype::I32, 32),
    (Dtype::U32, 32),
    (Dtype::F32, 32),
    (Dtype::C64, 64),
    (Dtype::F64, 64),
    (Dtype::I64, 64),
    (Dtype::U64, 64),
];

/// A tensor of the file.
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The tensors of the file: their bytes follow a formula that the other test has, too.
fn tensors() -> Vec<Tensor> {
    let shapes = [(vec![2, 4], 8), (vec![], 1), (vec![3, 0], 0), (vec![3], 3)];
    let mut all = Vec::new();
    for (i, (dtype, bits)) in DTYPES.iter().enumerate() {
        for (shape, count) in &shapes {
            if (bits * count) % 8 != 0 {
                continue;
            }
            all.push(Tensor {
                name: format!("{dtype}.{}", shape.len() * 10 + count),
                dtype: *dtype,
                shape: shape.clone(),
                bytes: (0..bits * count / 8)
                    .map(|k| if i == 0 { k % 2 } else { (37 * k + 11 * i + 1) % 256 } as u8)
                    .collect(),
            });
        }
    }
    all
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/safetensors/fixtures/every_dtype.safetensors")
}

fn encode() -> Vec<u8> {
    let tensors = tensors();
    let views = tensors.iter().map(|Tensor { name, dtype, shape, bytes }| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    serialize(views, Some(metadata)).unwrap()
}

#[test]
fn the_crate_writes_the_bytes_that_descent_writes() {
    assert!(encode() == std::fs::read(path()).unwrap());
}

#[test]
fn the_crate_reads_the_file_that_descent_writes() {
    let bytes = std::fs::read(path()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let expected = tensors();
    assert_eq!(file.len(), expected.len());
    for Tensor { name, dtype, shape, bytes } in expected {
        let found = file.tensor(&name).unwrap();
        assert_eq!(found.dtype(), dtype);
        assert_eq!(found.shape(), shape);
        assert_eq!(found.data(), bytes);
    }
}

/// Writes the file that the other tests read, where that is asked for.
#[test]
fn the_file_is_written_on_request() {
    if std::env::var_os("DESCENT_WRITE_FIXTURES").is_some() {
        std::fs::write(path(), encode()).unwrap();
    }
    assert!(path().is_file());
}
