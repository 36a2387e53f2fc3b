//! What every store promises, asked through the trait alone: a back end runs the whole suite with one
//! line. The plans are made by hand, so nothing here knows the rules of sync.

mod commit;
mod digests;
mod names;
mod once;
mod pages;
mod purge;
mod pushes;
mod world;

pub(crate) use commit::*;
pub(crate) use digests::*;
pub(crate) use names::*;
pub(crate) use once::*;
pub(crate) use pages::*;
pub(crate) use purge::*;
pub(crate) use pushes::*;
pub(crate) use world::*;

/// Runs the suite on a back end, given as an expression that makes a new, empty one.
macro_rules! contract {
    ($backend:expr) => {
        $crate::store::contract::contract!($backend =>
            inv1_a_commit_keeps_everything_it_was_given,
            inv1_a_group_that_breaks_a_constraint_leaves_nothing,
            inv1_a_plan_that_panics_leaves_nothing_and_the_store_goes_on,
            inv3_a_log_that_does_not_go_on_from_the_head_is_refused,
            a_group_without_rows_leaves_the_head,
            a_record_of_another_tenant_is_neither_found_nor_written,
            numbers_for_new_records_rise_and_are_as_many_as_needed,
            e3_history_goes_back_to_the_version_asked_for,
            e3_history_stops_at_its_limit,
            histories_outside_a_commit_are_the_same,
            o1_a_batch_is_found_again_with_its_answer,
            o1_the_same_batch_twice_is_refused,
            o2_marks_rise_and_never_fall,
            o2_refused_numbers_are_found_with_their_error,
            e11_corrections_find_the_inbox_row_and_close_it,
            e11_a_device_keeps_a_thousand_inbox_rows,
            v2_a_log_page_has_only_its_scopes_in_order,
            inv4_a_full_page_ends_at_its_last_row_another_at_the_head,
            inv4_a_page_never_stands_beyond_the_counter,
            a_page_names_who_wrote_its_rows,
            c4_a_snapshot_walks_scopes_and_goes_on_where_it_stopped,
            c4_a_snapshot_has_no_tombstones,
            en13_digests_follow_every_commit,
            en13_sums_wrap_around,
            en13_a_group_that_is_refused_leaves_the_digests,
            en13_a_filter_counts_only_what_it_wants,
            en13_digests_of_an_answer_are_from_one_moment,
            en13_tenants_and_domains_are_counted_apart,
            en13_v2_records_that_get_other_scopes_are_counted_there,
            en13_any_edits_leave_the_digests_equal_to_a_recount,
            c11_each_registration_takes_the_next_generation,
            o2_installs_are_told_apart_and_keep_their_marks,
            p2_a_new_device_starts_from_the_head,
            c1_a_domain_turns_with_each_other_text_and_a_reopened_store_remembers,
            names_keep_their_numbers_and_tenants_share_none,
            a_publisher_has_a_row_without_a_device,
            c10_acknowledged_places_only_rise,
            p2_a_device_is_owed_the_newest_of_its_address_that_have_not_ended,
            p1_pushes_are_found_as_they_were_written,
            p1_a_page_of_the_log_has_changes_by_sight_and_pushes_by_address,
            inv3_pushes_and_changes_follow_the_head_together,
            p4_the_delivery_log_follows_places_and_notes,
            p1_recipients_are_who_the_tenant_knows,
            p2_a_registration_says_whether_something_is_owed,
            d3_old_rows_go_step_by_step_and_the_horizon_moves_with_them,
            d3_a_log_that_went_whole_goes_on_where_it_ended,
            d3_tombstones_go_after_their_rows_and_leave_the_version_floor,
            d3_a_history_ends_where_the_log_begins,
            d3_a_purge_of_one_tenant_leaves_the_others,
            o1_old_batches_go_oldest_first,
            o2_old_refused_numbers_go_and_the_mark_stays,
            e11_closed_reviews_go_with_age_and_open_ones_never,
            everything_is_there_after_reopening,
            a_closed_store_is_unavailable,
            people_can_look_at_what_is_there,
        );
    };
    ($backend:expr => $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::store::contract::$name(&$backend).await;
            }
        )*
    };
}
pub(crate) use contract;
