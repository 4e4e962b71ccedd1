// SPDX-License-Identifier: Apache-2.0
//! A proxy of bytes that holds up one chosen connection for a time, while the others pass.
//!
//! What passes is TLS, so a request is known by its time only: the connection that carried one is the connection
//! whose client sent last before the API server received it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kube_fenced_election::clock::{Instant, Timestamp};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

use super::wait::{instant, now};

/// How many sends of each connection are remembered: those of some seconds.
const REMEMBERED: usize = 256;

/// What a connection withholds while it is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// What either side sends, the request that began it included.
    Both,
    /// What the server sends: the request arrives, its answer hangs.
    Answers,
}

/// A hold-up that was ordered for a connection.
#[derive(Debug, Clone)]
pub(crate) struct Stall {
    began: watch::Receiver<Option<Timestamp>>,
}

impl Stall {
    /// When it began; `None`: the client has sent nothing since it was ordered.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        *self.began.borrow()
    }
}

/// One connection through the proxy.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When its client sent anything; the latest few, in order.
    sent: VecDeque<Timestamp>,
    ordered: Option<Order>,
    held: Option<(Withheld, Instant)>,
    closed: bool,
}

#[derive(Debug)]
struct Order {
    what: Withheld,
    lasts: Duration,
    began: watch::Sender<Option<Timestamp>>,
}

impl Connection {
    /// Holds this connection up for `lasts`, from the next bytes on that its client sends. Afterwards everything
    /// goes on as if nothing had been.
    pub(crate) fn stall(&self, what: Withheld, lasts: Duration) -> Stall {
        let (sender, began) = watch::channel(None);
        self.state.lock().ordered = Some(Order { what, lasts, began: sender });
        Stall { began }
    }

    /// Takes back what was ordered; false: it has begun.
    pub(crate) fn withdraw(&self) -> bool {
        self.state.lock().ordered.take().is_some()
    }

    fn client_sent(&self) {
        let mut state = self.state.lock();
        let at = now();
        if state.sent.len() == REMEMBERED {
            state.sent.pop_front();
        }
        state.sent.push_back(at);
        if let Some(Order { what, lasts, began }) = state.ordered.take() {
            state.held = Some((what, instant() + lasts));
            began.send_replace(Some(at));
        }
    }

    async fn wait_while_held(&self, from_client: bool) {
        loop {
            let held = self.state.lock().held;
            match held {
                Some((what, until)) if instant() < until && (what == Withheld::Both || !from_client) => {
                    tokio::time::sleep_until(until).await;
                }
                Some(_) | None => return,
            }
        }
    }
}

/// A running proxy. Dropping it ends all connections.
#[derive(Debug)]
pub(crate) struct StallingProxy {
    port: u16,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
    /// Ends with this.
    _server: JoinSet<()>,
}

impl StallingProxy {
    /// Starts a proxy in front of `upstream`, a port of 127.0.0.1; everything passes at first.
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections: Arc<Mutex<Vec<Arc<Connection>>>> = Arc::default();
        let all = Arc::clone(&connections);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut pumps = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // A refused connection ends the client's, as it would without a proxy.
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("set a socket option");
                }
                let connection = Arc::new(Connection::default());
                all.lock().push(Arc::clone(&connection));
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                pumps.spawn(pump(Arc::clone(&connection), true, from_client, to_server));
                pumps.spawn(pump(connection, false, from_server, to_client));
            }
        });
        Self { port, connections, _server: server }
    }

    /// The port on 127.0.0.1 at which the API server is reached.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The open connection whose client sent last before `moment`: the one that carried a request which the API
    /// server received then. `None` when nobody sent within the 100 ms before.
    pub(crate) fn that_carried(&self, moment: Timestamp) -> Option<Arc<Connection>> {
        let all = self.connections.lock();
        let sent = all.iter().filter_map(|it| {
            let state = it.state.lock();
            let sent = state.sent.iter().rfind(|sent| **sent <= moment).filter(|_| !state.closed)?;
            Some((*sent, it))
        });
        let (sent, connection) = sent.max_by_key(|(sent, _)| *sent)?;
        let recent = moment.duration_since(sent).as_millis() <= 100;
        recent.then(|| Arc::clone(connection))
    }
}

async fn pump(
    connection: Arc<Connection>,
    from_client: bool,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if from_client && read > 0 {
            connection.client_sent();
        }
        connection.wait_while_held(from_client).await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    connection.state.lock().closed = true;
}
