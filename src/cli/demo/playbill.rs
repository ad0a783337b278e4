//! The demo in print: what stands where, and the table of what came back.

/// Text, with every line moved in.
pub(super) fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut moved, line| {
        if !line.is_empty() {
            moved.push_str("    ");
        }
        moved.push_str(line);
        moved.push('\n');
        moved
    })
}

/// A table under its heading; columns are as wide as their widest cell.
pub(super) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{indented, table};

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let cells = |texts: [&str; 3]| texts.map(str::to_owned);
        let rows = [cells(["#", "what", "ok"]), cells(["10", "ein Gruß", "yes"]), cells(["", "", ""])];
        assert_eq!(table(&rows), "#   what      ok\n10  ein Gruß  yes\n\n");
    }

    #[test]
    fn empty_lines_stay_empty() {
        assert_eq!(indented("a\n\nb"), "    a\n\n    b\n");
    }
}
