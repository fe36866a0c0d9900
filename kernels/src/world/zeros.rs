//! Zeroed arrays that the ranks of a machine share.

use super::{World, shared};
use crate::error::Error;

/// Bytes of a short text that ranks tell each other, with what it is and its length.
const TEXT: usize = 256;

impl World {
    /// Makes zeroed arrays of so many bytes, one for each rank, that the ranks of a machine share, and
    /// returns the address of this rank's. It is valid as long as the process lives.
    ///
    /// # Errors
    /// The same on all ranks: a machine has too little shared memory.
    pub fn zeros(&mut self, bytes: usize) -> Result<usize, Error> {
        let [own, count] = self.local();
        let first = self.messages.neighbors()[0];
        let size = shared::Shared::size(bytes, count);
        let name = match size.clone() {
            Ok(size) if own == 0 => shared::create(size),
            size => size.map(|_| String::new()),
        };
        let names = self.tell_all(name.clone());
        if let (Err(_), Ok(name), 0) = (&names, &name, own) {
            shared::remove(name); // another machine has none
        }
        let names = names?;
        let size = size.expect("all ranks have one");
        let mapped = shared::map(&names[first], size);
        let result = self.tell_all(mapped.clone().map(|_| String::new()));
        if own == 0 {
            shared::remove(&names[first]);
        }
        result?;
        let shared = shared::Shared::new(mapped.expect("all ranks have one"), size, count, own);
        self.memories.add(shared);
        Ok(shared.own())
    }

    /// Gives a short text of each rank to all, unless one of them has a reason not to go on.
    ///
    /// # Errors
    /// The first reason, on all ranks.
    fn tell_all(&mut self, text: Result<String, String>) -> Result<Vec<String>, Error> {
        let mut own = [0_u8; TEXT];
        own[0] = u8::from(text.is_err());
        let bytes = text.unwrap_or_else(|reason| reason).into_bytes();
        let length = bytes.len().min(TEXT - 2);
        own[1] = length as u8;
        own[2..][..length].copy_from_slice(&bytes[..length]);
        let mut all = vec![0; TEXT * self.size()];
        self.all_gather(&own, &mut all, false)?;
        let text_of = |message: &[u8]| {
            String::from_utf8_lossy(&message[2..][..usize::from(message[1])]).into_owned()
        };
        let mut messages = all.chunks(TEXT);
        if let Some(rank) = messages.clone().position(|message| message[0] != 0) {
            let reason = text_of(messages.nth(rank).unwrap_or_default());
            return Err(Error::World(format!(
                "Cannot make shared arrays as on the machine of rank {rank} {reason}"
            )));
        }
        Ok(messages.map(text_of).collect())
    }
}
