//! One agent's way to its machine's systemd: every call takes its time, may hang, and is a point at which the agent can die.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::fake::FakeSystemd;
use futures_util::Stream;
use model::{Deadline, JobEnd, Mark, ServiceChange, ServiceError, ServiceManager, ServiceUnit};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use unitfile::{UnitFile, UnitName};

use crate::checker::Checker;
use crate::dice::Dice;
use crate::gate::{Effect, Gate, Moment};

/// How long a call takes, in milliseconds.
const CALL_MS: (u64, u64) = (1, 3);

/// How long systemd needs to take on a job, at most.
const TAKES_ON: Duration = Duration::from_millis(1);

/// Whether systemd answers. Clones are the same machine's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hang {
    inner: Arc<(Mutex<bool>, Notify)>,
}

impl Hang {
    pub(crate) fn set(&self, hangs: bool) {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner) = hangs;
        self.inner.1.notify_waiters();
    }

    async fn over(&self) {
        loop {
            let changed = self.inner.1.notified();
            if !*self.inner.0.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            changed.await;
        }
    }
}

/// systemd as one incarnation of an agent sees it.
pub(crate) struct Manager {
    pub(crate) machine: String,
    pub(crate) fake: FakeSystemd,
    pub(crate) gate: Gate,
    pub(crate) hang: Hang,
    pub(crate) checker: Checker,
    pub(crate) dice: Mutex<Dice>,
}

impl Manager {
    /// Carries out a call, unless the agent dies before; does not return if it dies after.
    async fn call<T>(
        &self,
        told: Option<String>,
        effect: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        self.enter().await;
        let dies = self.gate.count(Effect::Call);
        if matches!(dies, Some(Moment::Before)) {
            return self.gate.die().await;
        }
        let result = effect.await;
        if let Some(told) = told {
            self.checker
                .tell(self.gate.who(), &told, result.as_ref().err());
        }
        self.leave(dies).await;
        result
    }

    async fn enter(&self) {
        self.gate.pass().await;
        self.checker.count_call(&self.machine);
        let takes = {
            let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
            dice.between(CALL_MS.0, CALL_MS.1)
        };
        sleep(Duration::from_millis(takes)).await;
        self.hang.over().await;
        self.gate.pass().await;
    }

    async fn leave(&self, dies: Option<Moment>) {
        match dies {
            Some(_) => self.gate.die().await,
            None => self.gate.pass().await,
        }
    }

    /// A start or restart: the agent may also die when systemd has taken on the job and the mark is not written yet.
    async fn start_or_restart(
        &self,
        verb: &str,
        name: &UnitName,
        mark: &Mark,
        job: impl Future<Output = Result<JobEnd, ServiceError>>,
    ) -> Result<JobEnd, ServiceError> {
        self.enter().await;
        let dies = self.gate.count(Effect::Call);
        if matches!(dies, Some(Moment::Before)) {
            return self.gate.die().await;
        }
        self.checker.starts(&self.machine, name, mark, verb);
        if matches!(dies, Some(Moment::Amid)) {
            let before = self.fake.unit(name).await;
            if timeout(TAKES_ON, job).await.is_err() {
                self.checker
                    .tell(self.gate.who(), "dies before it wrote the mark", None);
            }
            if let Ok(Some(ServiceUnit {
                mark: Some(mark), ..
            })) = before
            {
                drop(self.fake.mark(name, &mark).await);
                self.checker.marks(&self.machine, name, &mark);
            }
            return self.gate.die().await;
        }
        let result = job.await;
        let told = format!("{verb} of {name} ended: {}", ended(&result));
        self.checker.tell(self.gate.who(), &told, None);
        if let Err(error) = &result {
            self.checker.refused(&self.machine, name, mark, error);
        }
        self.leave(dies).await;
        result
    }
}

fn ended(result: &Result<JobEnd, ServiceError>) -> String {
    match result {
        Ok(end) => format!("{} {}", end.result, end.message),
        Err(error) => error.to_string(),
    }
}

impl ServiceManager for Manager {
    async fn list(&self) -> Result<Vec<ServiceUnit>, ServiceError> {
        self.call(None, self.fake.list()).await
    }

    async fn unit(&self, name: &UnitName) -> Result<Option<ServiceUnit>, ServiceError> {
        self.call(None, self.fake.unit(name)).await
    }

    async fn load(
        &self,
        name: &UnitName,
        file: &UnitFile,
        mark: &Mark,
    ) -> Result<(), ServiceError> {
        let effect = async {
            self.fake.load(name, file, mark).await?;
            self.checker.marks(&self.machine, name, mark);
            Ok(())
        };
        let told = format!(
            "load {name} {} {mark}",
            short(&mark.file),
            mark = shown(mark)
        );
        self.call(Some(told), effect).await
    }

    async fn mark(&self, name: &UnitName, mark: &Mark) -> Result<(), ServiceError> {
        let effect = async {
            self.fake.mark(name, mark).await?;
            self.checker.marks(&self.machine, name, mark);
            Ok(())
        };
        self.call(Some(format!("mark {name} {}", shown(mark))), effect)
            .await
    }

    async fn unload(&self, name: &UnitName) -> Result<(), ServiceError> {
        let effect = async {
            self.fake.unload(name).await?;
            self.checker.forgets(&self.machine, name);
            Ok(())
        };
        self.call(Some(format!("unload {name}")), effect).await
    }

    async fn knows(&self, name: &UnitName) -> Result<bool, ServiceError> {
        self.call(None, self.fake.knows(name)).await
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        self.call(Some("daemon-reload".to_owned()), self.fake.reload())
            .await
    }

    async fn start(&self, name: &UnitName, mark: &Mark) -> Result<JobEnd, ServiceError> {
        self.start_or_restart("start", name, mark, self.fake.start(name, mark))
            .await
    }

    async fn stop(&self, name: &UnitName) -> Result<JobEnd, ServiceError> {
        self.checker
            .tell(self.gate.who(), &format!("stop {name}"), None);
        self.checker.count_stop(&self.machine, name);
        self.call(Some(format!("stop of {name} ended")), self.fake.stop(name))
            .await
    }

    async fn restart(&self, name: &UnitName, mark: &Mark) -> Result<JobEnd, ServiceError> {
        self.start_or_restart("restart", name, mark, self.fake.restart(name, mark))
            .await
    }

    async fn extend(&self, deadline: Deadline) -> Result<(), ServiceError> {
        self.call(None, self.fake.extend(deadline)).await
    }

    async fn give_up_exclusive(&self) -> Result<(), ServiceError> {
        self.call(None, self.fake.give_up_exclusive()).await
    }

    fn changes(&self) -> impl Stream<Item = ServiceChange> + Send + Unpin + 'static {
        self.fake.changes()
    }
}

fn shown(mark: &Mark) -> String {
    format!("(mark: start {}, restart {})", mark.start, mark.restart)
}

fn short(hash: &unitfile::FileHash) -> String {
    let mut text = hash.to_string();
    text.truncate(8);
    text
}
