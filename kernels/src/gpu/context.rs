//! The device: choosing an adapter, opening it with all its limits, and what goes wrong on it.
//!
//! wgpu reports errors to a handler. The handler keeps them, and [`Context::check`] hands them out
//! as results after each operation, so that nothing panics or is lost.

use crate::error::Error;
use pollster::block_on;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wgpu::{Adapter, AdapterInfo, Backends, DeviceType, Features, Instance, InstanceDescriptor};
use wgpu::{InstanceFlags, Limits};

/// Which adapter to open.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Part of the adapter's name, in any case of letters; empty for any adapter.
    pub name: String,
    /// Prefer an integrated GPU to a discrete one.
    pub low_power: bool,
}

/// An open device.
#[derive(Clone, Debug)]
pub struct Context {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// What the driver says of it.
    pub info: AdapterInfo,
    /// The adapter's limits, all of which the device has.
    pub limits: Limits,
    /// The features that were asked for and exist.
    pub features: Features,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    any: AtomicBool,
    first: Mutex<Option<Error>>,
    lost: OnceLock<String>,
}

/// Drivers do not like to be unloaded, so the instance stays for the process.
static INSTANCE: OnceLock<Instance> = OnceLock::new();

impl Context {
    /// Opens the chosen adapter with its full limits.
    pub fn open(choice: &Choice) -> Result<Self, Error> {
        let adapter = choose(choice)?;
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let wished = Features::SHADER_F16
            | Features::TIMESTAMP_QUERY
            | Features::TIMESTAMP_QUERY_INSIDE_ENCODERS;
        let features = adapter.features() & wished;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("descent"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = block_on(adapter.request_device(&descriptor)).map_err(|error| {
            Error::Unavailable(format!("Cannot open the adapter {}: {error}", info.name))
        })?;
        let faults = Arc::new(Faults::default());
        watch(&device, &faults);
        Ok(Context { device, queue, info, limits, features, faults })
    }

    /// What went wrong since the last check, or that the device is lost.
    pub fn check(&self) -> Result<(), Error> {
        if !self.faults.any.load(Ordering::Acquire) {
            return Ok(());
        }
        // A loss first shows as other errors; wgpu reports it when its queue is empty.
        let poll = || self.device.poll(wgpu::PollType::wait_indefinitely());
        let _ = catch_unwind(AssertUnwindSafe(poll));
        self.faults.take()
    }

    /// Keeps an error for the next check.
    pub fn report(&self, error: Error) {
        self.faults.keep(error);
    }
}

fn watch(device: &wgpu::Device, faults: &Arc<Faults>) {
    let keeper = Arc::clone(faults);
    device.on_uncaptured_error(Arc::new(move |error| keeper.keep(sort(error))));
    let keeper = Arc::clone(faults);
    device.set_device_lost_callback(move |reason, message| {
        let _ = keeper.lost.set(format!("{message} ({reason:?})"));
        keeper.any.store(true, Ordering::Release);
    });
}

impl Faults {
    fn take(&self) -> Result<(), Error> {
        self.any.store(false, Ordering::Release);
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(reason) = self.lost.get() else {
            return first.map_or(Ok(()), Err);
        };
        self.any.store(true, Ordering::Release); // a lost device stays lost
        let what = "Cannot use the GPU as its device is lost";
        Err(Error::Gpu(format!("{what}: {reason}. Open it again")))
    }

    fn keep(&self, error: Error) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.any.store(true, Ordering::Release);
    }
}

fn sort(error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => {
            Error::Memory("the device has no memory left".to_owned())
        }
        error => Error::Gpu(error.to_string()),
    }
}

fn choose(choice: &Choice) -> Result<Adapter, Error> {
    let instance = INSTANCE.get_or_init(|| {
        Instance::new(InstanceDescriptor {
            backends: Backends::PRIMARY,
            flags: InstanceFlags::empty(),
            ..InstanceDescriptor::new_without_display_handle()
        })
    });
    let mut adapters = block_on(instance.enumerate_adapters(Backends::PRIMARY));
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type, choice.low_power));
    let seen: Vec<_> = adapters.iter().map(|adapter| describe(&adapter.get_info())).collect();
    let wanted = choice.name.to_lowercase();
    let mut fitting = adapters
        .into_iter()
        .filter(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted));
    fitting.next().ok_or_else(|| unavailable(choice, &seen))
}

fn rank(kind: DeviceType, low_power: bool) -> u8 {
    match kind {
        DeviceType::DiscreteGpu => u8::from(low_power),
        DeviceType::IntegratedGpu => u8::from(!low_power),
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

fn describe(info: &AdapterInfo) -> String {
    format!("{} ({:?}, {:?})", info.name, info.device_type, info.backend)
}

fn unavailable(choice: &Choice, seen: &[String]) -> Error {
    Error::Unavailable(if seen.is_empty() {
        "Cannot open a GPU as no adapter was found: install a driver for Vulkan (on Debian \
         mesa-vulkan-drivers, or NVIDIA's own), Metal or DirectX 12"
            .to_owned()
    } else {
        format!(
            "Cannot open a GPU as no adapter's name contains \"{}\": the adapters are {}",
            choice.name,
            seen.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_real_gpus_and_takes_software_last() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let mut kinds = [Cpu, Other, IntegratedGpu, VirtualGpu, DiscreteGpu];
        kinds.sort_by_key(|&kind| rank(kind, false));
        assert_eq!(kinds, [DiscreteGpu, IntegratedGpu, VirtualGpu, Other, Cpu]);
        kinds.sort_by_key(|&kind| rank(kind, true));
        assert_eq!(kinds, [IntegratedGpu, DiscreteGpu, VirtualGpu, Other, Cpu]);
    }

    #[test]
    fn says_which_adapters_there_are_or_what_to_install() {
        let choice = Choice { name: "Voodoo".to_owned(), low_power: false };
        assert!(unavailable(&choice, &[]).to_string().contains("mesa-vulkan-drivers"));
        let text = unavailable(&choice, &["A".to_owned(), "B".to_owned()]).to_string();
        assert!(text.contains("\"Voodoo\"") && text.ends_with("A, B"), "{text}");
    }
}
