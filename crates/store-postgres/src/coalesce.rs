//! Reads of many callers by one statement: what is asked for while a statement is under way is asked for together by the
//! next one. Nobody waits for others to come, but for those whose counter has a delay.

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot};
use tradepost_store::Error;

use crate::backend::{answered_soon, unanswered};
use crate::line::Line;
use crate::shared::Fault;

/// Most keys of one statement, but for a caller that brings more.
const KEYS: usize = 256;

/// What one caller asks for.
pub(crate) struct Question<K, V> {
    keys: Vec<K>,
    reply: oneshot::Sender<Result<Vec<V>, Error>>,
}

/// Where callers ask.
pub(crate) type Counter<K, V> = mpsc::Sender<Question<K, V>>;

/// Answers in the order of the keys.
pub(crate) type Load<K, V> =
    for<'c> fn(&'c mut PgConnection, &'c [K]) -> BoxFuture<'c, Result<Vec<V>, Fault>>;

/// Asks, and waits for the answers.
pub(crate) async fn ask<K, V>(counter: Option<Counter<K, V>>, keys: Vec<K>) -> Result<Vec<V>, Error> {
    let closed = || Error::Unavailable("the database is closed".into());
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (reply, answer) = oneshot::channel();
    counter.ok_or_else(closed)?.send(Question { keys, reply }).await.map_err(|_| closed())?;
    answer.await.map_err(|_| unanswered())?
}

/// Serves the queue until its last sender is gone. The first of several who ask waits `delay` for the others.
pub(crate) async fn serve<K, V>(
    options: PgConnectOptions,
    mut queue: mpsc::Receiver<Question<K, V>>,
    load: Load<K, V>,
    delay: Duration,
) where
    K: Clone + Send + Sync,
    V: Send,
{
    let mut line = Line::new(options);
    while let Some(first) = queue.recv().await {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut keys = first.keys.clone();
        let mut asked = vec![first];
        while keys.len() < KEYS
            && let Ok(next) = queue.try_recv()
        {
            keys.extend(next.keys.iter().cloned());
            asked.push(next);
        }
        match read(&mut line, &keys, load).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for Question { keys, reply } in asked {
                    // A failed send: nobody waits any more.
                    drop(reply.send(Ok(answers.by_ref().take(keys.len()).collect())));
                }
            }
            // One caller's bad row must not fail the others.
            Err(error) => {
                let alone = asked.len() == 1;
                let mut error = Some(error);
                for Question { keys, reply } in asked {
                    let answer = match error.take().filter(|_| alone) {
                        Some(error) => Err(error),
                        None => read(&mut line, &keys, load).await,
                    };
                    drop(reply.send(answer));
                }
            }
        }
    }
}

/// Once more on a fresh connection when the first try lost it: a read can be repeated.
async fn read<K, V>(line: &mut Line, keys: &[K], load: Load<K, V>) -> Result<Vec<V>, Error> {
    let first = answered_soon(load(line.get().await?, keys)).await;
    match first {
        Some(Err(Fault(Error::Unavailable(_)))) => {
            line.drop_connection();
            let second = answered_soon(load(line.get().await?, keys)).await;
            second.ok_or_else(unanswered)?.map_err(|fault| fault.0)
        }
        Some(first) => first.map_err(|fault| fault.0),
        None => {
            line.drop_connection();
            Err(unanswered())
        }
    }
}
