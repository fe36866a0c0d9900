//! What a job would find on this machine, without joining one.

use super::{find, library};
use crate::launcher::{self, Kind, Launcher};
use std::path::Path;

/// Lines: which launcher has started this process, if one has, and for each kind of launcher (or for that
/// one) the first library that can be used, or why there is none.
pub fn lines() -> Vec<String> {
    let started = launcher::find_here();
    let mut lines = Vec::new();
    if let Some(Launcher { kind, size, .. }) = &started {
        let size = size.map_or(String::new(), |size| format!(", {size} processes"));
        lines.push(format!("started by the launcher of {}{size}", kind.name()));
    }
    let kinds = match &started {
        Some(launcher) => vec![launcher.kind],
        None => vec![Kind::OpenMpi, Kind::Mpich],
    };
    let named = launcher::variable(find::VARIABLE);
    for kind in kinds {
        lines.push(describe(kind, named.as_deref()));
        if named.is_some() {
            break;
        }
    }
    lines
}

fn describe(kind: Kind, named: Option<&str>) -> String {
    let launcher = Launcher { kind, rank: None, size: None, local_size: None };
    let folders = find::neighbor_folders(&std::env::var_os("PATH").unwrap_or_default());
    let paths = find::candidates(named, &launcher, &folders, Path::is_file);
    let whose = if named.is_some() { find::VARIABLE } else { kind.name() };
    for path in &paths {
        if let Ok(version) = library::version(path) {
            let first: Vec<&str> = version.lines().next().unwrap_or_default().split(',').collect();
            let words: Vec<&str> = first[0].split_whitespace().collect();
            return format!("{whose}: {}, {}", path.display(), words.join(" "));
        }
    }
    match named {
        Some(name) => format!("{whose}: {name} cannot be used"),
        None => format!("{whose}: not found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_said_to_be_of_no_use() {
        let line = describe(Kind::Mpich, Some("/no/such/libmpi.so"));
        assert_eq!(line, "DESCENT_MPI: /no/such/libmpi.so cannot be used");
    }
}
