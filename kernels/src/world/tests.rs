//! Tests of what needs no job.

use super::joining::open_first;
use super::*;
use crate::launcher::Kind;
use std::sync::{Arc, Mutex};

#[test]
fn what_is_no_library_is_named_with_the_reason() {
    let launcher = Launcher { kind: Kind::Mpich, rank: Some(0), size: Some(2), local_size: None };
    let paths = [PathBuf::from("/no/such/libmpi.so.12")];
    let Err(Error::Unavailable(text)) = open_first(&paths, &launcher) else { panic!() };
    assert!(text.contains("/no/such/libmpi.so.12") && text.contains("DESCENT_MPI"), "{text}");
}

/// One of two ranks, each on a machine of its own. The other one has no shared memory.
#[cfg(unix)]
struct Pair(Arc<Mutex<Vec<u8>>>);

#[cfg(unix)]
impl Messages for Pair {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        2
    }
    fn version(&self) -> String {
        String::new()
    }
    fn neighbors(&self) -> &[usize] {
        &[0]
    }
    fn max_bytes(&self) -> usize {
        4
    }
    fn all_gather(&mut self, send: &[u8], receive: &mut [u8], _: &Patience) {
        self.0.lock().unwrap().extend_from_slice(send);
        let (own, other) = receive.split_at_mut(send.len());
        own.copy_from_slice(send);
        other[..9].copy_from_slice(b"\x01\x07no room");
    }
    fn all_gather_parts(
        &mut self,
        _: &[u8],
        _: &mut [u8],
        _: &[usize],
        _: &Patience,
        _: exchange::Work<'_>,
    ) {
        panic!("a message of more than 4 bytes");
    }
    fn all_gather_in_place(&mut self, _: &mut [u8], _: &[usize], _: &Patience) {}
    fn all_to_all(
        &mut self,
        _: &[u8],
        _: &[usize],
        _: &mut [u8],
        _: &[usize],
        _: &Patience,
        _: exchange::Work<'_>,
    ) {
    }
    fn broadcast(&mut self, bytes: &mut [u8], from: usize, _: &Patience) {
        if from == 1 {
            bytes.fill(2);
        }
    }
    fn finalize(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn abort(&mut self, code: i32) -> ! {
        std::process::exit(code)
    }
}

#[cfg(unix)]
fn world_of(pair: Pair) -> World {
    let launcher =
        Launcher { kind: Kind::Mpich, rank: Some(0), size: Some(2), local_size: Some(1) };
    World::new(Box::new(pair), PathBuf::new(), launcher, None)
}

#[cfg(unix)]
#[test]
fn what_is_too_long_for_a_message_is_gathered_all_the_same() {
    let mut all = [0; 7];
    world_of(Pair(Arc::default())).all_gather_parts(&[1; 3], &mut all, &[3, 4]).unwrap();
    assert_eq!(all, [1, 1, 1, 2, 2, 2, 2]);
}

#[cfg(unix)]
#[test]
fn shared_memory_leaves_no_name_if_another_machine_has_none() {
    let sent = Arc::default();
    let mut world = world_of(Pair(Arc::clone(&sent)));
    let Err(Error::World(text)) = world.zeros(100) else { panic!("there is no room") };
    assert!(text.ends_with("on the machine of rank 1 no room"), "{text}");
    let sent = sent.lock().unwrap();
    let name = std::str::from_utf8(&sent[2..][..usize::from(sent[1])]).unwrap();
    assert!(name.starts_with("/descent-"), "{name}");
    assert!(shared::map(name, 100).is_err(), "the name is still there");
}
