//! Which launcher has started this process, by what it left in the environment.

/// A launcher of processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Launcher {
    /// Whose it is.
    pub kind: Kind,
    /// How many processes it started, if it says so.
    pub size: Option<usize>,
    /// How many of them run on this machine, if it says so.
    pub local_size: Option<usize>,
}

/// The kinds of launchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open MPI's, or another that speaks PMIx.
    OpenMpi,
    /// MPICH's, or another that speaks PMI.
    Mpich,
}

impl Kind {
    /// As a message names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::OpenMpi => "Open MPI",
            Kind::Mpich => "MPICH",
        }
    }

    /// Names of files that a library for it may have, in the order in which they are tried.
    pub fn libraries(self) -> &'static [&'static str] {
        match self {
            Kind::OpenMpi if cfg!(target_os = "macos") => &["libmpi.40.dylib"],
            Kind::Mpich if cfg!(target_os = "macos") => {
                &["libmpi_abi.1.dylib", "libmpi.12.dylib", "libmpich.12.dylib"]
            }
            _ if cfg!(windows) => &["msmpi.dll", "impi.dll"],
            Kind::OpenMpi => &["libmpi.so.40"],
            Kind::Mpich => &["libmpi_abi.so.1", "libmpi.so.12", "libmpich.so.12"],
        }
    }
}

/// The launcher that has set the variables of an environment, if one has.
pub fn find(variable: impl Fn(&str) -> Option<String>) -> Option<Launcher> {
    let any = |names: &[&str]| names.iter().any(|name| variable(name).is_some());
    let number = |name: &str| variable(name).and_then(|text| text.trim().parse().ok());
    if any(&["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PRTE_LAUNCHED"]) {
        return Some(Launcher {
            kind: Kind::OpenMpi,
            size: number("OMPI_COMM_WORLD_SIZE"),
            local_size: number("OMPI_COMM_WORLD_LOCAL_SIZE"),
        });
    }
    any(&["PMI_SIZE", "PMI_RANK", "PMI_FD", "MPI_LOCALNRANKS"]).then(|| Launcher {
        kind: Kind::Mpich,
        size: number("PMI_SIZE"),
        local_size: number("MPI_LOCALNRANKS"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(variables: &[(&str, &str)]) -> Option<Launcher> {
        find(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn each_launcher_is_known_by_its_variables() {
        assert_eq!(find_in(&[("HOME", "/root")]), None);
        let open_mpi =
            find_in(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "2")]);
        let expected = Launcher { kind: Kind::OpenMpi, size: Some(4), local_size: Some(2) };
        assert_eq!(open_mpi, Some(expected));
        let mpich = find_in(&[("PMI_SIZE", "3"), ("PMI_RANK", "0"), ("MPI_LOCALNRANKS", "3")]);
        let expected = Launcher { kind: Kind::Mpich, size: Some(3), local_size: Some(3) };
        assert_eq!(mpich, Some(expected));
        assert_eq!(find_in(&[("PMIX_RANK", "0")]).unwrap().size, None);
    }
}
