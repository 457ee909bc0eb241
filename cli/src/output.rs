//! The only module that prints: data on standard output, everything else on standard error.

pub(crate) mod live;
pub(crate) mod text;

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table as ComfyTable};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tradepost_runtime::clock::{Clock, SystemClock};

use crate::args::{Colour, Format, Global};
use crate::error::{Error, Exit, Result};

/// How a word or cell looks. It only repeats what the word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Warning,
    Active,
}

/// Where and how this run prints.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    data_choice: ColorChoice,
    message_choice: ColorChoice,
}

/// Rows for people. The first column is never broken or shortened: it is what gets copied.
#[derive(Debug)]
pub(crate) struct Table {
    header: &'static [&'static str],
    rows: Vec<Vec<(String, Tone)>>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let choice = match global.color {
            Colour::Auto => ColorChoice::Auto,
            Colour::Always => ColorChoice::AlwaysAnsi,
            Colour::Never => ColorChoice::Never,
        };
        choice.write_global();
        Self {
            format: global.output,
            quiet: global.quiet,
            data_choice: AutoStream::choice(&io::stdout()),
            message_choice: AutoStream::choice(&io::stderr()),
        }
    }

    /// One thing: JSON for machines, else what `human` writes, or with `--quiet` its id alone.
    pub(crate) fn one<T: Serialize>(&self, item: &T, id: &str, human: impl FnOnce() -> String) -> Result<()> {
        match self.format {
            Format::Json => self.json(item),
            Format::Jsonl => self.json_line(item),
            Format::Table if self.quiet => self.data(id),
            Format::Table => self.data(human().trim_end()),
        }
    }

    /// A list of things.
    pub(crate) fn many<T: Serialize>(
        &self,
        items: &[T],
        id: impl Fn(&T) -> &str,
        human: impl FnOnce() -> String,
    ) -> Result<()> {
        match self.format {
            Format::Json => self.json(&items),
            Format::Jsonl => items.iter().try_for_each(|item| self.json_line(item)),
            Format::Table if self.quiet => items.iter().try_for_each(|item| self.data(id(item))),
            Format::Table if items.is_empty() => Ok(()),
            Format::Table => self.data(human().trim_end()),
        }
    }

    /// A line (or more) of data.
    pub(crate) fn data(&self, text: &str) -> Result<()> {
        let mut stream = AutoStream::new(io::stdout(), self.data_choice);
        writeln!(stream, "{text}")?;
        stream.flush()?;
        Ok(())
    }

    /// Data as it is, without a line break added.
    pub(crate) fn raw(content: &[u8]) -> Result<()> {
        let mut stream = io::stdout();
        stream.write_all(content)?;
        stream.flush()?;
        Ok(())
    }

    fn json<T: Serialize>(&self, item: &T) -> Result<()> {
        let text = serde_json::to_string_pretty(item).map_err(|error| no_json(&error))?;
        self.data(&text)
    }

    pub(crate) fn json_line<T: Serialize>(&self, item: &T) -> Result<()> {
        let text = serde_json::to_string(item).map_err(|error| no_json(&error))?;
        self.data(&text)
    }

    /// Tells a person what happened; not with `--quiet`.
    pub(crate) fn message(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Tells a person what to do next; not with `--quiet`.
    pub(crate) fn hint(&self, text: &str) {
        if !self.quiet {
            self.say(&format!("{} {text}", self.message_tone("hint:", Tone::Active)));
        }
    }

    /// Tells a person what may be amiss.
    pub(crate) fn warning(&self, text: &str) {
        self.say(&format!("{} {text}", self.message_tone("warning:", Tone::Warning)));
    }

    /// Prints a failure: one line, its details, the mend.
    pub(crate) fn error(&self, error: &Error) {
        let Error { exit, message, details, hints } = error;
        if *exit == Exit::ReaderGone {
            return;
        }
        self.say(&format!("{} {message}", self.message_tone("error:", Tone::Bad)));
        for detail in details {
            self.say(&format!("  - {detail}"));
        }
        for hint in hints {
            self.say(&format!("{} {hint}", self.message_tone("hint:", Tone::Active)));
        }
    }

    /// A line on standard error, as it is.
    pub(crate) fn say(&self, text: &str) {
        let mut stream = AutoStream::new(io::stderr(), self.message_choice);
        // Nobody is left to tell when standard error is gone.
        drop(writeln!(stream, "{text}"));
    }

    /// A word of data.
    pub(crate) fn tone(&self, text: &str, tone: Tone) -> String {
        if self.data_choice == ColorChoice::Never { text.to_owned() } else { styled(text, tone) }
    }

    /// A word of a message.
    pub(crate) fn message_tone(&self, text: &str, tone: Tone) -> String {
        if self.message_choice == ColorChoice::Never { text.to_owned() } else { styled(text, tone) }
    }

    /// Whether progress can be drawn over itself.
    pub(crate) fn is_live(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// A bar for bytes sent; nothing where it cannot be drawn.
    pub(crate) fn byte_progress(&self, bytes: u64, what: &str) -> ProgressBar {
        if !self.is_live() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(bytes).with_message(what.to_owned());
        let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar
    }

    /// The present, for relative times.
    pub(crate) fn now() -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(SystemClock.now().as_micros())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// A table as text.
    pub(crate) fn table(&self, table: &Table) -> String {
        let mut text = ComfyTable::new();
        text.load_preset(comfy_table::presets::NOTHING);
        let coloured = self.data_choice != ColorChoice::Never;
        if coloured {
            text.enforce_styling();
        }
        // A pipe gets one line a row, whatever its length.
        let arrangement = if io::stdout().is_terminal() {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        };
        text.set_content_arrangement(arrangement);
        text.set_header(table.header.iter().map(|name| cell(name, Tone::Strong, coloured)));
        for row in &table.rows {
            text.add_row(row.iter().map(|(word, tone)| cell(word, *tone, coloured)));
        }
        if let Some(column) = text.column_mut(0) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        for column in text.column_iter_mut() {
            column.set_padding((0, 2));
        }
        text.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
    }
}

impl Table {
    pub(crate) fn new(header: &'static [&'static str]) -> Self {
        Self { header, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// A cell without emphasis.
pub(crate) fn plain(text: impl Into<String>) -> (String, Tone) {
    (text.into(), Tone::Plain)
}

/// A cell that matters less.
pub(crate) fn faint(text: impl Into<String>) -> (String, Tone) {
    (text.into(), Tone::Faint)
}

fn cell(text: &str, tone: Tone, coloured: bool) -> Cell {
    let cell = Cell::new(text);
    if !coloured {
        return cell;
    }
    match tone {
        Tone::Plain => cell,
        Tone::Strong => cell.add_attribute(Attribute::Bold),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
        Tone::Good => cell.fg(comfy_table::Color::Green),
        Tone::Bad => cell.fg(comfy_table::Color::Red),
        Tone::Warning => cell.fg(comfy_table::Color::Yellow),
        Tone::Active => cell.fg(comfy_table::Color::Cyan),
    }
}

fn styled(text: &str, tone: Tone) -> String {
    let colour = |colour: AnsiColor| colour.on_default();
    let style = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Strong => Style::new().bold(),
        Tone::Faint => Style::new().dimmed(),
        Tone::Good => colour(AnsiColor::Green),
        Tone::Bad => colour(AnsiColor::Red).bold(),
        Tone::Warning => colour(AnsiColor::Yellow),
        Tone::Active => colour(AnsiColor::Cyan),
    };
    format!("{style}{text}{style:#}")
}

fn no_json(error: &serde_json::Error) -> Error {
    Error::failed(format!("cannot write JSON: {error}"))
}
