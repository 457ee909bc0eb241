//! One list of cases that every engine must pass. An engine's test binary names a function that opens a fresh, migrated
//! store and calls [`conformance_suite!`](crate::conformance_suite); each case becomes a test of its own.
//!
//! Cases go through the traits only. To add one: a function in the module of its noun, and its name in the list.

pub mod agents;
pub mod audit;
pub mod catalogue;
pub mod claims;
pub mod differential;
pub mod feed;
pub mod fleet;
pub mod gather;
pub mod identities;
pub mod pacing;
pub mod people;
pub mod retention;
pub mod sealed;
pub mod secrets;
pub mod tenancy;
pub mod work;
pub mod world;

use std::sync::Arc;

pub use self::world::World;
use crate::Database;

/// A whole database, for cases about users; ids for what is put into it come from its world.
#[derive(Clone)]
pub struct Town {
    /// The database under test.
    pub store: Arc<dyn Database>,
    /// Its world.
    pub world: World,
}

impl Town {
    /// An empty one.
    #[must_use]
    pub fn new(store: Arc<dyn Database>) -> Self {
        Self { world: World::new(store.clone()), store }
    }
}

/// Makes a test of each case about users. `$fresh` is an async function without arguments that returns
/// `anyhow::Result<(guard, Arc<dyn Database>)>`; the guard is kept until the case ends.
#[macro_export]
macro_rules! people_suite {
    ($fresh:path) => {
        $crate::people_suite! { $fresh:
            people::a_user_is_registered_once_and_let_in,
            people::an_operator_is_always_left,
            people::an_owner_is_always_left,
            people::an_invitation_works_once,
            people::names_are_looked_up_among_ones_own,
            people::a_password_is_reset_once,
            people::a_changed_password_ends_other_sessions,
            secrets::a_session_works_until_it_ends,
            secrets::a_session_moves_on_by_one,
            secrets::a_token_works_in_its_workspace_alone,
            secrets::a_token_of_the_host_works_until_it_ends,
            secrets::a_repeated_request_makes_one_token,
            secrets::a_code_works_once,
            secrets::hits_are_counted_in_their_window,
            secrets::tries_wait_longer_each_time,
            audit::an_entry_goes_with_its_effect_or_not_at_all,
            audit::grouped_changes_are_told_each_by_itself,
            audit::many_writers_and_sealers_leave_whole_chains,
            audit::entries_are_listed_newest_first_and_filtered,
            sealed::a_data_key_is_begun_once_and_superseded_by_newer_ones,
            sealed::everything_moves_to_a_newer_key_while_others_write,
            sealed::a_key_is_kept_as_long_as_something_needs_it,
            sealed::a_credential_belongs_to_the_accounts_agent,
        }
    };
    ($fresh:path: $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() -> anyhow::Result<()> {
                let (_guard, store) = $fresh().await?;
                $crate::conformance::$module::$case($crate::conformance::Town::new(store.clone())).await?;
                store.close().await;
                Ok(())
            }
        )*
    };
}

/// Makes a test of each case. `$fresh` is an async function without arguments that returns
/// `anyhow::Result<(guard, Arc<dyn Store>)>`; the guard is kept until the case ends.
#[macro_export]
macro_rules! conformance_suite {
    ($fresh:path) => {
        $crate::conformance_suite! { $fresh:
            agents::a_user_of_the_host_gets_further_tokens,
            agents::enrolment_can_be_repeated_with_the_same_key_only,
            agents::the_newest_stream_wins,
            agents::a_rebound_account_takes_its_waiting_jobs_along,
            catalogue::repeated_creation_returns_what_is_stored,
            catalogue::a_listing_changes_at_its_version_only_and_is_not_deleted_under_a_posting,
            catalogue::equal_contents_are_stored_once,
            catalogue::pages_hold_every_row_once_while_others_insert,
            claims::claims_follow_the_rules,
            claims::an_uncertain_account_takes_no_other_publication,
            claims::concurrent_claimers_never_claim_twice,
            claims::heartbeats_extend_current_runs_only,
            claims::beats_at_once_do_not_mix,
            claims::sweeps_find_what_is_due,
            gather::grounds_are_what_single_reads_give,
            gather::runs_come_with_all_that_is_decided_on,
            gather::many_writes_at_once_each_get_their_own_answer,
            feed::places_have_no_gaps_and_appear_in_order,
            feed::repeated_steps_are_told_once,
            feed::commits_wake_who_waits,
            fleet::a_new_life_gives_greater_numbers_and_asks_for_a_recount,
            fleet::a_stream_is_newer_than_what_its_agent_knows,
            fleet::what_a_restore_has_to_settle_is_found,
            pacing::pacing_is_kept_and_changed_at_its_version,
            pacing::uses_follow_from_the_intents,
            pacing::claims_keep_to_windows_and_pauses,
            pacing::a_limit_is_shared_in_the_order_that_is_asked_for,
            pacing::low_priority_is_overtaken_for_a_while_only,
            pacing::dead_letters_are_listed_until_they_are_put_aside,
            pacing::one_job_of_a_kind_is_open,
            retention::old_events_go_in_batches_and_the_feed_says_where_it_begins,
            retention::old_steps_evidence_and_sign_ins_go_and_contents_in_use_stay,
            identities::a_locked_agent_is_out_until_it_is_approved,
            identities::a_used_enrolment_string_with_another_key_is_told,
            tenancy::another_workspace_sees_nothing,
            work::a_publication_is_kept_from_queue_to_receipt,
            work::a_change_is_whole_or_nothing,
            work::an_older_stream_changes_nothing,
            work::one_listing_has_one_open_posting_per_account,
            work::a_published_posting_is_found_by_its_listing_and_account,
            work::one_intent_per_account_is_armed_and_one_per_item_confirmed,
            work::lists_are_filtered_and_newest_first,
        }
    };
    ($fresh:path: $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() -> anyhow::Result<()> {
                let (_guard, store) = $fresh().await?;
                $crate::conformance::$module::$case($crate::conformance::World::new(store.clone())).await?;
                store.close().await;
                Ok(())
            }
        )*
    };
}
