//! Ctrl-C and SIGTERM.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a shell adds to a signal's number.
const SIGNAL_EXIT: i32 = 128;

/// The first signal asks the work at hand to stop; the next one, or the first while there is no such work, ends the program
/// at once.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// From here on signals are heard. Before, they end the program, which has nothing to lose then.
    pub(crate) fn listen() -> io::Result<Self> {
        let (stop, last) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // They run in this order: only a signal that comes when `stop` is set already ends the program.
            flag::register_conditional_shutdown(signal, SIGNAL_EXIT + signal, Arc::clone(&stop))?;
            flag::register_usize(signal, Arc::clone(&last), usize::try_from(signal).unwrap_or(0))?;
            flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self { stop, last })
    }

    /// Set when the work at hand is to stop.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Work begins: a signal stops it.
    pub(crate) fn work_begins(&self) {
        self.last.store(0, Ordering::Relaxed);
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Work ends: a signal ends the program. Gives the signal that came in between.
    pub(crate) fn work_ends(&self) -> Option<Signal> {
        self.stop.store(true, Ordering::Relaxed);
        match i32::try_from(self.last.swap(0, Ordering::Relaxed)) {
            Ok(SIGINT) => Some(Signal::Interrupt),
            Ok(SIGTERM) => Some(Signal::Terminate),
            _ => None,
        }
    }
}

/// Signals that stop work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// What the program exits with because of it.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Interrupt => ExitCode::from(130),
            Self::Terminate => ExitCode::from(143),
        }
    }
}
