//! Tests of what needs no job.

use super::*;

#[test]
fn threads_are_shared_among_the_processes_of_a_machine() {
    let none = |_: &str| None;
    let four = |name: &str| (name == "MPI_LOCALNRANKS").then(|| "4".to_owned());
    assert_eq!(threads_for(8, none), 8);
    assert_eq!(threads_for(8, four), 2);
    assert_eq!(threads_for(2, four), 1);
}

#[test]
fn what_is_no_library_is_named_with_the_reason() {
    let launcher = Launcher { kind: launcher::Kind::Mpich, size: Some(2), local_size: None };
    let paths = [PathBuf::from("/no/such/libmpi.so.12")];
    let Err(Error::Unavailable(text)) = open_first(&paths, &launcher) else { panic!() };
    assert!(text.contains("/no/such/libmpi.so.12") && text.contains("DESCENT_MPI"), "{text}");
}
