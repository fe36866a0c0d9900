//! Memory that the ranks of a machine share.
//!
//! It is not a window of MPI: that is gone once it is freed or MPI is finalized, while JavaScript may
//! still use an array on it. The first rank of the machine makes an object of POSIX shared memory, all
//! of them map it, and its name is removed at once, so that nothing is left behind however the job ends.
//! The mapping lives as long as the process.

use std::collections::BTreeMap;

/// Bytes to whose multiples arrays of ranks are padded, so that two of them never have a page in common.
const PAGE: usize = 1 << 14;

/// Arrays of equal size, one for each rank of this machine, that all of them have mapped.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// The address of the first one.
    base: usize,
    /// Bytes from one to the next.
    stride: usize,
    /// Which one is this rank's.
    own: usize,
}

impl Shared {
    /// What an object for so many arrays of so many bytes has.
    ///
    /// # Errors
    /// More bytes than an object can have.
    pub fn size(bytes: usize, count: usize) -> Result<usize, String> {
        let size = bytes.max(1).checked_next_multiple_of(PAGE).and_then(|b| b.checked_mul(count));
        size.filter(|&size| i64::try_from(size).is_ok())
            .ok_or_else(|| "they have more bytes than there are addresses".to_owned())
    }

    /// Arrays in an object of [`Shared::size`] that is mapped at an address.
    pub fn new(base: usize, size: usize, count: usize, own: usize) -> Self {
        Shared { base, stride: size / count, own }
    }

    /// The address of this rank's array.
    pub fn own(&self) -> usize {
        self.base + self.own * self.stride
    }

    /// Where another rank, by its number on this machine, has what this one has at an address.
    pub fn of(&self, rank: usize, address: usize) -> usize {
        address - self.own() + self.base + rank * self.stride
    }
}

/// All that has been shared, by the addresses of this rank's arrays.
#[derive(Debug, Default)]
pub struct Memories(BTreeMap<usize, Shared>);

impl Memories {
    /// Adds some.
    pub fn add(&mut self, shared: Shared) {
        self.0.insert(shared.own(), shared);
    }

    /// The one in which this rank has so many bytes at an address.
    pub fn find(&self, address: usize, bytes: usize) -> Option<Shared> {
        let (&start, &shared) = self.0.range(..=address).next_back()?;
        let end = address.checked_add(bytes)?;
        (end <= start + shared.stride).then_some(shared)
    }
}

pub use system::{create, map, remove};

#[cfg(unix)]
mod system {
    use std::ffi::CString;
    use std::hash::{BuildHasher, Hasher};
    use std::io::Error;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// Makes an object of so many bytes, all of which have memory, and returns its name.
    ///
    /// # Errors
    /// A reason in words: there is not that much memory.
    pub fn create(size: usize) -> Result<String, String> {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let name = format!("/descent-{random:016x}"); // macOS allows 31 letters
        let file = open(&name, libc::O_CREAT | libc::O_EXCL)?;
        if let Err(error) = reserve(&file, size) {
            remove(&name);
            return Err(format!(
                "shared memory (/dev/shm) has no room for {size} bytes, which in a container is \
                 set by --shm-size: {error}"
            ));
        }
        Ok(name)
    }

    /// Maps an object of so many bytes, and returns its address. It stays mapped.
    ///
    /// # Errors
    /// A reason in words.
    pub fn map(name: &str, size: usize) -> Result<usize, String> {
        let file = open(name, 0)?;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses addresses that nobody uses; the object has as many bytes.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), size, rights, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(format!("shared memory cannot be mapped: {}", Error::last_os_error()));
        }
        // SAFETY: the addresses have just been mapped. Large pages save time where the system has them for
        // shared memory; it may refuse.
        #[cfg(target_os = "linux")]
        unsafe {
            libc::madvise(address, size, libc::MADV_HUGEPAGE);
        }
        Ok(address.expose_provenance())
    }

    /// Removes the name of an object. Who has mapped it keeps it.
    pub fn remove(name: &str) {
        if let Ok(name) = CString::new(name) {
            // SAFETY: the name is a text that ends with a zero.
            unsafe { libc::shm_unlink(name.as_ptr()) };
        }
    }

    fn open(name: &str, flags: i32) -> Result<OwnedFd, String> {
        let name = CString::new(name).map_err(|e| e.to_string())?;
        // SAFETY: the name is a text that ends with a zero; only this user can open the object.
        let file = unsafe { libc::shm_open(name.as_ptr(), flags | libc::O_RDWR, 0o600) };
        if file < 0 {
            return Err(format!("shared memory cannot be opened: {}", Error::last_os_error()));
        }
        // SAFETY: the file has been opened here, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(file) })
    }

    /// Gives an object its memory. Without that a write to it would end the process once there is none.
    #[cfg(not(target_vendor = "apple"))]
    fn reserve(file: &OwnedFd, size: usize) -> Result<(), Error> {
        loop {
            // SAFETY: the file is open.
            match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size as libc::off_t) } {
                0 => return Ok(()),
                libc::EINTR => {}
                error => return Err(Error::from_raw_os_error(error)),
            }
        }
    }

    /// Memory of macOS can be exchanged for that of a disk, and is not reserved.
    #[cfg(target_vendor = "apple")]
    fn reserve(file: &OwnedFd, size: usize) -> Result<(), Error> {
        // SAFETY: the file is open.
        match unsafe { libc::ftruncate(file.as_raw_fd(), size as libc::off_t) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }
}

#[cfg(not(unix))]
mod system {
    /// There is none.
    pub fn create(_: usize) -> Result<String, String> {
        Err("this system has no shared memory of POSIX".to_owned())
    }

    /// There is none.
    pub fn map(_: &str, _: usize) -> Result<usize, String> {
        Err("this system has no shared memory of POSIX".to_owned())
    }

    /// There is none.
    pub fn remove(_: &str) {}
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let size = Shared::size(100, 2).unwrap();
        let name = create(size).unwrap();
        let [a, b] = [0, 1].map(|own| Shared::new(map(&name, size).unwrap(), size, 2, own));
        remove(&name);
        assert!(map(&name, size).is_err(), "the name has been removed");
        assert_ne!(a.own(), b.of(0, b.own()));
        // SAFETY: both are mapped, and nobody else knows of them.
        unsafe {
            let theirs = std::ptr::with_exposed_provenance_mut::<u8>(b.own() + 7);
            theirs.write(42);
            let mine = std::ptr::with_exposed_provenance::<u8>(a.of(1, a.own() + 7));
            assert_eq!(mine.read(), 42);
        }
    }

    #[test]
    fn bytes_are_found_in_the_array_that_has_all_of_them() {
        let mut memories = Memories::default();
        let size = Shared::size(PAGE + 1, 3).unwrap();
        assert_eq!(size, 6 * PAGE);
        memories.add(Shared::new(8 * PAGE, size, 3, 1)); // its own begins at page 10
        assert!(memories.find(10 * PAGE - 4, 8).is_none());
        assert!(memories.find(12 * PAGE - 4, 8).is_none());
        let shared = memories.find(10 * PAGE + 4, 8).unwrap();
        let addresses = [0, 1, 2].map(|rank| shared.of(rank, 10 * PAGE + 4));
        assert_eq!(addresses, [8 * PAGE + 4, 10 * PAGE + 4, 12 * PAGE + 4]);
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_the_reason() {
        assert!(create(1 << 46).unwrap_err().contains("no room for 70368744177664 bytes"));
        assert!(Shared::size(usize::MAX - 5, 1).is_err() && Shared::size(1 << 62, 4).is_err());
    }
}
