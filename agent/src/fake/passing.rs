//! The stream of a fake machine's changes. Whoever reads it lets the machine's time pass.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use model::ServiceChange;
use tokio::time::{Sleep, sleep_until};

use super::FakeSystemd;
use crate::changes::Changes;

/// The changes of a fake machine; reading them is what lets its time pass.
pub(super) struct FakeChanges {
    pub(super) changes: Changes,
    pub(super) machine: FakeSystemd,
    pub(super) next: Option<Pin<Box<Sleep>>>,
}

impl Stream for FakeChanges {
    type Item = ServiceChange;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<ServiceChange>> {
        loop {
            let next = self.machine.with(|world, _| world.next_event());
            if let Poll::Ready(change) = Pin::new(&mut self.changes).poll_next(context) {
                return Poll::Ready(change);
            }
            self.next = next.map(|at| Box::pin(sleep_until(at)));
            match self.next.as_mut().map(|sleep| sleep.as_mut().poll(context)) {
                Some(Poll::Ready(())) => {}
                Some(Poll::Pending) | None => return Poll::Pending,
            }
        }
    }
}
