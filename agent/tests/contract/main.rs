//! The contract of [`model::ServiceManager`]: one suite, run on the fake and on a real systemd of its own; and what only a real
//! one can show.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod bed;
mod cases;
mod host_cases;
mod private;
mod real;

/// Makes one test of each case for the fake and one for systemd.
macro_rules! contract {
    ($($module:ident::$case:ident),+ $(,)?) => {
        mod fake {
            $(
                #[tokio::test]
                async fn $case() {
                    println!("fake: {}", stringify!($case));
                    crate::$module::$case(&crate::bed::FakeBed::new()).await;
                }
            )+
        }
        mod systemd {
            $(
                #[tokio::test]
                async fn $case() {
                    println!("systemd --user: {}", stringify!($case));
                    if let Some(private) = crate::private::Private::boot().await {
                        crate::$module::$case(&private).await;
                    }
                }
            )+
        }
    };
}

contract! {
    cases::a_new_unit_starts_without_a_reload,
    cases::an_active_unit_is_not_touched_by_another_start,
    cases::a_replaced_body_runs_its_new_content,
    cases::a_body_swapped_under_a_running_unit_waits_for_a_reload,
    cases::a_failing_start_tells_why,
    cases::a_failed_unit_is_started_again,
    cases::a_bad_file_is_refused_and_not_remembered,
    host_cases::units_of_the_host_are_never_shadowed,
    host_cases::a_mask_on_a_loaded_unit_refuses_its_start,
    host_cases::install_sections_are_carried_out,
    host_cases::an_alias_does_not_shadow_the_host,
    cases::a_start_that_lacks_a_unit_is_refused_until_it_is_there,
    cases::a_finished_oneshot_is_at_rest,
    cases::instances_of_a_template_are_units_of_their_own,
    cases::unloading_forgets_and_the_name_is_free,
    cases::a_name_that_another_unit_refers_to_needs_a_reload,
    cases::a_stop_ends_when_exec_stop_has,
    cases::a_start_under_way_can_be_cut_short,
    cases::what_happens_by_itself_is_told,
    cases::a_start_that_is_remembered_late_is_told,
    cases::a_file_that_cannot_be_written_fails_alone,
    cases::what_was_left_half_loaded_is_seen_and_mended,
    cases::a_hundred_units_start_at_once_without_a_reload,
}
