//! The units of a hollow cluster: submitted and destroyed as the API does it, and followed as they are reported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{Stream, StreamExt};
use model::{
    Action, Change, ClusterStore, MachineId, OnDifference, TargetState, UnitRequest, Update,
};
use registry::View;
use tokio::sync::watch;
use tokio::time::timeout;
use unitfile::{UnitFile, UnitName};

/// Requests in one batch: as many as the API takes.
const BATCH: usize = 10_000;

/// How long nothing may change before waiting is given up.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// What the units are made of unless a file is given.
const SLEEPER: &str =
    "[Unit]\nDescription=Waits in a hollow cluster\n\n[Service]\nExecStart=/bin/sleep infinity\n";

/// The units of this process.
#[derive(Debug)]
pub(super) struct Units {
    file: UnitFile,
    template: UnitName,
    /// All of them in order, whether submitted or not.
    pub(super) names: Vec<UnitName>,
}

/// Every unit that this process made begins with this.
pub(super) const NAME_PREFIX: &str = "hollow-";

impl Units {
    /// Names `count` instances of a template; nothing is submitted.
    pub(super) fn prepare(tag: &str, count: u32, file: Option<&Path>) -> Result<Units> {
        let file = match file {
            None => UnitFile::parse(SLEEPER)?,
            Some(path) => {
                let bytes = std::fs::read(path)
                    .with_context(|| format!("-unit-file: cannot read {}", path.display()))?;
                UnitFile::from_bytes(&bytes)
                    .with_context(|| format!("-unit-file: {}", path.display()))?
            }
        };
        let name = |number: u32| UnitName::parse(&format!("{NAME_PREFIX}{tag}@{number}.service"));
        let mut names: Vec<UnitName> = (1..=count).map(name).collect::<Result<_, _>>()?;
        names.sort_unstable();
        let template = UnitName::parse(&format!("{NAME_PREFIX}{tag}@.service"))?;
        Ok(Units {
            file,
            template,
            names,
        })
    }

    /// Submits their template and starts them all, as `fleetctl submit` and `fleetctl start` do.
    pub(super) async fn start(&self, view: &View) -> Result<()> {
        let template = UnitRequest {
            file: Some(self.file.clone()),
            ..request(&self.template, Action::Submit)
        };
        apply(view, vec![template]).await?;
        for names in self.names.chunks(BATCH) {
            let requests = names.iter().map(|name| request(name, Action::Start));
            apply(view, requests.collect()).await?;
        }
        Ok(())
    }

    /// Destroys those of them that are there.
    pub(super) async fn destroy(&self, view: &View) -> Result<()> {
        let template = self.template.clone();
        destroy(view, |name| {
            name.template().as_ref() == Some(&template) || *name == template
        })
        .await
    }
}

async fn apply(view: &View, requests: Vec<UnitRequest>) -> Result<()> {
    let first = requests.first().map(|request| request.action.as_str());
    for answer in view.apply(requests).await? {
        if let Err(refusal) = answer {
            bail!("{} was refused: {refusal:?}", first.unwrap_or("a request"));
        }
    }
    Ok(())
}

/// Destroys all units with such names.
pub(super) async fn destroy(
    view: &View,
    is_meant: impl Fn(&UnitName) -> bool + Send + Sync,
) -> Result<()> {
    let names: Vec<UnitName> = view
        .read(|records| {
            let names = records.units.keys().filter(|name| is_meant(name));
            names.cloned().collect()
        })
        .await?;
    for names in names.chunks(BATCH) {
        let requests = names.iter().map(|name| request(name, Action::Destroy));
        // One that another has destroyed meanwhile is refused, and gone all the same.
        view.apply(requests.collect()).await?;
    }
    Ok(())
}

fn request(name: &UnitName, action: Action) -> UnitRequest {
    UnitRequest {
        name: name.clone(),
        action,
        file: None,
        template: None,
        on_difference: OnDifference::Keep,
    }
}

/// What a cluster holds before anything is done to it.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Machines, and what they say of themselves.
    pub(super) machines: BTreeMap<MachineId, BTreeMap<String, String>>,
    /// Units.
    pub(super) units: BTreeSet<UnitName>,
}

/// Follows what machines report of the units of this process, as the API does for a `fleetctl` that waits.
pub(super) struct Reports {
    view: View,
    updates: Pin<Box<dyn Stream<Item = Update> + Send>>,
    tally: Tally,
}

