//! JSON rows to batches.

use restow_core::stage::Reject;

use super::table::Table;
use super::{DecodeRequest, JsonRows, Output, RawRow, Stop};

/// Decodes all rows of a JSON file.
pub(super) fn decode(mut rows: JsonRows, request: DecodeRequest, output: &Output) -> Result<(), Stop> {
    let mut table = Table::new(&request)?;
    while let Some(row) = rows.next(&request.place)? {
        match take(&mut table, &row) {
            Ok(()) => table.keep(row.bytes.len()),
            Err(reason) => {
                table.discard();
                output.reject(Reject { place: row.place(&request.place), reason, row: row.text() })?;
            }
        }
        if table.is_full() {
            output.batch(table.take()?)?;
        }
    }
    if !table.is_empty() {
        output.batch(table.take()?)?;
    }
    Ok(())
}

fn take(table: &mut Table, row: &RawRow<'_>) -> Result<(), String> {
    for (name, value) in row.fields()?.0 {
        table.put_json(&name, value.get())?;
    }
    Ok(())
}
