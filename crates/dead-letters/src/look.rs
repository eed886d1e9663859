//! Looking at dead letters without touching them.

use service_bus::{Client, Error, MessageState};

use crate::letter::Letter;
use crate::place::Place;
use crate::wanted::Wanted;

/// Asked for at a time; the broker may give fewer.
const PAGE: u32 = 250;

/// Shows `each` the letters of a place that are meant, oldest first, until it answers `false` or there are
/// no more. They are peeked at: none is locked, and no delivery counted.
///
/// # Errors
/// When the broker refuses or does not answer in time.
pub async fn look(
    client: &Client,
    place: &Place,
    wanted: &Wanted,
    mut each: impl FnMut(Letter) -> bool,
) -> Result<(), Error> {
    let mut next = 0;
    loop {
        let page = client.peek(place.from(), next, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        next = last.sequence_number.saturating_add(1);
        for message in page.iter().filter(|it| it.state == MessageState::Active) {
            let letter = Letter::read(place.name(), message);
            if wanted.has(&letter) && !each(letter) {
                return Ok(());
            }
        }
    }
}
