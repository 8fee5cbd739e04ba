//! A wire that a test can cut and mend.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    address: String,
    whole: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A wire to `target`.
    pub(crate) async fn to(target: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let whole = watch::Sender::new(true);
        let state = whole.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut state = state.clone();
                if !*state.borrow_and_update() {
                    continue;
                }
                let target = target.clone();
                connections.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Proxy {
            address,
            whole,
            _tasks: tasks,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all connections and makes no new ones.
    pub(crate) fn cut(&self) {
        println!("the wire is cut");
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        println!("the wire is mended");
        self.whole.send_replace(true);
    }
}
