// SPDX-License-Identifier: Apache-2.0
//! The subscriber that prints events in klog's shape (or as JSON) to one sink, stderr by default.

use std::{fmt, io::Write as _, sync::Arc};

use jiff::tz::TimeZone;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field as FieldName, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use kube_fenced_election::clock::SharedClock;
use kube_loops::chain::Chain;

use super::{
    filter::{Filter, Origin},
    format::{Field, Line, Value, json, text},
};

/// How the process logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// `-v`: 0 shows error, warn and info; 4 adds debug, 6 trace, 8 and 10 what libraries say.
    pub verbosity: i32,
    /// `-vmodule`: comma-separated `pattern=N`; empty: none.
    pub vmodule: String,
    /// `-skip_headers`: no severity, time, process id and source.
    pub skip_headers: bool,
    /// One JSON object per line instead of klog's text.
    pub json: bool,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// `-vmodule` has an item that is not `pattern=N`.
    #[error("invalid -vmodule item {item:?}: want pattern=N with N >= 0")]
    VModule {
        /// The item.
        item: String,
    },
    /// Something else in this process installed a subscriber before.
    #[error("a log subscriber is installed already")]
    Installed,
}

/// Takes one finished line, line break included.
pub(crate) type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// Installs the process's subscriber, which prints to stderr. Times are local (`TZ`, else
/// `/etc/localtime`, else UTC).
///
/// # Errors
/// [`LogError`]: settings that make no sense, or a second call.
pub(crate) fn init(settings: &LogSettings, clock: SharedClock) -> Result<(), LogError> {
    // A log line that cannot be written has nowhere to be reported.
    let sink: Sink = Arc::new(|line| drop(std::io::stderr().lock().write_all(line.as_bytes())));
    let subscriber = subscriber(settings, clock, TimeZone::system(), sink)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Installed)
}

/// Has panics logged like everything else, in one line, instead of printed over several: the log is what
/// operators read, and its lines carry the controller of the span in which the panic came.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("unknown panic");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(panic = message, place, thread = thread.name().unwrap_or_default(), "panicked");
    }));
}

/// The subscriber that [`init`] installs, with another zone and sink.
///
/// # Errors
/// [`LogError::VModule`].
pub(crate) fn subscriber(
    settings: &LogSettings,
    clock: SharedClock,
    zone: TimeZone,
    sink: Sink,
) -> Result<impl Subscriber + Send + Sync, LogError> {
    let filter = Filter::parse(settings.verbosity, &settings.vmodule)?;
    let LogSettings { skip_headers, json, .. } = *settings;
    let pid = std::process::id();
    Ok(tracing_subscriber::registry().with(Klog { filter, skip_headers, json, clock, zone, pid, sink }))
}

struct Klog {
    filter: Filter,
    skip_headers: bool,
    json: bool,
    clock: SharedClock,
    zone: TimeZone,
    pid: u32,
    sink: Sink,
}

impl Klog {
    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.shows(Origin {
            level: *metadata.level(),
            target: metadata.target(),
            module: metadata.module_path().unwrap_or_default(),
            file: metadata.file().unwrap_or_default(),
        })
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Klog {
    /// Decided once per place in the source: a hidden event costs nothing.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.max_level())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut collected = Collected::default();
        attributes.record(&mut collected);
        span.extensions_mut().insert(collected);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(collected) = extensions.get_mut::<Collected>() {
            values.record(collected);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut collected = Collected::default();
        event.record(&mut collected);
        let Collected { message, mut fields } = collected;
        // A field of the event wins over one of its spans, an inner span over an outer one.
        let own = fields.len();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Collected>() {
                let fresh = of_span.fields.iter().filter(|(name, _)| fields.iter().all(|(n, _)| n != name));
                let fresh: Vec<Field> = fresh.cloned().collect();
                fields.splice(own..own, fresh);
            }
        }
        let metadata = event.metadata();
        let line = Line {
            level: *metadata.level(),
            at: self.clock.now().to_zoned(self.zone.clone()),
            pid: self.pid,
            file: metadata.file().unwrap_or("?"),
            row: metadata.line().unwrap_or_default(),
            message: &message,
            fields: &fields,
        };
        let printed = if self.json { json(&line) } else { text(&line, self.skip_headers) };
        (self.sink)(&printed);
    }
}

/// Fields of an event or a span, in the order of the source.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Vec<Field>,
}

impl Collected {
    fn put(&mut self, name: &FieldName, value: Value) {
        if name.name() == "message" {
            if let Value::Text(text) = value {
                self.message = text;
            }
            return;
        }
        let name = name.name();
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.fields.push((name, value)),
        }
    }
}

impl Visit for Collected {
    fn record_f64(&mut self, field: &FieldName, value: f64) {
        self.put(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &FieldName, value: i64) {
        self.put(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &FieldName, value: u64) {
        self.put(field, Value::Uint(value));
    }

    fn record_bool(&mut self, field: &FieldName, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &FieldName, value: &str) {
        self.put(field, Value::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &FieldName, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::Text(Chain(value).to_string()));
    }

    fn record_debug(&mut self, field: &FieldName, value: &dyn fmt::Debug) {
        self.put(field, Value::Text(format!("{value:?}")));
    }
}
