// SPDX-License-Identifier: Apache-2.0
//! Many writes of one kind: side by side, in batches that grow, so that a server that refuses the first is not asked for
//! hundreds. What client-go's controllers call slow start.

use futures::future::{BoxFuture, join_all};

use crate::cluster::error::WriteError;

/// Runs writes in batches of `first`, twice as many, and so on. The batch with an error is the last. Answers for the
/// writes that were tried, in their order.
pub async fn in_batches<A>(
    writes: Vec<BoxFuture<'_, Result<A, WriteError>>>,
    first: usize,
) -> Vec<Result<A, WriteError>> {
    let mut answers = Vec::with_capacity(writes.len());
    let (mut writes, mut size) = (writes.into_iter(), first.max(1));
    while writes.len() > 0 {
        let batch = join_all(writes.by_ref().take(size)).await;
        let failed = batch.iter().any(Result::is_err);
        answers.extend(batch);
        if failed {
            break;
        }
        size = size.saturating_mul(2);
    }
    answers
}
