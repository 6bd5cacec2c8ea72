//! The numbers as JSON, as a table and as a picture.

mod picture;
mod table;

use anyhow::Context as _;

use crate::Arguments;
use crate::results::Results;
use crate::say;

/// Marks in the page between which the table stands.
const BEGIN: &str = "<!-- results: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of results -->";

/// Writes all three, and prints the table.
pub(crate) fn write(results: &Results, arguments: &Arguments) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.out)?;
    let json = serde_json::to_string_pretty(results)? + "\n";
    std::fs::write(arguments.out.join("results.json"), json)?;
    std::fs::write(arguments.out.join("calls.svg"), picture::draw(results))?;
    let table = table::write(results);
    std::fs::write(arguments.out.join("results.md"), &table)?;
    if let Some(page) = &arguments.page {
        let text = std::fs::read_to_string(page)?;
        let (before, rest) = text.split_once(BEGIN).context("the page has no place for results")?;
        let (_, after) = rest.split_once(END).context("the page's place for results has no end")?;
        std::fs::write(page, format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))?;
    }
    say(&table);
    Ok(())
}
