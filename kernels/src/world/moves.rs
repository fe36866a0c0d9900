//! What moves bytes between ranks that step together.

use crate::error::Error;

/// What a rank does while bytes are on their way.
pub type Work<'a> = &'a mut dyn FnMut();

/// Moves bytes between all ranks.
pub trait Moves {
    /// The number of this rank, from 0 on.
    fn rank(&self) -> usize;
    /// How many ranks there are.
    fn size(&self) -> usize;
    /// Sends each other rank its part of `send`, and receives as many bytes as this rank's part has from
    /// each of the others, in their order. It works on something else meanwhile.
    fn all_to_all(
        &mut self,
        send: &[u8],
        sizes: &[usize],
        receive: &mut [u8],
        work: Work<'_>,
    ) -> Result<(), Error>;
    /// Gives the bytes of each rank, `sizes[i]` of rank `i`, to all, and works meanwhile.
    fn all_gather(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
        work: Work<'_>,
    ) -> Result<(), Error>;
    /// Gives the bytes that each rank has at its place in `all`, `sizes[i]` of rank `i`, to all.
    fn gather_in_place(&mut self, all: &mut [u8], sizes: &[usize]) -> Result<(), Error>;
    /// Waits until all ranks have called it. What they wrote before is seen after it.
    fn barrier(&mut self) -> Result<(), Error>;
}
