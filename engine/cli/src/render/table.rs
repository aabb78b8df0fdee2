//! Aligned columns of text.

/// Cells of data are cut at this many characters.
pub const MAX_CELL: usize = 80;

/// A table in memory: a list, or one page of rows.
#[derive(Debug)]
pub struct Table {
    header: Vec<String>,
    right: Vec<bool>,
    longest: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns by their names; one that begins with `>` is aligned to the right.
    pub fn new(header: &[&str]) -> Self {
        let right = header.iter().map(|name| name.starts_with('>')).collect();
        let header = header.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        Self { header, right, longest: usize::MAX, rows: Vec::new() }
    }

    /// Columns by name and alignment, for data: long cells are cut.
    pub fn with_columns(columns: impl IntoIterator<Item = (String, bool)>) -> Self {
        let (header, right) = columns.into_iter().map(|(name, right)| (one_line(&name, MAX_CELL), right)).unzip();
        Self { header, right, longest: MAX_CELL, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let longest = self.longest;
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell, longest)).collect());
    }

    /// Whether there is any row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Name, line, rows; every line ends with a line feed.
    pub fn render(&self) -> String {
        let widths = self.widths();
        let mut out = self.line(&self.header, &widths);
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        out.push_str(&self.line(&rules, &widths));
        out.extend(self.rows.iter().map(|row| self.line(row, &widths)));
        out
    }

    fn widths(&self) -> Vec<usize> {
        let width = |cell: &String| cell.chars().count();
        let of_rows = |column: usize| self.rows.iter().filter_map(move |row| row.get(column)).map(width).max();
        self.header.iter().enumerate().map(|(column, name)| width(name).max(of_rows(column).unwrap_or(0))).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut out = String::new();
        for ((cell, width), right) in cells.iter().zip(widths).zip(&self.right) {
            if !out.is_empty() {
                out.push_str("  ");
            }
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            if *right {
                out.push_str(&pad);
            }
            out.push_str(cell);
            if !right {
                out.push_str(&pad);
            }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

/// A cell on one line, without what could steer a terminal, cut where it is very long.
fn one_line(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == longest {
            out.push('…');
            break;
        }
        match letter {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if steers(letter) => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

fn steers(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["name", ">rows"]);
        table.row(["Köln".to_owned(), "1,000".to_owned()]);
        table.row(["a\x1b[2J".to_owned(), "2".to_owned()]);
        assert_eq!(table.render(), "name    rows\n-----  -----\nKöln   1,000\na\u{fffd}[2J      2\n");
    }

    #[test]
    fn long_cells_are_cut() {
        assert_eq!(one_line(&"x".repeat(100), MAX_CELL).chars().count(), MAX_CELL + 1);
        assert_eq!(one_line("a\nb", MAX_CELL), "a\\nb");
    }
}
