//! The same random requests to the embedded etcd and to a real one: every answer must be the same,
//! revisions and refusals included, and so must what a watch saw of it all.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, GetOptions, KeyValue, LeaseGrantOptions,
    PutOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, WatchOptions,
};
use registry::embedded::Embedded;

use crate::answers::{next, revision};
use crate::dice::Dice;
use crate::etcd::RealEtcd;

const REQUESTS: usize = 2_000;
const KEYS: [&str; 7] = ["a", "aa", "ab", "b", "ba", "c", "d"];
const LEASES: [i64; 4] = [0, 0, 11, 12];

#[tokio::test]
async fn random_requests_are_answered_as_by_real_etcd() {
    let Some(etcd) = RealEtcd::start().await else {
        return;
    };
    for seed in 1..=3 {
        let embedded = Embedded::in_memory();
        let ours = Client::from_channel(embedded.channel(), None)
            .await
            .unwrap();
        let theirs = Client::connect([etcd.endpoint()], None).await.unwrap();
        compare(seed, ours, theirs).await;
        println!("seed {seed}: {REQUESTS} random requests answered alike");
    }
}

async fn compare(seed: u64, mut ours: Client, mut theirs: Client) {
    // The real one has a past: revisions are compared from here on.
    theirs
        .delete("", Some(DeleteOptions::new().with_all_keys()))
        .await
        .unwrap();
    let bases = [revision(&mut ours).await, revision(&mut theirs).await];
    let mut dice = Dice::new(seed);
    for number in 0..REQUESTS {
        let request = Request::throw(&mut dice);
        // So that history is left to compare.
        if matches!(request, Request::Compact(_)) && number > REQUESTS / 2 {
            continue;
        }
        let our = request.send(&mut ours, bases[0]).await;
        let their = request.send(&mut theirs, bases[1]).await;
        assert_eq!(our, their, "seed {seed}, request {number}: {request:?}");
    }
    let [our, their] = [
        history(&mut ours, bases[0], "").await,
        history(&mut theirs, bases[1], "").await,
    ];
    assert_eq!(our, their, "seed {seed}: watched");
    println!("seed {seed}: {} events watched alike", our.len());
    assert!(our.len() > 300, "something was written");
    let [our, their] = [
        history(&mut ours, bases[0], "a").await,
        history(&mut theirs, bases[1], "a").await,
    ];
    assert_eq!(our, their, "seed {seed}: watched under a prefix");
    // Leases are of the store, not of the keys.
    for lease in [11, 12] {
        for client in [&mut ours, &mut theirs] {
            let outcome = client.lease_revoke(lease).await;
            assert!(outcome.is_ok() || outcome.is_err_and(|it| it.to_string().contains("lease")));
        }
    }
}

/// Everything a watch from the last compaction sees, with the values before.
async fn history(client: &mut Client, base: i64, prefix: &str) -> Vec<String> {
    let newest = revision(client).await;
    let mut options = WatchOptions::new().with_prefix().with_prev_key();
    options = options.with_start_revision(base + 1);
    let mut stream = client.watch(prefix, Some(options.clone())).await.unwrap();
    assert!(next(&mut stream).await.created());
    let mut seen = Vec::new();
    client.put("zz", "the end", None).await.unwrap();
    if !prefix.is_empty() {
        client.put(prefix, "the end", None).await.unwrap();
    }
    loop {
        let response = next(&mut stream).await;
        if response.canceled() {
            let compacted = response.compact_revision();
            seen.push(format!("compacted at +{}", compacted - base));
            let options = options.clone().with_start_revision(compacted + 1);
            stream = client.watch(prefix, Some(options)).await.unwrap();
            assert!(next(&mut stream).await.created());
            continue;
        }
        for event in response.events() {
            let key_value = event.kv().unwrap();
            if key_value.mod_revision() > newest {
                return seen;
            }
            let before = event.prev_kv().map(|it| show(it, base));
            let kind = event.event_type();
            seen.push(format!(
                "{kind:?} {} before {before:?}",
                show(key_value, base)
            ));
        }
    }
}

