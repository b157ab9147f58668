//! A block of lines at the bottom of the terminal that is drawn over itself.

use crate::printer::Printer;

/// The block as it stands on the terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    printer: Printer,
    /// Lines that are drawn now.
    drawn: usize,
}

impl Screen {
    /// Nothing is drawn yet.
    pub(crate) const fn new(printer: Printer) -> Self {
        Self { printer, drawn: 0 }
    }

    /// Draws these lines in the place of those before.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        self.clear();
        for line in lines {
            self.printer.note(line);
        }
        self.drawn = lines.len();
    }

    /// Takes the block away.
    pub(crate) fn clear(&mut self) {
        if self.drawn > 0 {
            // Up to the first line, and everything below it away.
            self.printer.steer(&format!("\x1b[{}A\r\x1b[0J", self.drawn));
            self.drawn = 0;
        }
    }
}
