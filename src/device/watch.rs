//! Samples of a device while it works, by a thread of their own.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::facts::{DeviceConditions, DeviceSample};

/// From the start to the first sample: by then a device that was idle is not.
const FIRST_AFTER: Duration = Duration::from_millis(20);
/// From one sample to the next. Each is a few calls of the management library, which the driver
/// answers beside launches.
const EVERY: Duration = Duration::from_millis(100);

/// A device that is being watched.
#[derive(Debug)]
pub struct Watch {
    /// Dropped to end it.
    go_on: mpsc::Sender<()>,
    thread: Option<JoinHandle<DeviceConditions>>,
}

impl Watch {
    /// Takes samples until [`Watch::end`]; none where the system refuses a thread.
    pub(super) fn start(mut sample: impl FnMut() -> DeviceSample + Send + 'static) -> Self {
        let (go_on, ended) = mpsc::channel::<()>();
        let watch = move || {
            let mut conditions = DeviceConditions::default();
            let mut pause = FIRST_AFTER;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                conditions.add(sample());
                pause = EVERY;
            }
            if conditions == DeviceConditions::default() {
                // Shorter than the first pause: the device has just come to rest at most.
                conditions.add(sample());
            }
            conditions
        };
        let thread = thread::Builder::new().name("device watch".into()).spawn(watch).ok();
        Self { go_on, thread }
    }

    /// All that was seen.
    pub fn end(self) -> DeviceConditions {
        drop(self.go_on);
        self.thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_watched_until_the_end_and_at_least_once() {
        let sampler = |mut clock: u64| {
            move || {
                clock += 1;
                DeviceSample { sm_clock_hz: Some(clock), ..DeviceSample::default() }
            }
        };
        let short = Watch::start(sampler(5)).end();
        assert_eq!((short.n_busy, short.sm_clock_hz), (1, Some((6, 6))));
        let (seen, samples) = mpsc::channel();
        let mut next = sampler(0);
        let watch = Watch::start(move || {
            let sample = next();
            seen.send(sample.clone()).unwrap();
            sample
        });
        let first_two: Vec<_> = samples.iter().take(2).collect();
        assert_eq!(first_two.len(), 2);
        let conditions = watch.end();
        assert!(conditions.n_busy >= 2);
        assert_eq!(conditions.sm_clock_hz.map(|(least, _)| least), Some(1));
    }
}
