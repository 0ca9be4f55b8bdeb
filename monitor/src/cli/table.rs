//! Tables for people: columns as wide as their widest cell, the last one as long as it likes.

/// A table being filled.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there is nothing but the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut out = String::new();
    for (i, cell) in row.iter().enumerate() {
        if i > 0 {
            out.push_str("  ");
        }
        out.push_str(cell);
        let missing = widths[i].saturating_sub(cell.chars().count());
        if i + 1 < row.len() {
            out.extend(std::iter::repeat_n(' ', missing));
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let mut table = Table::new(&["NAME", "MODE", "WHY"]);
        assert!(table.is_empty());
        table.row(["naïve", "learn", ""]);
        table.row(["b", "enforce", "a long reason"]);
        assert_eq!(
            table.lines(),
            [
                "NAME   MODE     WHY",
                "naïve  learn",
                "b      enforce  a long reason"
            ]
        );
    }
}