/// How far units are, on whichever machine reports them.
#[derive(Debug, Default)]
struct Tally {
    /// What the names of units begin with that count.
    prefix: String,
    states: BTreeMap<(UnitName, MachineId), TargetState>,
    launched: usize,
}

impl Reports {
    /// Begins to follow.
    pub(super) async fn open(view: &View, tag: &str) -> Result<Reports> {
        let updates = view.subscribe().await?;
        let mut reports = Reports {
            view: view.clone(),
            updates: Box::pin(updates),
            tally: Tally {
                prefix: format!("{NAME_PREFIX}{tag}@"),
                ..Tally::default()
            },
        };
        reports.read_all().await?;
        Ok(reports)
    }

    /// What there is now.
    pub(super) async fn inventory(&self) -> Result<Inventory> {
        let inventory = self.view.read(|records| Inventory {
            machines: records
                .machines
                .iter()
                .map(|(id, machine)| (id.clone(), machine.metadata.clone()))
                .collect(),
            units: records.units.keys().cloned().collect(),
        });
        Ok(inventory.await?)
    }

    /// Waits until `count` units are reported launched, telling how many are.
    pub(super) async fn launched(
        &mut self,
        count: usize,
        progress: &watch::Sender<usize>,
    ) -> Result<()> {
        while self.tally.launched < count {
            self.hear("launched", self.tally.launched, count).await?;
            progress.send_replace(self.tally.launched);
        }
        Ok(())
    }

    /// Waits until no unit is reported any more.
    pub(super) async fn gone(&mut self, progress: &watch::Sender<usize>) -> Result<()> {
        let before = self.tally.states.len();
        while !self.tally.states.is_empty() {
            let gone = before.saturating_sub(self.tally.states.len());
            self.hear("gone", gone, before).await?;
            progress.send_replace(gone);
        }
        Ok(())
    }

    async fn hear(&mut self, what: &str, so_far: usize, of: usize) -> Result<()> {
        let Ok(update) = timeout(STALL_LIMIT, self.updates.next()).await else {
            bail!(
                "{so_far} of {of} units are reported {what}, and nothing has changed for {} s: is there an engine (-engines), \
                 and can the machines take the units? With -listen, fleetctl can be asked",
                STALL_LIMIT.as_secs()
            );
        };
        match update {
            Some(Update::Changes(_, changes)) => {
                for change in changes.iter() {
                    if let Change::Status(machine, name, status) = change {
                        let state = status.as_ref().map(|status| status.state);
                        self.tally.take_in(machine, name, state);
                    }
                }
            }
            Some(Update::Resync(_)) => self.read_all().await?,
            None => bail!("the cluster is no longer followed"),
        }
        Ok(())
    }

    async fn read_all(&mut self) -> Result<()> {
        let mut tally = Tally {
            prefix: self.tally.prefix.clone(),
            ..Tally::default()
        };
        self.tally = self
            .view
            .read(move |records| {
                for (name, on) in &records.statuses {
                    for (machine, status) in on {
                        tally.take_in(machine, name, Some(status.state));
                    }
                }
                tally
            })
            .await?;
        Ok(())
    }
}

impl Tally {
    fn take_in(&mut self, machine: &MachineId, name: &UnitName, state: Option<TargetState>) {
        if !name.as_str().starts_with(&self.prefix) {
            return;
        }
        let key = (name.clone(), machine.clone());
        let before = match state {
            Some(state) => {
                self.launched += usize::from(state == TargetState::Launched);
                self.states.insert(key, state)
            }
            None => self.states.remove(&key),
        };
        self.launched -= usize::from(before == Some(TargetState::Launched));
    }
}

/// Does `work`, and prints every other second how many of `of` are done.
pub(super) async fn with_progress<T>(
    what: &str,
    of: usize,
    work: impl AsyncFnOnce(watch::Sender<usize>) -> T,
) -> T {
    let (sender, progress) = watch::channel(0);
    let work = work(sender);
    tokio::pin!(work);
    let mut told = 0;
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_secs(2)) => {
                let now = *progress.borrow();
                if now != told {
                    told = now;
                    super::say(&format!("  {what}: {now} of {of}"));
                }
            }
        }
    }
}
