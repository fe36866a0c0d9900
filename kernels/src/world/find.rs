//! Where an MPI library may be.

use crate::launcher::Launcher;
use std::path::{Path, PathBuf};

/// The environment variable that names a library.
pub const VARIABLE: &str = "DESCENT_MPI";

/// The programs in whose neighborhood a library is.
const PROGRAMS: [&str; 2] = ["mpiexec", "mpirun"];

/// The files and names that are tried, in order: what the user has named, alone; otherwise what fits the
/// launcher, first beside its programs and then wherever the system's loader looks.
pub fn candidates(
    named: Option<&str>,
    launcher: &Launcher,
    folders: &[PathBuf],
    exists: impl Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    if let Some(name) = named {
        return vec![PathBuf::from(name)];
    }
    let names = launcher.kind.libraries();
    let near = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    near.filter(|path| exists(path)).chain(names.iter().map(PathBuf::from)).collect()
}

/// The `lib` folders beside the launcher's programs, by the folders of `PATH`. Links are followed:
/// alternatives and Homebrew's cellar are links.
pub fn neighbor_folders(path: &std::ffi::OsStr) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for program in PROGRAMS {
        let mut files = std::env::split_paths(path).map(|folder| folder.join(program));
        let Some(file) = files.find(|file| file.is_file()) else { continue };
        let real = file.canonicalize().ok();
        for file in [Some(file), real].into_iter().flatten() {
            let Some(prefix) = file.parent().and_then(Path::parent) else { continue };
            for lib in ["lib", "lib64"] {
                let folder = prefix.join(lib);
                if !found.contains(&folder) {
                    found.push(folder);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::Kind;

    fn launcher(kind: Kind) -> Launcher {
        Launcher { kind, rank: None, size: None, local_size: None }
    }

    #[test]
    fn a_library_that_is_named_is_the_only_candidate() {
        let found = candidates(Some("/opt/libmpi.so"), &launcher(Kind::Mpich), &[], |_| true);
        assert_eq!(found, [PathBuf::from("/opt/libmpi.so")]);
    }

    #[test]
    fn libraries_beside_the_launcher_come_before_those_of_the_system() {
        let folders = [PathBuf::from("/opt/mpich/lib")];
        let names = Kind::Mpich.libraries();
        let there = folders[0].join(names[1]);
        let found = candidates(None, &launcher(Kind::Mpich), &folders, |path| path == there);
        assert_eq!(found[0], there);
        assert_eq!(found[1..], names.iter().map(PathBuf::from).collect::<Vec<_>>());
    }
}
