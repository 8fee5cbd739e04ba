//! Bodies and page tokens as requests bring them, for fuzz/: read without a server.

use std::num::NonZeroU16;
use std::ops::Range;

use unitfile::UnitFile;

use super::input::{Shape, lenient_json};
use super::lists::edit;
use super::paging::Page;
use super::units::file_of;
use crate::types::{Batch, MachinePatch, UnitPut};

/// The unit file of a body of `PUT /units/NAME`; none if the body is refused or has none.
pub fn put(body: &[u8]) -> Option<UnitFile> {
    let asked: UnitPut = lenient_json(body, Shape::Object).ok()?;
    file_of(&asked.options).ok()?
}

/// How many edits a body of `PATCH /machines` asks for; none if it is refused.
pub fn patch(body: &[u8]) -> Option<usize> {
    let patches: Vec<MachinePatch> = lenient_json(body, Shape::Array).ok()?;
    let edits = patches.iter().map(edit).collect::<Result<Vec<_>, _>>();
    edits.ok().map(|edits| edits.len())
}

/// A body of `POST /batch`; none if it is refused.
pub fn batch(body: &[u8]) -> Option<Batch> {
    serde_json::from_slice(body).ok()
}

/// The entries of a list of `total` that a token asks for, and the token of the page after them; none if it is refused.
pub fn page(
    token: &str,
    limit: NonZeroU16,
    total: usize,
) -> Option<(Range<usize>, Option<String>)> {
    let page = Page::asked([token].into_iter(), limit).ok()?;
    Some((page.range(total), page.next_token(total)))
}
