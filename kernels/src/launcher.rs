//! Which launcher has started this process, by what it left in the environment.

/// A launcher of processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Launcher {
    /// Whose it is.
    pub kind: Kind,
    /// The number of this process, if it says so.
    pub rank: Option<usize>,
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

/// The launcher that has set the variables of this process, if one has.
pub fn find_here() -> Option<Launcher> {
    find(variable)
}

/// A variable of this process, unless it is empty.
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// The launcher that has set the variables of an environment, if one has.
pub fn find(variable: impl Fn(&str) -> Option<String>) -> Option<Launcher> {
    let any = |names: &[&str]| names.iter().any(|name| variable(name).is_some());
    let number = |name: &str| variable(name).and_then(|text| text.parse().ok());
    if any(&["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PRTE_LAUNCHED"]) {
        return Some(Launcher {
            kind: Kind::OpenMpi,
            rank: number("OMPI_COMM_WORLD_RANK").or_else(|| number("PMIX_RANK")),
            size: number("OMPI_COMM_WORLD_SIZE"),
            local_size: number("OMPI_COMM_WORLD_LOCAL_SIZE"),
        });
    }
    any(&["PMI_SIZE", "PMI_RANK", "PMI_FD", "MPI_LOCALNRANKS"]).then(|| Launcher {
        kind: Kind::Mpich,
        rank: number("PMI_RANK"),
        size: number("PMI_SIZE"),
        local_size: number("MPI_LOCALNRANKS"),
    })
}

/// The number that Slurm's `srun` has given to a process that it tells nothing else: not how to reach the
/// others. It is at least 1, as a program that `srun` has not started may have number 0 as well.
pub fn lone_task(variable: impl Fn(&str) -> Option<String>) -> Option<usize> {
    let rank = variable("SLURM_PROCID")?.parse().ok()?;
    (rank > 0 && find(variable).is_none()).then_some(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_string())
        }
    }

    #[test]
    fn each_launcher_is_known_by_its_variables() {
        let find_in = |variables| find(among(variables));
        assert_eq!(find_in(&[("HOME", "/root")]), None);
        let open_mpi = find_in(&[
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ]);
        let [rank, size, local_size] = [3, 4, 2].map(Some);
        assert_eq!(open_mpi, Some(Launcher { kind: Kind::OpenMpi, rank, size, local_size }));
        let mpich = find_in(&[("PMI_SIZE", "3"), ("PMI_RANK", "0"), ("MPI_LOCALNRANKS", "3")]);
        let [rank, size, local_size] = [0, 3, 3].map(Some);
        assert_eq!(mpich, Some(Launcher { kind: Kind::Mpich, rank, size, local_size }));
        let pmix = find_in(&[("PMIX_RANK", "2")]).unwrap();
        assert_eq!((pmix.rank, pmix.size), (Some(2), None));
    }

    #[test]
    fn a_task_of_slurm_that_cannot_reach_the_others_is_known_unless_it_may_be_alone() {
        assert_eq!(lone_task(among(&[("SLURM_PROCID", "2")])), Some(2));
        assert_eq!(lone_task(among(&[("SLURM_PROCID", "0")])), None);
        assert_eq!(lone_task(among(&[("SLURM_PROCID", "2"), ("PMIX_RANK", "2")])), None);
        assert_eq!(lone_task(among(&[])), None);
    }
}
