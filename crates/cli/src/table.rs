//! Tables as the original client lays them out (prettytable 0.7.2 without borders): columns two blanks apart, heads
//! and most cells centred, rows sorted; no table at all without rows.

use crate::text::printable;

/// Where a column's cells stand; its head stands likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

/// A table to be filled row by row.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: Vec<(String, Align)>,
    /// A cell a column.
    rows: Vec<Vec<String>>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(columns: [(&'static str, Align); N]) -> Self {
        Self {
            columns: columns
                .map(|(head, align)| (head.to_owned(), align))
                .to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. A cell may have several lines.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)).to_vec());
    }

    /// Adds a column to a table that has its rows: a cell for each of them.
    pub(crate) fn column(&mut self, head: &str, cells: impl IntoIterator<Item = String>) {
        self.columns.push((printable(head), Align::Center));
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            row.push(printable(&cell));
        }
    }

    /// The table sorted by its rows, first column first; `None` if there are no rows.
    pub(crate) fn sorted(mut self) -> Option<String> {
        self.rows.sort();
        self.unsorted()
    }

    /// The table as it was filled; `None` if there are no rows.
    pub(crate) fn unsorted(self) -> Option<String> {
        let lines = self.lines()?;
        Some(lines.join("\n"))
    }

    /// The table as it was filled, without its heads; `None` if there are no rows.
    pub(crate) fn headless(self) -> Option<String> {
        let lines = self.lines()?;
        Some(lines[1..].join("\n"))
    }

    /// The heads and the rows; `None` if there are no rows.
    fn lines(&self) -> Option<Vec<String>> {
        if self.rows.is_empty() {
            return None;
        }
        let heads: Vec<&str> = self.columns.iter().map(|(head, _)| head.as_str()).collect();
        let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                let widest = cell.lines().map(|line| line.chars().count()).max();
                *width = (*width).max(widest.unwrap_or(0));
            }
        }
        let mut lines = vec![self.line(&heads, &widths)];
        for row in &self.rows {
            let height = row
                .iter()
                .map(|cell| cell.lines().count())
                .max()
                .unwrap_or(1)
                .max(1);
            for at in 0..height {
                let cells: Vec<&str> = row
                    .iter()
                    .map(|text| text.lines().nth(at).unwrap_or_default())
                    .collect();
                lines.push(self.line(&cells, &widths));
            }
        }
        Some(lines)
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            let length = cell.chars().count();
            let excess = width - length;
            // An odd blank goes to the right of an odd text and to the left of an even one, as str.center has it.
            let left = match align {
                Align::Left => 0,
                Align::Right => excess,
                Align::Center if excess % 2 == 1 && length % 2 == 0 => excess / 2 + 1,
                Align::Center => excess / 2,
            };
            line.push_str(&" ".repeat(left));
            line.push_str(cell);
            line.push_str(&" ".repeat(excess - left + 2));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laid_out_as_in_the_lab() {
        let mut table = Table::new([
            ("APP", Align::Left),
            ("HEALTHY", Align::Center),
            ("STARTED", Align::Center),
            ("HOST", Align::Center),
            ("ID", Align::Left),
        ]);
        for (millis, host, id) in [
            (
                "861",
                "10.0.3.193",
                "zdd_base.75443553-9070-11e6-aae4-3a4b79075094",
            ),
            (
                "845",
                "10.0.3.192",
                "zdd_base.75440e42-9070-11e6-aae4-3a4b79075094",
            ),
        ] {
            let started = format!("2016-10-12T11:38:56.{millis}Z");
            table.row([
                "/zdd/base".into(),
                "True".into(),
                started,
                host.into(),
                id.into(),
            ]);
        }
        assert_eq!(
            table.sorted().unwrap(),
            "APP        HEALTHY          STARTED              HOST     ID
/zdd/base    True   2016-10-12T11:38:56.845Z  10.0.3.192  zdd_base.75440e42-9070-11e6-aae4-3a4b79075094
/zdd/base    True   2016-10-12T11:38:56.861Z  10.0.3.193  zdd_base.75443553-9070-11e6-aae4-3a4b79075094"
        );
    }

    #[test]
    fn cells_may_have_lines() {
        let mut table = Table::new([("APP", Align::Left), ("ID", Align::Left)]);
        table.row(["/a\n/b".into(), "1".into()]);
        table.row(["/c".into(), "2".into()]);
        assert_eq!(table.unsorted().unwrap(), "APP  ID\n/a   1\n/b\n/c   2");
    }

    #[test]
    fn a_column_may_come_later() {
        let mut table = Table::new([("ID", Align::Left)]);
        table.row(["b".into()]);
        table.row(["a".into()]);
        table.column("CPUS", ["4.0".into(), "16.0".into()]);
        assert_eq!(table.sorted().unwrap(), "ID  CPUS\na   16.0\nb   4.0");
    }

    #[test]
    fn no_rows_no_table() {
        assert_eq!(Table::new([("APP", Align::Left)]).sorted(), None);
    }
}
