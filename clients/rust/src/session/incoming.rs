//! What comes in: one function for each kind of frame.

use std::time::Duration;

use synchub_protocol::server::{
    ChangeOperation, ErrorFrame, Status, Subscribed, SyncResult, TriggerReason, Welcome,
};
use synchub_protocol::{ErrorCode, ServerFrame};

use crate::batches::{Batches, Moment, Refusal};
use crate::event::Event;
use crate::outbox::Welcomed;
use crate::retry::End;
use crate::session::publications::Refused;
use crate::session::{HELLO_ID, Outcome, Settings, State, Verdict};
use crate::storage::Domain;

impl State {
    /// Applies one frame of the hub.
    pub fn on_frame(&mut self, frame: ServerFrame, moment: Moment<'_>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        match frame {
            ServerFrame::Welcome(welcome) => self.on_welcome(welcome, moment, &mut outcomes),
            ServerFrame::Subscribed(subscribed) => self.on_subscribed(subscribed),
            ServerFrame::Snapshot(page) => {
                let finished = page.last.then(|| Domain::from(page.domain.as_str()));
                let touched = self.copy.snapshot(page, &mut self.journal);
                outcomes.extend(touched.into_iter().map(Outcome::Touched));
                outcomes.extend(finished.map(|domain| Outcome::Event(Event::SnapshotFinished { domain })));
            }
            ServerFrame::DataUpdate(change) if change.operation == ChangeOperation::Unknown => {
                // What it did to the record cannot be known: everything is asked for anew.
                self.copy.forget_cursor(&mut self.journal);
                outcomes.push(Outcome::End(End::Unreadable("an unknown operation".to_owned())));
            }
            ServerFrame::DataUpdate(change) if self.copy.missed_base_of(&change) => {
                // A change before it was lost on the way: everything is asked for anew.
                self.copy.forget_cursor(&mut self.journal);
                outcomes
                    .push(Outcome::End(End::Unreadable("a change of a version that never came".to_owned())));
            }
            ServerFrame::DataUpdate(change) => {
                outcomes.extend(self.copy.change(change, &mut self.journal).map(Outcome::Touched));
            }
            ServerFrame::Position(position) => {
                self.reached(position.cursor, position.seq, &mut outcomes);
                outcomes.push(Outcome::Event(Event::Position { seq: position.seq }));
            }
            ServerFrame::CaughtUp(place) => {
                self.reached(place.cursor, place.seq, &mut outcomes);
                if let Some(session) = &mut self.session {
                    session.is_live = true;
                }
                if let Some(request) = place.id {
                    self.catch_ups.answered(request);
                }
                outcomes.push(Outcome::CaughtUp);
                outcomes.push(Outcome::Event(Event::CaughtUp { seq: place.seq }));
            }
            ServerFrame::SyncResult(result) => self.on_result(result, moment, &mut outcomes),
            ServerFrame::DigestResult(result) => self.comparisons.answered(result),
            ServerFrame::Message(_)
            | ServerFrame::SyncTrigger(_)
            | ServerFrame::ConflictAlert(_)
            | ServerFrame::EntrySettled(_) => {
                outcomes.extend(self.pushed(frame).map(Outcome::Event));
            }
            ServerFrame::Published(published) => {
                let number = self.publications.answered(published.id);
                outcomes.extend(number.map(|number| Outcome::Published(number, Ok(published))));
            }
            // Answers to what this client never asks.
            ServerFrame::Pong(_)
            | ServerFrame::PullResult(_)
            | ServerFrame::Resolved(_)
            | ServerFrame::ConflictsResult(_)
            | ServerFrame::PresenceResult(_) => {}
            ServerFrame::TokenAccepted(accepted) => {
                if let Some(session) = &mut self.session {
                    session.renewals.retain(|id| *id != accepted.id);
                }
                outcomes.push(Outcome::Event(Event::TokenRenewed { expires_at: accepted.expires_at }));
            }
            ServerFrame::SettingsApplied(applied) => {
                outcomes.push(Outcome::Event(Event::SettingsApplied(applied)));
            }
            ServerFrame::Goaway(goaway) => {
                outcomes.push(Outcome::NotWithin(Duration::from_millis(goaway.reconnect_after_ms)));
            }
            ServerFrame::Error(error) => self.on_error(error, moment, &mut outcomes),
        }
        self.outbox.settle_shown(&self.copy);
        if self.is_live() {
            let verdicts = self.comparisons.verdicts(&self.copy).into_iter();
            outcomes.extend(verdicts.map(|(number, verdict)| Outcome::Compared(number, verdict)));
        }
        outcomes
    }

    /// What the app is told of a push; nothing if it knows it.
    fn pushed(&mut self, frame: ServerFrame) -> Option<Event> {
        let mut is_new = |push_id: &str| self.seen.is_new(push_id);
        match frame {
            ServerFrame::Message(message) => is_new(&message.push_id).then_some(Event::Message(message)),
            ServerFrame::SyncTrigger(trigger) if trigger.reason == TriggerReason::HeldBack => {
                is_new(&trigger.push_id).then_some(Event::HeldBack { domains: trigger.domains })
            }
            ServerFrame::SyncTrigger(trigger) => {
                is_new(&trigger.push_id).then_some(Event::SyncTrigger(trigger))
            }
            ServerFrame::EntrySettled(settled) => {
                is_new(&settled.push_id).then_some(Event::EntrySettled(settled))
            }
            ServerFrame::ConflictAlert(alert) => {
                // One under the conflict's own id says that it still awaits the user (P5).
                let id = alert.push_id.as_ref().filter(|id| **id != alert.conflict_id.to_string());
                id.is_none_or(|id| is_new(id)).then_some(Event::ConflictAlert(alert))
            }
            _ => None,
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) {
        let Some(session) = &mut self.session else { return };
        if welcome.id != HELLO_ID || session.welcome.is_some() {
            outcomes.push(Outcome::End(End::Unreadable("a welcome that answers no hello".to_owned())));
            return;
        }
        self.stats.connects += 1;
        let hello = std::mem::take(&mut session.hello);
        self.copy.confirm(hello.iter().map(|wanted| wanted.domain.as_str()));
        session.requests.confirm(hello);
        self.outbox.forget_old(moment.clock, &mut self.journal);
        let (install, limits) = (session.install, welcome.limits);
        let welcomed = self.outbox.welcomed(
            install,
            welcome.last_client_seq,
            || moment.entropy.uuid(),
            &mut self.journal,
        );
        let Settings { encoding, backoff, .. } = self.settings;
        session.batches = Some(Batches::new(install, encoding, limits, self.batch_cap, backoff));
        outcomes.push(Outcome::Event(Event::Connected {
            session_id: welcome.session_id.clone(),
            fresh: welcome.fresh.clone(),
        }));
        session.welcome = Some(welcome);
        if welcomed == Welcomed::HelloAgain {
            outcomes.push(Outcome::End(End::HelloAgain));
        }
    }

    fn on_subscribed(&mut self, subscribed: Subscribed) {
        self.copy.confirm(subscribed.subscriptions.iter().map(|wanted| wanted.domain.as_str()));
        if let Some(session) = &mut self.session {
            session.is_live &= subscribed.fresh.is_empty();
            session.requests.subscribed(subscribed.id, subscribed.subscriptions);
        }
    }

    fn reached(&mut self, cursor: String, seq: u64, outcomes: &mut Vec<Outcome>) {
        let touched = self.copy.reached(cursor, seq, &mut self.journal);
        outcomes.extend(touched.into_iter().map(Outcome::Touched));
    }

    fn on_result(&mut self, answer: SyncResult, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) {
        let batches = self.session.as_mut().and_then(|session| session.batches.as_mut());
        let pause = answer.backoff_ms.map(Duration::from_millis);
        if answer.results.iter().any(|result| result.status == Status::ConflictRisk) {
            // This decides nothing (O3), and was not asked for: the batch waits and goes again.
            let error = ErrorFrame::new(Some(answer.id), ErrorCode::Unavailable, "conflict_risk");
            return self.on_error(error, moment, outcomes);
        }
        let answered = batches.and_then(|batches| {
            answer.recommended_batch.inspect(|entries| batches.recommend(*entries));
            batches.answered(answer.id, pause, moment.instant)
        });
        let Some(local_ids) = answered else { return };
        if local_ids.len() != answer.results.len() {
            let text = format!("{} results for {} entries", answer.results.len(), local_ids.len());
            outcomes.push(Outcome::End(End::Unreadable(text)));
            return;
        }
        for (local_id, result) in local_ids.into_iter().zip(answer.results) {
            let settled = self.outbox.settle(local_id, &result, answer.seq, moment.clock, &mut self.journal);
            if let Some(entry) = settled {
                self.answered(local_id, entry, result, outcomes);
            }
        }
        self.outbox.forget_old(moment.clock, &mut self.journal);
    }

    fn on_error(&mut self, error: ErrorFrame, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) {
        let Some(session) = &mut self.session else { return };
        let ErrorFrame { code, temporary, .. } = error;
        self.stats.rate_limited += u64::from(code == ErrorCode::RateLimited);
        let retry = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
        let refused = End::Refused { code, message: error.message.clone(), temporary };
        let Some(batches) = &mut session.batches else {
            outcomes.extend([Outcome::NotWithin(retry), Outcome::End(refused)]);
            return;
        };
        let Some(request) = error.id else {
            // A request without a name was refused: only a new connection finds out which is unanswered.
            self.shrink_batches();
            outcomes.push(Outcome::End(End::Refused { code, message: error.message, temporary: true }));
            return;
        };
        if let Some(number) = self.comparisons.refused(request) {
            outcomes.push(Outcome::Compared(number, Verdict::Refused(error)));
            return;
        }
        if self.catch_ups.answered(request) {
            outcomes.push(Outcome::Event(Event::Refused { code, message: error.message }));
            return;
        }
        match self.publications.refused(&error, moment.instant) {
            Refused::NotMine => {}
            Refused::Again => return,
            Refused::ForGood(number) => return outcomes.push(Outcome::Published(number, Err(error))),
        }
        let renewals = session.renewals.len();
        session.renewals.retain(|id| *id != request);
        let is_own = session.renewals.len() < renewals;
        if is_own || session.requests.refused(request, &error, moment.instant, &mut self.wish) {
            outcomes.push(Outcome::Event(Event::Refused { code, message: error.message }));
            return;
        }
        if matches!(code, ErrorCode::Forbidden | ErrorCode::DeviceDeactivated | ErrorCode::Unauthorized) {
            outcomes.push(Outcome::End(refused));
            return;
        }
        match batches.refused(request, &error, moment) {
            Refusal::Again => {}
            Refusal::NotMine => {
                outcomes.push(Outcome::Event(Event::Refused { code, message: error.message }));
            }
            Refusal::HelloAgain => outcomes.push(Outcome::End(End::HelloAgain)),
            Refusal::Entry(local_id) => self.refuse_here(local_id, code, &error.message, outcomes),
        }
    }
}
