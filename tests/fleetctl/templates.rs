//! Files that differ from the cluster's, `--replace`, and instances of templates: which file counts, and what is said.

use insta::assert_snapshot;

use crate::cluster::{Cluster, cluster};

fn sleeps(seconds: u32) -> String {
    format!("[Service]\nExecStart=/bin/sleep {seconds}\n")
}

/// What the cluster has as the unit's program.
async fn program(cluster: &Cluster, unit: &str) -> String {
    let seen = cluster.run(&format!("fleetctl cat {unit}")).await;
    let (_, program) = seen.split_once("/bin/sleep ").unwrap();
    program.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_instances_own_name_counts_first_then_the_clusters_template_then_a_local_one()
{
    let cluster = cluster().await;
    cluster.file("app@.service", sleeps(1));
    cluster.run("fleetctl submit app@").await;
    cluster.file("app@.service", sleeps(2));
    cluster.file("app@own.service", sleeps(3));
    assert_snapshot!(cluster.run("fleetctl submit app@own").await, @r#"
    [stdout]
    Unit app@own.service inactive
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "app@own").await, "3");
    assert_snapshot!(cluster.run("fleetctl submit app@1").await, @r#"
    [stdout]
    Unit app@1.service inactive
    [stderr]
    WARNING: Unit app@.service in registry differs from local template unit file app@1.service. Add --replace to override.
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "app@1").await, "1");
    assert_snapshot!(cluster.run("fleetctl submit --replace app@2").await, @r#"
    [stdout]
    Unit app@2.service inactive
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "app@2").await, "2");
    assert_snapshot!(cluster.run("fleetctl submit other@1").await, @r#"
    [stderr]
    Error creating units: failed getting Unit(other@1.service) from template: unable to find template Unit(other@.service) in Registry or on filesystem
    [exit 1]
    "#);
    cluster.file("other@.service", sleeps(4));
    assert_snapshot!(cluster.run("fleetctl submit other@1").await, @r#"
    [stdout]
    Unit other@1.service inactive
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "other@1").await, "4");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_differs_from_the_local_template_is_told_and_replaced_only_if_asked() {
    let cluster = cluster().await;
    cluster.file("app@.service", sleeps(1));
    cluster.run("fleetctl start app@1 app@2").await;
    cluster.file("app@.service", sleeps(2));
    assert_snapshot!(cluster.run("fleetctl start app@1").await, @r#"
    [stdout]
    Unit app@1.service launched on aaaaaaaa.../10.0.0.1
    [stderr]
    WARNING: Unit app@1.service in registry differs from local template unit file app@1.service. Add --replace to override.
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "app@1").await, "1");
    assert_snapshot!(cluster.run("fleetctl start --replace app@1").await, @r#"
    [stdout]
    Unit app@1.service inactive
    Unit app@1.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "app@1").await, "2");
    assert_eq!(program(&cluster, "app@2").await, "1");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_template_is_that_of_the_next_instance_and_with_replace_of_those_there_are() {
    let cluster = cluster().await;
    cluster.file("app@.service", sleeps(1));
    cluster.run("fleetctl submit app@").await;
    cluster.run("fleetctl start app@1").await;
    cluster.file("app@.service", sleeps(2));
    assert_snapshot!(cluster.run("fleetctl submit --replace app@").await, @r#"
    [stdout]
    Unit app@.service inactive
    [exit 0]
    "#);
    std::fs::remove_file(cluster.folder.join("app@.service")).unwrap();
    assert_snapshot!(cluster.run("fleetctl start app@1 app@2").await, @r#"
    [stdout]
    Unit app@2.service inactive
    Unit app@1.service launched on aaaaaaaa.../10.0.0.1
    Unit app@2.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "app@1").await, "1");
    assert_eq!(program(&cluster, "app@2").await, "2");
    assert_snapshot!(cluster.run("fleetctl start --replace app@1").await, @r#"
    [stdout]
    Unit app@1.service inactive
    Unit app@1.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_eq!(program(&cluster, "app@1").await, "2");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_replaces_what_is_no_further_up_than_it_takes_units() {
    let cluster = cluster().await;
    for (seconds, state) in [(1, "submit"), (2, "load"), (3, "start")] {
        for (other, verb) in [(10, "submit"), (20, "load"), (30, "start")] {
            let unit = format!("{state}-{verb}");
            let file = format!("{unit}.service");
            cluster.file(&file, sleeps(seconds));
            cluster.run(&format!("fleetctl {state} {unit}")).await;
            cluster.file(&file, sleeps(other));
            let seen = cluster
                .run(&format!("fleetctl {verb} --replace {unit}"))
                .await;
            let refused = seen.contains("can not replace");
            assert_eq!(refused, seconds * 10 > other, "{seen}");
            let kept = if refused { seconds } else { other };
            assert_eq!(program(&cluster, &unit).await, kept.to_string());
            // Whether replaced or not, the verb itself is carried out.
            assert!(seen.ends_with("[exit 0]"), "{seen}");
        }
    }
    assert_snapshot!(cluster.run("fleetctl list-unit-files --fields=unit,dstate --no-legend").await, @r#"
    [stdout]
    load-load.service⇥loaded
    load-start.service⇥launched
    load-submit.service⇥loaded
    start-load.service⇥loaded
    start-start.service⇥launched
    start-submit.service⇥launched
    submit-load.service⇥loaded
    submit-start.service⇥launched
    submit-submit.service⇥inactive
    [exit 0]
    "#);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_is_no_difference_and_comments_are_none() {
    let cluster = cluster().await;
    cluster.file("web.service", sleeps(1));
    cluster.run("fleetctl start web").await;
    assert_snapshot!(cluster.run("fleetctl submit --replace web").await, @r#"
    [stdout]
    Found same Unit(web.service) in Registry, nothing to do
    [exit 0]
    "#);
    cluster.file("web.service", format!("# A word on it.\n{}", sleeps(1)));
    assert_snapshot!(cluster.run("fleetctl start web").await, @r#"
    [stdout]
    Unit web.service launched on aaaaaaaa.../10.0.0.1
    [exit 0]
    "#);
    assert_snapshot!(cluster.run("fleetctl start nothing-here --replace").await, @r#"
    [stderr]
    Error creating units: unable to find Unit(nothing-here.service) in Registry or on filesystem
    [exit 1]
    "#);
    cluster.end().await;
}