#[derive(Debug)]
enum Request {
    Put(&'static str, String, PutOptions),
    Get(&'static str, GetOptions, i64),
    Delete(&'static str, DeleteOptions),
    Txn(Vec<Condition>, Vec<Step>, Vec<Step>),
    Compact(i64),
    Grant(i64),
    Revoke(i64),
}

/// Revisions are relative to where the run began.
#[derive(Clone, Debug)]
struct Condition {
    key: &'static str,
    prefix: bool,
    relation: CompareOp,
    target: u64,
    number: i64,
}

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, String, PutOptions),
    Get(&'static str, GetOptions),
    Delete(&'static str, DeleteOptions),
}

impl Request {
    fn throw(dice: &mut Dice) -> Request {
        match dice.below(40) {
            0..12 => {
                let (key, value, options) = put(dice);
                Request::Put(key, value, options)
            }
            12..20 => {
                let ago = dice.one_of(&[0, 0, 0, 1, 5, 40]);
                Request::Get(dice.one_of(&KEYS), get(dice), ago)
            }
            20..24 => Request::Delete(dice.one_of(&KEYS), delete(dice)),
            24..36 => {
                let conditions = (0..dice.below(3)).map(|_| Condition::throw(dice)).collect();
                let success = (0..dice.below(4)).map(|_| Step::throw(dice)).collect();
                let failure = (0..dice.below(3)).map(|_| Step::throw(dice)).collect();
                Request::Txn(conditions, success, failure)
            }
            36 => Request::Compact(i64::try_from(dice.below(60)).unwrap()),
            37 | 38 => Request::Grant(dice.one_of(&[11, 12])),
            _ => Request::Revoke(dice.one_of(&[11, 12])),
        }
    }

    async fn send(&self, client: &mut Client, base: i64) -> String {
        match self {
            Request::Put(key, value, options) => {
                match client
                    .put(*key, value.as_str(), Some(options.clone()))
                    .await
                {
                    Ok(answer) => {
                        let before = answer.prev_key().map(|it| show(it, base));
                        format!(
                            "put {before:?} {}",
                            answer.header().unwrap().revision() - base
                        )
                    }
                    Err(error) => refusal(&error),
                }
            }
            Request::Get(key, options, ago) => {
                let mut options = options.clone();
                if *ago > 0 {
                    options = options.with_revision(revision(client).await.max(base + 45) - ago);
                }
                match client.get(*key, Some(options)).await {
                    Ok(answer) => show_found(&answer, base),
                    Err(error) => refusal(&error),
                }
            }
            Request::Delete(key, options) => {
                match client.delete(*key, Some(options.clone())).await {
                    Ok(answer) => show_deleted(&answer, base),
                    Err(error) => refusal(&error),
                }
            }
            Request::Txn(conditions, success, failure) => {
                let txn = Txn::new()
                    .when(
                        conditions
                            .iter()
                            .map(|it| it.compare(base))
                            .collect::<Vec<_>>(),
                    )
                    .and_then(success.iter().map(Step::operation).collect::<Vec<_>>())
                    .or_else(failure.iter().map(Step::operation).collect::<Vec<_>>());
                match client.txn(txn).await {
                    Ok(answer) => {
                        let steps: Vec<_> = answer
                            .op_responses()
                            .iter()
                            .map(|it| show_step(it, base))
                            .collect();
                        let revision = answer.header().unwrap().revision() - base;
                        format!("{} {steps:?} {revision}", answer.succeeded())
                    }
                    Err(error) => refusal(&error),
                }
            }
            Request::Compact(ago) => {
                let at = (revision(client).await - ago).max(base + 1);
                match client.compact(at, None).await {
                    Ok(answer) => format!("compact {}", answer.header().unwrap().revision() - base),
                    Err(error) => refusal(&error),
                }
            }
            Request::Grant(id) => {
                let options = LeaseGrantOptions::new().with_id(*id);
                match client.lease_grant(600, Some(options)).await {
                    Ok(answer) => format!("grant {} {}", answer.id(), answer.ttl()),
                    Err(error) => refusal(&error),
                }
            }
            Request::Revoke(id) => match client.lease_revoke(*id).await {
                Ok(answer) => format!("revoke {}", answer.header().unwrap().revision() - base),
                Err(error) => refusal(&error),
            },
        }
    }
}

impl Condition {
    fn throw(dice: &mut Dice) -> Condition {
        let relations = [
            CompareOp::Equal,
            CompareOp::NotEqual,
            CompareOp::Greater,
            CompareOp::Less,
        ];
        Condition {
            key: dice.one_of(&KEYS),
            prefix: dice.below(3) == 0,
            relation: dice.one_of(&relations),
            target: dice.below(5),
            number: i64::try_from(dice.below(8)).unwrap(),
        }
    }

    fn compare(&self, base: i64) -> Compare {
        let Condition {
            key,
            relation,
            number,
            ..
        } = *self;
        let compare = match self.target {
            0 => Compare::version(key, relation, number),
            1 => Compare::create_revision(key, relation, base + number * 50),
            2 => Compare::mod_revision(key, relation, base + number * 50),
            3 => Compare::value(key, relation, format!("v{number}")),
            _ => Compare::lease(key, relation, number + 5),
        };
        if self.prefix {
            compare.with_prefix()
        } else {
            compare
        }
    }
}

impl Step {
    fn throw(dice: &mut Dice) -> Step {
        match dice.below(4) {
            0 | 1 => {
                let (key, value, options) = put(dice);
                Step::Put(key, value, options)
            }
            2 => Step::Get(dice.one_of(&KEYS), get(dice)),
            _ => Step::Delete(dice.one_of(&KEYS), delete(dice)),
        }
    }

    fn operation(&self) -> TxnOp {
        match self.clone() {
            Step::Put(key, value, options) => TxnOp::put(key, value, Some(options)),
            Step::Get(key, options) => TxnOp::get(key, Some(options)),
            Step::Delete(key, options) => TxnOp::delete(key, Some(options)),
        }
    }
}

fn put(dice: &mut Dice) -> (&'static str, String, PutOptions) {
    let mut options = PutOptions::new();
    let mut value = format!("v{}", dice.below(8));
    match dice.below(8) {
        0 => {
            options = options.with_ignore_value();
            value.clear();
        }
        1 => options = options.with_ignore_lease(),
        _ => options = options.with_lease(dice.one_of(&LEASES)),
    }
    if dice.below(2) == 0 {
        options = options.with_prev_key();
    }
    (dice.one_of(&KEYS), value, options)
}

fn get(dice: &mut Dice) -> GetOptions {
    let mut options = GetOptions::new();
    options = match dice.below(5) {
        0 => options,
        1 => options.with_range("c"),
        2 => options.with_from_key(),
        3 => options.with_all_keys(),
        _ => options.with_prefix(),
    };
    if dice.below(3) == 0 {
        options = options.with_limit(i64::try_from(dice.below(4)).unwrap());
    }
    // Only targets without ties, because etcd does not say how it settles them.
    options = match dice.below(5) {
        0 => options.with_sort(SortTarget::Key, SortOrder::Descend),
        1 => options.with_sort(SortTarget::Key, SortOrder::Ascend),
        _ => options,
    };
    match dice.below(8) {
        0 => options.with_keys_only(),
        1 => options.with_count_only(),
        _ => options,
    }
}

fn delete(dice: &mut Dice) -> DeleteOptions {
    let options = match dice.below(6) {
        0 => DeleteOptions::new().with_prefix(),
        1 => DeleteOptions::new().with_range("b"),
        _ => DeleteOptions::new(),
    };
    if dice.below(2) == 0 {
        options.with_prev_key()
    } else {
        options
    }
}

fn show(found: &KeyValue, base: i64) -> String {
    let since = |revision: i64| if revision == 0 { 0 } else { revision - base };
    format!(
        "{}={} c{} m{} v{} l{}",
        found.key_str().unwrap(),
        found.value_str().unwrap(),
        since(found.create_revision()),
        since(found.mod_revision()),
        found.version(),
        found.lease()
    )
}

fn show_found(answer: &etcd_client::GetResponse, base: i64) -> String {
    let found: Vec<_> = answer.kvs().iter().map(|it| show(it, base)).collect();
    let revision = answer.header().unwrap().revision() - base;
    format!("{found:?} {} {} {revision}", answer.more(), answer.count())
}

fn show_deleted(answer: &etcd_client::DeleteResponse, base: i64) -> String {
    let before: Vec<_> = answer.prev_kvs().iter().map(|it| show(it, base)).collect();
    let revision = answer.header().unwrap().revision() - base;
    format!("deleted {} {before:?} {revision}", answer.deleted())
}

fn show_step(step: &TxnOpResponse, base: i64) -> String {
    match step {
        TxnOpResponse::Get(answer) => show_found(answer, base),
        TxnOpResponse::Delete(answer) => show_deleted(answer, base),
        TxnOpResponse::Put(answer) => {
            let before = answer.prev_key().map(|it| show(it, base));
            format!(
                "put {before:?} {}",
                answer.header().unwrap().revision() - base
            )
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) => format!("{:?}: {}", status.code(), status.message()),
        other => panic!("{other}"),
    }
}
