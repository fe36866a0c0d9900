//! Tests of what needs no job.

use super::joining::open_first;
use super::*;
use crate::launcher::Kind;

#[test]
fn what_is_no_library_is_named_with_the_reason() {
    let launcher = Launcher { kind: Kind::Mpich, rank: Some(0), size: Some(2), local_size: None };
    let paths = [PathBuf::from("/no/such/libmpi.so.12")];
    let Err(Error::Unavailable(text)) = open_first(&paths, &launcher) else { panic!() };
    assert!(text.contains("/no/such/libmpi.so.12") && text.contains("DESCENT_MPI"), "{text}");
}
