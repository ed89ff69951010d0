//! Where do words go? Data to standard output, everything else to standard error; a reader that went away is no error.

use std::io::{self, Write};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Writes data to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

pub fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes a line to standard error. If even that is gone there is nobody left to tell.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The word for so many things, as in `1 row` and `0 rows`.
pub fn plural<'a>(n: u64, one: &'a str, many: &'a str) -> &'a str {
    if n == 1 { one } else { many }
}

/// `tidewater sql … | head` closes our output: that is its good right.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Columns and lines of the terminal that standard output is.
pub fn size() -> (usize, usize) {
    const USUAL: (usize, usize) = (80, 24);
    // A terminal that does not know says 0.
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (usize::from(size.ws_col), usize::from(size.ws_row)),
        _ => USUAL,
    }
}

/// The end of the terminal, which would end us without order. It is no concern of a program that is told to outlive it (`nohup`).
pub struct Hangup(Option<Signal>);

impl Hangup {
    pub fn new() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Ok(Self(if ignores_hangup(&status) { None } else { Some(signal(SignalKind::hangup())?) }))
    }

    pub async fn recv(&mut self) {
        match &mut self.0 {
            Some(hangups) => {
                hangups.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// By a process's status as Linux shows it: SIGHUP is the first bit of the signals that are ignored.
pub fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).is_some_and(|bits| bits & 1 == 1)
}

/// Lines at the end of a terminal that are drawn again and again in the same place. The cursor is hidden until the screen is dropped.
pub struct Screen {
    /// How wide each line is that was drawn.
    widths: Vec<usize>,
}

impl Screen {
    pub fn new() -> anyhow::Result<Self> {
        print(HIDE_CURSOR)?;
        Ok(Self { widths: Vec::new() })
    }

    pub fn draw(&mut self, lines: &[String]) -> anyhow::Result<()> {
        let (columns, rows) = size();
        let text = redrawn(lines_of(&self.widths, columns), lines, (columns, rows));
        let n_drawn = text.matches('\n').count();
        self.widths = lines.iter().take(n_drawn).map(|line| line.chars().count().min(width_of(columns))).collect();
        print(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that went away has no cursor.
        let _ = print(SHOW_CURSOR);
    }
}

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// Lines that what was drawn takes by now: a terminal that became narrower has wrapped it.
pub fn lines_of(widths: &[usize], columns: usize) -> usize {
    widths.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum()
}

/// A line that fills its row may move the cursor to the next one, or not: it is not filled.
fn width_of(columns: usize) -> usize {
    columns.saturating_sub(1).max(1)
}

/// What replaces the last `n_before` lines by these, as far as they fit: a line that wrapped, or scrolled away, could not be drawn again.
pub fn redrawn(n_before: usize, lines: &[String], (columns, rows): (usize, usize)) -> String {
    let up = if n_before > 0 { format!("\x1b[{n_before}A") } else { String::new() };
    let width = width_of(columns);
    let mut text = format!("{up}\r");
    for line in lines.iter().take(rows.saturating_sub(1).max(1)) {
        let is_long = line.chars().count() > width;
        text.extend(line.chars().take(if is_long { width - 1 } else { width }));
        text.push_str(if is_long { "…\x1b[K\n" } else { "\x1b[K\n" });
    }
    text + "\x1b[J"
}
