//! What MPI libraries differ in: the width of their handles and the values of a few constants.
//!
//! Three binary interfaces cover all of them: that of Open MPI, that of MPICH and its kin (Intel MPI,
//! MVAPICH, Cray MPICH), and the one that the MPI 5 standard defines.

use std::ffi::c_int;

/// A handle of MPI: a number of 32 bits in MPICH, an address elsewhere.
pub trait Handle: Copy + Send + Sync + 'static {}

impl Handle for c_int {}
impl Handle for usize {}

/// The constants that this library uses.
#[derive(Clone, Copy, Debug)]
pub struct Constants<H> {
    /// `MPI_COMM_WORLD`
    pub comm_world: H,
    /// `MPI_BYTE`
    pub byte: H,
    /// `MPI_ERRORS_RETURN`
    pub errors_return: H,
    /// `MPI_INFO_NULL`
    pub info_null: H,
    /// `MPI_STATUS_IGNORE`, an address.
    pub status_ignore: usize,
    /// `MPI_IN_PLACE`, an address.
    pub in_place: usize,
    /// `MPI_COMM_TYPE_SHARED`
    pub comm_type_shared: c_int,
    /// `MPI_THREAD_SERIALIZED`
    pub serialized: c_int,
}

/// Those of MPICH and its kin.
pub const MPICH: Constants<c_int> = Constants {
    comm_world: 0x4400_0000,
    byte: 0x4c00_010d,
    errors_return: 0x5400_0001,
    info_null: 0x1c00_0000,
    status_ignore: 1,
    in_place: usize::MAX, // -1
    comm_type_shared: 1,
    serialized: 2,
};

/// Those of the MPI 5 standard.
pub const STANDARD: Constants<usize> = Constants {
    comm_world: 0x101,
    byte: 0x247,
    errors_return: 0x143,
    info_null: 0x130,
    status_ignore: 0,
    in_place: 1,
    comm_type_shared: 221,
    serialized: 2048,
};

/// Those of Open MPI, whose handles are addresses of its own variables.
pub fn open_mpi<E>(address: impl Fn(&str) -> Result<usize, E>) -> Result<Constants<usize>, E> {
    Ok(Constants {
        comm_world: address("ompi_mpi_comm_world")?,
        byte: address("ompi_mpi_byte")?,
        errors_return: address("ompi_mpi_errors_return")?,
        info_null: address("ompi_mpi_info_null")?,
        status_ignore: 0,
        in_place: 1,
        comm_type_shared: 0,
        serialized: 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_open_mpi_are_the_addresses_of_its_variables() {
        let known = |name: &str| Ok::<_, ()>(name.len());
        let constants = open_mpi(known).unwrap();
        assert_eq!(constants.byte, "ompi_mpi_byte".len());
        assert!(open_mpi(|_| Err(())).is_err());
    }
}
