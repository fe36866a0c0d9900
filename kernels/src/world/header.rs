//! What ranks tell each other before they do anything together, as far as this library reads it:
//! `src/world/header.ts` writes it.

/// Bytes of a header.
pub const HEADER: usize = 64;

const OPERATION: usize = 1;
const STEP: usize = 3;
/// The only word that may differ: how many bytes a rank gives to the others.
const BYTES: usize = 6;

/// What ranks do together, by the number of the operation, in the words that follow "Cannot".
const WORDS: [&str; 15] = [
    "leave the job",
    "wait at a barrier",
    "broadcast",
    "sum",
    "gather",
    "add parameters",
    "step",
    "load the state",
    "save",
    "make shared arrays",
    "verify",
    "unscale the gradients",
    "take the state",
    "rearrange the parameters",
    "complete the step",
];

/// What ranks do together, and after how many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// Words that follow "Cannot".
    pub words: &'static str,
    /// Steps that have been taken.
    pub step: u32,
}

impl Doing {
    /// They join the job.
    pub const JOINING: Doing = Doing { words: "open the world", step: 0 };

    /// What a header says.
    pub fn of(header: &[u8]) -> Self {
        let operation = word(header, OPERATION) as usize;
        let words = WORDS.get(operation).copied().unwrap_or("go on");
        Doing { words, step: word(header, STEP) }
    }

    /// When, in words.
    pub fn at(&self) -> String {
        match self.step {
            0 => "before its first step".to_owned(),
            step => format!("at step {step}"),
        }
    }
}

fn word(header: &[u8], index: usize) -> u32 {
    let bytes = header.get(4 * index..4 * index + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

/// Whether all headers say the same, but for the bytes that follow.
pub fn agree(headers: &[u8]) -> bool {
    let mut all = headers.chunks(HEADER).map(but_for_bytes);
    let first = all.next();
    all.all(|other| Some(other) == first)
}

fn but_for_bytes(header: &[u8]) -> [Option<&[u8]>; 2] {
    [header.get(..4 * BYTES), header.get(4 * (BYTES + 1)..)]
}

/// How many bytes each rank gives to the others.
pub fn sizes_in(headers: &[u8]) -> Vec<usize> {
    headers.chunks(HEADER).map(|header| word(header, BYTES) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(operation: u32, step: u32, bytes: u32) -> Vec<u8> {
        let mut words = [0_u32; HEADER / 4];
        (words[OPERATION], words[STEP], words[BYTES]) = (operation, step, bytes);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_header_says_what_is_done_and_when() {
        let doing = Doing::of(&header(6, 40, 0));
        assert_eq!((doing.words, doing.at().as_str()), ("step", "at step 40"));
        assert_eq!(Doing::of(&header(1000, 0, 0)).words, "go on");
        assert_eq!(Doing::of(&[]).at(), "before its first step");
    }

    #[test]
    fn headers_agree_whatever_bytes_follow_them() {
        assert!(agree(&[header(4, 1, 5), header(4, 1, 7)].concat()));
        assert!(!agree(&[header(4, 1, 5), header(4, 2, 5)].concat()));
        assert_eq!(sizes_in(&[header(4, 1, 5), header(4, 1, 7)].concat()), [5, 7]);
    }
}
