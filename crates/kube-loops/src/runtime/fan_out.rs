// SPDX-License-Identifier: Apache-2.0
//! Many calls at once, within bounds.

use std::{future::Future, time::Duration};

use futures::{StreamExt, stream};

/// A call was cancelled because it took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} ms", .after.as_millis())]
pub struct TimedOut {
    /// The bound.
    pub after: Duration,
}

/// Calls `call` for each item, at most `at_once` at a time (at least 1), each for at most `each`.
/// Yields one result per item, in the order of the items. Dropping the future cancels all calls.
pub async fn fan_out<I, T, Call, Answer>(
    items: impl IntoIterator<Item = I>,
    at_once: usize,
    each: Duration,
    call: Call,
) -> Vec<Result<T, TimedOut>>
where
    Call: Fn(I) -> Answer,
    Answer: Future<Output = T>,
{
    let call = &call;
    let calls = items.into_iter().enumerate().map(|(place, item)| async move {
        let answer = tokio::time::timeout(each, call(item)).await;
        (place, answer.map_err(|_elapsed| TimedOut { after: each }))
    });
    // Unordered, then sorted: a slow first call must not keep finished ones from making room.
    let mut answers: Vec<_> = stream::iter(calls).buffer_unordered(at_once.max(1)).collect().await;
    answers.sort_unstable_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
